//! The training loop.

use anyhow::Context;

use super::callback::{Callback, Event};
use super::checkpoint::{Resumed, State};
use super::job::Job;
use super::network::Network;
use super::phase::{Frozen, Phase};
use super::trainer::Trainer;
use super::validator::Validator;
use crate::error::Result;
use crate::graph::NodeId;

/// Trains a network to the end of the last phase, from a checkpoint on if the run is resumed. Leaves
/// the best model and the last checkpoint in the run's folder.
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
    let mut validator = Validator::default();
    let phases = config.phases();
    while let Some(phase) = phases.get(state.phase) {
        network.freeze_until(first_trained(phase, network, config.arch.head)?)?;
        let mut trainer = Trainer::new(job, phase, network)?;
        if let Some(resumed) = resumed.take() {
            trainer.restore(&resumed)?;
        }
        if !has_checkpoint {
            // A run that is killed in its first batch can be resumed too.
            trainer.save(&state)?;
            has_checkpoint = true;
        }
        callback.on_event(&Event::Phase { phase })?;
        while state.phase_epoch < phase.epochs && !state.is_out_of_patience(config.early_stop) {
            let row = trainer.epoch(&mut state, &mut validator, callback)?;
            if state.end_epoch(row) {
                job.run.save_best(&state, trainer.model())?;
            }
            // Callbacks first: a kill in between repeats the epoch and loses no row.
            callback.on_event(&Event::Epoch {
                history: &state.history,
            })?;
            trainer.save(&state)?;
        }
        trainer.end_phase()?;
        state.end_phase();
    }
    Ok(state)
}

/// The first node that a phase trains.
pub(super) fn first_trained(phase: &Phase, network: &Network, head: &str) -> Result<NodeId> {
    let layer = match &phase.frozen {
        Frozen::Nothing => return Ok(network.graph().input()),
        Frozen::Backbone => head,
        Frozen::Before(layer) => layer.as_str(),
    };
    network
        .graph()
        .layer(layer)
        .with_context(|| format!("the network has no layer {layer}"))
}
