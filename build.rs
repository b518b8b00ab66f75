//! Lets the binary find libtorch at run time: installed with it, beside it in a package, or where it
//! was linked. Builds the interface to its collectives.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    say_what_is_slow();
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    let own = if linux { "$ORIGIN" } else { "@executable_path" };
    for folder in ["lib/flowers", "lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{own}/../{folder}");
    }
    println!("cargo::rustc-check-cfg=cfg(c10d)");
    if let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}");
        if linux {
            build_collectives(Path::new(&libtorch));
        }
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

/// Builds the interface to PyTorch's collectives, given libtorch's folder `lib`. A libtorch without them
/// leaves the program to train in one process.
fn build_collectives(lib: &Path) {
    const SOURCES: &str = "src/distributed/c10d";
    for name in [
        "LIBTORCH_INCLUDE",
        "LIBTORCH_CXX11_ABI",
        "CUDA_HOME",
        "NCCL_HOME",
        "CPATH",
    ] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rerun-if-changed={SOURCES}");
    let root = std::env::var("LIBTORCH_INCLUDE").map_or_else(|_| lib.join(".."), PathBuf::from);
    let include = root.join("include");
    let c10d = include.join("torch/csrc/distributed/c10d");
    if !c10d.join("ProcessGroupGloo.hpp").exists() {
        println!("cargo::warning=this libtorch has no collectives: training takes one process");
        return;
    }
    println!("cargo::rustc-cfg=c10d");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .warnings(false)
        .cargo_warnings(false)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", &*abi)
        .define("USE_C10D_GLOO", None)
        .include(SOURCES)
        .include(include.join("torch/csrc/api/include"))
        .include(&include)
        .file(format!("{SOURCES}/shim.cpp"));
    if lib.join("libtorch_cuda.so").exists() {
        let mut with_nccl = build.clone();
        with_nccl
            .define("USE_C10D_NCCL", None)
            .define("FLOWERS_NCCL", None)
            .includes(cuda_includes(lib));
        if with_nccl.try_compile("flowers_c10d").is_ok() {
            return;
        }
        println!(
            "cargo::warning=the headers of CUDA or NCCL are not found: training in several processes \
             will use Gloo; set CUDA_HOME and NCCL_HOME to have NCCL"
        );
    }
    build.compile("flowers_c10d");
}

/// Where the headers of CUDA and NCCL may be: in toolkits, or beside PyTorch's wheel in those of NVIDIA.
fn cuda_includes(lib: &Path) -> Vec<PathBuf> {
    let homes = ["CUDA_HOME", "NCCL_HOME"].map(|name| std::env::var(name).ok().map(PathBuf::from));
    let mut homes: Vec<PathBuf> = homes.into_iter().flatten().collect();
    homes.push("/usr/local/cuda".into());
    let wheels = lib.join("../../nvidia");
    homes.extend([wheels.join("cu13"), wheels.join("nccl")]);
    let includes = homes.iter().map(|home| home.join("include"));
    let includes = includes.flat_map(|include| [include.join("cccl"), include]);
    includes.filter(|include| include.exists()).collect()
}
