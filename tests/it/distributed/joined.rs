//! Processes that do not come together.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Team;
use crate::support::{Said, copy, flowers, names, photos, train, train_arguments};

fn arguments(out: &Path, options: &[&str]) -> Vec<OsString> {
    let options = [&["--epochs", "1", "--join-timeout", "30s"][..], options].concat();
    train_arguments(photos(), out, &options)
}

#[test]
fn processes_that_do_not_agree_are_refused_on_every_side() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = |number: usize| match number {
        0 => arguments(&out, &["--lr", "0.1"]),
        _ => arguments(&out, &["--lr", "0.2"]),
    };
    let mut team = Team::start(&[(0, 2), (1, 2)], options);
    for number in [0, 1] {
        let words = ["do not agree", "`lr = 0.1`", "process 1 on", "`lr = 0.2`"];
        team.end(number).failed(2, &words);
    }

    let same = |_| arguments(&out, &[]);
    let mut team = Team::start(&[(0, 2), (1, 3)], same);
    for number in [0, 1] {
        team.end(number)
            .failed(2, &["a world size of 2", "one of 3"]);
    }

    let mut team = Team::start(&[(0, 3), (1, 3), (1, 3)], same);
    for number in [0, 1, 2] {
        let code = team.processes[number].wait().unwrap().code();
        let said = team.stderr(number);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("two processes have rank 1"), "{said}");
    }
    assert!(!out.exists());
}

#[test]
fn processes_with_other_photos_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    copy(photos(), &first.join("set"));
    copy(photos(), &second.join("set"));
    let class = second.join("set").join(&names(photos())[0]);
    fs::remove_file(class.join(&names(&class)[0])).unwrap();
    let out = folder.path().join("run");
    let same = |_| train_arguments(Path::new("set"), &out, &["--epochs", "1"]);
    let folders = [&*first, &*second];
    let mut team = Team::start_in(&[(0, 2), (1, 2)], same, |number| Some(folders[number]));
    team.end(0)
        .failed(3, &["process 1 on", "not those of process 0", "missing"]);
    team.end(1)
        .failed(3, &["the photos on", "not those of process 0", "missing"]);
    assert!(!out.exists());
}

#[test]
fn processes_that_do_not_come_are_waited_for_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = ["--epochs", "1", "--join-timeout", "1s"];
    let short = |_| train_arguments(photos(), &out, &options);
    let start = Instant::now();
    let mut team = Team::start(&[(0, 3), (2, 3)], short);
    for number in [0, 1] {
        let code = team.processes[number].wait().unwrap().code();
        let said = team.stderr(number);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("of these ranks there is none: 1"), "{said}");
    }
    let mut team = Team::start(&[(1, 2)], short);
    let code = team.processes[0].wait().unwrap().code();
    let said = team.stderr(0);
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("can't be met at 127.0.0.1") && said.contains("MASTER_ADDR"),
        "{said}"
    );
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(!out.exists());
}

#[test]
fn environments_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = flowers();
        command
            .args(arguments(&out, options))
            .envs(variables.iter().copied());
        Said::of(command.output().unwrap())
    };
    let alone = [("WORLD_SIZE", "2")];
    said(&alone, &[]).failed(2, &["WORLD_SIZE is set and RANK is not"]);
    said(&[("RANK", "2"), ("WORLD_SIZE", "2")], &[]).failed(2, &["RANK is 2"]);
    let first = [("RANK", "0"), ("WORLD_SIZE", "2")];
    said(&first, &[]).failed(2, &["MASTER_ADDR is not set"]);
    said(&alone, &["--nproc", "2"]).failed(2, &["--nproc", "leave it out"]);
    said(&[], &["--nproc", "0"]).misused(&["--nproc", "from 1 to 1024"]);

    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let master = [("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port)];
    let met = [&first[..], &master].concat();
    said(&met, &[]).failed(4, &["port", &port, "in use", "MASTER_PORT"]);
    assert!(!out.exists());
}

#[test]
fn an_interface_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = flowers();
    command.args(arguments(&out, &["--nproc", "2"]));
    command.env("GLOO_SOCKET_IFNAME", "nowhere0");
    let said = Said::of(command.output().unwrap());
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(
        said.stderr.contains("can't connect to each other"),
        "{}",
        said.stderr
    );
    assert!(!out.exists());
}

#[test]
fn collectives_of_gpus_are_refused_on_a_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let said = train(
        photos(),
        &out,
        &["--nproc", "2", "--collectives", "nccl", "--device", "cpu"],
    );
    said.failed(
        4,
        &["--collectives nccl", "GPUs only", "--collectives gloo"],
    );
    assert!(!out.exists());
}
