//! libtorch, opened when one of its functions is first called, or where it is asked for: a program that does not
//! need it starts without the time and the memory that its constructors take.
//!
//! `build.rs` links tch's C functions over libtorch, and those of the collectives, as a library with a table
//! of them. Here are functions of the same names that jump by that table, once it is filled.

use std::arch::global_asm;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY, RTLD_LOCAL};

use super::threads;
use crate::error::{Error, Result, exit_code};

/// The library of functions, which is part of the program.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libtorch_functions.so"));

/// Whether it was linked against a libtorch with CUDA.
const CUDA: bool = matches!(env!("FLOWERS_LIBTORCH_CUDA").as_bytes(), b"true");

/// Null until libtorch is open.
static TABLE: [AtomicPtr<c_void>; number(env!("FLOWERS_LIBTORCH_FUNCTIONS"))] =
    [const { AtomicPtr::new(null_mut()) }; number(env!("FLOWERS_LIBTORCH_FUNCTIONS"))];

const fn number(digits: &str) -> usize {
    let mut number = 0;
    let mut at = 0;
    while at < digits.len() {
        number = 10 * number + (digits.as_bytes()[at] - b'0') as usize;
        at += 1;
    }
    number
}

// A function's arguments are kept in their registers (System V ABI) while libtorch is opened.
global_asm!(
    ".macro libtorch_function name, index",
    ".globl \\name",
    ".type \\name, @function",
    "\\name:",
    "mov r11, qword ptr [rip + {table} + 8 * \\index]",
    "test r11, r11",
    "jz 2f",
    "jmp r11",
    "2: mov r11d, \\index",
    "jmp 9f",
    ".size \\name, . - \\name",
    ".endm",
    ".pushsection .text.libtorch_functions, \"ax\", @progbits",
    include_str!(concat!(env!("OUT_DIR"), "/functions.s")),
    "9:",
    "push rax",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push r8",
    "push r9",
    "push r11",
    "sub rsp, 136",
    "movups [rsp], xmm0",
    "movups [rsp + 16], xmm1",
    "movups [rsp + 32], xmm2",
    "movups [rsp + 48], xmm3",
    "movups [rsp + 64], xmm4",
    "movups [rsp + 80], xmm5",
    "movups [rsp + 96], xmm6",
    "movups [rsp + 112], xmm7",
    "call {open}",
    "movups xmm0, [rsp]",
    "movups xmm1, [rsp + 16]",
    "movups xmm2, [rsp + 32]",
    "movups xmm3, [rsp + 48]",
    "movups xmm4, [rsp + 64]",
    "movups xmm5, [rsp + 80]",
    "movups xmm6, [rsp + 96]",
    "movups xmm7, [rsp + 112]",
    "add rsp, 136",
    "pop r11",
    "pop r9",
    "pop r8",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "pop rax",
    "lea r10, [rip + {table}]",
    "jmp qword ptr [r10 + 8 * r11]",
    ".popsection",
    table = sym TABLE,
    open = sym open_or_exit,
);

static OPENED: OnceLock<Result<(), String>> = OnceLock::new();

/// Opens libtorch, for a caller that can't be told of an error.
extern "C" fn open_or_exit() {
    if let Err(cause) = open() {
        let _ = writeln!(io::stderr(), "error: {cause:#}");
        std::process::exit(exit_code(&cause).into());
    }
}

/// Opens libtorch, unless it is open.
///
/// # Errors
/// [`Error::Environment`] when it is not found or can't be loaded.
pub(crate) fn open() -> Result<()> {
    if let Err(reason) = OPENED.get_or_init(fill) {
        let remedy = "set LD_LIBRARY_PATH to the folder lib of the libtorch that it was built with";
        return Err(
            Error::Environment(format!("libtorch can't be loaded: {reason}; {remedy}")).into(),
        );
    }
    threads::tell_libtorch();
    Ok(())
}

pub(super) fn is_open() -> bool {
    matches!(OPENED.get(), Some(Ok(())))
}

/// Whether libtorch has to be asked for its GPUs.
pub(super) fn may_have_gpus() -> bool {
    CUDA
}

fn fill() -> Result<(), String> {
    let said = |cause: libloading::Error| said(&cause.into());
    let names: &[&str] = match CUDA {
        true => &["libtorch_cpu.so", "libtorch_cuda.so"],
        false => &["libtorch_cpu.so"],
    };
    for name in names {
        // SAFETY: the libraries that this program was linked for, whose constructors would have run at its
        // start.
        let opened = unsafe { Library::open(Some(*name), RTLD_LAZY | RTLD_GLOBAL) };
        std::mem::forget(opened.map_err(said)?);
    }
    let functions = loaded()?;
    // SAFETY: build.rs wrote the table, of as many functions, and the library is never closed.
    let found = unsafe {
        let table = functions
            .get::<*mut c_void>(b"flowers_libtorch\0")
            .map_err(said)?;
        &*table.into_raw().cast::<[*mut c_void; TABLE.len()]>()
    };
    for (place, &function) in TABLE.iter().zip(found) {
        place.store(function, Ordering::Release);
    }
    std::mem::forget(functions);
    Ok(())
}

/// The library, from a file without a name: in memory, or, where the system allows no code there, in the folder
/// for temporary files.
fn loaded() -> Result<Library, String> {
    type Source = fn() -> io::Result<File>;
    let sources: [Source; 2] = [
        || {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            Ok(rustix::fs::memfd_create("libtorch_functions.so", flags)?.into())
        },
        tempfile::tempfile,
    ];
    let load = |source: &Source| -> Result<Library> {
        let mut file = source()?;
        file.write_all(LIBRARY)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: its constructors are those of the C++ code in it. tch's callbacks for streams, which are not
        // used here, stay unresolved.
        Ok(unsafe { Library::open(Some(&path), RTLD_LAZY | RTLD_LOCAL) }?)
    };
    let mut reasons = sources
        .iter()
        .map(load)
        .map(|loaded| loaded.map_err(|cause| said(&cause)));
    let first = reasons.next().unwrap_or_else(|| Err(String::new()));
    first.or_else(|reason| reasons.next().and_then(Result::ok).ok_or(reason))
}

/// With the loader's own words, which are the cause's cause.
fn said(cause: &anyhow::Error) -> String {
    format!("{cause:#}")
}
