//! Starts `flowers serve` and talks to it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::http::{Form, Reply, Request};
use crate::support::{flowers, model, photos, wait_until};

/// A running server. It is killed when dropped.
pub struct Server {
    pub process: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// Serves the trained model on a free port, and waits until it is ready.
    pub fn start(options: &[&str]) -> Self {
        Self::of(&model(), options)
    }

    pub fn of(model: &Path, options: &[&str]) -> Self {
        let mut command = Self::command(model);
        command.args(["--port", "0"]).args(options);
        Self::spawn(command)
    }

    pub fn command(model: &Path) -> Command {
        let mut command = flowers();
        command.args([OsStr::new("serve"), model.as_os_str()]);
        command.args(["--log-format", "json"]);
        command.env("FLOWERS_THREADS", "1");
        command
    }

    pub fn spawn(mut command: Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let log = Arc::<Mutex<Vec<Value>>>::default();
        let (lines, kept) = (process.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(lines).lines() {
                let line = line.unwrap();
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(value);
            }
        });
        let mut server = Self {
            process,
            address: ([127, 0, 0, 1], 0).into(),
            log,
        };
        wait_until("the server is ready", || {
            let ended = server.process.try_wait().unwrap();
            assert_eq!(ended, None, "{:?}", server.log());
            server.logged("ready").is_some()
        });
        let ready = server.logged("ready").unwrap();
        let address = ready["address"].as_str().unwrap();
        if let Some(address) = address.strip_prefix("http://") {
            server.address = address.parse().unwrap();
        }
        server
    }

    /// All that was logged so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// The last line of the log with this message.
    pub fn logged(&self, message: &str) -> Option<Value> {
        let log = self.log();
        log.into_iter().rfind(|line| line["message"] == message)
    }

    pub fn get(&self, path: &str) -> Reply {
        Request::get(path).send(self.address)
    }

    /// Sends pictures as the field `file` of a form.
    pub fn predict(&self, files: &[&[u8]]) -> Reply {
        let form = files.iter().fold(Form::new(), |form, file| form.file(file));
        Request::post("/predict").form(form).send(self.address)
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.process.id()).unwrap();
        // SAFETY: the process is our child and not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// SIGTERM, and how the server ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.process.wait().unwrap()
    }

    /// The value of a sample of `/metrics`, by its name and labels.
    pub fn metric(&self, sample: &str) -> f64 {
        let page = self.get("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(sample));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Memory of the server in bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS")
    }

    /// The most memory that it had so far.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM")
    }

    fn memory(&self, which: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(which));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        1024 * number.parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A photo of the data set that the model was trained on.
pub fn rose() -> Vec<u8> {
    fs::read(rose_path()).unwrap()
}

pub fn rose_path() -> PathBuf {
    photos().join("rose/rose-0002.jpg")
}

/// A PNG of noise, which takes some ten milliseconds a megapixel to decode.
pub fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut state = 1u32;
    let picture = image::RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([state >> 24, state >> 16, state >> 8].map(|value| value as u8))
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}
