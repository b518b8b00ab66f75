//! Lets the binary find libtorch at run time: beside itself in a package, or where it was linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
        println!("cargo::rustc-link-arg=-Wl,-rpath,{libtorch}");
    }
}
