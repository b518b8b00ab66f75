//! The upload page in a real browser, and servers behind a real proxy. Without these, the tests are counted as
//! ignored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]
// Shared with the other tests, which use all of it.
#![allow(dead_code)]

mod balanced;
#[path = "../it/http.rs"]
mod http;
#[path = "../it/known.rs"]
mod known;
mod nginx;
#[path = "../it/server.rs"]
mod server;
#[path = "../it/support.rs"]
mod support;
mod webdriver;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use flowers::bundle::Bundle;
use flowers::labels::{Labels, flora};
use flowers::metrics::{Epoch, Evaluation, Predictions, calibration};
use flowers::report::{Fact, ReportData};
use flowers::weights::Tensor;
use libtest_mimic::{Arguments, Trial};
use serde_json::json;

use nginx::Nginx;
use server::{Server, rose_path};
use support::{model, names};
use webdriver::{Browser, has};

const HOSTILE: &str = "<img src=x onerror=alert(1)>";

fn main() -> ExitCode {
    let browser = ["chromium", "google-chrome"];
    let browser = browser.iter().any(|browser| has(browser, "--version"));
    let browser = browser && has("chromedriver", "--version");
    let proxy = browser && has(nginx::PROGRAM, "-v");
    if !browser {
        eprintln!("skipped: there is no chromium, or no chromedriver");
    } else if !proxy {
        eprintln!("skipped: nginx is not installed");
    }
    let trial = |name: &str, possible: bool, test: fn()| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!possible)
    };
    let mut arguments = Arguments::from_args();
    // Browsers are large, and starved ones miss clicks.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    libtest_mimic::run(
        &arguments,
        vec![
            trial("an_upload_in_chinese", browser, an_upload_in_chinese),
            trial(
                "the_language_can_be_switched",
                browser,
                the_language_can_be_switched,
            ),
            trial("every_error_has_words", browser, every_error_has_words),
            trial(
                "a_hostile_name_is_only_text",
                browser,
                a_hostile_name_is_only_text,
            ),
            trial("a_key_is_asked_for", browser, a_key_is_asked_for),
            trial(
                "a_label_can_be_corrected",
                browser,
                a_label_can_be_corrected,
            ),
            trial(
                "a_replaced_model_brings_its_classes",
                browser,
                a_replaced_model_brings_its_classes,
            ),
            trial("a_phone_is_wide_enough", browser, a_phone_is_wide_enough),
            trial("a_guess_is_called_one", browser, a_guess_is_called_one),
            trial("a_report_fits_a_phone", browser, a_report_fits_a_phone),
            trial(
                "below_a_path_behind_nginx",
                proxy,
                below_a_path_behind_nginx,
            ),
            trial(
                "no_request_is_lost_when_one_of_three_is_killed_and_one_replaced",
                has(nginx::PROGRAM, "-v"),
                balanced::no_request_is_lost_when_one_of_three_is_killed_and_one_replaced,
            ),
        ],
    )
    .exit_code()
}

fn page(server: &Server, language: &str) -> Browser {
    let browser = Browser::start(language);
    browser.open(&format!("http://{}/", server.address));
    browser
}

/// The page shows what the server answers to the same picture.
fn shows_the_answer(browser: &Browser, server: &Server) {
    browser.wait("document.querySelector('#class').innerText");
    let answer = server.predict(&[&fs::read(rose_path()).unwrap()]).good();
    assert_eq!(json!(browser.text("#class")), answer["class"]);
    let share = format!("{:.1}%", 100.0 * answer["confidence"].as_f64().unwrap());
    assert_eq!(browser.text("#confidence"), share);
    assert_eq!(
        browser.value("document.querySelectorAll('#top li').length"),
        3
    );
    for (place, guess) in answer["top_predictions"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let name = browser.text(&format!("#top li:nth-child({}) .name", place + 1));
        assert_eq!(json!(name), guess["class"]);
    }
}

fn an_upload_in_chinese() {
    let server = Server::start(&["--precision", "float32"]);
    let browser = page(&server, "zh-CN,zh");
    browser.wait_text("h1", "花卉分类器");
    assert_eq!(browser.value("document.title"), "花卉分类器");
    assert_eq!(browser.value("document.documentElement.lang"), "zh-CN");
    assert_eq!(
        browser.text("#subtitle"),
        "上传一张花卉图片，AI将识别它的种类"
    );
    assert_eq!(browser.text("#identify"), "识别花卉");
    browser.click("#identify");
    browser.wait_text("#error", "请选择一张图片");
    // What it says while it waits is over within milliseconds, so it is kept.
    browser.value(
        "(window.said = [], window.disabled = [], new MutationObserver(() => { \
         const button = document.querySelector('#identify'); \
         said.push(button.innerText); disabled.push(button.disabled || button.ariaDisabled === 'true') \
         }).observe(document.querySelector('#identify'), {subtree: true, childList: true, attributes: true, characterData: true}))",
    );
    // Nobody has to press the button.
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#preview').naturalWidth");
    shows_the_answer(&browser, &server);
    let chinese = flora::chinese(&browser.text("#class"));
    assert_eq!(Some(browser.text("#class-zh").as_str()), chinese);
    assert_eq!(browser.text("#error"), "");
    browser.wait("said.some(text => text.includes('识别中...')) && disabled.includes(true)");
    let words = browser.text("main");
    for word in ["置信度", "Top 3 预测结果"] {
        assert!(words.contains(word), "{words}");
    }
    assert_eq!(browser.text("#identify"), "识别花卉");
    assert_eq!(
        browser.value("document.querySelector('#identify').disabled"),
        false
    );
    let words = browser.text("footer");
    assert!(
        words.contains("模型总会从它的 3 个类别中选择一个"),
        "{words}"
    );
    // The button does it again, for the keyboard.
    browser.value("(said.length = 0)");
    browser.keys("#identify", "\u{e007}");
    browser.wait("said.some(text => text.includes('识别中...'))");
    shows_the_answer(&browser, &server);
    assert_eq!(browser.complaints(), [""; 0]);
}

fn the_language_can_be_switched() {
    let server = Server::start(&[]);
    let browser = page(&server, "en-GB,en");
    browser.wait_text("h1", "Flower");
    assert_eq!(browser.value("document.documentElement.lang"), "en");
    browser.click("#language");
    browser.wait_text("h1", "花卉分类器");
    browser.open(&format!("http://{}/", server.address));
    browser.wait_text("h1", "花卉分类器");
    browser.click("#language");
    browser.wait_text("h1", "Flower");
    assert_eq!(browser.complaints(), [""; 0]);
}

fn every_error_has_words() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let files = [
        write("text.jpg", b"a rose is a rose"),
        write("broken.jpg", &fs::read(rose_path()).unwrap()[..700]),
        write("large.png", &server::noise(400, 400)),
        write("wide.png", &server::noise(200, 101)),
    ];
    let mut server = Server::start(&["--max-body", "200000", "--max-pixels", "20000"]);
    let browser = page(&server, "en");
    let mut messages = BTreeSet::new();
    for file in files {
        let shown = browser.text("#error");
        browser.choose(&file);
        let other = format!(
            "(text => text && text !== {})(document.querySelector('#error').innerText.trim())",
            json!(shown)
        );
        browser.wait(&format!(
            "document.querySelector('#error').checkVisibility() && {other}"
        ));
        assert_eq!(browser.text("#class"), "", "an error is no result");
        messages.insert(browser.text("#error"));
    }
    assert_eq!(messages.len(), 4, "{messages:?}");
    // In the other language no word of the first is left, and the server's are in it too.
    let words = browser.text("#error-detail");
    assert!(words.contains("200x101 pixels"), "{words}");
    browser.click("#language");
    browser.wait_text("#error", "图片像素过多");
    assert_eq!(browser.text("#error-detail"), "");
    browser.click("#identify");
    browser.wait_text("#error-detail", "服务器：图片为 200x101 像素");
    browser.click("#language");
    // After an error all goes on.
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#class').innerText");
    assert_eq!(browser.text("#error"), "");
    let fleeting = write("fleeting.jpg", &fs::read(rose_path()).unwrap());
    browser.choose(&fleeting);
    browser.wait("document.querySelector('#class').innerText");
    fs::remove_file(&fleeting).unwrap();
    browser.click("#identify");
    browser.wait_text("#error", "changed or moved");
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#class').innerText");
    server.stop();
    browser.click("#identify");
    browser.wait_text("#error", "could not be reached");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// The trained model with another name for its first class.
fn renamed(folder: &Path, name: &str) -> std::path::PathBuf {
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    bundle.manifest.labels = Labels::new([name, "sunflower", "tulip"]).unwrap();
    let path = folder.join("renamed.safetensors");
    bundle.write(&path).unwrap();
    path
}

fn a_hostile_name_is_only_text() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::of(&renamed(folder.path(), HOSTILE), &["--title", HOSTILE]);
    let browser = page(&server, "zh");
    browser.value("(window.alerted = false, window.alert = () => { alerted = true })");
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#class').innerText");
    assert!(browser.text("#top").contains(HOSTILE));
    assert_eq!(browser.text("h1"), HOSTILE);
    assert_eq!(browser.value("document.title"), HOSTILE);
    assert_eq!(
        browser.value("document.querySelectorAll('#result img').length"),
        0
    );
    assert_eq!(browser.value("alerted"), false);
    assert_eq!(browser.complaints(), [""; 0]);
}

fn a_key_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::write(&keys, "open-sesame\n").unwrap();
    let server = Server::start(&["--api-key-file", keys.to_str().unwrap()]);
    let browser = page(&server, "en");
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#key').checkVisibility()");
    browser.keys("#key", "open-sesame");
    browser.click("#identify");
    browser.wait("document.querySelector('#class').innerText");
    assert_eq!(browser.text("#error"), "");
    assert_eq!(browser.complaints(), [""; 0]);
}

fn a_label_can_be_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["--collect", folder.path().to_str().unwrap()]);
    let browser = page(&server, "en");
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#confirm').checkVisibility()");
    browser.wait("document.querySelectorAll('#correct option').length > 3");
    browser.keys("#correct", "tulip");
    browser.click("#send-correction");
    browser.wait("document.querySelector('#feedback-status').innerText.includes('Thank you')");
    assert_eq!(names(&folder.path().join("tulip")).len(), 1);
    assert_eq!(browser.complaints(), [""; 0]);

    let without = Server::start(&[]);
    browser.open(&format!("http://{}/", without.address));
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#class').innerText");
    assert_eq!(
        browser.value("document.querySelector('#confirm').checkVisibility()"),
        false
    );
}

fn a_replaced_model_brings_its_classes() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("served.safetensors");
    fs::copy(renamed(folder.path(), "daisy"), &served).unwrap();
    let server = Server::of(&served, &[]);
    let browser = page(&server, "en");
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#kinds').textContent.includes('daisy')");
    fs::rename(renamed(folder.path(), "peony"), &served).unwrap();
    browser.wait(
        "(document.querySelector('#identify').click(), \
         document.querySelector('#kinds').textContent.includes('peony'))",
    );
    assert_eq!(browser.complaints(), [""; 0]);
}

fn a_phone_is_wide_enough() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::of(&renamed(folder.path(), &"long".repeat(40)), &[]);
    let browser = page(&server, "zh");
    browser.phone(320, 640);
    browser.choose(&rose_path());
    browser.wait("document.querySelector('#class').innerText");
    let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]");
    assert_eq!(widths, json!([320, 320]));
}

/// A model that answers `confidence` for its first class, whatever the picture.
fn undecided(folder: &Path, confidence: f32) -> std::path::PathBuf {
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    bundle.manifest.labels = Labels::new(["bus", "car", "truck"]).unwrap();
    let rest = (1.0 - confidence) / 2.0;
    let bias = vec![(confidence / rest).ln(), 0.0, 0.0];
    let (classes, features) = (3, 1280);
    let zeros = vec![0.0; classes * features];
    for (name, tensor) in [
        (
            "classifier.1.weight",
            Tensor::f32([classes, features], zeros),
        ),
        ("classifier.1.bias", Tensor::f32([classes], bias)),
    ] {
        let replaced = bundle.weights.insert(name.into(), tensor);
        assert!(replaced.is_some(), "{name}");
    }
    let path = folder.join(format!("{confidence}.safetensors"));
    bundle.write(&path).unwrap();
    path
}

fn a_guess_is_called_one() {
    let folder = tempfile::tempdir().unwrap();
    for (confidence, limit, guessed) in
        [(0.4, "0.5", true), (0.6, "0.5", false), (0.6, "0.7", true)]
    {
        let model = undecided(folder.path(), confidence);
        let server = Server::of(&model, &["--precision", "float32", "--unsure-below", limit]);
        let browser = page(&server, "en");
        browser.wait_text("h1", "Image Classifier");
        browser.choose(&rose_path());
        browser.wait_text("#class", "bus");
        assert_eq!(
            browser.text("#confidence"),
            format!("{:.1}%", 100.0 * confidence)
        );
        assert_eq!(browser.text("#unsure").contains("Not sure"), guessed);
        assert_eq!(browser.text("#unsure-note").is_empty(), !guessed);
        browser.wait_text("footer", "always picks one of its 3 classes");
    }
}

/// A report on twenty classes, with a fact that has no place to break.
fn report() -> String {
    let names: Vec<String> = (0..20).map(|id| format!("class {id:02}")).collect();
    let mut predictions = Predictions::new(Labels::new(&names).unwrap());
    for actual in 0..20 {
        let logits: Vec<f32> = (0..20).map(|id| f32::from(id == actual)).collect();
        predictions.push(actual, &logits).unwrap();
    }
    let value = "/photos".repeat(30);
    ReportData {
        title: "resnet18 on photos".into(),
        facts: vec![Fact {
            name: "Data",
            value,
        }],
        evaluation: Evaluation::of(&predictions).unwrap(),
        reliability: calibration::bins(predictions.outcomes()),
        gates: Vec::new(),
        warnings: Vec::new(),
        history: (1..9).map(epoch).collect(),
        mistakes: Vec::new(),
        split: Vec::new(),
        unreadable: Vec::new(),
        config: json!({}),
        command: Vec::new(),
    }
    .html()
    .unwrap()
}

fn epoch(epoch: usize) -> Epoch {
    Epoch {
        epoch,
        phase: "classic".into(),
        learning_rate: 1e-4,
        train_loss: 0.5,
        train_accuracy: 0.8,
        val_loss: 0.6,
        val_accuracy: 0.7,
        images_per_second: 60.0,
        waiting: 0.0,
        seconds: 10.0,
        candidate: true,
    }
}

fn a_report_fits_a_phone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    fs::write(&file, report()).unwrap();
    let browser = Browser::start("en");
    for (width, scrolls) in [(390, true), (1200, false)] {
        browser.phone(width, 844);
        browser.open(&format!("file://{}", file.display()));
        browser.wait("document.fonts.size === 1 && [...document.fonts][0].status === 'loaded'");
        let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]");
        assert_eq!(widths, json!([width, width]));
        let outside = "[...document.querySelectorAll('figure > .plot')] \
                       .filter(plot => plot.getBoundingClientRect().right > innerWidth).length";
        assert_eq!(browser.value(outside), 0);
        let matrix =
            "(box => box.scrollWidth > box.clientWidth)(document.querySelector('.matrix .scroll'))";
        assert_eq!(browser.value(matrix), scrolls);
        assert_eq!(browser.text(".cue").contains("Scroll"), scrolls);
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

fn below_a_path_behind_nginx() {
    let kept = Server::start(&["--base-path", "/kept", "--precision", "float32"]);
    let cut = Server::start(&["--precision", "float32"]);
    let nginx = Nginx::before(kept.address, cut.address);
    let browser = Browser::start("en");
    for path in ["kept", "cut"] {
        browser.open(&format!("http://{}/{path}/", nginx.address));
        browser.choose(&rose_path());
        shows_the_answer(&browser, &cut);
        assert_eq!(browser.complaints(), [""; 0], "{path}");
    }
    // Without the slash the way leads there.
    let reply = http::Request::get("/kept").send(kept.address);
    assert_eq!(reply.header("location"), Some("kept/"));
}
