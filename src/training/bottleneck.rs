//! Which part holds a run up, and what would ease that.

use serde::Serialize;

use super::config::Config;
use super::phase::Frozen;
use super::precision::{Precision, PrecisionChoice};
use super::profile::{Profile, WorkerSeconds};
use crate::data::CacheMode;
use crate::device::Device;
use crate::machine;

/// The part of a run that its speed depends on most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bottleneck {
    Photos,
    Network,
    Optimizer,
    Solver,
    Validation,
    Checkpoints,
}

/// Share of the time that the loop may wait for photos before they are what holds it up. Batches are
/// made ahead, so it hardly waits as long as they are made faster than they are used.
const WAITING: f64 = 0.1;

/// Share of all cores' time that photos may take on a CPU, where they and the network share the cores.
const OF_CORES: f64 = 1.0 / 3.0;

/// The machine and the choices that a profile was measured with.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    pub config: &'a Config,
    pub device: Device,
    pub cores: usize,
    /// Whether the network is trained faster in bfloat16 on the device.
    pub has_bfloat16: bool,
}

impl<'a> Conditions<'a> {
    /// Those of this machine.
    pub fn here(config: &'a Config, device: Device) -> Self {
        Self {
            config,
            device,
            cores: machine::cores(),
            has_bfloat16: is_faster_in_bfloat16(config, device),
        }
    }
}

fn is_faster_in_bfloat16(config: &Config, device: Device) -> bool {
    let graph = config.arch.graph(&config.model_options(2));
    let precision = graph.map(|graph| PrecisionChoice::Auto.resolve(device, &graph));
    precision.is_ok_and(|precision| precision == Precision::Bfloat16)
}

impl Profile {
    /// The part that holds the run up; `None` for a run that took no time.
    ///
    /// Photos, when the loop waits for more than a tenth of its time, or when loading them takes a
    /// third of the cores that the network computes on; else the part that takes longest.
    pub fn bottleneck(&self, conditions: &Conditions<'_>) -> Option<Bottleneck> {
        if self.total <= 0.0 {
            return None;
        }
        let is_cpu = conditions.device == Device::Cpu;
        let busy = self.workers.decoding + self.workers.augmenting;
        let of_cores = busy / (self.total * conditions.cores.max(1) as f64);
        if self.waiting > WAITING * self.total || (is_cpu && of_cores > OF_CORES) {
            return Some(Bottleneck::Photos);
        }
        let (network, optimizer) = match is_cpu {
            true => (self.features + self.forward + self.backward, self.optimizer),
            false => (self.features + self.steps(), 0.0),
        };
        let parts = [
            (Bottleneck::Network, network),
            (Bottleneck::Optimizer, optimizer),
            (Bottleneck::Solver, self.solver),
            (Bottleneck::Validation, self.validation),
            (Bottleneck::Checkpoints, self.checkpoints),
        ];
        let longest = parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        longest.map(|(part, _)| part)
    }

    /// Options of `flowers train` that shorten a part, the most effective first; never empty.
    pub fn advice(&self, bottleneck: Bottleneck, conditions: &Conditions<'_>) -> Vec<String> {
        let &Conditions {
            config,
            cores,
            has_bfloat16,
            ..
        } = conditions;
        let option = |applies: bool, text: &str| applies.then(|| text.to_owned());
        let is_large = !config.arch.name.starts_with("mobilenet");
        let mut phases = config.phases().into_iter();
        let trains_all = phases.any(|phase| phase.frozen == Frozen::Nothing);
        let advice: Vec<Option<String>> = match bottleneck {
            Bottleneck::Photos => {
                let WorkerSeconds {
                    reading,
                    decoding,
                    augmenting,
                } = self.workers;
                vec![
                    (config.workers < cores).then(|| format!("--workers {cores}")),
                    option(
                        config.cache == CacheMode::Off && reading + decoding > augmenting,
                        "--cache ram",
                    ),
                    option(true, "a smaller --image-size"),
                ]
            }
            Bottleneck::Network => vec![
                option(
                    has_bfloat16 && config.precision == PrecisionChoice::Float32,
                    "--precision bfloat16",
                ),
                option(trains_all, "--recipe fast"),
                option(is_large, "--arch mobilenet_v2"),
                option(true, "a smaller --image-size"),
            ],
            Bottleneck::Optimizer => vec![
                option(true, "a larger --batch-size"),
                option(trains_all, "--freeze-until"),
            ],
            Bottleneck::Solver => vec![option(true, "a shorter --time-budget")],
            Bottleneck::Validation => vec![option(true, "fewer validation photos (--val)")],
            Bottleneck::Checkpoints => vec![
                option(config.checkpoint_minutes > 0.0, "--checkpoint-minutes 0"),
                option(true, "a faster disk for --out"),
            ],
        };
        advice.into_iter().flatten().collect()
    }
}

/// The profile of a run with what follows from it, as `profile.json` and `--json` hold it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileReport {
    /// The sum over the epochs that were measured.
    pub run: Profile,
    /// Epochs of the run, and how many of them were measured: not those of an older version.
    pub epochs: usize,
    pub measured_epochs: usize,
    /// Whether forward pass, backward pass and optimizer are told apart: not on a GPU, where they are
    /// queued.
    pub synchronised: bool,
    pub bottleneck: Option<Bottleneck>,
    /// What would ease it, the most effective first.
    pub advice: Vec<String>,
    pub per_epoch: Vec<Profile>,
    #[serde(skip)]
    device: Device,
}

impl ProfileReport {
    /// The report of a run that has trained for `epochs` epochs, the last of which were measured.
    pub fn new(measured: &[Profile], epochs: usize, conditions: &Conditions<'_>) -> Self {
        let run: Profile = measured.iter().copied().sum();
        let bottleneck = run.bottleneck(conditions);
        let advice = bottleneck.map(|bottleneck| run.advice(bottleneck, conditions));
        Self {
            run,
            epochs,
            measured_epochs: measured.len(),
            synchronised: conditions.device == Device::Cpu,
            bottleneck,
            advice: advice.unwrap_or_default(),
            per_epoch: measured.to_vec(),
            device: conditions.device,
        }
    }

    /// One line: the shares of the time, the bottleneck, and the options that would ease it; `None`
    /// when nothing was measured.
    pub fn summary(&self) -> Option<String> {
        let what = match self.bottleneck? {
            Bottleneck::Photos => "photos are",
            Bottleneck::Network => "the network is",
            Bottleneck::Optimizer => "the optimizer is",
            Bottleneck::Solver => "solving for the classifier is",
            Bottleneck::Validation => "validation is",
            Bottleneck::Checkpoints => "writing checkpoints is",
        };
        let shares = self.run.shares(self.device);
        let of = match self.measured_epochs == self.epochs {
            true => String::new(),
            false => format!(" (last {} of {} epochs)", self.measured_epochs, self.epochs),
        };
        let advice = self.advice.join(" or ");
        Some(format!(
            "{shares}{of}; {what} the bottleneck, which {advice} would ease"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Settings;

    fn config(arch: &str) -> Config {
        let settings = Settings {
            arch: Some(arch.into()),
            workers: Some(2),
            precision: Some(PrecisionChoice::Float32),
            ..Settings::default()
        };
        settings.resolve().unwrap()
    }

    fn on(config: &Config, device: Device, cores: usize) -> Conditions<'_> {
        Conditions {
            config,
            device,
            cores,
            has_bfloat16: true,
        }
    }

    /// Ten seconds on two cores, most of them in the network.
    fn computing() -> Profile {
        Profile {
            total: 10.0,
            features: 0.0,
            teaching: 0.0,
            waiting: 0.3,
            forward: 2.1,
            backward: 6.2,
            optimizer: 0.5,
            collectives: 0.0,
            solver: 0.0,
            validation: 0.7,
            checkpoints: 0.1,
            workers: WorkerSeconds {
                reading: 0.1,
                decoding: 2.0,
                augmenting: 1.0,
            },
        }
    }

    #[test]
    fn the_longest_part_is_the_bottleneck_unless_photos_are_waited_for() {
        let config = config("resnet18");
        let cpu = on(&config, Device::Cpu, 2);
        let found = |profile: Profile| profile.bottleneck(&cpu);
        assert_eq!(found(computing()), Some(Bottleneck::Network));
        let waiting = Profile {
            waiting: 1.1,
            ..computing()
        };
        assert_eq!(found(waiting), Some(Bottleneck::Photos));
        let optimizer = Profile {
            optimizer: 9.0,
            ..computing()
        };
        assert_eq!(found(optimizer), Some(Bottleneck::Optimizer));
        let solver = Profile {
            solver: 9.0,
            ..computing()
        };
        assert_eq!(found(solver), Some(Bottleneck::Solver));
        let validation = Profile {
            validation: 9.0,
            ..computing()
        };
        assert_eq!(found(validation), Some(Bottleneck::Validation));
        let checkpoints = Profile {
            checkpoints: 9.0,
            ..computing()
        };
        assert_eq!(found(checkpoints), Some(Bottleneck::Checkpoints));
        assert_eq!(found(Profile::default()), None);
    }

    #[test]
    fn photos_that_take_the_cores_from_the_network_are_the_bottleneck() {
        let config = config("resnet18");
        // 7 of 20 core seconds, though the loop hardly waits.
        let mut busy = computing();
        busy.workers.decoding = 6.0;
        let found = |device, cores| busy.bottleneck(&on(&config, device, cores));
        assert_eq!(found(Device::Cpu, 2), Some(Bottleneck::Photos));
        assert_eq!(found(Device::Cpu, 4), Some(Bottleneck::Network));
        assert_eq!(found(Device::Cuda(0), 2), Some(Bottleneck::Network));
    }

    #[test]
    fn advice_names_what_is_not_yet_chosen() {
        let advice = |config: &Config, cores, bottleneck| {
            computing().advice(bottleneck, &on(config, Device::Cpu, cores))
        };
        let resnet = config("resnet18");
        let network = [
            "--precision bfloat16",
            "--recipe fast",
            "--arch mobilenet_v2",
        ];
        let smaller = "a smaller --image-size";
        let found = advice(&resnet, 2, Bottleneck::Network);
        assert_eq!(found, [&network[..], &[smaller]].concat());
        let chosen = Config {
            precision: PrecisionChoice::Bfloat16,
            freeze_until: Some(crate::training::phase::LayerName::new("features.14")),
            ..config("mobilenet_v2")
        };
        assert_eq!(advice(&chosen, 2, Bottleneck::Network), [smaller]);
        let photos = advice(&resnet, 4, Bottleneck::Photos);
        assert_eq!(photos, ["--workers 4", "--cache ram", smaller]);
        assert_eq!(advice(&resnet, 2, Bottleneck::Photos), photos[1..]);
    }

    #[test]
    fn a_summary_is_one_line() {
        let config = config("mobilenet_v2");
        let cpu = Conditions {
            has_bfloat16: false,
            ..on(&config, Device::Cpu, 2)
        };
        let report = ProfileReport::new(&[computing(), computing()], 3, &cpu);
        assert_eq!(
            report.summary().unwrap(),
            "62% backward, 21% forward, 7% validation, 5% optimizer, 3% waiting for photos, \
             1% checkpoints, 1% the rest (last 2 of 3 epochs); the network is the bottleneck, \
             which --recipe fast or a smaller --image-size would ease"
        );
        let gpu = on(&config, Device::Cuda(0), 2);
        let report = ProfileReport::new(&[computing()], 1, &gpu);
        let line = report.summary().unwrap();
        assert!(
            line.starts_with("88% training steps, 7% validation, 3%"),
            "{line}"
        );
        assert!(!report.synchronised);
        assert_eq!(ProfileReport::new(&[], 3, &cpu).summary(), None);
    }
}
