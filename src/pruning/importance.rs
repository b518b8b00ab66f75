//! Ways to tell how much channels matter.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::choice::Scores;
use super::prunable::Prunable;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Op, Role};
use crate::progress::Progress;
use crate::training::importance::{Examples, taylor};

/// How to tell how much a channel matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    /// By the change of the loss without it, to the first order (Molchanov et al., 2019)
    #[default]
    Taylor,
    /// By the scale of its batch normalisation (Liu et al., 2017)
    BatchNorm,
}

impl Importance {
    /// The importance of each output channel of a model's nodes.
    ///
    /// # Errors
    /// [`Error::Usage`] where channels have no batch normalisation that tells; those of [`taylor`].
    pub(crate) fn scores(
        self,
        model: &Prunable,
        device: Device,
        examples: &Examples<'_>,
        progress: &dyn Progress,
    ) -> Result<Scores> {
        match self {
            Self::Taylor => {
                let weights = &model.bundle.weights;
                taylor(&model.graph, weights, device, examples, progress)
            }
            Self::BatchNorm => model.scales(),
        }
    }
}

impl Prunable {
    /// Absolute scales of the batch normalisations, in shares of the mean of each.
    fn scales(&self) -> Result<Scores> {
        let graph = &self.graph;
        for group in &self.groups {
            let is_norm = |&(id, _): &(_, usize)| matches!(graph[id].op, Op::BatchNorm2d(_));
            if !group.nodes.iter().any(is_norm) {
                let first = group.nodes.first().map(|(id, _)| &*graph[*id].name);
                return Err(Error::Usage(format!(
                    "--importance batch-norm: the channels of {} have no batch normalisation; use \
                     taylor",
                    first.unwrap_or_default()
                ))
                .into());
            }
        }
        let mut scores = Scores::new();
        for parameter in graph.parameters() {
            let is_norm = matches!(graph[parameter.node].op, Op::BatchNorm2d(_));
            if is_norm && parameter.role == Role::Scale {
                let scales = self.bundle.weights.f32(&parameter.name, &parameter.shape)?;
                let sizes = scales.iter().map(|scale| f64::from(scale.abs()));
                let mean = sizes.clone().sum::<f64>() / scales.len() as f64;
                let shares = sizes.map(|size| size / mean.max(f64::MIN_POSITIVE));
                scores.insert(parameter.node, shares.collect());
            }
        }
        Ok(scores)
    }
}
