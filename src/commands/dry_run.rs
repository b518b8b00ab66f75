//! `flowers train --dry-run`: what a run is going to take.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::facts;
use super::output::{Output, note};
use super::photos;
use super::progress::Bar;
use super::stop::stop_flag;
use super::table::table;
use super::train::{configured, warn};
use crate::cli::train::TrainArgs;
use crate::data::{Undecodable, Unreadable};
use crate::error::Result;
use crate::training::{DryRun, RunForecast};
use crate::values::plural;

/// Runs `flowers train --dry-run`.
///
/// # Errors
/// As `flowers train` before its first epoch.
pub(super) fn run(args: &TrainArgs) -> Result<()> {
    let data = args.source.named()?;
    let config = configured(&args.settings, args.config.as_deref())?;
    let stop = stop_flag()?;
    let (out, split) = (args.out.as_deref(), args.split.as_deref());
    let dry = DryRun::prepare(config, &data, out, split, &Bar::new())?;
    warn(&dry.warnings);
    let tell = |photo: &Unreadable| note(format_args!("warning: {}", photos::skipped(photo)));
    let allowed = dry.folder.tolerated(dry.config().max_bad);
    let undecodable = Arc::new(Undecodable::allowing(allowed, tell));
    let config = dry.config().clone();
    let title = format!(
        "dry run of {} ({}) from {} on {data}: nothing is saved",
        config.arch.name, config.recipe.name, dry.origin
    );
    let forecast = dry.measure(&undecodable, &stop, &Bar::new())?;
    let mut output = Output::stdout(args.json);
    output.json(&forecast)?;
    output.text(format_args!("{title}\n\n{}", text(&forecast, out)))
}

fn text(forecast: &RunForecast, out: Option<&Path>) -> String {
    let heads = [
        "phase",
        "epochs",
        "trained",
        "images/s",
        "an epoch",
        "of it validation",
        "the phase",
    ];
    let mut rows = vec![heads.map(String::from).to_vec()];
    rows.extend(forecast.phases.iter().map(|phase| {
        vec![
            phase.name.into(),
            phase.epochs.to_string(),
            parameters(phase.trained_parameters),
            format!("{:.1}", phase.images_per_second),
            time(phase.train_seconds + phase.validation_seconds),
            time(phase.validation_seconds),
            time(phase.seconds),
        ]
    }));
    let of = forecast.phases.first().map_or(0, |phase| phase.parameters);
    let epochs: usize = forecast.phases.iter().map(|phase| phase.epochs).sum();
    let steps: usize = forecast
        .phases
        .iter()
        .map(|phase| phase.measured_steps)
        .sum();
    let memory = match forecast.peak_memory_bytes {
        Some(bytes) => format!("{} at most while this was measured", size(bytes)),
        None => "unknown: the system does not tell".into(),
    };
    let place = out.map_or_else(|| "the run's folder".into(), crate::error::shown);
    let mut lines = vec![
        table(&rows),
        format!(
            "photos      {} for training, {} for validation, {} for testing",
            forecast.train, forecast.val, forecast.test
        ),
        format!("parameters  {} in the network", parameters(of)),
        format!(
            "time        about {} for {}, {} of it to measure the best model; estimated from {}",
            time(forecast.seconds),
            plural(epochs, "epoch"),
            time(forecast.test_seconds),
            plural(steps, "step")
        ),
        format!("memory      {memory}"),
        format!(
            "disk        {} in {place}, {} while a checkpoint is replaced; estimated",
            size(forecast.disk_bytes),
            size(forecast.peak_disk_bytes)
        ),
    ];
    let share = forecast.profile.summary();
    lines.extend(share.map(|summary| format!("shares      {summary}")));
    lines.push(format!("not known   {}", forecast.unknown.join("; ")));
    lines.join("\n")
}

fn time(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    facts::duration("", duration).value
}

fn parameters(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{:.1}k", count as f64 / 1e3),
        _ => format!("{:.2}M", count as f64 / 1e6),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_are_short() {
        assert_eq!(parameters(5_130), "5130");
        assert_eq!(parameters(513_000), "513.0k");
        assert_eq!(parameters(11_181_642), "11.18M");
        assert_eq!(size(27_400_000), "27 MB");
        assert_eq!(size(1_230_000_000), "1.2 GB");
    }
}
