//! Starting, reloading and stopping under load.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flowers::bundle::Bundle;
use flowers::weights::Values;
use serde_json::Value;

use super::listening::inherit;
use crate::http::{Form, Reply, Request, connect};
use crate::server::{Server, noise, rose};
use crate::support::{model, wait_until};

/// How often a test repeats; more where somebody has the time.
fn times(variable: &str, few: usize) -> usize {
    let number = std::env::var(variable).ok();
    number.map_or(few, |number| number.parse().unwrap())
}

/// A model to take instead of the tests' own small one.
fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn question() -> Request {
    Request::post("/predict").form(Form::new().file(&rose()))
}

#[test]
fn accepted_requests_are_finished_before_the_end() {
    let mut server = Server::start(&[]);
    let address = server.address;
    let request = Request::post("/predict").form(Form::new().file(&noise(1500, 1000)));
    let streams: Vec<_> = (0..24).map(|_| connect(address).unwrap()).collect();
    thread::scope(|scope| {
        let ask = |stream| scope.spawn(|| request.over(stream));
        let asked: Vec<_> = streams.into_iter().map(ask).collect();
        wait_until("all are accepted", || {
            server.metric("flowers_connections") > 20.0
        });
        server.signal(libc::SIGTERM);
        for reply in asked {
            reply.join().unwrap().unwrap().good();
        }
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
    });
    assert!(Request::get("/healthz").try_send(address).is_err());
    assert!(server.logged("stopped").is_some());
}

#[test]
fn readiness_goes_down_first_and_connections_are_closed_politely() {
    let mut server = Server::start(&[]);
    let mut idle = connect(server.address).unwrap();
    let alive = |path| Request::get(path).header("Connection", "keep-alive");
    assert_eq!(alive("/readyz").over(&mut idle).unwrap().status, 200);
    server.signal(libc::SIGTERM);
    wait_until("it drains", || {
        let drains = |line: &Value| line["message"].to_string().contains("draining");
        server.log().iter().any(drains)
    });
    // New connections are taken a moment longer, and told.
    server.get("/readyz").refused(503, "shutting down");
    server.predict(&[&rose()]).good();
    let reply = alive("/readyz").over(&mut idle).unwrap();
    reply.refused(503, "shutting down");
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn the_end_does_not_wait_for_ever() {
    for second_signal in [false, true] {
        let patience = if second_signal { "60" } else { "1" };
        let mut server = Server::start(&["--drain-timeout", patience]);
        let mut endless = connect(server.address).unwrap();
        let head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n";
        endless.write_all(head.as_bytes()).unwrap();
        wait_until("it is accepted", || {
            server.metric("flowers_connections") == 2.0
        });
        let start = Instant::now();
        server.signal(libc::SIGTERM);
        if second_signal {
            thread::sleep(Duration::from_millis(200));
            server.signal(libc::SIGTERM);
        }
        Reply::read(&mut endless)
            .unwrap()
            .refused(503, "shutting down");
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

/// Clients that ask one question after the other, over new connections or kept ones, until told
/// to stop. Each reply must be 200 and please `check`. Gives how many were answered.
fn under_load(
    address: SocketAddr,
    check: &(dyn Fn(&Reply) + Sync),
    work: impl FnOnce(&AtomicUsize),
) -> usize {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = |keep: bool| {
        let question = match keep {
            true => question().header("Connection", "keep-alive"),
            false => question(),
        };
        let mut kept = None;
        while !stop.load(Ordering::Relaxed) {
            let mut stream = kept.take().unwrap_or_else(|| connect(address).unwrap());
            let reply = question
                .over(&mut stream)
                .expect("no accepted request is lost");
            assert_eq!(reply.status, 200, "{}", reply.text());
            check(&reply);
            answered.fetch_add(1, Ordering::Relaxed);
            let closing = reply.header("connection") == Some("close");
            kept = Some(stream).filter(|_| keep && !closing);
        }
    };
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || ask(client % 2 == 0));
        }
        work(&answered);
        stop.store(true, Ordering::Relaxed);
    });
    answered.into_inner()
}

/// The socket is held by the test, as systemd holds it, so that a client between two servers waits
/// instead of being refused: whatever fails here was lost by a server.
#[test]
fn no_request_is_lost_when_the_server_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let served = named("FLOWERS_SERVED").unwrap_or_else(model);
    let mut server = inherit(&listener, &served);
    let replacements = times("FLOWERS_RESTARTS", 4);
    let answered = under_load(server.address, &|_| {}, |answered| {
        for _ in 0..replacements {
            let before = answered.load(Ordering::Relaxed);
            wait_until("it is under load", || {
                answered.load(Ordering::Relaxed) > before + 10
            });
            let status = server.stop();
            assert_eq!(status.code(), Some(0), "{:?}", server.log());
            server = inherit(&listener, &served);
        }
    });
    println!("{replacements} SIGTERMs, {answered} requests answered");
    assert!(answered > 10 * replacements);
}

/// What a model answers to the question, by its hash.
fn expected(path: &Path) -> (String, Value) {
    let server = Server::of(path, &[]);
    let (_, sha256) = Bundle::read(path).unwrap();
    (sha256, question().send(server.address).good())
}

/// The model with the rows of its classifier turned round: every answer is another one.
fn turned(folder: &Path) -> PathBuf {
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    for (name, of_one) in [("classifier.1.weight", 1280), ("classifier.1.bias", 1)] {
        let Values::F32(values) = &mut bundle.weights.get_mut(name).unwrap().values else {
            panic!("{name} is float32");
        };
        values.rotate_left(of_one);
    }
    let path = folder.join("turned.safetensors");
    bundle.write(&path).unwrap();
    path
}

#[test]
fn a_changed_model_is_swapped_in_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let one = named("FLOWERS_SERVED").unwrap_or_else(model);
    let other = named("FLOWERS_SERVED_NEXT").unwrap_or_else(|| turned(folder.path()));
    let known = [expected(&one), expected(&other)];
    let confidence = |answer: &Value| answer["confidence"].as_f64().unwrap();
    assert_ne!(known[0].1["class"], known[1].1["class"]);
    let served = folder.path().join("served.safetensors");
    fs::copy(&one, &served).unwrap();
    let server = Server::of(&served, &["--threads", "2"]);

    let check = |reply: &Reply| {
        let sha256 = reply.header("x-model-sha256").unwrap();
        let answer = known.iter().find(|(known, _)| known == sha256);
        let (_, answer) = answer.unwrap_or_else(|| panic!("a stranger answers: {sha256}"));
        let reply = reply.json();
        assert_eq!(reply["class"], answer["class"]);
        assert!((confidence(&reply) - confidence(answer)).abs() < 0.03);
    };
    let swaps = times("FLOWERS_SWAPS", 4);
    let answered = under_load(server.address, &check, |_| {
        for swap in 0..swaps {
            let (source, (sha256, _)) = match swap % 2 {
                0 => (&other, &known[1]),
                _ => (&one, &known[0]),
            };
            // By rename, as model files are written; and every third time by a copy over it.
            let next = folder.path().join("next");
            fs::copy(source, if swap % 3 == 2 { &served } else { &next }).unwrap();
            if swap % 3 != 2 {
                fs::rename(&next, &served).unwrap();
            }
            server.signal(libc::SIGHUP);
            wait_until("the other model answers", || {
                server.get("/labels").good()["model"]["sha256"] == **sha256
            });
        }
    });
    println!("{swaps} swaps, {answered} requests answered");
    assert!(server.metric("flowers_model_reloads_total{result=\"success\"}") >= swaps as f64);
}

#[test]
fn a_bad_model_does_not_replace_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("served.safetensors");
    fs::copy(model(), &served).unwrap();
    let server = Server::of(&served, &[]);
    let before = question().send(server.address);
    let failures = "flowers_model_reloads_total{result=\"failure\"}";

    // Noticed without a signal.
    let whole = fs::read(&served).unwrap();
    fs::write(&served, &whole[..whole.len() / 2]).unwrap();
    wait_until("the cut file is refused", || server.metric(failures) == 1.0);
    let (mut broken, _) = Bundle::read(&model()).unwrap();
    let bias = broken.weights.get_mut("classifier.1.bias").unwrap();
    bias.values = flowers::weights::Values::F32(vec![f32::NAN; 3]);
    broken.write(&served).unwrap();
    wait_until("the broken model is refused", || {
        server.metric(failures) == 2.0
    });
    fs::remove_file(&served).unwrap();
    server.signal(libc::SIGHUP);
    wait_until("the missing file is refused", || {
        server.metric(failures) == 3.0
    });

    let after = question().send(server.address);
    assert_eq!(after.good()["class"], before.good()["class"]);
    assert_eq!(
        after.header("x-model-sha256"),
        before.header("x-model-sha256")
    );
    assert_eq!(server.get("/readyz").status, 200);
    let log = server.log();
    let told = log
        .iter()
        .filter(|line| line.to_string().contains("the new model can't be used"));
    assert_eq!(told.count(), 3, "{log:?}");

    fs::write(&served, &whole).unwrap();
    let success = "flowers_model_reloads_total{result=\"success\"}";
    wait_until("the good file is taken", || server.metric(success) == 1.0);
}

/// libtorch's threads must not outlive what they work with.
#[test]
fn a_signal_at_any_time_ends_in_order() {
    for milliseconds in [0, 20, 40, 80, 120, 160, 240, 320] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut command = Server::command(&model());
        command.args([
            "--port",
            &address.port().to_string(),
            "--drain-timeout",
            "0.1",
        ]);
        let mut process = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        wait_until("it listens", || {
            process.try_wait().unwrap().is_some() || TcpStream::connect(address).is_ok()
        });
        thread::sleep(Duration::from_millis(milliseconds));
        let asked = thread::spawn(move || question().try_send(address));
        for signal in [libc::SIGHUP, libc::SIGTERM] {
            // SAFETY: the process is our child and not waited for yet.
            unsafe { libc::kill(process.id() as i32, signal) };
        }
        assert_eq!(
            process.wait().unwrap().code(),
            Some(0),
            "after {milliseconds} ms"
        );
        // Answered or refused, as it happens; but the client is not left waiting.
        asked.join().unwrap().ok();
    }
}

#[test]
fn new_keys_come_with_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "old-key\n").unwrap();
    let server = Server::start(&["--api-key-file", keys.to_str().unwrap()]);
    let status = |key| {
        Request::get("/labels")
            .header("X-API-Key", key)
            .send(server.address)
            .status
    };
    assert_eq!((status("old-key"), status("new-key")), (200, 401));
    fs::write(&keys, "new-key\n").unwrap();
    server.signal(libc::SIGHUP);
    wait_until("the new key is let in", || status("new-key") == 200);
    assert_eq!(status("old-key"), 401);
    fs::write(&keys, "").unwrap();
    server.signal(libc::SIGHUP);
    wait_until("the empty file is refused", || {
        server
            .log()
            .iter()
            .any(|line| line.to_string().contains("the new API keys can't be used"))
    });
    assert_eq!(status("new-key"), 200);
}

#[test]
fn data_parallel_workers_start_no_threads_of_their_own() {
    let server = Server::start(&["--threads", "2"]);
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.process.id())).unwrap();
        let name =
            |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let names = tasks.map(|task| name(task.unwrap()));
        // Those of OpenMP have the name of whoever started them.
        names.filter(|name| name.trim() == "model").count()
    };
    let before = threads();
    assert!(before > 3, "{before}");
    let photo = rose();
    let photos = [&photo[..]; 16];
    let alone = server.predict(&photos[..1]).good();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let together = server.predict(&photos).good();
                for one in together["predictions"].as_array().unwrap() {
                    assert_eq!(one["class"], alone["class"]);
                }
            });
        }
    });
    assert!(server.metric("flowers_batch_pictures_count") > 8.0);
    assert_eq!(threads(), before);
}
