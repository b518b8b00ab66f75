//! How the pruned networks are fine-tuned.

use std::path::Path;

use crate::bundle::{Manifest, located};
use crate::cli::prune::PruneArgs;
use crate::commands::train;
use crate::error::{Error, Result};
use crate::training::{Algorithm, Config, LearningRate, Scheduler, Settings};

/// The configuration of a step's run, which starts from a pruned network.
///
/// # Errors
/// [`Error::Usage`] for options of `--config` that pruning sets itself, and those of
/// [`Settings::resolve`].
pub(super) fn config(args: &PruneArgs, manifest: &Manifest, start: &Path) -> Result<Config> {
    let line = Settings {
        epochs: args.epochs,
        lr: args.lr.map(LearningRate::Rate),
        batch_size: args.batch_size,
        seed: args.seed,
        workers: args.workers,
        threads: args.threads,
        device: args.device,
        ..Settings::default()
    };
    let chosen = train::completed(&line, args.config.as_deref())?;
    let own = [
        ("arch", chosen.arch.is_some()),
        ("recipe", chosen.recipe.is_some()),
        ("weights", chosen.weights.is_some()),
        ("teacher", chosen.teacher.is_some()),
        ("hidden", chosen.hidden.is_some()),
        ("dropout", chosen.dropout.is_some()),
        ("freeze-until", chosen.freeze_until.is_some()),
        ("image-size", chosen.image_size.is_some()),
        ("time-budget", chosen.time_budget.is_some()),
        ("channels", chosen.channels.is_some()),
    ];
    if let Some((option, _)) = own.iter().find(|(_, is_given)| *is_given) {
        return Err(Error::Usage(format!(
            "--config: {option} is what pruning decides; leave it out"
        ))
        .into());
    }
    let defaults = Settings {
        epochs: Some(5),
        lr: Some(LearningRate::Rate(3e-4)),
        optimizer: Some(Algorithm::Adamw),
        scheduler: Some(Scheduler::OneCycle),
        ..Settings::default()
    };
    let start = start.to_str().ok_or_else(|| {
        Error::Usage("--out: the path is not UTF-8, which a configuration has to be".into())
    })?;
    Settings {
        arch: Some(manifest.architecture.clone()),
        weights: Some(start.into()),
        teacher: Some(vec![located(args.model.clone())]),
        hidden: Some(manifest.head.hidden.unwrap_or(0)),
        dropout: Some(manifest.head.dropout),
        image_size: Some(manifest.preprocessing.crop as usize),
        ..chosen.over(defaults)
    }
    .resolve()
}
