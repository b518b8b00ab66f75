//! Lets the binary find libtorch at run time: installed with it, beside it in a package, or where it
//! was linked. Builds the interface to its collectives, and, on x86-64 under Linux, the library by which
//! libtorch is loaded when it is first called.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(c10d)");
    println!("cargo::rustc-check-cfg=cfg(libtorch_on_demand)");
    say_what_is_slow();
    let linux = target("OS") == "linux";
    let own = if linux { "$ORIGIN" } else { "@executable_path" };
    for folder in ["lib/flowers", "lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{own}/../{folder}");
    }
    let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", libtorch.display());
    if !linux {
        return;
    }
    let collectives = build_collectives(&libtorch);
    if target("ARCH") == "x86_64" && is_usual(&libtorch) {
        let built = Interface::of(&libtorch).and_then(|found| found.build(collectives));
        match built {
            Ok(()) => return println!("cargo::rustc-cfg=libtorch_on_demand"),
            Err(reason) => {
                println!("cargo::warning=libtorch will be loaded at every start: {reason}")
            }
        }
    }
    if collectives {
        println!("cargo::rustc-link-lib=static={COLLECTIVES}");
        println!("cargo::rustc-link-search=native={}", out().display());
    }
    // Linkers that drop what no symbol needs would drop the CUDA half of libtorch.
    println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
    println!("cargo::rustc-link-arg=-ltorch");
}

fn target(property: &str) -> String {
    std::env::var(format!("CARGO_CFG_TARGET_{property}")).unwrap_or_default()
}

fn out() -> PathBuf {
    std::env::var_os("OUT_DIR").map_or_else(PathBuf::new, PathBuf::from)
}

/// libjpeg-turbo's fast code for these processors is written for an assembler of its own.
fn say_what_is_slow() {
    let needed = matches!(&*target("ARCH"), "x86" | "x86_64");
    if needed && Command::new("nasm").arg("-v").output().is_err() {
        println!(
            "cargo::warning=without nasm, JPEGs are decoded at about half the speed: install it, \
             then `cargo clean --release -p mozjpeg-sys` and build again"
        );
    }
}

const COLLECTIVES: &str = "flowers_c10d";

/// Compiles the interface to PyTorch's collectives, given libtorch's folder `lib`. Where that has none, which
/// `false` tells, the program trains in one process.
fn build_collectives(lib: &Path) -> bool {
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
        return false;
    }
    println!("cargo::rustc-cfg=c10d");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .warnings(false)
        .cargo_metadata(false)
        .cargo_warnings(false)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", &*abi)
        .define("USE_C10D_GLOO", None)
        .include(SOURCES)
        .include(include.join("torch/csrc/api/include"))
        .include(&include)
        .file(format!("{SOURCES}/shim.cpp"));
    if has_cuda(lib) {
        let mut with_nccl = build.clone();
        with_nccl
            .define("USE_C10D_NCCL", None)
            .define("FLOWERS_NCCL", None)
            .includes(cuda_includes(lib));
        if with_nccl.try_compile(COLLECTIVES).is_ok() {
            return true;
        }
        println!(
            "cargo::warning=the headers of CUDA or NCCL are not found: training in several processes \
             will use Gloo; set CUDA_HOME and NCCL_HOME to have NCCL"
        );
    }
    build.compile(COLLECTIVES);
    true
}

/// Whether libtorch is shared libraries, for CPUs alone or with CUDA.
fn is_usual(lib: &Path) -> bool {
    lib.join("libtorch_cpu.so").exists() && !lib.join("libtorch_hip.so").exists()
}

fn has_cuda(lib: &Path) -> bool {
    lib.join("libtorch_cuda.so").exists()
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

/// tch's C functions over libtorch, as the crate torch-sys compiled them.
struct Interface {
    archive: PathBuf,
    libtorch: PathBuf,
}

impl Interface {
    /// Beside this script's own output is that of torch-sys's, which tells what libtorch it was for.
    fn of(libtorch: &Path) -> Result<Self, String> {
        for name in ["NM", "CXX"] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        let told = format!("libtorch_lib={}", libtorch.display());
        let scripts = fs::read_dir(out().join("../..")).map_err(|cause| cause.to_string())?;
        let folders = scripts.flatten().map(|entry| entry.path());
        let matching = folders.filter(|folder| {
            let said = fs::read_to_string(folder.join("output")).unwrap_or_default();
            said.lines().any(|line| line.ends_with(&told))
        });
        let archives = matching.map(|folder| folder.join("out/libtch.a"));
        let archives = archives.filter(|path| path.exists());
        let newest = archives.max_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
        Ok(Self {
            archive: newest.ok_or("what torch-sys compiled is not found")?,
            libtorch: libtorch.into(),
        })
    }

    /// Links the functions, those of the collectives too, as a library that has a table of them, and writes
    /// functions of the same names that jump by that table.
    ///
    /// # Errors
    /// Which tool is missing, or what failed; libtorch is linked as usual then.
    fn build(&self, collectives: bool) -> Result<(), String> {
        let mut archives = vec![self.archive.clone()];
        if collectives {
            archives.push(out().join(format!("lib{COLLECTIVES}.a")));
        }
        let names = functions(&archives)?;
        let mut table = String::from("typedef void function(void);\n");
        let mut jumps = String::new();
        for (index, name) in names.iter().enumerate() {
            let _ = writeln!(table, "extern function {name};");
            let _ = writeln!(jumps, "libtorch_function {name}, {index}");
        }
        let entries = names.join(", ");
        let _ = writeln!(
            table,
            "function *const flowers_libtorch[] = {{ {entries} }};"
        );
        fs::write(out().join("table.c"), table)
            .and_then(|()| fs::write(out().join("functions.s"), jumps))
            .map_err(|cause| cause.to_string())?;
        self.link(&archives)?;
        println!(
            "cargo::rustc-env=FLOWERS_LIBTORCH_FUNCTIONS={}",
            names.len()
        );
        println!(
            "cargo::rustc-env=FLOWERS_LIBTORCH_CUDA={}",
            has_cuda(&self.libtorch)
        );
        Ok(())
    }

    fn link(&self, archives: &[PathBuf]) -> Result<(), String> {
        let table = cc::Build::new()
            .cargo_metadata(false)
            .warnings(false)
            .pic(true)
            .file(out().join("table.c"))
            .try_compile_intermediates();
        let compiler = cc::Build::new().cpp(true).try_get_compiler();
        let mut link = compiler.map_err(|cause| cause.to_string())?.to_command();
        link.args(["-shared", "-s", "-Wl,--exclude-libs,ALL", "-o"])
            .arg(out().join("libtorch_functions.so"))
            .args(table.map_err(|cause| cause.to_string())?)
            .args(archives)
            .arg(format!("-L{}", self.libtorch.display()))
            .args(["-lc10", "-ltorch_cpu"]);
        if has_cuda(&self.libtorch) {
            link.args(["-lc10_cuda", "-ltorch_cuda"]);
        }
        match link.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("linking its functions failed ({status})")),
            Err(cause) => Err(cause.to_string()),
        }
    }
}

/// The C functions of archives, by name.
///
/// # Errors
/// That the program `nm` is missing or can't read them.
fn functions(archives: &[PathBuf]) -> Result<Vec<String>, String> {
    let nm = std::env::var_os("NM").unwrap_or("nm".into());
    let listed = Command::new(&nm)
        .args(["--defined-only", "--extern-only", "--format=posix"])
        .args(archives)
        .output()
        .map_err(|cause| format!("{}: {cause}", nm.display()))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let symbols = listed.lines().filter_map(|line| line.split_once(" T "));
    let mut names: Vec<String> = symbols
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.starts_with("_Z"))
        .collect();
    names.sort();
    names.dedup();
    match names.is_empty() {
        true => Err(format!("{} lists no functions", nm.display())),
        false => Ok(names),
    }
}
