//! Limits on time, connections, the queue and memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Form, Reply, Request, connect};
use crate::server::{Server, noise, rose};
use crate::support::wait_until;

/// How long the server leaves a connection open, in seconds; sends what `say` gives every 50 ms.
fn open_for(mut stream: TcpStream, mut say: impl FnMut() -> &'static [u8]) -> f64 {
    let start = Instant::now();
    let mut reader = stream.try_clone().unwrap();
    let closed = thread::spawn(move || reader.read_to_end(&mut Vec::new()).is_ok());
    while !closed.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(30), "never closed");
        stream.write_all(say()).ok();
        thread::sleep(Duration::from_millis(50));
    }
    start.elapsed().as_secs_f64()
}

#[test]
fn a_silent_a_slow_and_an_idle_client_are_sent_away() {
    let server = Server::start(&["--header-timeout", "1"]);
    let connect = || connect(server.address).unwrap();
    let silent = open_for(connect(), || b"");
    let mut bytes = b"POST /predict HTTP/1.1\r\nHost: "
        .chunks(1)
        .chain(std::iter::repeat(&b"x"[..]));
    let slow = open_for(connect(), || bytes.next().unwrap());
    let mut idle = connect();
    let asked = Request::get("/healthz").header("Connection", "keep-alive");
    assert_eq!(asked.over(&mut idle).unwrap().status, 200);
    let idle = open_for(idle, || b"");
    for (what, seconds) in [("silent", silent), ("slow", slow), ("idle", idle)] {
        assert!((0.9..5.0).contains(&seconds), "{what}: {seconds}");
    }
    wait_until("none of them is counted any more", || {
        server.metric("flowers_connections") == 1.0
    });
}

#[test]
fn a_client_that_takes_no_answers_is_sent_away() {
    let server = Server::start(&["--header-timeout", "1"]);
    let mut deaf = connect(server.address).unwrap();
    let question = Request::get("/").header("Connection", "keep-alive").bytes();
    let start = Instant::now();
    // More answers than buffers on the way hold.
    deaf.write_all(&question.repeat(1000)).ok();
    wait_until("it is given up", || {
        let answered =
            server.metric("flowers_http_requests_total{route=\"/\",method=\"GET\",status=\"200\"}");
        answered > 10.0 && server.metric("flowers_connections") == 1.0
    });
    let seconds = start.elapsed().as_secs_f64();
    assert!((0.9..20.0).contains(&seconds), "{seconds}");
    drop(deaf);
}

#[test]
fn a_slow_body_is_refused() {
    let server = Server::start(&["--timeout", "1"]);
    for head in [
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n",
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\n--b\r\n\r\n",
    ] {
        let mut stream = connect(server.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let start = Instant::now();
        let reply = Reply::read(&mut stream).unwrap();
        reply.refused(408, "the upload took too long");
        let seconds = start.elapsed().as_secs_f64();
        assert!((0.9..5.0).contains(&seconds), "{seconds}");
    }
}

#[test]
fn a_client_waits_when_all_connections_are_taken() {
    let server = Server::start(&["--max-connections", "2"]);
    let alive = Request::get("/healthz").header("Connection", "keep-alive");
    let held = [0, 1].map(|_| {
        let mut stream = connect(server.address).unwrap();
        assert_eq!(alive.over(&mut stream).unwrap().status, 200);
        stream
    });
    let mut third = connect(server.address).unwrap();
    third.write_all(&Request::get("/healthz").bytes()).unwrap();
    third
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(Reply::read(&mut third).is_err());
    drop(held);
    third
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!(Reply::read(&mut third).unwrap().status, 200);
}

#[test]
fn an_upload_is_refused_before_it_has_come() {
    let server = Server::start(&["--max-body", "1000000"]);
    let mut stream = connect(server.address).unwrap();
    let head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n";
    let announced = format!("{head}Content-Length: 1000001\r\n\r\n");
    stream.write_all(announced.as_bytes()).unwrap();
    Reply::read(&mut stream)
        .unwrap()
        .refused(413, "1000000 bytes");

    // Without a length it is counted, and the answer arrives although the client goes on sending.
    let mut stream = connect(server.address).unwrap();
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    stream.write_all(chunked.as_bytes()).unwrap();
    let chunk = [&b"10000\r\n"[..], &[7; 0x10000], b"\r\n"].concat();
    for _ in 0..160 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    Reply::read(&mut stream)
        .unwrap()
        .refused(413, "1000000 bytes");
}

/// Sends the same picture from so many clients at once.
fn crowd(server: &Server, clients: usize, picture: &[u8]) -> Vec<Reply> {
    let request = Request::post("/predict").form(Form::new().file(picture));
    thread::scope(|scope| {
        let ask = || scope.spawn(|| request.send(server.address));
        let asked: Vec<_> = (0..clients).map(|_| ask()).collect();
        asked
            .into_iter()
            .map(|reply| reply.join().unwrap())
            .collect()
    })
}

#[test]
fn beyond_the_queue_clients_are_told_to_come_back() {
    let server = Server::start(&["--max-queue", "2"]);
    let replies = crowd(&server, 16, &noise(1200, 1000));
    let (good, busy): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(good.len() >= 2 && !busy.is_empty(), "{} good", good.len());
    for reply in busy {
        reply.refused(429, "too many pictures are waiting");
        let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..60).contains(&seconds));
    }
    server.predict(&[&rose(), &rose()]).good();
    assert_eq!(server.metric("flowers_queue_pictures"), 0.0);
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let server = Server::start(&["--timeout", "0.5"]);
    let replies = crowd(&server, 8, &flat(7000, 7000));
    let late: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(!late.is_empty());
    for reply in late {
        reply.refused(504, "no result within 500ms");
    }
}

#[test]
fn nobody_computes_for_a_client_that_left() {
    let server = Server::start(&["--max-queue", "100"]);
    let before = server.metric("flowers_batch_pictures_sum");
    let request = Request::post("/predict").form(Form::new().file(&noise(2000, 1500)));
    let request = request.bytes();
    for _ in 0..20 {
        let mut stream = connect(server.address).unwrap();
        stream.write_all(&request).unwrap();
    }
    let gone = "flowers_http_requests_total{route=\"/predict\",method=\"POST\",status=\"499\"}";
    wait_until("most are known to have left", || server.metric(gone) > 10.0);
    wait_until("the queue is empty", || {
        server.metric("flowers_queue_pictures") == 0.0
            && server.metric("flowers_connections") == 1.0
    });
    let computed = server.metric("flowers_batch_pictures_sum") - before;
    assert!(computed < 10.0, "{computed} of 20 pictures were computed");
    server.predict(&[&rose()]).good();
}

/// For stacks, arenas, and the model's own feature maps.
const SLACK: u64 = 60_000_000;

#[test]
fn the_memory_of_uploads_is_what_the_help_says() {
    const CONNECTIONS: u64 = 48;
    const BODY: u64 = 2_000_000;
    let server = Server::start(&["--max-connections", "49", "--max-body", "2000000"]);
    server.predict(&[&rose()]).good();
    let before = server.resident();
    let grown = || server.resident().saturating_sub(before);
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {BODY}\r\n\r\n"
    );
    let body = vec![1; BODY as usize - 1];
    let held: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = connect(server.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
            stream
        })
        .collect();
    // They are there, so the limit is what keeps them from being more.
    wait_until("most of it is there", || grown() > CONNECTIONS * BODY / 2);
    thread::sleep(Duration::from_millis(300));
    assert!(grown() < CONNECTIONS * 2 * BODY + SLACK, "{}", grown());
    drop(held);
}

#[test]
fn an_upload_in_tiny_chunks_takes_no_more_memory_than_in_one() {
    const BODY: usize = 300_000;
    let server = Server::start(&["--max-body", "300000"]);
    server.predict(&[&rose()]).good();
    let before = server.resident();
    for kind in ["image/jpeg", "multipart/form-data; boundary=b"] {
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut stream = connect(server.address).unwrap();
        let start = Instant::now();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&b"1\r\nx\r\n".repeat(BODY)).unwrap();
        stream.write_all(b"0\r\n\r\n").unwrap();
        Reply::read(&mut stream).unwrap().refused(400, "");
        assert!(start.elapsed() < Duration::from_secs(20), "{kind}");
    }
    let growth = server.resident().saturating_sub(before);
    assert!(growth < 20_000_000, "{growth}");
}

#[test]
fn the_memory_of_decoding_is_what_the_help_says() {
    const PIXELS: u64 = 4_000_000;
    let server = Server::start(&["--max-pixels", "4000000", "--max-queue", "16"]);
    server.predict(&[&rose()]).good();
    let before = server.resident();
    let deep = image::ImageBuffer::from_pixel(2000, 2000, image::Rgba([9u16, 8, 7, 6]));
    let mut png = std::io::Cursor::new(Vec::new());
    let deep = image::DynamicImage::from(deep);
    deep.write_to(&mut png, image::ImageFormat::Png).unwrap();
    for picture in [flat(2000, 2000), png.into_inner()] {
        let statuses = crowd(&server, 32, &picture).into_iter();
        let statuses: Vec<u16> = statuses.map(|reply| reply.status).collect();
        assert!(statuses.contains(&200), "{statuses:?}");
        assert!(
            statuses.iter().all(|status| [200, 429].contains(status)),
            "{statuses:?}"
        );
    }
    let cores = thread::available_parallelism().unwrap().get() as u64;
    let growth = server.peak().saturating_sub(before);
    assert!(growth < cores * 2 * 11 * PIXELS + SLACK / 2, "{growth}");
}

/// A PNG of one colour: many pixels in few bytes.
pub fn flat(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbaImage::from_pixel(width, height, image::Rgba([9, 8, 7, 255]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}
