//! A process's place among the others, as launchers tell it in environment variables.

use super::share::Share;
use super::slurm;
use crate::device::Device;
use crate::error::{Error, Result};

/// Where PyTorch's examples meet.
const USUAL_PORT: u16 = 29_500;
const LOOPBACK: &str = "127.0.0.1";

/// A process's place among those of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub share: Share,
    /// Its number among the processes of this machine, and theirs.
    pub local_rank: usize,
    pub local_world: usize,
    /// Where process 0, or the launcher's agent, is met.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether the launcher serves a store there.
    pub(super) has_agent: bool,
}

/// The variables of a launcher: rank, world size, rank on the machine, processes on the machine.
type Names = [&'static str; 4];

const PYTORCH: Names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"];
const OPEN_MPI: Names = [
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
];

/// Environment variables by name.
type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Place {
    /// The place that PyTorch's launchers, Open MPI or Slurm gave this process; `None` where it is
    /// alone. Empty variables are unset ones.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the variable that is missing or makes no sense.
    pub(crate) fn from_environment() -> Result<Option<Self>> {
        Self::read(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(variable: &Environment<'_>) -> Result<Option<Self>> {
        let has = |name: &str| variable(name).is_some();
        let place = if has(PYTORCH[0]) || has(PYTORCH[1]) {
            Self::named(PYTORCH, variable)?
        } else if has(OPEN_MPI[0]) && has(OPEN_MPI[1]) {
            Self::named(OPEN_MPI, variable)?
        } else if let Some(names) = slurm::names(variable) {
            Self::named(names, variable)?
        } else {
            return Ok(None);
        };
        Ok(Some(place).filter(|place| place.share.world > 1))
    }

    fn named(names: Names, variable: &Environment<'_>) -> Result<Self> {
        let [rank_name, world_name, local_rank_name, local_world_name] = names;
        let required = |name: &str, other: &str| -> Result<usize> {
            let missing = || format!("{other} is set and {name} is not: set both or neither");
            Ok(number(variable, name)?.ok_or_else(|| Error::Usage(missing()))?)
        };
        let rank = required(rank_name, world_name)?;
        let world = required(world_name, rank_name)?;
        if rank >= world {
            let message = format!(
                "{rank_name} is {rank}, but {world_name} is {world}: ranks are counted from 0"
            );
            return Err(Error::Usage(message).into());
        }
        let local_rank = number(variable, local_rank_name)?.unwrap_or(0);
        let local_world = match number(variable, local_world_name)? {
            Some(local_world) => local_world,
            None => local_rank + 1,
        };
        if local_rank >= local_world || local_world > world {
            let message = format!(
                "{local_rank_name} is {local_rank}, {local_world_name} {local_world} and \
                 {world_name} {world}, which do not fit together"
            );
            return Err(Error::Usage(message).into());
        }
        let place = Self {
            share: Share { rank, world },
            local_rank,
            local_world,
            host: String::new(),
            port: 0,
            has_agent: variable("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True"),
        };
        let is_local = names != PYTORCH && local_world == world;
        place.met(is_local, variable)
    }

    fn met(self, is_local: bool, variable: &Environment<'_>) -> Result<Self> {
        if self.share.world == 1 {
            return Ok(self);
        }
        let host = variable("MASTER_ADDR").or_else(|| slurm::first_host(variable));
        let host = host.or_else(|| is_local.then(|| LOOPBACK.into()));
        let port =
            match number(variable, "MASTER_PORT")? {
                Some(port) => Some(u16::try_from(port).map_err(|_| {
                    Error::Usage(format!("MASTER_PORT is {port}, which is no port"))
                })?),
                None => slurm::port(variable).or_else(|| is_local.then_some(USUAL_PORT)),
            };
        let missing = |name: &str, what: &str| {
            let world = self.share.world;
            Error::Usage(format!(
                "{name} is not set: the {world} processes need {what} to meet"
            ))
        };
        Ok(Self {
            host: host.ok_or_else(|| missing("MASTER_ADDR", "the host of process 0"))?,
            port: port.ok_or_else(|| missing("MASTER_PORT", "a port of that host"))?,
            ..self
        })
    }

    /// The device of this process, where those of its machine compute on one like this.
    pub(crate) fn device(&self, device: Device) -> Device {
        crate::torch::of_process(device, self.local_rank)
    }

    /// The place, where so many processes have turned out to be on this machine: not all launchers tell.
    pub(super) fn among(self, found: usize) -> Self {
        Self {
            local_world: self.local_world.max(found),
            ..self
        }
    }

    /// Whether all processes are on this machine.
    pub(crate) fn is_one_machine(&self) -> bool {
        self.local_world == self.share.world
    }
}

/// A variable that is a whole number.
pub(super) fn number(variable: &Environment<'_>, name: &str) -> Result<Option<usize>> {
    let Some(text) = variable(name) else {
        return Ok(None);
    };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| {
        Error::Usage(format!("{name} is {text:?}, which is not a whole number")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        Place::read(&|name| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    const MASTER: [(&str, &str); 2] = [("MASTER_ADDR", "trainer-0"), ("MASTER_PORT", "23456")];

    #[test]
    fn launchers_tell_the_place() {
        let torchrun = [
            ("RANK", "5"),
            ("WORLD_SIZE", "8"),
            ("LOCAL_RANK", "1"),
            ("LOCAL_WORLD_SIZE", "4"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
            // Others may be set on the same cluster.
            ("OMPI_COMM_WORLD_RANK", "0"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
        ];
        let place = read(&[&torchrun[..], &MASTER].concat()).unwrap().unwrap();
        assert_eq!(place.share, Share { rank: 5, world: 8 });
        assert_eq!((place.local_rank, place.local_world), (1, 4));
        assert_eq!((&*place.host, place.port), ("trainer-0", 23_456));
        assert!(place.has_agent && !place.is_one_machine());

        // A PyTorchJob runs one process a pod.
        let pod = [("RANK", "1"), ("WORLD_SIZE", "2")];
        let place = read(&[&pod[..], &MASTER].concat()).unwrap().unwrap();
        assert_eq!((place.local_rank, place.local_world), (0, 1));
        assert!(!place.has_agent);

        let mpi = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ];
        let place = read(&mpi).unwrap().unwrap();
        assert_eq!((&*place.host, place.port), ("127.0.0.1", 29_500));
        assert!(place.is_one_machine());
    }

    #[test]
    fn slurm_tells_the_place_of_a_step() {
        let step = [
            ("SLURM_STEP_ID", "0"),
            ("SLURM_PROCID", "3"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_NTASKS_PER_NODE", "2"),
            ("SLURM_STEP_NODELIST", "gpu[07-08],big3"),
            ("SLURM_JOB_ID", "1234567"),
        ];
        let place = read(&step).unwrap().unwrap();
        assert_eq!(place.share, Share { rank: 3, world: 4 });
        assert_eq!((place.local_rank, place.local_world), (1, 2));
        assert_eq!((&*place.host, place.port), ("gpu07", 19_567));
        // What a batch script runs by itself is one process, whatever the job has.
        assert_eq!(read(&step[1..]).unwrap(), None);
    }

    #[test]
    fn a_process_alone_has_no_place() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let both = [("RANK", "0"), ("WORLD_SIZE", "2")];
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[("WORLD_SIZE", "2")], "RANK is not"),
            (&[("RANK", "0")], "WORLD_SIZE is not"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")], "RANK is 2, but"),
            (&[("RANK", "-1"), ("WORLD_SIZE", "2")], "RANK is \"-1\""),
            (&both, "MASTER_ADDR is not set"),
            (
                &[&both[..], &MASTER[..1]].concat(),
                "MASTER_PORT is not set",
            ),
            (
                &[&both[..], &[("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "1")]].concat(),
                "do not fit together",
            ),
        ];
        for (variables, words) in cases {
            let error = read(variables).unwrap_err();
            assert_eq!(crate::error::exit_code(&error), 2);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
