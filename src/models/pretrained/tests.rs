//! Downloads from a server in this process that behaves well or badly.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::error::exit_code;
use crate::progress::Silent;
use crate::weights::hashed::Hashed;

/// How the server answers one request for a file, given where the range begins.
type Answer = fn(&mut TcpStream, &[u8], Option<usize>) -> io::Result<()>;

fn head(stream: &mut TcpStream, status: &str, length: usize, more: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
    )
}

/// Everything, or the range asked for.
fn whole(stream: &mut TcpStream, file: &[u8], from: Option<usize>) -> io::Result<()> {
    match from {
        Some(from) => {
            let range = format!(
                "Content-Range: bytes {from}-{}/{}\r\n",
                file.len() - 1,
                file.len()
            );
            head(stream, "206 Partial Content", file.len() - from, &range)?;
            stream.write_all(&file[from..])
        }
        None => without_ranges(stream, file, from),
    }
}

fn without_ranges(stream: &mut TcpStream, file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(stream, "200 OK", file.len(), "")?;
    stream.write_all(file)
}

/// Announces the whole file and hangs up in the middle.
fn cut(stream: &mut TcpStream, file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(stream, "200 OK", file.len(), "")?;
    stream.write_all(&file[..file.len() / 2])
}

/// Sends the first bytes, and then nothing for longer than the test's patience.
fn stalled(stream: &mut TcpStream, file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(stream, "200 OK", file.len(), "")?;
    stream.write_all(&file[..10])?;
    let open = stream.try_clone()?;
    thread::spawn(move || {
        thread::sleep(5 * SHORT);
        drop(open);
    });
    Ok(())
}

fn missing(stream: &mut TcpStream, _file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(stream, "404 Not Found", 0, "")
}

fn beyond(stream: &mut TcpStream, _file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(stream, "416 Range Not Satisfiable", 0, "")
}

fn wrong_part(stream: &mut TcpStream, file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(
        stream,
        "206 Partial Content",
        1,
        "Content-Range: bytes 0-0/9\r\n",
    )?;
    stream.write_all(&file[..1])
}

fn elsewhere(stream: &mut TcpStream, _file: &[u8], _from: Option<usize>) -> io::Result<()> {
    head(
        stream,
        "302 Found",
        0,
        "Location: /mirror/weights-1234.pth\r\n",
    )
}

const SHORT: Duration = Duration::from_millis(400);

struct Server {
    url: String,
    thread: thread::JoinHandle<Vec<Option<usize>>>,
}

impl Server {
    /// Answers one request after the other; then the port is closed.
    fn start(file: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "http://{}/models/weights-1234.pth",
            listener.local_addr().unwrap()
        );
        let (file, answers) = (file.to_vec(), answers.to_vec());
        let thread = thread::spawn(move || {
            let answer = |answer: Answer| {
                let mut stream = accept(&listener);
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let mut from = None;
                for line in lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                {
                    if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                        from = Some(range.trim_end_matches('-').parse().unwrap());
                    }
                }
                // A client that gave up is part of the tests.
                answer(&mut stream, &file, from).ok();
                from
            };
            answers.into_iter().map(answer).collect()
        });
        Self { url, thread }
    }

    /// Where the ranges of the requests began; fails if some were not asked for.
    fn ranges(self) -> Vec<Option<usize>> {
        self.thread.join().unwrap()
    }
}

/// The next connection, which has to come soon.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    for _ in 0..1000 {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("the server was asked less often than expected");
}

struct Cache {
    folder: tempfile::TempDir,
    file: Vec<u8>,
    patience: Duration,
}

impl Cache {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            file: (0..300_000_u64).map(|i| ((i * i) >> 7) as u8).collect(),
            patience: PATIENCE,
        }
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("weights-1234.pth{suffix}"))
    }

    fn hash(&self) -> String {
        let mut file = Hashed::new(self.file.as_slice());
        io::copy(&mut file, &mut io::sink()).unwrap();
        file.finish()
    }

    fn fetch(&self, url: &str, progress: &dyn Progress) -> Result<PathBuf> {
        let agent = config(self.patience).proxy(None).build().new_agent();
        Entry::new(self.folder.path(), url, &self.hash()[..8]).fetch(&agent, progress)
    }

    /// Fetches from a server with these answers; the file must arrive whole.
    fn arrives(&self, answers: &[Answer]) -> Vec<Option<usize>> {
        let server = Server::start(&self.file, answers);
        let path = self.fetch(&server.url, &Silent).unwrap();
        assert_eq!(path, self.path(""));
        assert_eq!(fs::read(&path).unwrap(), self.file);
        assert!(
            fs::read_to_string(self.path(".sha256"))
                .unwrap()
                .starts_with(&self.hash())
        );
        assert!(!self.path(".part").exists());
        server.ranges()
    }

    /// The message when a server with these answers can't help.
    fn fails(&self, file: &[u8], answers: &[Answer]) -> String {
        let server = Server::start(file, answers);
        let error = self.fetch(&server.url, &Silent).unwrap_err();
        assert_eq!(exit_code(&error), 4);
        assert!(!self.path("").exists());
        let message = format!("{error:#}");
        for remedy in [
            "--weights FILE",
            "--weights none",
            &server.url,
            &shown(self.path("")),
        ] {
            assert!(message.contains(remedy), "{message}");
        }
        server.ranges();
        message
    }
}

/// Remembers the total and the sum of what was reported.
#[derive(Default)]
struct Count {
    total: Mutex<Vec<(String, u64)>>,
    sum: AtomicU64,
}

impl Progress for Count {
    fn begin(&self, what: &str, total: u64) {
        self.total.lock().unwrap().push((what.into(), total));
    }
    fn advance(&self, units: u64) {
        self.sum.fetch_add(units, Ordering::Relaxed);
    }
    fn finish(&self) {}
}

#[test]
fn a_download_is_reported_and_then_comes_from_the_cache() {
    let cache = Cache::new();
    let server = Server::start(&cache.file, &[whole]);
    let count = Count::default();
    let first = cache.fetch(&server.url, &count).unwrap();
    assert_eq!(
        *count.total.lock().unwrap(),
        [("downloading weights-1234.pth".into(), 300_000)]
    );
    assert_eq!(count.sum.into_inner(), 300_000);
    // The server is gone.
    assert_eq!(cache.fetch(&server.url, &Silent).unwrap(), first);
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    assert_eq!(Cache::new().arrives(&[cut, whole]), [None, Some(150_000)]);
}

#[test]
fn what_an_earlier_run_left_is_continued() {
    let cache = Cache::new();
    fs::write(cache.path(".part"), &cache.file[..1000]).unwrap();
    assert_eq!(cache.arrives(&[whole]), [Some(1000)]);
}

#[test]
fn a_server_that_can_not_resume_is_asked_for_everything() {
    let half = |answers: &[Answer]| {
        let cache = Cache::new();
        fs::write(cache.path(".part"), &cache.file[..1000]).unwrap();
        cache.arrives(answers)
    };
    assert_eq!(half(&[without_ranges]), [Some(1000)]);
    assert_eq!(half(&[beyond, whole]), [Some(1000), None]);
    assert_eq!(half(&[wrong_part, whole]), [Some(1000), None]);
}

#[test]
fn a_redirect_is_followed() {
    assert_eq!(Cache::new().arrives(&[elsewhere, whole]), [None, None]);
}

#[test]
fn a_file_with_the_wrong_hash_is_thrown_away() {
    let cache = Cache::new();
    let mut file = cache.file.clone();
    file[7] ^= 1;
    let message = cache.fails(&file, &[whole]);
    assert!(
        message.contains(&format!("not {}", &cache.hash()[..8])),
        "{message}"
    );
    assert!(!cache.path(".part").exists());
}

#[test]
fn a_server_without_the_file_is_not_asked_twice() {
    assert!(
        Cache::new()
            .fails(b"", &[missing])
            .contains("404 Not Found")
    );
}

#[test]
fn a_refused_connection_is_an_error() {
    let Server { url, thread } = Server::start(b"", &[]);
    // Only now the port is closed.
    thread.join().unwrap();
    let error = Cache::new().fetch(&url, &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 4);
    let message = format!("{error:#}").to_lowercase();
    assert!(message.contains("refused"), "{message}");
}

#[test]
fn a_stalled_server_is_given_up_but_its_bytes_are_kept() {
    let mut cache = Cache::new();
    cache.patience = SHORT;
    let message = cache.fails(&cache.file, &[stalled as Answer; 4]);
    assert!(message.contains("timeout"), "{message}");
    assert_eq!(size(&cache.path(".part")), 10);
}

#[test]
fn a_damaged_cache_is_found_by_the_whole_hash() {
    let cache = Cache::new();
    cache.arrives(&[whole]);
    fs::write(cache.path(""), b"damaged").unwrap();
    cache.arrives(&[whole]);

    // Eight digits match, the recorded hash does not.
    let other = format!("{}{:056}", &cache.hash()[..8], 0);
    fs::write(cache.path(".sha256"), &other).unwrap();
    let server = Server::start(&cache.file, &[whole]);
    let error = cache.fetch(&server.url, &Silent).unwrap_err();
    assert!(
        error.to_string().contains(&format!("not {other}")),
        "{error}"
    );
    assert!(
        error.to_string().contains("the cached file is damaged"),
        "{error}"
    );
    server.ranges();
}

#[test]
fn a_file_put_there_by_hand_is_taken() {
    let cache = Cache::new();
    fs::write(cache.path(""), &cache.file).unwrap();
    assert!(cache.arrives(&[]).is_empty());
}

#[test]
fn processes_that_ask_at_once_download_once() {
    let cache = Cache::new();
    let server = Server::start(&cache.file, &[whole]);
    thread::scope(|scope| {
        let fetches: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| cache.fetch(&server.url, &Silent)))
            .collect();
        for fetch in fetches {
            let path = fetch.join().unwrap().unwrap();
            assert_eq!(fs::read(path).unwrap(), cache.file);
        }
    });
    assert_eq!(server.ranges(), [None]);
}
