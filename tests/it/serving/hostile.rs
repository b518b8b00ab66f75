//! Bytes that mean harm, or that a bad line made of good ones.

use std::io::{Cursor, Write};
use std::time::Instant;

use flowers::image::{Limits, decode};
use image::{DynamicImage, ImageFormat};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::limits::flat;
use crate::http::{Form, Reply, Request, connect};
use crate::images::golden;
use crate::server::{Server, rose};

const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Gif,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
];

/// The server goes on as if nothing had been.
#[track_caller]
fn unharmed(server: &Server) {
    server.predict(&[&rose()]).good();
    let panics = server
        .log()
        .iter()
        .filter(|line| line.to_string().contains("panicked"))
        .count();
    assert_eq!(panics, 0, "{:?}", server.log());
    assert_eq!(server.metric("flowers_queue_pictures"), 0.0);
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    if format == ImageFormat::Tiff {
        return std::fs::read(golden("lzw.tiff")).unwrap();
    }
    let picture = image::load_from_memory(&rose()).unwrap().into_rgb8();
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(picture)
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn a_cut_picture_is_refused_in_every_format() {
    let server = Server::start(&[]);
    for format in FORMATS {
        let whole = encoded(format);
        server.predict(&[&whole]).good();
        for sixteenths in 0..16 {
            let cut = &whole[..whole.len() * sixteenths / 16];
            let reply = server.predict(&[cut]);
            assert_eq!(
                reply.status,
                400,
                "{format:?} {sixteenths}/16: {}",
                reply.text()
            );
        }
    }
    unharmed(&server);
}

#[test]
fn changed_bytes_do_no_harm() {
    let server = Server::start(&["--max-pixels", "1000000"]);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for format in FORMATS {
        let whole = encoded(format);
        for _ in 0..40 {
            let mut changed = whole.clone();
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..changed.len());
                changed[at] = rng.random();
            }
            let reply = server.predict(&[&changed]);
            assert!(
                [200, 400, 422].contains(&reply.status),
                "{format:?}: {}",
                reply.text()
            );
        }
    }
    for length in [1, 2, 16, 255, 4096, 70_000] {
        let bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        server.predict(&[&bytes]).refused(400, "not a picture");
    }
    unharmed(&server);
}

#[test]
fn a_picture_is_turned_as_its_exif_says() {
    let server = Server::start(&["--precision", "float32"]);
    let share = |bytes: &[u8]| {
        let guesses = server.predict(&[bytes]).good()["top_predictions"].clone();
        let mut guesses = guesses.as_array().unwrap().iter();
        let rose = guesses.find(|guess| guess["class"] == "rose");
        rose.unwrap()["confidence"].as_f64().unwrap()
    };
    let mut shares = Vec::new();
    for n in 1..=8 {
        let tagged = std::fs::read(golden(format!("exif{n}.jpg"))).unwrap();
        // The tests of decoding compare with Pillow; this is whether it is done here too.
        let turned = decode(&tagged, &Limits::default()).unwrap();
        let mut plain = Cursor::new(Vec::new());
        turned.write_to(&mut plain, ImageFormat::Png).unwrap();
        let (found, wanted) = (share(&tagged), share(&plain.into_inner()));
        assert!(
            (found - wanted).abs() < 1e-6,
            "orientation {n}: {found} {wanted}"
        );
        shares.push(found);
    }
    let others = shares
        .iter()
        .filter(|share| (*share - shares[0]).abs() > 1e-3);
    assert!(others.count() >= 6, "{shares:?}");
}

/// A PNG whose header claims a size.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crate::support::crc(&png[12..29], 0xedb8_8320);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

#[test]
fn bombs_fizzle() {
    let server = Server::start(&["--max-pixels", "20000000"]);
    let before = server.resident();
    for (width, height) in [(100_000, 100_000), (u32::MAX >> 1, 1), (20_000_001, 1)] {
        server
            .predict(&[&png_of(width, height)])
            .refused(422, "pixels");
    }
    // A header that promises more than there is.
    server
        .predict(&[&png_of(4000, 4000)])
        .refused(400, "broken PNG");
    let growth = server.resident().saturating_sub(before);
    assert!(growth < 200_000_000, "{growth}");
    // 20 million pixels in few bytes are allowed, and paid for only while they are decoded.
    server.predict(&[&flat(5000, 4000)]).good();

    let start = Instant::now();
    server.predict(&[&gif(2000)]).good();
    assert!(
        start.elapsed().as_secs() < 10,
        "only the first frame counts"
    );
    unharmed(&server);
}

/// An animated GIF of 600 x 600 pixels.
fn gif(frames: usize) -> Vec<u8> {
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut gif);
    let frame = image::RgbaImage::from_pixel(600, 600, image::Rgba([200, 30, 30, 255]));
    encoder
        .encode(frame.as_raw(), 600, 600, image::ExtendedColorType::Rgba8)
        .unwrap();
    drop(encoder);
    let trailer = gif.pop().unwrap();
    // Everything behind the header and the logical screen is a frame to repeat.
    let first = gif.iter().position(|&byte| byte == 0x2c).unwrap();
    let frame = gif[first..].to_vec();
    for _ in 1..frames {
        gif.extend_from_slice(&frame);
    }
    gif.push(trailer);
    gif
}

/// Each scan of a progressive JPEG may be a few bytes that visit every block.
#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let server = Server::start(&[]);
    let whole = std::fs::read(golden("progressive.jpg")).unwrap();
    server.predict(&[&whole]).good();
    let end = whole.len() - 2;
    let last = whole
        .windows(2)
        .rposition(|marker| marker == [0xff, 0xda])
        .unwrap();
    let scan = &whole[last..end];
    let endless = [&whole[..end], &scan.repeat(200), &whole[end..]].concat();
    server.predict(&[&endless]).refused(400, "too many scans");
    unharmed(&server);
}

#[test]
fn odd_forms_are_refused() {
    let server = Server::start(&[]);
    let post = |kind: &str, body: Vec<u8>| {
        let request = Request::post("/predict").header("Content-Type", kind);
        request.body(body).send(server.address)
    };
    let form = "multipart/form-data; boundary=b";
    let part = b"--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n";
    post(form, part.repeat(300_000)).refused(400, "more than 64 parts");
    let million = b"--b\r\n\r\n\r\n".repeat(1_000_000);
    post(form, million).refused(400, "more than 64 parts");
    let mut open = part.repeat(3);
    post(form, open.clone()).refused(400, "the form is broken");
    open.extend(b"--b\r\n");
    post(form, open).refused(400, "the form is broken");
    post("multipart/form-data", part.to_vec()).refused(400, "boundary");
    post("multipart/form-data; boundary=\"", part.to_vec()).refused(400, "");
    post("multipart/mixed; boundary=b", part.to_vec()).refused(415, "multipart/form-data");
    let head = [
        b"--b\r\n",
        &b"X: y\r\n".repeat(200)[..],
        b"\r\n\r\n--b--\r\n",
    ]
    .concat();
    post(form, head).refused(400, "the form is broken");
    let name = [
        "--b\r\nContent-Disposition: form-data; name=\"",
        &"n".repeat(1_000_000),
        "\"\r\n\r\n\r\n--b--\r\n",
    ];
    post(form, name.concat().into_bytes()).refused(400, "No file provided");
    // A form in a form, deep: to the outer one it is a field's content.
    let nested = (0..500).fold(b"core".to_vec(), |inner, depth| {
        let head =
            format!("--n{depth}\r\nContent-Type: multipart/mixed; boundary=n{depth}\r\n\r\n");
        [
            head.as_bytes(),
            &inner,
            format!("\r\n--n{depth}--\r\n").as_bytes(),
        ]
        .concat()
    });
    let reply = Request::post("/predict")
        .form(Form::new().file(&nested))
        .send(server.address);
    reply.refused(400, "not a picture");
    unharmed(&server);
}

#[test]
fn odd_requests_are_refused() {
    let server = Server::start(&[]);
    let big = "x".repeat(100_000);
    let many = "X: y\r\n".repeat(1000);
    for (request, statuses) in [
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {big}\r\n\r\n"), &[431][..]),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"), &[431]),
        (format!("GET /{big} HTTP/1.1\r\nHost: h\r\n\r\n"), &[414, 431]),
        ("GET\r\n\r\n".into(), &[400]),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".into(), &[400]),
        ("GET / HTTP/9.9\r\nHost: h\r\n\r\n".into(), &[400, 505]),
        ("POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".into(), &[400]),
        ("POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".into(), &[400]),
        ("POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".into(), &[400]),
    ] {
        let mut stream = connect(server.address).unwrap();
        // The server may close before all has come.
        stream.write_all(request.as_bytes()).ok();
        let shown = &request[..request.len().min(60)];
        let reply = Reply::read(&mut stream).unwrap_or_else(|cause| panic!("{shown:?}: {cause}"));
        assert!(statuses.contains(&reply.status), "{shown:?}: {}", reply.status);
    }
    unharmed(&server);
}
