//! The exported page in a browser, with the packages that it names, and nothing else to reach.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::needs;
use crate::support::{model, photos, run};
use crate::webdriver::Browser;

/// By how much a probability may differ: JPEGs of this size are decoded and resized to the same pixels.
const TOLERANCE: f64 = 1e-3;
/// Integers are rounded in other places.
const INT8_TOLERANCE: f64 = 0.1;

/// What `npm start` runs in a folder.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let program = folder.join("node_modules/.bin/sirv");
        let mut command = Command::new(program);
        command.args([".", "--dev", "--etag", "--no-clear", "--no-logs"]);
        command.env("PORT", "0").env("HOST", "127.0.0.1");
        let mut process = command
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let start = line.find("http://")?;
            Some(line[start..].split_whitespace().next()?.to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address: address.unwrap(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The best label and its probability.
fn answered(browser: &Browser, photo: &Path) -> (String, f64) {
    browser.choose(photo);
    browser.wait(
        "!document.querySelector('#answer').hidden || !document.querySelector('#error').hidden",
    );
    assert_eq!(browser.text("#error"), "");
    let share = browser.value("document.querySelector('#confidence').value");
    let share = share.as_str().unwrap().parse().unwrap();
    (browser.text("#class"), share)
}

fn predicted(photo: &Path) -> Value {
    predicted_by(&model(), photo, "float32")
}

fn predicted_by(model: &Path, photo: &Path, precision: &str) -> Value {
    let arguments = ["predict", "--json", "--precision", precision].map(Path::new);
    let said = run(arguments.into_iter().chain([model, photo])).done();
    said.json()[0].clone()
}

/// A page of a model in a folder.
fn export(model: &Path, out: &Path) {
    let [export, format, web, to, force] =
        ["export", "--format", "web", "--out", "--force"].map(Path::new);
    run([export, model, format, web, to, out, force]).done();
}

pub fn the_page_answers_as_predict() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("page");
    export(&model(), &out);

    let browser = Browser::start("en");
    let unserved = format!("file://{}", out.join("index.html").display());
    browser.open(&unserved);
    browser.wait("document.documentElement.dataset.state === 'setup'");
    assert!(browser.text("#setup").contains("npm install"));

    std::os::unix::fs::symlink(needs::web(), out.join("node_modules")).unwrap();
    let server = Server::start(&out);
    browser.open(&server.address);
    browser.wait("document.documentElement.dataset.state === 'ready'");
    let mut found: Vec<PathBuf> = Vec::new();
    for kind in ["rose", "tulip", "sunflower"] {
        found.extend([1, 2].map(|at| photos().join(kind).join(format!("{kind}-000{at}.jpg"))));
    }
    for photo in found {
        let (label, share) = answered(&browser, &photo);
        let expected = predicted(&photo);
        assert_eq!(expected["class"], label, "{}", photo.display());
        let confidence = expected["confidence"].as_f64().unwrap();
        assert!(
            (share - confidence).abs() < TOLERANCE,
            "{share} is not {confidence}"
        );
    }
    // What npm installed stays when the model is exported again, here as int8.
    let int8 = folder.path().join("int8.safetensors");
    let [quantize, calibration, to] = ["quantize", "--calibration", "--out"].map(Path::new);
    let photos = photos();
    run([quantize, &*model(), calibration, photos, to, &int8]).done();
    export(&int8, &out);
    browser.open(&server.address);
    browser.wait("document.documentElement.dataset.state === 'ready'");
    let photo = photos.join("rose/rose-0001.jpg");
    let (label, share) = answered(&browser, &photo);
    let expected = predicted_by(&int8, &photo, "int8");
    assert_eq!(expected["class"], label);
    let confidence = expected["confidence"].as_f64().unwrap();
    assert!(
        (share - confidence).abs() < INT8_TOLERANCE,
        "{share} is not {confidence}"
    );

    // All that was loaded came from there.
    let elsewhere = "performance.getEntriesByType('resource').map(entry => entry.name)\
                     .filter(name => !name.startsWith(location.origin) && !name.startsWith('blob:'))";
    assert_eq!(browser.value(elsewhere), Value::Array(Vec::new()));
    let complaints = browser.complaints();
    let own: Vec<_> = complaints
        .iter()
        .filter(|line| !line.contains("file://"))
        .collect();
    assert!(own.is_empty(), "{own:?}");
}
