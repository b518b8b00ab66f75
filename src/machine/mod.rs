//! The machine that the program runs on.

mod threads;
mod waiting;

use std::collections::BTreeSet;

pub(crate) use threads::{set_threads, tell_libtorch, tell_onednn};

/// Processors that the program may use: those of the machine, or of its container's share.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads to compute with: one for each core of which the program may use a processor, as two on one core
/// share its arithmetic; no more than its container's share.
pub(crate) fn compute_threads() -> usize {
    cores_of(siblings()).map_or(cores(), |physical| physical.clamp(1, cores()))
}

/// The processors on the core of each that the program may use, as the system lists them, e.g. `0,64`.
#[cfg(target_os = "linux")]
fn siblings() -> Vec<Option<String>> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let Ok(allowed) = sched_getaffinity(None) else {
        return Vec::new();
    };
    let allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let list = |cpu| {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        std::fs::read_to_string(file).ok()
    };
    allowed.map(list).collect()
}

#[cfg(not(target_os = "linux"))]
fn siblings() -> Vec<Option<String>> {
    Vec::new()
}

/// How many cores such processors are on; `None` where the system does not tell.
fn cores_of(siblings: Vec<Option<String>>) -> Option<usize> {
    let cores: BTreeSet<String> = siblings.into_iter().collect::<Option<_>>()?;
    (!cores.is_empty()).then_some(cores.len())
}

/// What the processor calls itself where the system tells, else its architecture.
pub(crate) fn processor() -> String {
    let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = facts.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    model.unwrap_or_else(|| std::env::consts::ARCH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_of_one_core_count_once() {
        let listed = |lists: &[&str]| {
            let lists = lists.iter().map(|list| Some((*list).into()));
            cores_of(lists.collect())
        };
        assert_eq!(listed(&["0,2", "1,3", "0,2", "1,3"]), Some(2));
        assert_eq!(listed(&["0", "1"]), Some(2));
        assert_eq!(cores_of(vec![Some("0".into()), None]), None);
        assert_eq!(listed(&[]), None);
        assert!((1..=cores()).contains(&compute_threads()));
    }
}
