//! Runs the program on small data, and what the tests of its verbs share.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use flowers::progress::Silent;
use flowers::sample::{SampleSet, write};
use flowers::weights::safetensors;
use serde_json::Value;

use crate::known;

/// A small network on small pictures: an epoch takes a tenth of a second.
pub const TINY: [&str; 12] = [
    "--weights",
    "none",
    "--arch",
    "mobilenet_v2",
    "--image-size",
    "32",
    "--batch-size",
    "8",
    "--workers",
    "2",
    "--threads",
    "1",
];

/// What the program said and how it ended.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program, not yet started, with a cache of the tests' own. Its idle threads sleep, as many
/// tests share the cores.
pub fn flowers() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowers"));
    command.env("FLOWERS_CACHE", shared().join("cache"));
    command.env("OMP_WAIT_POLICY", "PASSIVE");
    command.env("RUST_BACKTRACE", "1");
    command
}

/// Runs the program to its end.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Said {
    Said::of(flowers().args(arguments).output().unwrap())
}

/// A limit for [`limited`] in blocks: files smaller than a model, larger than what libtorch is loaded from.
pub const FULL_DISK: &str = "-f 8000";

/// Runs the program under a limit of the shell's `ulimit`. A file that grows too large is an
/// error of the write, not a signal: what a full disk is, and needs no rights.
pub fn limited<A: AsRef<OsStr>>(limit: &str, arguments: impl IntoIterator<Item = A>) -> Said {
    let script = format!("trap '' XFSZ; ulimit {limit}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_flowers")]);
    for (name, value) in flowers().get_envs() {
        command.env(name, value.unwrap());
    }
    Said::of(command.args(arguments).output().unwrap())
}

/// `flowers train DATA --out OUT` with the [`TINY`] options and some more, which win.
pub fn train(data: &Path, out: &Path, options: &[&str]) -> Said {
    run(train_arguments(data, out, options))
}

pub fn train_arguments(data: &Path, out: &Path, options: &[&str]) -> Vec<OsString> {
    let tiny = TINY.chunks(2).filter(|pair| !options.contains(&pair[0]));
    let mut arguments: Vec<OsString> = vec!["train".into(), data.into()];
    arguments.extend(["--out".into(), out.into()]);
    arguments.extend(tiny.flatten().chain(options).map(OsString::from));
    arguments
}

/// Starts the program; its standard error goes to a file.
pub fn start(arguments: &[OsString], stderr: &Path) -> Child {
    let log = fs::File::create(stderr).unwrap();
    let mut command = flowers();
    command.args(arguments).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

/// Waits up to a minute until something holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Said {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The program must have succeeded.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// The program must have failed with this exit code, its last words one line `error: ..`
    /// that holds all of `words`; nothing panicked. Returns that line.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) -> String {
        let text = &self.stderr;
        assert_eq!(self.code, Some(code), "{text}");
        for trace in ["panicked", "RUST_BACKTRACE", "stack backtrace", "Backtrace"] {
            assert!(!text.contains(trace), "{text}");
        }
        let errors = text.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{text}");
        let line = text.lines().last().unwrap_or_default();
        assert!(
            line.starts_with("error: ") && text.ends_with('\n'),
            "{text}"
        );
        for word in words {
            assert!(line.contains(word), "{word:?} is missing in: {line}");
        }
        line.to_owned()
    }

    /// The program must have been stopped by a signal, which is no error, its last words a line that
    /// holds all of `words`. Returns that line.
    #[track_caller]
    pub fn stopped(&self, words: &[&str]) -> String {
        let text = &self.stderr;
        assert_eq!(self.code, Some(130), "{text}");
        assert!(!text.contains("error"), "{text}");
        let line = text.lines().last().unwrap_or_default();
        for word in words {
            assert!(line.contains(word), "{word:?} is missing in: {line}");
        }
        line.to_owned()
    }

    /// Wrong arguments: exit code 2 and `error: ..` first, then the usage.
    #[track_caller]
    pub fn misused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        for word in words {
            let text = &self.stderr;
            assert!(text.contains(word), "{word:?} is missing in: {text}");
        }
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A folder for what all tests share; removed when they are over.
pub fn shared() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    extern "C" fn remove() {
        if let Some(folder) = FOLDER.get() {
            fs::remove_dir_all(folder).ok();
        }
    }
    FOLDER.get_or_init(|| {
        // Statics are never dropped.
        // SAFETY: the function neither unwinds nor relies on other exit handlers.
        unsafe { libc::atexit(remove) };
        tempfile::tempdir().unwrap().keep()
    })
}

/// Three kinds of flowers, twelve drawn pictures each: 24 to train on, 6 and 6.
pub fn photos() -> &'static Path {
    static PHOTOS: OnceLock<PathBuf> = OnceLock::new();
    PHOTOS.get_or_init(|| {
        let folder = shared().join("photos");
        let set = SampleSet {
            classes: 3,
            per_class: 12,
            size: 48,
            seed: 0,
        };
        write(&set, &folder, &Silent).unwrap();
        folder
    })
}

/// A finished run on [`photos`], which has learned nothing to speak of; only to be read.
pub fn trained() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = shared().join("trained");
        let options = ["--epochs", "4", "--lr", "0.003"];
        train(photos(), &folder, &options).done();
        folder
    })
}

/// The model file of [`known`]; only to be read.
pub fn model() -> PathBuf {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let path = shared().join("known.safetensors");
        known::bundle(photos()).write(&path).unwrap();
        path
    };
    MODEL.get_or_init(write).clone()
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).sort_by_file_name() {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Changes what a checkpoint says of its run. Returns the file's new bytes.
pub fn edit_checkpoint(path: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    const KEY: &str = "flowers.checkpoint";
    let (tensors, mut notes) = safetensors::read(path).unwrap();
    let mut header = serde_json::from_str(&notes[KEY]).unwrap();
    change(&mut header);
    notes.insert(KEY.into(), header.to_string());
    safetensors::write(path, &tensors, &notes).unwrap();
    fs::read(path).unwrap()
}

/// A reflected 32-bit CRC, bit by bit.
pub fn crc(bytes: &[u8], polynomial: u32) -> u32 {
    let mut crc = !0u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc = (crc >> 1) ^ if odd { polynomial } else { 0 };
        }
    }
    !crc
}
