//! Finds the state dict in what a training script saved, and ignores the rest.

use std::collections::{BTreeMap, HashSet};

use super::{PARAMETER, TENSOR, broken};
use crate::error::{Result, shown, some};
use crate::weights::pickle::{Id, Node, Pickle};

/// Keys under which training scripts put the state dict, the likeliest first: a checkpoint may
/// hold a moving average of the parameters too.
const WRAPPERS: [&str; 12] = [
    "state_dict",
    "model_state_dict",
    "model",
    "model_state",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "ema",
    "model_ema",
    "state_dict_ema",
];

/// Dicts around the state dict, such as `{"ema": {"module": {..}}}`.
const MAX_DEPTH: usize = 4;

/// The tensors of the state dict by name, wherever it is.
///
/// # Errors
/// [`crate::error::Error::Data`] when there is none, or when several are equally likely.
pub(super) fn parameters<'a>(pickle: &Pickle<'a>) -> Result<BTreeMap<&'a str, Id>> {
    let Node::Dict(pairs) = pickle.node(pickle.root) else {
        let kind = pickle.node(pickle.root).kind();
        return Err(broken(format!("it holds {kind}, not a state dict")));
    };
    if pairs.is_empty() {
        return Err(broken("its state dict is empty"));
    }
    let mut search = Search {
        pickle,
        seen: HashSet::new(),
    };
    let Some(found) = search.find(pickle.root, MAX_DEPTH)? else {
        return Err(broken("it holds no state dict: it has no dict of tensors"));
    };
    let mut parameters = BTreeMap::new();
    for (key, value) in dict(pickle, found) {
        if !is_tensor(pickle, *value) {
            continue;
        }
        let Node::Text(name) = pickle.node(*key) else {
            return Err(broken("it holds a dict whose keys are not parameter names"));
        };
        parameters.insert(*name, *value);
    }
    Ok(parameters)
}

struct Search<'p, 'a> {
    pickle: &'p Pickle<'a>,
    /// Dicts that were looked into: one may contain itself.
    seen: HashSet<Id>,
}

impl Search<'_, '_> {
    /// The dict of tensors in a dict: one below a usual key, or the only other one, or itself.
    /// Itself comes last, as a checkpoint may hold a score or a random state as a tensor.
    fn find(&mut self, id: Id, depth: usize) -> Result<Option<Id>> {
        if depth == 0 || !self.seen.insert(id) {
            return Ok(None);
        }
        let pairs = dict(self.pickle, id);
        let named = |(key, value): &(Id, Id)| match self.pickle.node(*key) {
            Node::Text(key) => Some((*key, *value)),
            _ => None,
        };
        let entries: BTreeMap<&str, Id> = pairs.iter().filter_map(named).collect();
        for key in WRAPPERS {
            if let Some(value) = entries.get(key)
                && let Some(found) = self.find(*value, depth - 1)?
            {
                return Ok(Some(found));
            }
        }
        let mut others = Vec::new();
        for (key, value) in entries {
            // Their averages have the shapes of parameters, sometimes their names.
            if !key.contains("optim") {
                let found = self.find(value, depth - 1)?;
                others.extend(found.map(|found| (key, found)));
            }
        }
        let holds_tensors = pairs
            .iter()
            .any(|(_, value)| is_tensor(self.pickle, *value));
        match others[..] {
            [] => Ok(holds_tensors.then_some(id)),
            [(_, only)] => Ok(Some(only)),
            _ => Err(broken(format!(
                "it holds several state dicts ({}): save only the one to use",
                some(others.iter().map(|(key, _)| shown(key)))
            ))),
        }
    }
}

fn dict<'p>(pickle: &'p Pickle<'_>, id: Id) -> &'p [(Id, Id)] {
    match pickle.node(id) {
        Node::Dict(pairs) => pairs,
        _ => &[],
    }
}

fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    matches!(pickle.node(id), Node::Call(TENSOR | PARAMETER, _))
}
