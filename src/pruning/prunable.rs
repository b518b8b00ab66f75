//! A model with the groups of channels that can be pruned.

use super::groups::{Group, groups};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::models;

/// A float model, and what of it can be left out.
pub(crate) struct Prunable {
    pub bundle: Bundle,
    pub graph: Graph,
    pub(super) groups: Vec<Group>,
}

impl Prunable {
    /// Finds the groups of a model.
    ///
    /// # Errors
    /// [`Error::Data`] for an int8 model, and for a network in which an operator mixes channels in a way
    /// that can't be followed, with its name.
    pub(crate) fn new(bundle: Bundle) -> Result<Self> {
        let manifest = &bundle.manifest;
        if manifest.quantization.is_some() {
            let message = "it is an int8 model: prune the float model that it was made from, and \
                           quantize the result";
            return Err(Error::Data(message.into()).into());
        }
        let graph = manifest.graph()?;
        let groups = groups(&graph, models::find(&manifest.architecture)?.head)?;
        Ok(Self {
            bundle,
            graph,
            groups,
        })
    }
}
