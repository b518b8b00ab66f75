//! `--collect`: photos that people labelled, kept as a data set.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::http::{Form, Reply, Request};
use crate::server::{Server, rose};
use crate::support::{model, names, photos, run};

fn tell(server: &Server, photo: &[u8], label: &str) -> Reply {
    let form = Form::new().file(photo).text("label", label);
    Request::post("/feedback").form(form).send(server.address)
}

fn records(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(".collected.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn labelled_photos_become_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let server = Server::start(&["--collect", kept.to_str().unwrap()]);
    assert_eq!(server.get("/labels").good()["collect"], true);
    let stored = |reply: Reply| reply.good()["stored"].as_bool().unwrap();
    assert!(stored(tell(&server, &rose(), "rose")));
    assert!(!stored(tell(&server, &rose(), "rose")));
    for n in 1..=3 {
        let tulip = fs::read(photos().join(format!("tulip/tulip-000{n}.jpg"))).unwrap();
        assert!(stored(tell(&server, &tulip, "rose")));
        // Corrected: it moves.
        assert!(!stored(tell(&server, &tulip, "tulip")));
    }
    assert_eq!(names(&kept), [".collected.jsonl", "rose", "tulip"]);
    assert_eq!(
        (
            names(&kept.join("rose")).len(),
            names(&kept.join("tulip")).len()
        ),
        (1, 3)
    );
    // What was taken away is taken again.
    fs::remove_dir_all(kept.join("tulip")).unwrap();
    let tulip = fs::read(photos().join("tulip/tulip-0001.jpg")).unwrap();
    assert!(stored(tell(&server, &tulip, "tulip")));
    assert_eq!(names(&kept.join("tulip")).len(), 1);
    let name = &names(&kept.join("rose"))[0];
    assert!(name.len() == 64 + 4 && name.ends_with(".jpg"), "{name}");
    assert_eq!(fs::read(kept.join("rose").join(name)).unwrap(), rose());
    let records = records(&kept);
    assert_eq!(records.len(), 8);
    assert_eq!(records[0]["file"], format!("rose/{name}"));
    assert_eq!(records[0]["label"], "rose");
    assert_eq!(records[0]["predicted"].as_array().unwrap().len(), 3);
    assert_eq!(records[0]["model_sha256"].as_str().unwrap().len(), 64);

    let said = run(["data", "check", kept.to_str().unwrap(), "--json"]);
    let classes = said.json()[0]["classes"].to_string();
    assert!(
        classes.contains("rose") && classes.contains("tulip"),
        "{classes}"
    );
    assert!(!classes.contains("collected"), "{classes}");
}

#[test]
fn only_labels_of_the_model_and_pictures_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["--collect", folder.path().to_str().unwrap()]);
    for label in ["orchid", "../rose", "", "rose/", "/etc", "."] {
        tell(&server, &rose(), label).refused(400, "no such label");
    }
    tell(&server, b"a rose is a rose", "rose").refused(400, "not a picture");
    let post = |form| Request::post("/feedback").form(form).send(server.address);
    post(Form::new().file(&rose())).refused(400, "`label` is missing");
    post(Form::new().text("label", "rose")).refused(400, "No file provided");
    post(
        Form::new()
            .file(&rose())
            .file(&rose())
            .text("label", "rose"),
    )
    .refused(400, "one picture");
    post(Form::new().file(&rose()).text("label", &"x".repeat(2000))).refused(400, "1024 bytes");
    let form = Form::new().file(&rose()).text("label", "rose");
    let foreign = Request::post("/feedback").header("Origin", "https://elsewhere.example");
    foreign
        .form(form)
        .send(server.address)
        .refused(403, "X-Requested-With");
    // A name that a client gives its file is never used.
    let named = Form::new().part("name=\"file\"; filename=\"../../evil.sh\"", &rose());
    post(named.text("label", "rose")).good();
    assert_eq!(names(folder.path()), [".collected.jsonl", "rose"]);
}

#[test]
fn a_collection_has_its_bounds() {
    let tulip = fs::read(photos().join("tulip/tulip-0001.jpg")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let collect = folder.path().to_str().unwrap();
    let mut server = Server::start(&["--collect", collect, "--collect-photos", "1"]);
    tell(&server, &tulip, "tulip").good();
    tell(&server, &rose(), "rose").refused(507, "full");
    // What is there may still be corrected.
    assert_eq!(tell(&server, &tulip, "rose").good()["stored"], false);
    server.stop();
    let bytes = (tulip.len() + rose().len() - 1).to_string();
    let server = Server::start(&["--collect", collect, "--collect-bytes", &bytes]);
    tell(&server, &rose(), "rose").refused(507, "full");
    assert_eq!(names(&folder.path().join("rose")).len(), 1);
    // Records count too: labels can't be changed for ever.
    let refused = (0..10_000).find(|n| {
        let label = if n % 2 == 0 { "tulip" } else { "rose" };
        tell(&server, &tulip, label).status == 507
    });
    assert!(refused.is_some_and(|n| n > 0 && n < 100), "{refused:?}");

    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let said = run([
        "serve",
        model().to_str().unwrap(),
        "--port",
        "0",
        "--collect",
        file.to_str().unwrap(),
    ]);
    said.failed(4, &["a-file"]);
}
