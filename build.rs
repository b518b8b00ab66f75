//! Lets the binary find libtorch at run time: installed with it, beside it in a package, or where it
//! was linked.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    say_what_is_slow();
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    let own = if linux { "$ORIGIN" } else { "@executable_path" };
    for folder in ["lib/flowers", "lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{own}/../{folder}");
    }
    if let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}");
    }
    if linux {
        // Linkers that drop what no symbol needs would drop the CUDA half of libtorch.
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch");
    }
}

/// libjpeg-turbo's fast code for these processors is written for an assembler of its own.
fn say_what_is_slow() {
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let needed = matches!(target.as_str(), "x86" | "x86_64");
    if needed && Command::new("nasm").arg("-v").output().is_err() {
        println!(
            "cargo::warning=without nasm, JPEGs are decoded at about half the speed: install it, \
             then `cargo clean --release -p mozjpeg-sys` and build again"
        );
    }
}
