//! What clients, proxies and Compose files do out of habit.

use std::collections::BTreeSet;

use super::contract::close;
use crate::http::{Form, Request};
use crate::server::{Server, rose};
use crate::support::{Said, flowers, model, run};

#[test]
fn a_slash_at_the_end_of_a_path_changes_nothing() {
    let server = Server::start(&["--base-path", "/x"]);
    let form = || Form::new().file(&rose());
    let reply = Request::post("/x/predict/")
        .form(form())
        .send(server.address);
    let expected = Request::post("/x/predict")
        .form(form())
        .send(server.address);
    close(&reply.good(), &expected.good());
    for path in ["/labels/", "/readyz/", "/metrics/", "/openapi.json/"] {
        assert_eq!(server.get(&format!("/x{path}")).status, 200, "{path}");
    }
    server.get("/x/predict/").refused(405, "method");
    assert_eq!(server.get("/x/predict//").status, 404);
    let counted =
        "flowers_http_requests_total{route=\"/predict\",method=\"POST\",status=\"200\"} 2";
    let metrics = server.get("/x/metrics").text();
    assert!(metrics.contains(counted), "{metrics}");
    let refused = "flowers_http_requests_total{route=\"/predict\",method=\"GET\",status=\"405\"} 1";
    assert!(metrics.contains(refused), "{metrics}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_packed_body_is_unpacked_within_the_limit() {
    let server = Server::start(&["--max-body", "100000"]);
    let plain = server.predict(&[&rose()]).good();
    let send = |encoding: &str, kind: &str, body: &[u8]| {
        let request = Request::post("/predict").header("Content-Encoding", encoding);
        request
            .header("Content-Type", kind)
            .body(body)
            .send(server.address)
    };
    close(&send("gzip", "image/jpeg", &gzip(&rose())).good(), &plain);
    close(&send("X-GZip", "image/jpeg", &gzip(&rose())).good(), &plain);
    close(&send("identity", "image/jpeg", &rose()).good(), &plain);
    let (kind, form) = Form::new().file(&rose()).encoded();
    close(&send("gzip", &kind, &gzip(&form)).good(), &plain);

    let bomb = gzip(&vec![0; 100_000_000]);
    assert!(bomb.len() < 500_000);
    send("gzip", "image/png", &bomb[..]).refused(413, "100000 bytes");
    let packed = gzip(&rose());
    send("gzip", "image/jpeg", &packed[..packed.len() / 2]).refused(400, "cut off");
    send("gzip", "image/jpeg", &rose()).refused(400, "encoding is damaged");
    for encoding in ["br", "deflate", "gzip, gzip"] {
        let reply = send(encoding, "image/jpeg", &rose());
        reply.refused(
            415,
            &format!("Content-Encoding {encoding} is not supported"),
        );
        assert_eq!(reply.header("accept-encoding"), Some("gzip"));
    }
}

/// Compose files set the variables that they mention, if only to nothing.
#[test]
fn an_empty_variable_is_an_unset_one() {
    let help = run(["serve", "--help"]).done().stdout;
    let names = help.split("[env: ").skip(1);
    let names: BTreeSet<&str> = names.filter_map(|rest| rest.split('=').next()).collect();
    assert!(names.len() >= 20, "{names:?}");
    let mut command = Server::command(&model());
    command.args(["--port", "0"]);
    for name in names.iter().chain(&["PORT"]) {
        command.env(name, "");
    }
    let server = Server::spawn(command);
    server.predict(&[&rose()]).good();

    let mut command = flowers();
    command.arg("serve").env("FLOWERS_MODEL", "");
    Said::of(command.output().unwrap()).misused(&["<MODEL>"]);
    let mut command = flowers();
    command.args(["serve", "m"]).env("FLOWERS_PORT", "http");
    Said::of(command.output().unwrap()).misused(&["--port", "0 to 65535"]);
}
