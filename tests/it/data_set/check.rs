//! What `flowers data check` finds, and its verdict.

use std::path::Path;

use flowers::cli::data::{CheckArgs, MaxBad};
use flowers::commands::data;
use flowers::commands::output::Output;
use flowers::data::check::{Finding, Report, Severity, check};
use flowers::error::Result;
use flowers::progress::Silent;
use serde_json::Value;

use super::{Set, refused};

fn report(set: &Set) -> Report {
    check(&set.index(), 0.01)
}

fn finding<'a>(report: &'a Report, kind: &str) -> &'a Finding {
    let mut findings = report.findings.iter();
    findings
        .find(|finding| finding.kind == kind)
        .unwrap_or_else(|| panic!("{kind} in {:?}", report.findings))
}

fn run(set: &Set, json: bool) -> (Result<()>, String) {
    let args = CheckArgs {
        source: set.arguments(),
        bad: MaxBad { max_bad: 0.01 },
        json,
    };
    let mut sink = Vec::new();
    let result = data::check(&args, &mut Output::to(&mut sink, json), &Silent);
    (result, String::from_utf8(sink).unwrap())
}

/// Two classes of twenty photos each.
fn sound() -> Set {
    let set = Set::new();
    for content in 0..20 {
        set.photo(format!("daisy/{content}.png"), content);
        set.photo(format!("rose/{content}.png"), 100 + content);
    }
    set
}

#[test]
fn a_sound_set_has_no_findings() {
    let report = report(&sound());
    assert!(report.trainable);
    assert_eq!(report.findings, []);
    assert_eq!(report.photos, 40);
    let sizes = report.sizes.unwrap();
    assert_eq!((sizes.width, sizes.height), ([48, 48], [40, 40]));
    assert_eq!(sizes.median_shorter_side, 40);
    assert_eq!(report.classes[1].class, "rose");
    assert_eq!(report.classes[1].distinct, 20);
}

#[test]
fn a_photo_that_is_cut_and_closed_is_named_and_counted() {
    let set = Set::small();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/faults");
    let half = std::fs::read(golden.join("small_half_with_eoi.jpg")).unwrap();
    set.file("rose/half.jpg", &half);
    let folder = set.index();
    assert_eq!(folder.photos.len(), 11);
    assert_eq!(folder.too_many_bad(0.1), None);
    let report = check(&folder, 0.1);
    assert_eq!((report.trainable, report.damaged), (true, 1));
    let named = &finding(&report, "damaged").files;
    assert_eq!(named.len(), 1);
    assert!(named[0].starts_with("rose/half.jpg: the end of the picture is missing"));
    let strict = check(&folder, 0.0);
    let found = finding(&strict, "unreadable");
    assert_eq!((found.severity, &found.files), (Severity::Error, named));
    assert!(found.message.contains("1 of 11 photos"), "{found:?}");
    assert!(found.message.contains("are damaged"), "{found:?}");
}

#[test]
fn duplicates_and_conflicts_are_named_with_their_twins() {
    let set = Set::small();
    set.photo("daisy/copy.png", 1);
    set.photo("rose/other.png", 2);
    let report = report(&set);
    assert!(report.trainable);
    assert_eq!(
        finding(&report, "duplicate").files,
        ["daisy/copy.png = daisy/1.png"]
    );
    assert_eq!(
        finding(&report, "conflict").files,
        [
            "daisy/2.png = rose/other.png",
            "rose/other.png = daisy/2.png"
        ]
    );
    assert_eq!(report.classes[0].photos, 6);
    assert_eq!(report.classes[0].distinct, 4);
}

#[test]
fn leaks_across_parts_and_missing_classes_are_found() {
    let set = Set::new();
    for content in 0..4 {
        set.photo(format!("train/a/{content}.png"), content);
        set.photo(format!("train/b/{content}.png"), 10 + content);
    }
    set.photo("test/a/again.png", 2);
    set.file("test/b/.keep", b"");
    let report = report(&set);
    assert!(report.split && report.trainable);
    let leak = finding(&report, "leak");
    assert_eq!(leak.files, ["train/a/2.png = test/a/again.png"]);
    assert_eq!(finding(&report, "gap").message, "test has no photos of b");
    let class = &report.classes[0];
    assert_eq!((class.train, class.val, class.test), (3, 0, 1));
}

#[test]
fn tiny_loose_and_imbalanced_are_warnings() {
    let set = Set::new();
    for content in 0..33 {
        set.photo(format!("a/{content}.png"), content);
    }
    for content in 0..3 {
        set.photo(format!("b/{content}.png"), 100 + content);
    }
    set.sized("a/tiny.png", 200, 300, 31);
    set.photo("stray.png", 400);
    let report = report(&set);
    assert!(report.trainable);
    assert_eq!(finding(&report, "tiny").files, ["a/tiny.png: 300 x 31"]);
    assert_eq!(finding(&report, "loose").files, ["stray.png"]);
    assert_eq!(
        finding(&report, "small").message.split(": ").last(),
        Some("b (3)")
    );
    let imbalance = finding(&report, "imbalance");
    assert_eq!(imbalance.severity, Severity::Warning);
    assert!(imbalance.message.contains("34 and 3"), "{imbalance:?}");
}

#[test]
fn a_class_with_too_few_distinct_photos_is_an_error() {
    let set = Set::small();
    set.photo("violet/1.png", 60);
    set.photo("violet/2.png", 61);
    set.photo("violet/copy of 2.png", 61);
    let report = report(&set);
    assert!(!report.trainable);
    let few = finding(&report, "too-few");
    assert_eq!(few.severity, Severity::Error);
    assert!(few.message.contains("violet (2)"), "{few:?}");
}

#[test]
fn what_is_no_photo_is_counted_and_no_fault() {
    let set = sound();
    set.file("README.md", b"about");
    set.file("daisy/IMG_1.AAE", b"<?xml");
    set.file("daisy/IMG_1.MOV", b"\0\0\0\x14ftypqt  ");
    set.file("rose/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", b"thumbnail");
    set.file("#recycle/rose/1.png", b"gone");
    let report = report(&set);
    assert!(report.trainable);
    assert_eq!(report.count(Severity::Warning), 0);
    let others = finding(&report, "not-an-image");
    assert_eq!(others.severity, Severity::Note);
    assert_eq!(
        others.files,
        ["README.md", "daisy/IMG_1.AAE", "daisy/IMG_1.MOV"]
    );
    let hidden = finding(&report, "hidden");
    assert_eq!(hidden.severity, Severity::Note);
    assert_eq!(hidden.files, ["#recycle", "rose/@eaDir"]);
    let (result, text) = run(&set, false);
    result.unwrap();
    assert!(text.contains("note: files that are not images, skipped: 3\n"));
    assert!(text.ends_with(": ready for training\n"), "{text}");
}

#[test]
fn what_cannot_be_trained_on_exits_with_3_after_the_report() {
    let one = Set::new();
    for content in 0..4 {
        one.photo(format!("rose/{content}.png"), content);
    }
    let bad = Set::small();
    for n in 0..6 {
        bad.file(format!("rose/bad{n}.jpg"), b"bad");
    }
    let differing = Set::new();
    for (content, name) in ["train/a/1.png", "train/b/1.png", "test/a/1.png"]
        .iter()
        .enumerate()
    {
        differing.photo(name, content as u32);
    }
    for (set, why) in [
        (&one, "only one class, rose"),
        (&bad, "6 of 16 photos"),
        (&differing, "test lacks b"),
    ] {
        let (result, text) = run(set, true);
        let line = refused(result, 3, &["can't be trained on", "error"]);
        assert!(!line.contains(why), "the report has said it: {line}");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["trainable"], false);
        assert_eq!(text.matches(why).count(), 1, "{text}");
        let (result, text) = run(set, false);
        assert!(result.is_err());
        assert!(text.contains("not ready for training"), "{text}");
        assert_eq!(text.matches(why).count(), 1, "{text}");
    }
}

#[test]
fn the_table_and_the_json_tell_the_same() {
    let set = sound();
    set.photo("daisy/copy.png", 1);
    let (result, text) = run(&set, false);
    result.unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("class  photos  distinct"));
    assert_eq!(lines.next(), Some("daisy      21        20"));
    assert_eq!(lines.next(), Some("rose       20        20"));
    assert_eq!(lines.next(), Some("total      41        40"));
    assert!(text.contains("sizes: 48 to 48 pixels wide, 40 to 40 pixels high"));
    assert!(
        text.contains("warning: exact copies within a class; only one of each is used: 1\n"),
        "{text}"
    );
    assert!(
        text.ends_with("ready for training, with 1 warning\n"),
        "{text}"
    );

    let (result, text) = run(&set, true);
    result.unwrap();
    assert_eq!(text.lines().count(), 1);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["photos"], 41);
    assert_eq!(json["classes"][0]["distinct"], 20);
    assert_eq!(json["findings"][0]["severity"], "warning");
    assert_eq!(json["findings"][0]["kind"], "duplicate");
}
