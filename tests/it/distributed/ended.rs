//! Processes that end, by themselves or not, and their runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{OFTEN, pair, send};
use crate::support::{
    FULL_DISK, Said, limited, names, photos, start, train, train_arguments, wait_until,
};
use crate::training::assert_same;

const LONG: [&str; 4] = ["--epochs", "1000", OFTEN[0], OFTEN[1]];

fn wait_for_checkpoint(out: &Path) {
    wait_until("a checkpoint", || out.join("last.ckpt").exists());
}

#[test]
fn when_a_process_is_killed_the_others_end() {
    let folder = tempfile::tempdir().unwrap();
    for killed in [0, 1] {
        let out = folder.path().join(killed.to_string());
        let mut team = pair(&out, &LONG);
        wait_for_checkpoint(&out);
        team.signal(killed, "-KILL");
        let start = Instant::now();
        let said = team.end(1 - killed);
        said.failed(4, &["another process has ended", "--resume"]);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_process_that_hangs_is_waited_for_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut team = pair(&out, &[&LONG[..], &["--collective-timeout", "2s"]].concat());
    wait_for_checkpoint(&out);
    team.signal(1, "-STOP");
    team.end(0)
        .failed(4, &["did not answer within --collective-timeout (2 s)"]);
}

/// The processes that another one has started.
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect()
}

#[test]
fn a_run_whose_processes_are_killed_ends_like_an_undisturbed_one() {
    const KILLS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let [undisturbed, killed] = ["undisturbed", "killed"].map(|name| folder.path().join(name));
    let options = [
        "--epochs",
        "5",
        "--dropout",
        "0.5",
        "--ema",
        "0.9",
        "--accumulate",
        "2",
    ];
    let options = [&options[..], &["--nproc", "2", "--resume-or-start"], &OFTEN].concat();
    train(photos(), &undisturbed, &options).done();

    let stderr = folder.path().join("stderr");
    let arguments = train_arguments(photos(), &killed, &options);
    for kill in 0..KILLS {
        let mut launcher = start(&arguments, &stderr);
        let log = killed.join("history.csv");
        let epochs = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        let before = epochs();
        let mut started = Vec::new();
        wait_until("an epoch", || {
            started = children(launcher.id());
            let ended = launcher.try_wait().unwrap().is_some();
            ended || epochs() > before && started.len() == 2
        });
        send("-KILL", started[kill % 2]);
        let said = Said {
            code: launcher.wait().unwrap().code(),
            stdout: String::new(),
            stderr: fs::read_to_string(&stderr).unwrap(),
        };
        said.failed(4, &["was ended by signal 9", "--resume-or-start"]);
    }
    train(photos(), &killed, &options).done();
    assert_same(&killed, &undisturbed);
}

#[test]
fn when_one_is_stopped_all_stop_and_the_run_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut team = pair(&out, &LONG);
    wait_for_checkpoint(&out);
    team.signal(1, "-TERM");
    for number in [0, 1] {
        team.end(number)
            .stopped(&["saved", "flowers train --resume "]);
    }
    let stderr = folder.path().join("stderr");
    let arguments = train_arguments(
        photos(),
        &out,
        &[&LONG[..], &["--nproc", "2", "--resume-or-start"]].concat(),
    );
    let before = fs::read(out.join("last.ckpt")).unwrap();
    let mut launcher = start(&arguments, &stderr);
    wait_until("progress", || {
        fs::read(out.join("last.ckpt")).unwrap() != before
    });
    send("-INT", launcher.id());
    let said = Said {
        code: launcher.wait().unwrap().code(),
        stdout: String::new(),
        stderr: fs::read_to_string(&stderr).unwrap(),
    };
    said.stopped(&["saved", "flowers train --resume "]);
    assert!(!out.join("run.lock").exists());
}

#[test]
fn a_full_disk_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--epochs", "3", "--nproc", "2"];
    let said = limited(FULL_DISK, train_arguments(photos(), &out, &options));
    said.failed(4, &["run/last.ckpt", "File too large"]);
    let spoilt = |name: &String| name.ends_with(".part") || name.ends_with(".ckpt");
    assert!(!names(&out).iter().any(spoilt));
}
