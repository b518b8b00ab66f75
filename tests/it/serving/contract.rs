//! What clients rely on: routes, fields, statuses, headers.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;

use flowers::bundle::Bundle;
use serde_json::{Value, json};

use crate::http::{Form, Request};
use crate::server::{Server, noise, rose, rose_path};
use crate::support::{model, photos, run, wait_until};

#[test]
fn an_answer_is_that_of_predict() {
    let server = Server::start(&["--precision", "float32"]);
    let files = [rose_path(), photos().join("tulip/tulip-0001.jpg")];
    let model = model();
    for file in files {
        let arguments = [file.to_str().unwrap(), "--json", "--precision", "float32"];
        let said = run(["predict", model.to_str().unwrap()]
            .into_iter()
            .chain(arguments));
        let mut expected = said.done().json()[0].clone();
        expected.as_object_mut().unwrap().shift_remove("file");
        let bytes = fs::read(file).unwrap();
        let form = server.predict(&[&bytes]);
        close(&form.good(), &expected);
        let raw = Request::post("/predict").header("Content-Type", "image/jpeg");
        close(&raw.body(bytes).send(server.address).good(), &expected);
        let keys: Vec<String> = form.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["class", "confidence", "top_predictions"]);
        let (_, sha256) = Bundle::read(&model).unwrap();
        assert_eq!(form.header("x-model-sha256"), Some(&*sha256));
    }
}

/// Same classes, confidences within rounding: another batch may sum in another order.
#[track_caller]
pub(super) fn close(found: &Value, expected: &Value) {
    assert_eq!(found["class"], expected["class"]);
    let guesses = found["top_predictions"].as_array().unwrap();
    let others = expected["top_predictions"].as_array().unwrap();
    assert_eq!(guesses.len(), others.len());
    for (a, b) in guesses.iter().zip(others) {
        assert_eq!(a["class"], b["class"]);
        let apart = a["confidence"].as_f64().unwrap() - b["confidence"].as_f64().unwrap();
        assert!(apart.abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn several_pictures_have_an_outcome_each() {
    let server = Server::start(&["--max-queue", "8"]);
    let rose = rose();
    let reply = server.predict(&[&rose, b"a rose is a rose", &rose]).good();
    let outcomes = reply["predictions"].as_array().unwrap();
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[0]["class"], outcomes[2]["class"]);
    let error = outcomes[1]["error"].as_str().unwrap();
    assert!(error.contains("not a picture but text"), "{error}");

    let many = |n| server.predict(&vec![&rose[..]; n]);
    assert_eq!(many(8).good()["predictions"].as_array().unwrap().len(), 8);
    many(9).refused(400, "more than 8 pictures");
    many(17).refused(400, "more than 16 pictures");
}

#[test]
fn a_damaged_picture_is_answered_with_a_warning() {
    let server = Server::start(&[]);
    let mut half = rose();
    half.truncate(half.len() / 2);
    half.extend([0xff, 0xd9]);
    let answer = server.predict(&[&half]).good();
    assert!(answer["class"].is_string(), "{answer}");
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("end of the picture is missing"),
        "{warning}"
    );
    assert_eq!(server.predict(&[&rose()]).good().get("warnings"), None);
}

#[test]
fn top_k_is_how_many_classes_are_named() {
    let server = Server::start(&[]);
    for (query, named) in [("?top_k=1", 1), ("?top_k=2", 2), ("?top_k=99", 3), ("", 3)] {
        let request = Request::post(&format!("/predict{query}")).form(Form::new().file(&rose()));
        let guesses = request.send(server.address).good()["top_predictions"].clone();
        assert_eq!(guesses.as_array().unwrap().len(), named, "{query}");
    }
    for query in [
        "?top_k=0",
        "?top_k=-1",
        "?top_k=x",
        "?top_k=",
        "?top_k=1&top_k=2",
    ] {
        let request = Request::post(&format!("/predict{query}")).form(Form::new().file(&rose()));
        request.send(server.address).refused(400, "top_k");
    }
}

#[test]
fn every_refusal_has_its_status() {
    let server = Server::start(&["--max-body", "100000", "--max-pixels", "20000"]);
    let post = |kind: &str, body: &[u8]| {
        let request = Request::post("/predict").header("Content-Type", kind);
        request.body(body).send(server.address)
    };
    let form = |form| Request::post("/predict").form(form).send(server.address);
    form(Form::new()).refused(400, "No file provided");
    let named = form(Form::new().file(b"").text("other", "x"));
    named.refused(400, "the file is empty");
    let fields = Form::new()
        .text("other", "x")
        .part("name=\"im\u{e9}ge\"", &rose());
    let words = "No file provided: send the picture in the form field `file`; the form has other, im\u{e9}ge";
    form(fields).refused(400, words);
    form(Form::new().part("name=\"file\"; filename=\"\"", b"")).refused(400, "No file provided");
    form(Form::new().file(b"")).refused(400, "the file is empty");
    form(Form::new().file(b"a rose is a rose")).refused(400, "not a picture but text");
    form(Form::new().file(&rose()[..700])).refused(400, "broken JPEG");
    post("multipart/form-data", b"").refused(400, "boundary");
    post("multipart/form-data; boundary=x", b"nothing").refused(400, "the form is broken");
    post("image/png", b"").refused(400, "No file provided");
    post("image/png", b"GIF?").refused(400, "not a picture");
    post("text/plain", &rose()).refused(415, "multipart/form-data");
    post("application/json", b"{}").refused(415, "multipart/form-data");
    Request::post("/predict")
        .send(server.address)
        .refused(415, "multipart");
    post("image/jpeg", &vec![0; 100_001]).refused(413, "100000 bytes");
    form(Form::new().file(&vec![0; 100_001])).refused(413, "100000 bytes");
    post("image/png", &noise(200, 101)).refused(422, "200x101 pixels");
    server.get("/no/such/place").refused(404, "/openapi.json");
    server.get("/predict").refused(405, "method");
    Request::new("DELETE", "/labels")
        .send(server.address)
        .refused(405, "method");
    Request::post("/feedback")
        .form(Form::new().file(&rose()))
        .send(server.address)
        .refused(404, "/openapi.json");
    assert_eq!(server.predict(&[&rose()]).status, 200);
}

#[test]
fn what_there_is_can_be_asked() {
    let server = Server::start(&[]);
    let labels = server.get("/labels").good();
    assert_eq!(labels["labels"], json!(["rose", "sunflower", "tulip"]));
    assert_eq!(labels["collect"], false);
    let (_, sha256) = Bundle::read(&model()).unwrap();
    assert_eq!(labels["model"]["sha256"], json!(sha256));
    assert_eq!(labels["model"]["architecture"], "mobilenet_v2");
    assert_eq!(server.get("/healthz").good(), json!({"status": "alive"}));
    assert_eq!(server.get("/readyz").good(), json!({"status": "ready"}));
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );

    let description = server.get("/openapi.json").good();
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let routes = [
        "/",
        "/predict",
        "/feedback",
        "/labels",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ];
    assert_eq!(described, BTreeSet::from(routes));
    for (path, methods) in paths {
        let (method, responses) = methods.as_object().unwrap().iter().next().unwrap();
        let request = Request::new(if method == "get" { "GET" } else { "POST" }, path);
        let status = request.send(server.address).status.to_string();
        assert!(
            responses["responses"].get(&status).is_some(),
            "{path}: {status}"
        );
    }
}

#[test]
fn metrics_count_what_happened() {
    let server = Server::start(&["--max-queue", "7"]);
    server.predict(&[&rose(), &rose()]).good();
    server.predict(&[b"a rose"]).refused(400, "");
    server.get("/nothing").refused(404, "");
    Request::new("BREW", "/nothing").send(server.address);
    let reply = server.get("/metrics");
    let kind = reply.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(reply.text().ends_with("# EOF\n"));
    let (_, sha256) = Bundle::read(&model()).unwrap();
    for (sample, value) in [
        (
            "flowers_http_requests_total{route=\"/predict\",method=\"POST\",status=\"200\"}",
            1.0,
        ),
        (
            "flowers_http_requests_total{route=\"/predict\",method=\"POST\",status=\"400\"}",
            1.0,
        ),
        (
            "flowers_http_requests_total{route=\"other\",method=\"GET\",status=\"404\"}",
            1.0,
        ),
        (
            "flowers_http_requests_total{route=\"other\",method=\"other\",status=\"404\"}",
            1.0,
        ),
        ("flowers_decode_seconds_count", 3.0),
        ("flowers_queue_capacity", 7.0),
        ("flowers_queue_pictures", 0.0),
        ("flowers_confidence_count", 2.0),
    ] {
        assert_eq!(server.metric(sample), value, "{sample}");
    }
    // Two pictures are for the model to warm up.
    assert_eq!(server.metric("flowers_batch_pictures_sum"), 4.0);
    assert_eq!(server.metric("flowers_queue_seconds_count"), 4.0);
    assert!(server.metric("flowers_inference_seconds_count") >= 3.0);
    let page = server.get("/metrics").text();
    assert!(page.contains(&format!("sha256=\"{sha256}\"}} 1")), "{page}");
    let predicted = |line: &&str| line.starts_with("flowers_predictions_total{class=");
    let counts = page
        .lines()
        .filter(predicted)
        .map(|line| line.split(' ').nth(1).unwrap());
    assert_eq!(
        counts
            .map(|count| count.parse::<u32>().unwrap())
            .sum::<u32>(),
        2
    );
    assert!(server.metric("process_resident_memory_bytes") > 1e7);
}

#[test]
fn a_key_is_asked_for_but_not_by_probes() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "first-key\nsecond-key\n").unwrap();
    let server = Server::start(&["--api-key-file", keys.to_str().unwrap()]);
    for open in ["/", "/healthz", "/readyz"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
    for closed in ["/labels", "/metrics", "/openapi.json", "/nothing"] {
        let reply = server.get(closed);
        reply.refused(401, "API key");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let delete = |path| Request::new("DELETE", path).send(server.address);
    delete("/labels").refused(401, "API key");
    delete("/healthz").refused(405, "method");
    server.predict(&[&rose()]).refused(401, "API key");
    for (name, value) in [
        ("X-API-Key", "second-key"),
        ("Authorization", "Bearer first-key"),
    ] {
        let request = Request::post("/predict").form(Form::new().file(&rose()));
        request.header(name, value).send(server.address).good();
        let wrong = Request::get("/labels").header(name, &value[..value.len() - 1]);
        wrong.send(server.address).refused(401, "API key");
    }
}

#[test]
fn the_way_to_the_page_needs_no_key_either() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "key\n").unwrap();
    let keys = keys.to_str().unwrap();
    let server = Server::start(&["--api-key-file", keys, "--base-path", "/x"]);
    assert_eq!(server.get("/x").status, 308);
    assert_eq!(server.get("/x/").status, 200);
    server.get("/x/labels").refused(401, "API key");
}

/// A pipe in place of the model, which is never read to its end.
#[test]
fn until_the_model_is_there_clients_are_told_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("model");
    let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: a string that ends.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let socket = folder.path().join("socket");
    let mut command = Server::command(&pipe);
    command
        .arg("--listen")
        .arg(format!("unix:{}", socket.display()));
    let mut server = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    wait_until("it listens", || UnixStream::connect(&socket).is_ok());
    let ask = |request: Request| request.over(UnixStream::connect(&socket).unwrap()).unwrap();
    assert_eq!(ask(Request::get("/healthz")).status, 200);
    ask(Request::get("/readyz")).refused(503, "the model is being loaded");
    ask(Request::get("/labels")).refused(503, "being loaded");
    let reply = ask(Request::post("/predict").form(Form::new().file(&rose())));
    reply.refused(503, "the model is being loaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn below_a_path_nothing_else_answers() {
    let server = Server::start(&["--base-path", "/our/flowers/"]);
    for route in ["/", "/labels", "/readyz", "/openapi.json"] {
        assert_eq!(server.get(&format!("/our/flowers{route}")).status, 200);
        assert_eq!(server.get(route).status, 404);
    }
    let redirect = server.get("/our/flowers");
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (308, Some("flowers/"))
    );
    let form = Form::new().file(&rose());
    Request::post("/our/flowers/predict")
        .form(form)
        .send(server.address)
        .good();
    let metrics = server.get("/our/flowers/metrics").text();
    for (labels, count) in [
        (r#"route="/predict",method="POST",status="200""#, 1),
        (r#"route="/",method="GET",status="200""#, 1),
        (r#"route="/",method="GET",status="308""#, 1),
        (r#"route="other",method="GET",status="404""#, 4),
    ] {
        let line = format!("flowers_http_requests_total{{{labels}}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn browsers_of_other_origins_are_let_in_by_name() {
    let from = |server: &Server, origin: &str| {
        let request = Request::get("/labels").header("Origin", origin);
        let reply = request.send(server.address);
        reply
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    assert_eq!(from(&Server::start(&[]), "https://a.example"), None);
    let server = Server::start(&["--cors-origin", "https://a.example,https://b.example:8443"]);
    assert_eq!(
        from(&server, "https://a.example").as_deref(),
        Some("https://a.example")
    );
    assert_eq!(from(&server, "https://c.example"), None);
    let asked = Request::new("OPTIONS", "/predict").header("Origin", "https://b.example:8443");
    let asked = asked
        .header("Access-Control-Request-Method", "POST")
        .send(server.address);
    assert_eq!(asked.status, 200);
    let methods = asked.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("POST"), "{methods}");
    let headers = asked.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization"), "{headers}");
    let said = run([
        "serve",
        model().to_str().unwrap(),
        "--cors-origin",
        "a.example/x",
    ]);
    said.failed(2, &["--cors-origin a.example/x", "https://example.com"]);
}

#[test]
fn requests_are_logged_with_an_id_and_the_client_behind_a_trusted_proxy() {
    let server = Server::start(&["--access-log", "--trusted-proxy", "127.0.0.0/8"]);
    let request = Request::get("/labels?secret=1")
        .header("X-Request-Id", "from-the-proxy:1")
        .header("X-Forwarded-For", "1.2.3.4, 198.51.100.7")
        .header("X-Forwarded-Proto", "https");
    let reply = request.send(server.address);
    assert_eq!(reply.header("x-request-id"), Some("from-the-proxy:1"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    wait_until("it is logged", || server.logged("request").is_some());
    let line = server.logged("request").unwrap();
    assert_eq!(line["client"], "198.51.100.7");
    assert_eq!(
        (&line["https"], &line["status"]),
        (&json!(true), &json!(200))
    );
    assert_eq!(
        (&line["id"], &line["path"]),
        (&json!("from-the-proxy:1"), &json!("/labels"))
    );
    for bad in ["", "two words", "a\"b", &"x".repeat(65)] {
        let reply = Request::get("/labels")
            .header("X-Request-Id", bad)
            .send(server.address);
        let id = reply.header("x-request-id").unwrap();
        assert!(
            id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
    }
    let distrustful = Server::start(&["--access-log"]);
    let request = Request::get("/labels").header("X-Forwarded-For", "198.51.100.7");
    request.send(distrustful.address);
    wait_until("it is logged", || distrustful.logged("request").is_some());
    assert_eq!(
        distrustful.logged("request").unwrap()["client"],
        "127.0.0.1"
    );
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let model = model();
    let model = model.to_str().unwrap();
    for (option, value, words) in [
        ("--base-path", "flowers", "/flowers"),
        ("--base-path", "/a b", "/flowers"),
        ("--listen", "/run/x.sock", "unix:"),
        ("--timeout", "0", "0.01 to 86400"),
        ("--max-batch", "0", "1 to 1024"),
        ("--max-body", "2GB", "whole number"),
    ] {
        run(["serve", model, option, value]).misused(&[option, words]);
    }
    run(["serve", model, "--trusted-proxy", "proxy.example"])
        .failed(2, &["--trusted-proxy proxy.example", "10.0.0.0/8"]);
    run(["serve", model, "--api-key-file", "no-such-file"]).failed(3, &["no-such-file"]);
    run(["serve", "no-such-model", "--port", "0"]).failed(3, &["no-such-model"]);
    let photo = rose_path();
    run(["serve", photo.to_str().unwrap(), "--port", "0"]).failed(3, &["rose-0002.jpg"]);
    run(["serve", model, "--port", "0", "--precision", "int8"]).failed(2, &["flowers quantize"]);
    run([
        "serve",
        model,
        "--port",
        "0",
        "--host",
        "no.such.host.invalid",
    ])
    .failed(4, &["no.such.host.invalid"]);
}
