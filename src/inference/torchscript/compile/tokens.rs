//! Operators on the features of each pixel or token, and on the order of channels.

use super::{Form, Method, v};
use crate::error::Result;
use crate::graph::{LayerNorm, NodeId, Op};

/// A map with the features of each pixel last, and back. Where the map is in channels-last order neither
/// copies anything.
const LAST: &str = "[0, 2, 3, 1]";
const FIRST: &str = "[0, 3, 1, 2]";

impl Method<'_, '_> {
    pub(super) fn layer_norm(&mut self, id: NodeId, norm: &LayerNorm) -> Result<String> {
        let (weight, bias) = (
            self.parameter(id, "weight")?.0,
            self.parameter(id, "bias")?.0,
        );
        let node = &self.graph[id];
        let x = self.float(node.inputs[0]);
        let (features, eps) = (norm.features, norm.eps);
        let of = |x: &str| {
            format!("torch.layer_norm({x}, [{features}], {weight}, {bias}, {eps:?}, False)")
        };
        Ok(match node.shape.len() {
            3 => {
                let last = of(&format!("torch.permute({x}, {LAST})"));
                format!("torch.permute({last}, {FIRST})")
            }
            _ => of(&x),
        })
    }

    /// Integers stay what they are.
    pub(super) fn rearranged(&mut self, id: NodeId) -> Form {
        let node = &self.graph[id];
        let input = node.inputs[0];
        let (form, x) = match self.forms[input.index()] {
            Form::Float => (None, self.float(input)),
            integers => (Some(integers), v(input)),
        };
        let value = match node.op {
            // A view would have a stride that kernels copy away each time.
            Op::Slice { start, end } => {
                format!("torch.contiguous(torch.slice({x}, 1, {start}, {end}, 1), memory_format=2)")
            }
            Op::ChannelShuffle { groups } => {
                let [channels, height, width] = node.shape[..] else {
                    unreachable!("channels of a map are shuffled");
                };
                let apart = [height, width, groups, channels / groups];
                let apart = apart.map(|side| side.to_string()).join(", ");
                let apart = format!("torch.reshape(torch.permute({x}, {LAST}), [-1, {apart}])");
                let together = format!(
                    "torch.reshape(torch.transpose({apart}, 3, 4), [-1, {height}, {width}, {channels}])"
                );
                format!("torch.permute({together}, {FIRST})")
            }
            _ => x,
        };
        self.assign(id, &value);
        match form {
            Some(integers) => integers,
            None => self.stored(id),
        }
    }

    pub(super) fn tokens(&self, id: NodeId) -> String {
        let node = &self.graph[id];
        let (tokens, features) = (node.shape[0], node.shape[1]);
        let x = self.float(node.inputs[0]);
        format!("torch.reshape(torch.permute({x}, {LAST}), [-1, {tokens}, {features}])")
    }

    pub(super) fn class_token(&mut self, id: NodeId) -> Result<String> {
        let token = self.parameter(id, "")?.0;
        let x = self.float(self.graph[id].inputs[0]);
        Ok(format!(
            "torch.cat([torch.expand({token}, [torch.size({x}, 0), -1, -1]), {x}], 1)"
        ))
    }

    pub(super) fn attention(&mut self, id: NodeId, heads: usize) -> String {
        let node = &self.graph[id];
        let (tokens, features) = (node.shape[0], node.shape[1]);
        let each = features / heads.max(1);
        let x = self.float(node.inputs[0]);
        let apart = format!("h{}", id.index());
        self.line(&format!(
            "{apart} = torch.permute(torch.reshape({x}, [-1, {tokens}, 3, {heads}, {each}]), \
             [2, 0, 3, 1, 4])"
        ));
        let [q, k, v] = [0, 1, 2].map(|at| format!("torch.select({apart}, 0, {at})"));
        let mixed = format!("torch.scaled_dot_product_attention({q}, {k}, {v}, None, 0., False)");
        format!("torch.reshape(torch.transpose({mixed}, 1, 2), [-1, {tokens}, {features}])")
    }
}
