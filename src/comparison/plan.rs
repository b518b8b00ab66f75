//! The candidates of a comparison: one run each, of the same options but for the architecture.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::models;
use crate::training::{Config, Settings, WeightsSource};

/// An architecture that is compared, and the run that trains it.
pub(crate) struct Candidate {
    pub config: Config,
    /// The folder of its run.
    pub folder: PathBuf,
}

impl Candidate {
    pub(crate) fn name(&self) -> &'static str {
        self.config.arch.name
    }
}

/// What a comparison writes besides the runs of its candidates.
const FILES: [&str; 5] = [
    "split.json",
    "compare.json",
    "compare.csv",
    "compare.png",
    "compare.html",
];

/// Whether a comparison writes something of this name into its folder.
pub(crate) fn is_own(name: &str) -> bool {
    let is_candidate = models::ARCHITECTURES.iter().any(|known| known.name == name);
    is_candidate || FILES.contains(&name)
}

/// The candidates that settings name, whose `arch` is a list with commas. Each gets an equal share of
/// the time budget.
///
/// # Errors
/// [`Error::Usage`] for fewer than two architectures, one that is not known or is named twice,
/// weights that fit one of them only, and whatever [`Settings::resolve`] refuses.
pub(crate) fn candidates(settings: &Settings, out: &Path) -> Result<Vec<Candidate>> {
    let list = settings.arch.as_deref().unwrap_or_default();
    let mut names: Vec<&'static str> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let name = models::find(name)?.name;
        if names.contains(&name) {
            return usage(format!("--arch names {name} twice"));
        }
        names.push(name);
    }
    if names.len() < 2 {
        return usage(
            "--arch needs two architectures or more, e.g. --arch resnet18,mobilenet_v2; `flowers \
             info` lists them"
                .into(),
        );
    }
    let weights = settings.weights.clone().map(WeightsSource::from);
    if let Some(WeightsSource::File(_)) = weights {
        return usage(format!(
            "--weights takes {} here: a file fits one architecture only",
            WeightsSource::KEYWORDS.join(", ")
        ));
    }
    let share = settings.time_budget.map(|all| share(all, names.len()));
    names
        .iter()
        .map(|&name| {
            let own = Settings {
                arch: Some(name.into()),
                weights_sha256: None,
                time_budget: share,
                ..settings.clone()
            };
            Ok(Candidate {
                config: own.resolve()?,
                folder: out.join(name),
            })
        })
        .collect()
}

/// Seconds of a time budget for each of so many candidates. Equal shares, so that no candidate is
/// trained longer because another needed less; a share is that of the whole run, whose earlier
/// sessions count.
fn share(seconds: f64, candidates: usize) -> f64 {
    seconds / candidates as f64
}

fn usage<T>(message: String) -> Result<T> {
    Err(Error::Usage(message).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    fn settings(arch: &str) -> Settings {
        Settings {
            arch: Some(arch.into()),
            ..Settings::default()
        }
    }

    fn refused(settings: &Settings) -> String {
        let Err(error) = candidates(settings, Path::new("out")) else {
            panic!("{settings:?}");
        };
        assert_eq!(exit_code(&error), 2);
        error.to_string()
    }

    #[test]
    fn candidates_differ_in_their_architecture_alone() {
        let settings = Settings {
            epochs: Some(3),
            seed: Some(7),
            ..settings("resnet18, efficientnet_lite2")
        };
        let [a, b] = candidates(&settings, Path::new("out"))
            .unwrap()
            .try_into()
            .unwrap_or_else(|_| panic!("two"));
        assert_eq!([a.name(), b.name()], ["resnet18", "efficientnet_lite2"]);
        assert_eq!(b.folder, Path::new("out/efficientnet_lite2"));
        assert_eq!([a.config.epochs, b.config.epochs], [3, 3]);
        assert_eq!([a.config.seed, b.config.seed], [7, 7]);
        // Its own, unless a size is asked for.
        assert_eq!([a.config.image_size, b.config.image_size], [224, 260]);
        let same = Settings {
            image_size: Some(64),
            ..settings
        };
        let both = candidates(&same, Path::new("out")).unwrap();
        assert!(both.iter().all(|one| one.config.image_size == 64));
    }

    #[test]
    fn a_time_budget_is_shared_equally() {
        let settings = Settings {
            time_budget: Some(90.0),
            ..settings("resnet18,resnet34,mobilenet_v2")
        };
        let all = candidates(&settings, Path::new("out")).unwrap();
        let shares: Vec<_> = all.iter().map(|one| one.config.time_budget).collect();
        assert_eq!(shares, [Some(30.0); 3]);
    }

    #[test]
    fn lists_that_compare_nothing_are_refused() {
        for list in ["", "resnet18", "resnet18,", " , "] {
            assert!(refused(&settings(list)).contains("two architectures"));
        }
        let twice = refused(&settings("resnet18,resnet34,resnet18"));
        assert_eq!(twice, "--arch names resnet18 twice");
        let unknown = refused(&settings("resnet18,mobilnet_v2"));
        assert!(unknown.contains("did you mean mobilenet_v2?"), "{unknown}");
        let file = Settings {
            weights: Some("weights.pth".into()),
            ..settings("resnet18,resnet34")
        };
        assert!(refused(&file).contains("imagenet, none, auto"));
    }
}
