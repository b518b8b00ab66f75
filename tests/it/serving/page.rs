//! What the page is about, and in which language it is refused.

use std::fs;

use flowers::bundle::Bundle;
use flowers::labels::{Labels, flora};
use flowers::sample::KINDS;
use serde_json::json;

use crate::http::{Form, Request};
use crate::server::{Server, noise};
use crate::support::model;

#[test]
fn every_kind_of_the_drawn_set_and_of_the_oxford_set_has_a_chinese_name() {
    let drawn = KINDS.iter().map(|kind| kind.name);
    let oxford = "bluebell buttercup colts-foot daisy dandelion fritillary iris lily-valley pansy \
                  sunflower tigerlily windflower daffodil snowdrop crocus tulip cowslip";
    for name in drawn.chain(oxford.split_whitespace()) {
        let chinese = flora::chinese(name).unwrap_or_else(|| panic!("{name} has none"));
        assert!(!chinese.is_ascii(), "{name}: {chinese}");
    }
}

#[test]
fn names_in_chinese_stand_beside_the_labels() {
    let labels = Server::start(&[]).get("/labels").good();
    let names = json!({"rose": "玫瑰", "sunflower": "向日葵", "tulip": "郁金香"});
    assert_eq!(labels["names"], json!({ "zh-CN": names }));
}

#[test]
fn the_page_is_about_what_the_model_knows() {
    let page = |server: &Server| server.get("/").text();
    assert!(page(&Server::start(&[])).contains("data-title=\"\" data-subject=\"flower\""));

    let folder = tempfile::tempdir().unwrap();
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    bundle.manifest.labels = Labels::new(["bus", "car", "truck"]).unwrap();
    let path = folder.path().join("cars.safetensors");
    bundle.write(&path).unwrap();
    let cars = Server::of(
        &path,
        &["--title", "Cars <of> 1999", "--unsure-below", "0.8"],
    );
    let html = page(&cars);
    assert!(html.contains("data-title=\"Cars &#60;of&#62; 1999\" data-subject=\"picture\""));
    assert!(html.contains("data-unsure-below=\"0.8\""));
    let names = cars.get("/labels").good()["names"].clone();
    assert_eq!(names, json!({"zh-CN": {}}));
}

#[test]
fn the_title_may_come_from_the_environment() {
    for (value, title) in [("My garden", "My garden"), ("", "")] {
        let mut command = Server::command(&model());
        command.args(["--port", "0"]).env("FLOWERS_TITLE", value);
        let html = Server::spawn(command).get("/").text();
        assert!(html.contains(&format!("data-title=\"{title}\"")), "{value}");
    }
}

#[test]
fn refusals_are_in_chinese_for_who_asks() {
    let server = Server::start(&["--max-body", "100000", "--max-pixels", "20000"]);
    let said = |language: &str, file: &[u8]| {
        let request = Request::post("/predict").form(Form::new().file(file));
        let request = request.header("Accept-Language", language);
        request.send(server.address)
    };
    let broken = &fs::read(crate::server::rose_path()).unwrap()[..700];
    for (file, status, chinese, english) in [
        (&b""[..], 400, "文件为空", "the file is empty"),
        (b"a rose", 400, "不是图片", "not a picture"),
        (broken, 400, "JPEG 文件已损坏", "broken JPEG"),
        (&noise(200, 101), 422, "200x101 像素", "200x101 pixels"),
        (&vec![0; 100_001], 413, "100000 字节", "100000 bytes"),
    ] {
        let reply = said("zh-CN,zh;q=0.9,en;q=0.8", file);
        reply.refused(status, chinese);
        assert_eq!(reply.header("content-language"), Some("zh-CN"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        said("en-GB,zh;q=0.5", file).refused(status, english);
    }
    let post = |path: &str, form: Form| {
        let request = Request::post(path).form(form);
        request.header("Accept-Language", "zh").send(server.address)
    };
    server.get("/nothing").refused(404, "not found");
    post("/nothing", Form::new()).refused(404, "没有这个地址");
    post("/predict?top_k=0", Form::new()).refused(400, "top_k 必须");
    let named = Form::new().part("name=\"photo\"; filename=\"a.png\"", &noise(8, 8));
    post("/predict", named).refused(400, "表单里有 photo");
    let both = post("/predict", Form::new().file(&noise(8, 8)).file(b"a rose"));
    let refused = &both.good()["predictions"][1]["error"];
    assert!(refused.as_str().unwrap().contains("不是图片"), "{refused}");
}
