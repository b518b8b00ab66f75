//! `flowers prune`: channels removed in steps, the network fine-tuned after each, and what that cost.

mod measure;
mod report;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;

use super::compute;
use super::output::{Output, note};
use super::photos;
use super::progress::Bar;
use super::stop::{explain_interruption, stop_flag};
use super::train;
use crate::bundle::{self, Bundle};
use crate::cli::prune::PruneArgs;
use crate::data::{Depth, Folder, Source, Split, Undecodable, load_all, stratified};
use crate::device::Device;
use crate::error::{Error, Result, shown};
use crate::evaluation::parts;
use crate::files;
use crate::pruning::{Asked, Choice, Prunable, Schedule, Scores, for_speedup, is_own, step};
use crate::runs::{self, Standing};
use crate::training::importance::Examples;
use crate::training::{Config, Recorded, refuse_inside};
use measure::Speeds;
use report::{Report, Step};

/// Runs `flowers prune`.
///
/// # Errors
/// [`Error::Gate`] when no step keeps the accuracy, [`Error::Interrupted`] when it was stopped, and those
/// of each step.
pub(super) fn run(args: &PruneArgs) -> Result<()> {
    let data = args.source.named()?;
    let (bundle, sha256) = Bundle::read(&args.model)?;
    let model = Prunable::new(bundle).with_context(|| shown(&args.model))?;
    // Whatever is wrong with the options is said before anything is written.
    settings::config(args, &model.bundle.manifest, &args.model)?;
    refuse_inside(&args.out, &data)?;
    let is_new = !args.out.exists();
    let done = prune(args, &data, model, sha256);
    if done.is_err() && is_new {
        // Succeeds only while the folder is empty: nothing is lost.
        fs::remove_dir(&args.out).ok();
    }
    done.map_err(explain_interruption)
}

fn prune(args: &PruneArgs, data: &Source, model: Prunable, model_sha256: String) -> Result<()> {
    let lock = runs::open(&args.out, "a pruning", is_own)?;
    let asked = Asked {
        model_sha256,
        macs: args.macs,
        speedup: args.speedup,
        max_drop: args.max_drop,
        steps: args.steps.map(|steps| steps as usize),
        importance: args.importance,
        samples: args.samples,
        round_to: args.round_to as usize,
    };
    let begun = asked.fractions(&args.out)?;
    let work = Work::new(args, data, model)?;
    let fractions = match begun {
        Some(fractions) => fractions,
        None => {
            let fractions = work.schedule(&asked)?.0;
            work.split.manifest.write(&args.out.join("split.json"))?;
            asked.begin(&args.out, &fractions)?;
            fractions
        }
    };
    let steps = work.steps(&fractions)?;
    let report = work.report(steps)?;
    let mut output = Output::stdout(args.json);
    if let Some(kept) = report.kept() {
        let (run, _) = step(&args.out, kept.number);
        let (bundle, _) = Bundle::read(&run.join(bundle::FILE))?;
        bundle.write(&args.out.join(bundle::FILE))?;
    }
    let text = serde_json::to_string_pretty(&report)? + "\n";
    files::write_atomically(&args.out.join("prune.json"), |sink| {
        sink.write_all(text.as_bytes())
    })?;
    drop(lock);
    output.json(&report)?;
    output.text(report.text(&args.out))?;
    report.check(args.max_drop)
}

/// What the steps have in common.
struct Work<'a> {
    args: &'a PruneArgs,
    data: &'a Source,
    model: Prunable,
    folder: Folder,
    split: Split,
    undecodable: Arc<Undecodable>,
    device: Device,
    stop: Arc<AtomicBool>,
}

impl<'a> Work<'a> {
    /// Scans the photos, and finds out how the model was trained on them.
    fn new(args: &'a PruneArgs, data: &'a Source, model: Prunable) -> Result<Self> {
        let manifest = &model.bundle.manifest;
        let config = settings::config(args, manifest, &args.model)?;
        let folder = photos::scan(data, config.max_bad, Depth::Pixels, &Bar::new())?;
        if folder.labels != manifest.labels {
            let message = format!(
                "{data} has other classes than the model: {}; it knows {}",
                folder.labels.names().join(", "),
                manifest.labels.names().join(", ")
            );
            return Err(Error::Data(message).into());
        }
        let of_model = (&*args.model, manifest);
        let split = parts::of_training(args.split.as_deref(), of_model, &folder)?;
        let device = compute::with_threads(config.device, config.threads)?;
        Ok(Self {
            args,
            data,
            undecodable: photos::tolerated(&folder, config.max_bad),
            model,
            folder,
            split,
            device,
            stop: stop_flag()?,
        })
    }

    /// How much each channel matters, by the training photos.
    fn scores(&self, model: &Prunable) -> Result<Scores> {
        let manifest = &model.bundle.manifest;
        let wanted = self.args.samples as usize;
        let indices = stratified(&self.folder.photos, &self.split.train, wanted);
        let photos = &self.folder.photos;
        let pixels = load_all(
            photos,
            &indices,
            &manifest.preprocessing,
            &self.undecodable,
            &self.stop,
            &Bar::new(),
        )?;
        let labels: Vec<i64> = indices.iter().map(|&at| photos[at].class as i64).collect();
        let examples = Examples {
            pixels: &pixels,
            labels: &labels,
            preprocessing: &manifest.preprocessing,
        };
        let importance = self.args.importance;
        importance.scores(model, self.device, &examples, &Bar::new())
    }

    /// What to remove, so that this fraction of the whole network's operations stays.
    fn choose(&self, model: &Prunable, scores: &Scores, fraction: f64) -> Result<Choice> {
        let macs = fraction * self.model.graph.macs() as f64;
        model.choose(scores, macs as u64, self.args.round_to as usize)
    }

    /// How far each step prunes; for `--speedup`, networks are timed to find that out.
    fn schedule(&self, asked: &Asked) -> Result<Schedule> {
        if asked.macs.is_none() && asked.speedup.is_none() {
            return Ok(Schedule::new(None, asked.steps));
        }
        let scores = self.scores(&self.model)?;
        let target = match asked.speedup {
            None => asked.macs,
            Some(wanted) => {
                note("looking for the number of operations that is fast enough");
                let found = for_speedup(wanted, |fraction| self.speedup_of(&scores, fraction))?;
                let found = found.ok_or_else(|| {
                    Error::Usage(format!(
                        "--speedup {wanted}: the network can't be pruned that far; ask for less"
                    ))
                })?;
                Some(found)
            }
        };
        if let Some(target) = target {
            // A target that can't be met is refused before the first step.
            self.choose(&self.model, &scores, target)?;
        }
        Ok(Schedule::new(target, asked.steps))
    }

    /// Trains and validates the steps, up to the last that is wanted or the first that loses too much.
    fn steps(&self, fractions: &[f64]) -> Result<Vec<Step>> {
        let before = self.validated(&self.model.bundle)?;
        let mut steps = vec![Step::whole(&self.model, &self.args.model, before)];
        let mut told = Vec::new();
        for (index, &fraction) in fractions.iter().enumerate() {
            let number = index + 1;
            let Some(run) = self.step(number, fractions.len(), fraction, &mut told)? else {
                break;
            };
            let (bundle, _) = Bundle::read(&run.join(bundle::FILE))?;
            let accuracy = self.validated(&bundle)?;
            let file = run.join(bundle::FILE);
            let mut step = Step::pruned(number, &bundle, &file, accuracy)?;
            let drop = before - accuracy;
            // 0.9 - 0.89 in binary must not be more than 0.01.
            let max_drop = self.args.max_drop;
            step.is_kept = max_drop.is_none_or(|most| drop <= most + 1e-9);
            let (macs, whole) = (step.macs as f64, self.model.graph.macs() as f64);
            note(format_args!(
                "step {number}: {:.0}% of the operations, validation accuracy {accuracy:.4} ({:+.4})",
                100.0 * macs / whole,
                -drop
            ));
            let is_last = !step.is_kept;
            steps.push(step);
            if is_last {
                break;
            }
        }
        Ok(steps)
    }

    /// The finished run of a step; `None` where the network can't be pruned that far, which ends a pruning
    /// without a target.
    fn step(
        &self,
        number: usize,
        of: usize,
        fraction: f64,
        told: &mut Vec<String>,
    ) -> Result<Option<PathBuf>> {
        let (run, start) = step(&self.args.out, number);
        let steps = match self.args.macs.or(self.args.speedup) {
            Some(_) => format!("step {number} of {of}"),
            None => format!("step {number}"),
        };
        note(format_args!("{steps}: pruning to {:.0}%", 100.0 * fraction));
        if !start.exists() {
            let last = match number {
                1 => None,
                number => {
                    let (run, _) = step(&self.args.out, number - 1);
                    let (bundle, _) = Bundle::read(&run.join(bundle::FILE))?;
                    Some(Prunable::new(bundle)?)
                }
            };
            let model = last.as_ref().unwrap_or(&self.model);
            let has_target = self.args.macs.is_some() || self.args.speedup.is_some();
            let choice = match self.choose(model, &self.scores(model)?, fraction) {
                Ok(choice) => choice,
                Err(cause) if !has_target && number > 1 => {
                    note(format_args!("no further step: {cause:#}"));
                    return Ok(None);
                }
                Err(cause) => return Err(cause),
            };
            model.pruned(&choice)?.write(&start)?;
        }
        let config = settings::config(self.args, &self.model.bundle.manifest, &start)?;
        self.train(config, &run, told).with_context(|| steps)?;
        Ok(Some(run))
    }

    fn train(&self, config: Config, run: &Path, told: &mut Vec<String>) -> Result<()> {
        let recorded = Recorded::read(run)?;
        let split = self.args.out.join("split.json");
        let session = match Standing::of(run, &config, recorded.as_ref())? {
            Standing::Finished => return Ok(()),
            Standing::Interrupted => train::resumed(run, Some(self.data.clone()), None, None)?,
            Standing::New | Standing::Begun => {
                runs::remove(run)?;
                train::begun(config, self.data, run, Some(&split), None, told)?
            }
        };
        train::complete(session, &self.stop).map(drop)
    }

    fn report(&self, mut steps: Vec<Step>) -> Result<Report> {
        let speeds = Speeds::of(&steps, self)?;
        for (step, speed) in steps.iter_mut().zip(speeds.0) {
            step.speed = Some(speed);
        }
        let kept = steps
            .iter()
            .rposition(|step| step.number > 0 && step.is_kept);
        let tested = match kept {
            Some(kept) => Some(self.tested(&steps[kept])?),
            None => None,
        };
        Ok(Report::new(steps, kept, tested, self.args.speedup))
    }
}
