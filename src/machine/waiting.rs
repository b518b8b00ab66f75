//! How the threads of an operator wait for each other: awake while the machine is free, asleep while
//! others need it.
//!
//! libgomp's threads spin at each barrier for some milliseconds before they sleep, which is fastest
//! on a machine of their own and takes the processor from whoever else computes. Once it has more
//! threads than there are processors, it lets them sleep almost at once (see `GOMP_SPINCOUNT` in its
//! manual). So while others compute here, a second team of threads is kept, which does nothing.

use std::env;
use std::ffi::{c_uint, c_void};
use std::fs;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// How often the machine is looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// Processors that others take from our threads before those sleep, and below which they stay awake.
const CROWDED: f64 = 0.25;
const FREE: f64 = 0.1;
/// With one of them set, the user has decided.
const VARIABLES: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];

/// The most threads that an operator has been computed with.
static THREADS: AtomicUsize = AtomicUsize::new(1);

/// Begins to follow what the machine has free, for operators that are computed by so many threads of a
/// library that is loaded. Does nothing where its OpenMP is not libgomp or the system does not tell.
pub(super) fn follow_load(threads: usize) {
    static START: Once = Once::new();
    THREADS.fetch_max(threads, Ordering::Relaxed);
    if threads > 1 && !VARIABLES.iter().any(|name| env::var_os(name).is_some()) {
        START.call_once(|| {
            if let Some(parallel) = gomp_parallel() {
                // Without the thread the operators are what they were.
                let watch = move || watch(parallel);
                thread::Builder::new().name("load".into()).spawn(watch).ok();
            }
        });
    }
}

fn watch(parallel: GompParallel) {
    let mut idle = None;
    let Some(mut last) = Usage::now() else {
        return;
    };
    loop {
        thread::sleep(PERIOD);
        let Some(now) = Usage::now() else {
            return;
        };
        let lacking = now.taken_since(&last, THREADS.load(Ordering::Relaxed));
        if lacking < FREE {
            idle = None;
        } else if lacking > CROWDED && idle.is_none() {
            idle = IdleTeam::start(parallel, now.processors);
        }
        last = now;
    }
}

/// Processor time in ticks since the system and this process started.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    /// Processors that this process may run on.
    processors: usize,
    /// Of all of them, idle time included.
    total: u64,
    /// In which they worked for anybody, or for other virtual machines.
    busy: u64,
    /// In which they worked for this process.
    own: u64,
}

impl Usage {
    fn now() -> Option<Self> {
        let read = |path| fs::read_to_string(path).ok();
        Self::parse(
            &read("/proc/stat")?,
            &read("/proc/self/status")?,
            &read("/proc/self/stat")?,
        )
    }

    fn parse(system: &str, status: &str, process: &str) -> Option<Self> {
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?
            .trim();
        let (mut processors, mut total, mut busy) = (0, 0, 0);
        for line in system.lines() {
            let mut fields = line.split_whitespace();
            let number = fields.next().and_then(|name| name.strip_prefix("cpu"));
            let Some(number) = number.and_then(|number| number.parse().ok()) else {
                continue;
            };
            if lists(allowed, number) {
                // user nice system idle iowait irq softirq steal
                let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
                let all: u64 = ticks.get(..8)?.iter().sum();
                processors += 1;
                total += all;
                busy += all - ticks[3] - ticks[4];
            }
        }
        // The name in parentheses may hold anything.
        let (_, fields) = process.rsplit_once(')')?;
        let mut times = fields.split_whitespace().skip(11);
        let mut time = || times.next()?.parse::<u64>().ok();
        let own = time()? + time()?;
        Some(Self {
            processors,
            total,
            busy,
            own,
        })
    }

    /// How many processors others have taken from `threads` threads since an earlier time.
    fn taken_since(&self, earlier: &Self, threads: usize) -> f64 {
        let since = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let ticks = since(self.total, earlier.total) / self.processors.max(1) as f64;
        let others = since(self.busy, earlier.busy) - since(self.own, earlier.own);
        let free = self.processors as f64 - others / ticks.max(1.0);
        threads.min(self.processors) as f64 - free
    }
}

/// Whether a list like `0-3,8` has a number.
fn lists(list: &str, number: u32) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let holds = |first: u32, last: u32| (first..=last).contains(&number);
        matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if holds(first, last))
    })
}

/// OpenMP threads that do nothing, more than there are processors, until it is dropped.
struct IdleTeam {
    /// Its end ends them.
    _end: Sender<()>,
}

/// Runs a function in each thread of a team.
type GompParallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

impl IdleTeam {
    fn start(parallel: GompParallel, processors: usize) -> Option<Self> {
        let team = c_uint::try_from(processors + 1).ok()?;
        let (end, ended) = channel::<()>();
        let keep = move || {
            // SAFETY: the function has the signature of GCC's manual, and each thread of the team
            // runs `nothing`, which ignores the null pointer.
            unsafe { parallel(nothing, ptr::null_mut(), team, 0) };
            // libgomp keeps a team for as long as the thread that made it lives.
            ended.recv().ok();
        };
        let started = thread::Builder::new().name("idle".into()).spawn(keep);
        started.ok().map(|_| Self { _end: end })
    }
}

extern "C" fn nothing(_: *mut c_void) {}

/// libgomp's `GOMP_parallel`, of GCC 4.9 and later, if that is what libtorch or oneDNN has loaded.
#[cfg(target_os = "linux")]
fn gomp_parallel() -> Option<GompParallel> {
    // SAFETY: the names are C strings, and looking them up runs no code of ours and loads nothing.
    let found = unsafe {
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
        let loaded = libc::dlopen(c"libgomp.so.1".as_ptr(), flags);
        let scope = if loaded.is_null() {
            libc::RTLD_DEFAULT
        } else {
            loaded
        };
        libc::dlsym(scope, c"GOMP_parallel".as_ptr())
    };
    // SAFETY: a symbol of that name is this function in every OpenMP runtime that has it.
    (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, GompParallel>(found) })
}

#[cfg(not(target_os = "linux"))]
fn gomp_parallel() -> Option<GompParallel> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nCpus_allowed_list:\t0,2-3\n";

    fn usage(system: &str, own: &str) -> Usage {
        Usage::parse(system, STATUS, own).unwrap()
    }

    #[test]
    fn what_others_take_is_seen_on_the_processors_that_are_ours() {
        let before = usage(
            "cpu  1 1 1 1\ncpu0 0 0 0 100 0 0 0 0\ncpu1 9 9 9 9 9 9 9 9\n\
             cpu2 0 0 0 100 0 0 0 0\ncpu3 0 0 0 100 0 0 0 0\nintr 5\n",
            "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 10 20 0 0",
        );
        assert_eq!((before.processors, before.total, before.own), (3, 300, 30));
        // In 100 ticks: 150 of this process, 60 of others, 10 of other machines.
        let after = usage(
            "cpu0 80 0 20 100 0 0 0 0\ncpu1 99 9 9 9 9 9 9 9\n\
             cpu2 60 20 0 120 0 0 0 0\ncpu3 20 5 0 165 0 0 0 10\n",
            "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 150 30 0 0",
        );
        let taken = |threads| after.taken_since(&before, threads);
        let others = 2.15 - 1.5;
        for (threads, expected) in [(2, others - 1.0), (3, others), (9, others)] {
            let taken = taken(threads);
            assert!((taken - expected).abs() < 1e-9, "{threads}: {taken}");
        }
    }

    #[test]
    fn lists_of_processors_are_read() {
        let listed = |list| (0..9).filter(|&n| lists(list, n)).collect::<Vec<u32>>();
        assert_eq!(listed("0-3"), [0, 1, 2, 3]);
        assert_eq!(listed("1,4-5,8"), [1, 4, 5, 8]);
        assert!(listed("").is_empty());
    }
}
