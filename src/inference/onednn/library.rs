//! oneDNN's library: where it is found, and whether it can be used here.

use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::OnceLock;

use super::ffi::{self, Functions, Status};
use super::found;
use crate::error::{Error, OutOfMemory, Result};
use crate::inference::Cpu;
use crate::machine;

/// Names a library of its own, in place of the one that is found.
pub(super) const VARIABLE: &str = "FLOWERS_ONEDNN";

/// The oldest release whose kernels were seen to be right: on AMX, the int8 convolutions of 3.2 give wrong
/// sums on maps of some sizes (MobileNetV2 at 96 pixels).
const OLDEST: (i32, i32) = (3, 6);

/// `dnnl_cpu_isa_avx2`; every later one has its bits.
const AVX2: u32 = 0x7;

/// The library and its engine for the CPU.
pub(super) struct OneDnn {
    pub(super) functions: Functions,
    pub(super) engine: *mut ffi::Engine,
    pub(super) version: (i32, i32, i32),
}

// SAFETY: the functions may be called from any thread, and an engine for CPUs has no state that they
// change: <https://uxlfoundation.github.io/oneDNN/dev_guide_concepts.html> has only streams, primitives
// with a scratchpad of their own and memory bound to one thread at a time.
unsafe impl Send for OneDnn {}
// SAFETY: as above.
unsafe impl Sync for OneDnn {}

impl OneDnn {
    /// The library, which is looked for once.
    ///
    /// # Errors
    /// [`Error::Environment`] with the reason when it can't be used here, and the remedy.
    pub(super) fn get() -> Result<&'static Self> {
        static FOUND: OnceLock<Result<OneDnn, String>> = OnceLock::new();
        match FOUND.get_or_init(Self::find) {
            Ok(found) => Ok(found),
            Err(reason) => Err(Error::Environment(reason.clone()).into()),
        }
    }

    fn find() -> Result<Self, String> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err("oneDNN is used on x86-64 processors under Linux only".into());
        }
        if let Some(named) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) {
            let named = PathBuf::from(named);
            let found = Self::open(&named);
            let found = found.map_err(|why| format!("{VARIABLE}={}: {why}", named.display()));
            return found?.on_this_processor();
        }
        let mut reasons = Vec::new();
        for file in found::files() {
            match Self::open(&file) {
                Ok(found) => return found.on_this_processor(),
                Err(why) => reasons.push(format!("{}: {why}", file.display())),
            }
        }
        let reason = reasons.into_iter().next();
        Err(format!(
            "{}; put libdnnl.so.3 of oneDNN {}.{} or later beside libtorch, for example from the Python \
             package paddlepaddle, or name it by {VARIABLE}",
            reason.unwrap_or("libdnnl.so.3 is not there".into()),
            OLDEST.0,
            OLDEST.1
        ))
    }

    fn on_this_processor(self) -> Result<Self, String> {
        // SAFETY: it takes nothing.
        match unsafe { (self.functions.effective_isa)() } & AVX2 {
            AVX2 => Ok(self),
            _ => Err("its fast kernels need a processor with AVX2".into()),
        }
    }

    fn open(path: &Path) -> Result<Self, String> {
        found::check(path)?;
        let mut version = (0, 0, 0);
        let functions = Functions::open(path, |found| {
            version = (found.major, found.minor, found.patch);
            let (major, minor) = OLDEST;
            if found.major != major || found.minor < minor {
                return Err(format!(
                    "oneDNN {}.{} is not one of the releases from {major}.{minor} to {major}.x",
                    found.major, found.minor
                ));
            }
            match found.cpu_runtime {
                ffi::OPENMP => Ok(()),
                _ => Err("this oneDNN was not built for OpenMP".into()),
            }
        })?;
        let mut engine = null_mut();
        // SAFETY: a place for the result, and the first CPU, which there is.
        let status = unsafe { (functions.engine_create)(&mut engine, ffi::CPU, 0) };
        if status != ffi::SUCCESS {
            return Err(format!("oneDNN finds no CPU (status {status})"));
        }
        Ok(Self {
            functions,
            engine,
            version,
        })
    }

    /// Threads of a primitive that is made, or run, on the calling thread.
    pub(super) fn threads(&self) -> usize {
        machine::tell_onednn(|threads| self.set_threads(threads));
        // SAFETY: it takes nothing.
        let threads = unsafe { (self.functions.max_threads)() };
        usize::try_from(threads).unwrap_or(1).max(1)
    }

    /// Runs code with another number of threads.
    pub(super) fn with_threads<T>(&self, threads: usize, run: impl FnOnce() -> T) -> T {
        let before = self.threads();
        self.set_threads(threads);
        let result = run();
        self.set_threads(before);
        result
    }

    /// Sets the threads of the calling thread's primitives.
    pub(super) fn set_threads(&self, threads: usize) {
        let threads = i32::try_from(threads.max(1)).unwrap_or(i32::MAX);
        // SAFETY: a positive number, and a setting of the calling thread.
        unsafe { (self.functions.set_threads)(threads) }
    }

    /// # Errors
    /// [`Error::Environment`] when memory ran out; else the call that failed and its status.
    pub(super) fn check(&self, what: &str, status: Status) -> Result<()> {
        match status {
            ffi::SUCCESS => Ok(()),
            ffi::OUT_OF_MEMORY => {
                let remedy = "use smaller batches, or fewer threads".into();
                Err(OutOfMemory::OfMachine.error(remedy))
            }
            ffi::UNIMPLEMENTED => anyhow::bail!("oneDNN {self} has no kernel for {what}"),
            status => anyhow::bail!("oneDNN {self}: {what} failed with status {status}"),
        }
    }
}

/// The version.
impl fmt::Display for OneDnn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What `flowers info --backends` says of it.
///
/// # Errors
/// As [`OneDnn::get`].
pub(in crate::inference) fn status() -> Result<String> {
    let found = OneDnn::get()?;
    let cpu = Cpu::detect();
    let fast = match (cpu.amx, cpu.bfloat16, cpu.int8) {
        (true, _, _) => "bfloat16 and int8 on AMX tiles",
        (_, true, _) => "bfloat16 and int8 dot products",
        (_, _, true) => "int8 dot products",
        _ => "vectors alone",
    };
    Ok(format!("oneDNN {found}, {fast}; devices: cpu"))
}

/// The backend's name with the library's version.
pub(in crate::inference) fn version() -> String {
    OneDnn::get().map_or("onednn".into(), |found| format!("onednn {found}"))
}

/// The text of a C string that the library keeps.
pub(super) fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and oneDNN's strings end in a zero byte and live as long as their primitive.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}
