//! Lets the binary find libtorch at run time: beside itself in a package, or where it was linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    let beside = if linux {
        "$ORIGIN/../lib"
    } else {
        "@executable_path/../lib"
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{beside}");
    if let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}");
    }
    if linux {
        // Linkers that drop what no symbol needs would drop the CUDA half of libtorch.
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch");
    }
}
