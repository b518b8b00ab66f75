//! Which layers can be int8 without losing more accuracy than allowed.

use std::collections::BTreeSet;

use super::calibrate::Calibration;
use super::scheme::Scheme;
use super::sensitivity::{Sensitivity, sensitivities};
use crate::error::Result;
use crate::graph::{InferenceGraph, NodeId};

/// Images that sensitivity is measured on.
pub(crate) const SENSITIVITY_IMAGES: usize = 64;

/// What a search ends with.
pub(crate) enum Search<M> {
    Found(Box<Found<M>>),
    /// The last measurement, after all layers but one were float again.
    NotFound(M),
}

/// An int8 network that is accurate enough.
pub(crate) struct Found<M> {
    pub network: InferenceGraph,
    pub measured: M,
    /// Names of the layers that stay float.
    pub float_layers: Vec<String>,
    /// Of every layer, the most sensitive first; empty if all of them are int8.
    pub sensitivity: Vec<Sensitivity>,
}

/// Makes all layers int8, and while `measure` gives what is not `accurate`, returns them to float one
/// by one, the most sensitive first.
///
/// # Errors
/// Those of `measure` and of [`sensitivities`].
pub(crate) fn search<M>(
    scheme: &Scheme,
    calibration: &Calibration<'_>,
    accurate: impl Fn(&M) -> bool,
    mut measure: impl FnMut(&InferenceGraph) -> Result<M>,
) -> Result<Search<M>> {
    let all = scheme.layers();
    let mut network = scheme.quantized(&all)?;
    let mut measured = measure(&network)?;
    if accurate(&measured) {
        return Ok(Search::Found(Box::new(Found {
            network,
            measured,
            float_layers: Vec::new(),
            sensitivity: Vec::new(),
        })));
    }
    let sensitivity = sensitivities(scheme, &calibration.first(SENSITIVITY_IMAGES))?;
    let order: Vec<NodeId> = sensitivity.iter().map(|layer| layer.id).collect();
    for int8 in fewer_and_fewer(all.clone(), order) {
        network = scheme.quantized(&int8)?;
        measured = measure(&network)?;
        if accurate(&measured) {
            let float = all.difference(&int8).map(|&id| scheme.name(id).into());
            return Ok(Search::Found(Box::new(Found {
                network,
                measured,
                float_layers: float.collect(),
                sensitivity,
            })));
        }
    }
    Ok(Search::NotFound(measured))
}

/// The layers without the first of `order`, without the first two, and so on, as long as any is left.
fn fewer_and_fewer(
    layers: BTreeSet<NodeId>,
    order: impl IntoIterator<Item = NodeId>,
) -> impl Iterator<Item = BTreeSet<NodeId>> {
    let without = order.into_iter().scan(layers, |layers, id| {
        layers.remove(&id);
        Some(layers.clone())
    });
    without.take_while(|layers| !layers.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;

    #[test]
    fn layers_go_in_order_while_any_is_left() {
        let (mut g, a) = Builder::new(4);
        let b = g.flatten("b", a);
        let c = g.linear("c", b, 2);
        let left = fewer_and_fewer(BTreeSet::from([a, b, c]), [b, c, a]);
        let left: Vec<BTreeSet<NodeId>> = left.collect();
        assert_eq!(left, [BTreeSet::from([a, c]), BTreeSet::from([a])]);
    }
}
