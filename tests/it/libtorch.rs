//! libtorch: the script that assembles it, and that it is loaded only where it is needed.

use std::path::Path;
use std::process::Command;

#[test]
fn parts_of_wheels_are_downloaded_and_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new("python3");
    python.arg(root.join("tests/it/libtorch.py"));
    let output = python.arg(root.join("assets/setup")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("Ran 10 tests"),
        "{said}"
    );
}

/// Elsewhere it is loaded with the program.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod on_demand {
    use std::ffi::OsStr;
    use std::fs;

    use crate::support::{Said, flowers, model, photos, run};

    /// What a command says where libtorch is damaged.
    fn without<A: AsRef<OsStr>>(arguments: &[A]) -> Said {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("libtorch_cpu.so"), "damaged").unwrap();
        let mut command = flowers();
        command.env("LD_LIBRARY_PATH", folder.path());
        Said::of(command.args(arguments).output().unwrap())
    }

    #[test]
    fn pictures_are_classified_without_it() {
        let arguments = [
            OsStr::new("predict"),
            model().as_os_str(),
            photos().as_os_str(),
        ]
        .map(OsStr::to_owned);
        assert_eq!(
            without(&arguments).done().stdout,
            run(&arguments).done().stdout
        );
    }

    #[test]
    fn what_needs_it_says_that_it_is_not_to_be_had() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let (model, photos) = (model(), photos());
        let backend = ["--backend", "torchscript"].map(OsStr::new);
        let predict = [OsStr::new("predict"), model.as_os_str(), photos.as_os_str()];
        let train = [
            "train".as_ref(),
            photos.as_os_str(),
            "--out".as_ref(),
            out.as_os_str(),
        ];
        for arguments in [[&predict[..], &backend].concat(), train.to_vec()] {
            without(&arguments).failed(
                4,
                &[
                    "libtorch can't be loaded",
                    "libtorch_cpu.so",
                    "LD_LIBRARY_PATH",
                ],
            );
        }
        assert!(!out.exists());
    }
}
