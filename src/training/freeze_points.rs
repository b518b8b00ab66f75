//! Where a network can be divided into a frozen and a trained part.

use super::config::Config;
use super::features::Cut;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Op};

/// The layers that `--freeze-until` takes in every recipe, in the order of the network: those before
/// which a single value crosses, which the compiled frozen part has too.
///
/// # Errors
/// When the network can't be built.
pub fn freeze_points(config: &Config) -> Result<Vec<String>> {
    let graph = config.arch.graph(&config.model_options(2))?;
    let mut layers = graph.layers();
    layers.retain(|name| {
        graph
            .layer(name)
            .is_some_and(|first| is_clean(&graph, first))
    });
    Ok(layers)
}

/// Checks that the recipe can freeze the layers that the configuration asks for.
///
/// # Errors
/// [`Error::Usage`] when the frozen part is to run once, and can't be cut off there.
pub fn check_freeze_point(config: &Config) -> Result<()> {
    let Some(layer) = config
        .freeze_until
        .as_ref()
        .filter(|_| config.recipe.uses_features())
    else {
        return Ok(());
    };
    let graph = config.arch.graph(&config.model_options(2))?;
    let Some(first) = graph.layer(layer.as_str()) else {
        return Ok(());
    };
    Cut::before(&graph, first)?;
    if is_clean(&graph, first) {
        return Ok(());
    }
    let message = format!(
        "--freeze-until {}: choose the first layer of a block",
        layer.as_str()
    );
    Err(Error::Usage(message).into())
}

fn is_clean(graph: &Graph, first: NodeId) -> bool {
    let Ok(cut) = Cut::before(graph, first) else {
        return false;
    };
    // The two become one where the network is compiled.
    let is_folded = matches!(graph[first].op, Op::BatchNorm2d(_))
        && matches!(graph[cut.value].op, Op::Conv2d(_) | Op::Linear(_));
    !is_folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Settings;

    #[test]
    fn points_lie_between_blocks() {
        let settings = Settings::default();
        let points = freeze_points(&settings.resolve().unwrap()).unwrap();
        let expected = [
            "conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1",
            "layer4.0", "layer4.1", "fc",
        ];
        assert_eq!(points, expected);
    }
}
