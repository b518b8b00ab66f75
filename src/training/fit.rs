//! The training loop.

use std::path::Path;

use anyhow::Context;

use super::callback::{Callback, Event};
use super::checkpoint::{Resumed, State};
use super::features::{Cut, FeatureCache};
use super::head::HeadSolver;
use super::job::Job;
use super::network::Network;
use super::phase::{Frozen, Inputs, Method, Phase};
use super::profile::Stopwatch;
use super::source::{BatchSource, PhotoSource};
use super::temperature::scale_logits;
use super::trainer::{PhaseTrainer, Trainer};
use super::validator::Validator;
use crate::error::Result;
use crate::graph::{Graph, NodeId};

/// Trains a network to the end of the last phase, or to where the job pauses, from a checkpoint on if
/// the run is resumed. Leaves the best model and the last checkpoint in the run's folder.
///
/// # Errors
/// As [`TrainingSession::train`](super::TrainingSession::train).
pub(super) fn fit(
    job: &Job<'_>,
    network: &mut Network,
    mut resumed: Option<Resumed>,
    callback: &mut dyn Callback,
) -> Result<State> {
    let config = job.run.config();
    let mut has_checkpoint = resumed.is_some();
    let state = resumed.as_ref().map(|resumed| resumed.state.clone());
    let mut state = state.unwrap_or_default();
    if has_checkpoint && job.is_paused(&state) {
        return Ok(state);
    }
    let phases = phases(job, network.graph())?;
    let mut validator = Validator::default();
    let mut cache = cache(job, &job.run.file("features"), &phases, network)?;
    while let Some(phase) = phases.get(state.phase) {
        let first = first_trained(phase, network.graph(), config.arch.head)?;
        network.freeze_until(first)?;
        let mut trainer = trainer(job, phase, first, network, cache.as_mut(), callback)?;
        if let Some(resumed) = resumed.take() {
            trainer.restore(&resumed)?;
        }
        if !has_checkpoint {
            // A run that is killed in its first batch can be resumed too.
            job.once(|| trainer.save(&state))?;
            has_checkpoint = true;
        }
        job.together(callback.on_event(&Event::Phase { phase }))?;
        while state.phase_epoch < trainer.epochs(&mut state, callback)?
            && (phase.keeps_last || !state.is_out_of_patience(config.early_stop))
        {
            let (row, profile) = trainer.epoch(&mut state, &mut validator, callback)?;
            state.profiles.push(profile);
            let mut watch = Stopwatch::start();
            let is_best = state.end_epoch(row);
            job.once(|| {
                if is_best {
                    job.run.save_best(&state, trainer.model())?;
                }
                // Callbacks first: a kill in between repeats the epoch and loses no row.
                callback.on_event(&Event::Epoch {
                    history: &state.history,
                })?;
                trainer.save(&state)
            })?;
            state.add_saving(watch.lap());
            if job.is_paused(&state) {
                return Ok(state);
            }
        }
        trainer.end_phase()?;
        state.end_phase();
    }
    if job.pauses.is_some() {
        return Ok(state);
    }
    if let Some(cache) = cache.filter(|_| job.shared_features.is_none()) {
        cache.remove();
    }
    if config.recipe.scales_logits {
        job.alone(|| scale_logits(job, network, &mut validator, callback))?;
    }
    Ok(state)
}

/// The phases of the configuration, with as many views of the photos as the size of the cache allows
/// features of. Where it does not suffice for one view, a phase of steps trains on photos instead.
pub(super) fn phases(job: &Job<'_>, graph: &Graph) -> Result<Vec<Phase>> {
    let config = job.run.config();
    let mut phases = config.phases();
    let photos = (job.train.len() + job.val.len()) as u64;
    loop {
        let mut per_view = 0;
        for phase in &phases {
            if let Inputs::Features(_) = phase.inputs {
                let first = first_trained(phase, graph, config.arch.head)?;
                per_view += photos * Cut::before(graph, first)?.bytes(graph);
            }
        }
        let fitting = (config.cache_size.0 / per_view.max(1)) as usize;
        let mut steps = phases
            .iter_mut()
            .filter(|phase| phase.is_steps_on_features());
        if fitting == 0
            && let Some(phase) = steps.next()
        {
            phase.inputs = Inputs::Photos(config.augmentations());
            continue;
        }
        for phase in &mut phases {
            phase.limit_views(fitting.max(1));
        }
        return Ok(phases);
    }
}

/// The features that phases need, if any does, kept in a folder.
pub(super) fn cache<'a>(
    job: &'a Job<'a>,
    folder: &Path,
    phases: &[Phase],
    network: &Network,
) -> Result<Option<FeatureCache<'a>>> {
    let head = job.run.config().arch.head;
    let (mut trained, mut wanted) = (Vec::new(), 0);
    for phase in phases {
        if let Inputs::Features(views) = &phase.inputs {
            trained.push(first_trained(phase, network.graph(), head)?);
            wanted = wanted.max(views.count);
        }
    }
    match trained[..] {
        [] => Ok(None),
        _ => {
            let cache = FeatureCache::open(job, folder, network, &trained, wanted);
            job.together(cache)?.agree().map(Some)
        }
    }
}

fn trainer<'a, 'j: 'a>(
    job: &'j Job<'j>,
    phase: &'a Phase,
    first: NodeId,
    network: &'a Network,
    cache: Option<&'a mut FeatureCache<'j>>,
    callback: &mut dyn Callback,
) -> Result<Box<dyn PhaseTrainer + 'a>> {
    if let (Inputs::Features(views), Method::LogisticRegression) = (&phase.inputs, phase.method) {
        return Ok(Box::new(HeadSolver {
            job,
            phase,
            network,
            cache: cache.context(NO_CACHE)?,
            views,
            head: first,
        }));
    }
    let source = source(job, phase, first, network, cache, callback)?;
    Ok(Box::new(Trainer::new(job, phase, network, source)?))
}

/// Where the batches of a phase come from. Features are computed unless they are there.
pub(super) fn source<'a, 'j: 'a>(
    job: &'j Job<'j>,
    phase: &Phase,
    first: NodeId,
    network: &Network,
    cache: Option<&'a mut FeatureCache<'j>>,
    callback: &mut dyn Callback,
) -> Result<Box<dyn BatchSource + 'a>> {
    match &phase.inputs {
        Inputs::Photos(augmentations) => Ok(Box::new(PhotoSource::new(job, augmentations))),
        Inputs::Features(views) => {
            let cache = cache.context(NO_CACHE)?;
            // Under a time budget, those that the head was solved for with have to do.
            let missing = if job.budget.is_some() { 1 } else { views.count };
            cache.extend(network, missing, &views.augmentations, callback)?;
            cache.release_extractor();
            let source = cache.source(first);
            Ok(Box::new(source.context("the cut of a phase is known")?))
        }
    }
}

const NO_CACHE: &str = "a phase on features has a cache";

/// The first node that a phase trains.
pub(super) fn first_trained(phase: &Phase, graph: &Graph, head: &str) -> Result<NodeId> {
    let layer = match &phase.frozen {
        Frozen::Nothing => return Ok(graph.input()),
        Frozen::Backbone => head,
        Frozen::Before(layer) => layer.as_str(),
    };
    graph
        .layer(layer)
        .with_context(|| format!("the network has no layer {layer}"))
}
