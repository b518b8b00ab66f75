//! A browser, driven by the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::Request;

/// What the protocol calls the key of an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A headless Chromium with a session of its own.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

/// Whether a program is there that shows its version.
pub fn has(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

impl Browser {
    /// Starts a browser that prefers a language.
    pub fn start(language: &str) -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped());
        let mut driver = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self {
            driver,
            address: ([127, 0, 0, 1], port.unwrap()).into(),
            session: String::new(),
        };
        let arguments = [
            "--headless=new",
            // Containers give no rights for a sandbox.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--window-size=900,1100",
        ];
        let options = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": {"intl.accept_languages": language},
            },
        }}});
        let session = browser.call("POST", "/session", Some(&options));
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    fn call(&self, method: &'static str, path: &str, body: Option<&Value>) -> Value {
        let mut request = Request::new(method, path).header("Content-Type", "application/json");
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let reply = request.send(self.address);
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
        reply.json()["value"].clone()
    }

    fn command(&self, method: &'static str, path: &str, body: Option<&Value>) -> Value {
        self.call(method, &format!("/session/{}/{path}", self.session), body)
    }

    pub fn open(&self, url: &str) {
        self.command("POST", "url", Some(&json!({"url": url})));
    }

    /// Shows pages as on a touch screen of so many pixels.
    pub fn phone(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        let call = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.command("POST", "goog/cdp/execute", Some(&call));
    }

    fn element(&self, selector: &str) -> String {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "element", Some(&query));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command(
            "POST",
            &format!("element/{element}/click"),
            Some(&json!({})),
        );
    }

    /// Types, or names the file of a file input.
    pub fn keys(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        let keys = json!({"text": text});
        self.command("POST", &format!("element/{element}/value"), Some(&keys));
    }

    pub fn choose(&self, file: &Path) {
        self.keys("#file", file.to_str().unwrap());
    }

    /// The value of a JavaScript expression.
    pub fn value(&self, expression: &str) -> Value {
        let script = json!({"script": format!("return {expression}"), "args": []});
        self.command("POST", "execute/sync", Some(&script))
    }

    /// The text that a person sees in an element; empty while it is hidden.
    pub fn text(&self, selector: &str) -> String {
        let shown = self.value(&format!(
            "(e => e && e.checkVisibility() ? e.innerText : '')(document.querySelector({}))",
            json!(selector)
        ));
        shown.as_str().unwrap().trim().to_owned()
    }

    /// Waits for an expression to be true.
    #[track_caller]
    pub fn wait(&self, expression: &str) {
        let start = Instant::now();
        while self.value(&format!("Boolean({expression})")) != true {
            let page = || self.value("document.body.innerText");
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{expression}: {}",
                page()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for an element to show a text.
    #[track_caller]
    pub fn wait_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait(&format!(
            "(e => e && e.checkVisibility() && e.innerText.includes({text}))(document.querySelector({selector}))"
        ));
    }

    /// What the console warned of, without the network's statuses.
    pub fn complaints(&self) -> Vec<String> {
        let query = json!({"type": "browser"});
        let log = self.command("POST", "se/log", Some(&query));
        let entries = log.as_array().unwrap().iter();
        let complaints = entries.filter(|entry| entry["source"] != "network");
        complaints
            .map(|entry| entry["message"].to_string())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", &format!("/session/{}", self.session), None);
        }
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
