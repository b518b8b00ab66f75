//! EfficientNet-Lite as timm publishes it, whose parameters have other names
//! (<https://github.com/huggingface/pytorch-image-models>).

/// A weight file of timm's first release: `STEM-SHA256.pth`, with the first digits of its hash.
macro_rules! source {
    ($stem:literal, $sha256:literal) => {
        $crate::models::pretrained::Source {
            publisher: $crate::models::pretrained::Publisher::Url(concat!(
                "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/",
                $stem,
                "-",
                $sha256,
                ".pth"
            )),
            sha256: $sha256,
        }
    };
}
pub(super) use source;

/// The name here of a parameter of timm's; `repeats` are the blocks of each stage.
pub(super) fn renamed(name: &str, repeats: &[usize]) -> Option<String> {
    let (layer, parameter) = name.rsplit_once('.')?;
    let Some(block) = layer.strip_prefix("blocks.") else {
        let layer = match layer {
            "conv_stem" => "_conv_stem",
            "bn1" => "_bn0",
            "conv_head" => "_conv_head",
            "bn2" => "_bn1",
            "classifier" => "_fc",
            _ => return None,
        };
        return Some(format!("{layer}.{parameter}"));
    };
    let mut parts = block.splitn(3, '.');
    let stage: usize = parts.next()?.parse().ok()?;
    let index: usize = parts.next()?.parse().ok()?;
    // The first stage does not expand.
    let part = match (stage, parts.next()?) {
        (_, "conv_dw") => "_depthwise_conv",
        (0, "conv_pw") | (_, "conv_pwl") => "_project_conv",
        (0, "bn1") | (1.., "bn2") => "_bn1",
        (0, "bn2") | (1.., "bn3") => "_bn2",
        (_, "conv_pw") => "_expand_conv",
        (_, "bn1") => "_bn0",
        _ => return None,
    };
    let place = repeats.get(..stage)?.iter().sum::<usize>() + index;
    Some(format!("_blocks.{place}.{part}.{parameter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_through_the_stages() {
        for (theirs, here) in [
            ("conv_stem.weight", "_conv_stem.weight"),
            ("bn2.running_var", "_bn1.running_var"),
            (
                "blocks.0.0.conv_pw.weight",
                "_blocks.0._project_conv.weight",
            ),
            ("blocks.2.1.conv_pw.weight", "_blocks.4._expand_conv.weight"),
            ("blocks.2.1.bn3.bias", "_blocks.4._bn2.bias"),
            ("classifier.bias", "_fc.bias"),
        ] {
            assert_eq!(renamed(theirs, &[1, 2, 2]).as_deref(), Some(here));
        }
        for other in ["weight", "layer1.0.conv1.weight", "blocks.9.0.bn1.bias"] {
            assert_eq!(renamed(other, &[1, 2, 2]), None, "{other}");
        }
    }
}
