//! What Slurm tells the processes that `srun` starts, as far as it is not PyTorch's convention.

type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The variables of a step's process: rank, world size, rank on the machine, processes on the machine;
/// `None` outside of steps. A batch script's own process has some of them too, but is one.
pub(super) fn names(variable: &Environment<'_>) -> Option<[&'static str; 4]> {
    let has = |name: &&str| variable(name).is_some();
    let is_step = ["SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"];
    let names = [
        "SLURM_PROCID",
        "SLURM_NTASKS",
        "SLURM_LOCALID",
        "SLURM_NTASKS_PER_NODE",
    ];
    (is_step.iter().any(has) && names[..2].iter().all(has)).then_some(names)
}

/// The first host of the step, where process 0 is.
pub(super) fn first_host(variable: &Environment<'_>) -> Option<String> {
    names(variable)?;
    let lists = [
        "SLURM_STEP_NODELIST",
        "SLURM_JOB_NODELIST",
        "SLURM_NODELIST",
    ];
    lists
        .iter()
        .find_map(|name| variable(name))
        .map(|list| first(&list))
}

/// `gpu07` of `gpu[07-08,11],big3`.
fn first(list: &str) -> String {
    let Some((name, ranges)) = list.split_once('[') else {
        return list.split(',').next().unwrap_or_default().into();
    };
    match name.split_once(',') {
        Some((whole, _)) => whole.into(),
        None => {
            let end = ranges.find(['-', ',', ']']).unwrap_or(ranges.len());
            let rest = ranges.split_once(']').map_or("", |(_, rest)| rest);
            let rest = rest.split(',').next().unwrap_or_default();
            format!("{name}{}{rest}", &ranges[..end])
        }
    }
}

/// A port that other jobs are unlikely to have.
pub(super) fn port(variable: &Environment<'_>) -> Option<u16> {
    names(variable)?;
    let job: u64 = variable("SLURM_JOB_ID")?.trim().parse().ok()?;
    u16::try_from(15_000 + job % 5_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_host_of_a_list_is_found() {
        for (list, host) in [
            ("n1", "n1"),
            ("n1,n2", "n1"),
            ("n[1-4]", "n1"),
            ("n[07,09-12],m3", "n07"),
            ("m3,n[07-09]", "m3"),
            ("n[1-2].cluster", "n1.cluster"),
        ] {
            assert_eq!(first(list), host);
        }
    }
}
