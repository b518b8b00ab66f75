//! What is searched unless a file says otherwise.

use toml::Value;

use super::space::{Dimension, Domain, Range, SEARCHABLE, three_digits};
use crate::error::{Error, Result};
use crate::training::{Config, Settings, WeightsSource, freeze_points};

/// Policies in the order of their strength.
const POLICIES: [&str; 4] = ["none", "recipe", "randaugment", "trivialaugment"];
/// Pictures are tried at these parts of the usual width and height, to the next multiple of [`STRIDE`].
const SIZES: [f64; 3] = [0.75, 1.0, 1.25];
const STRIDE: f64 = 32.0;
/// The highest weight decay where the usual one is 0.
const WEIGHT_DECAY: f64 = 0.01;

/// The space around the defaults of the settings: learning rate, weight decay, augmentation, label
/// smoothing, dropout, and, where they can be chosen, image size and the first trained layer. Options
/// that are given stay as they are.
///
/// # Errors
/// [`Error::Usage`] when all are given, and whatever [`Settings::resolve`] refuses.
pub(crate) fn default_space(shared: &Settings) -> Result<Vec<Dimension>> {
    let config = shared.clone().resolve()?;
    let range = |min, max, log| {
        Domain::Range(Range {
            min: three_digits(min),
            max: three_digits(max),
            log,
            whole: false,
        })
    };
    let decay = match config.weight_decay {
        0.0 => range(1e-4 * WEIGHT_DECAY, WEIGHT_DECAY, true),
        usual => range(usual / 100.0, usual * 10.0, true),
    };
    let all = [
        ("lr", range(config.lr / 10.0, config.lr * 10.0, true)),
        ("weight-decay", decay),
        ("label-smoothing", range(0.0, 0.2, false)),
        ("dropout", range(0.0, 0.5, false)),
        ("augment", choices(POLICIES)),
        ("freeze-until", choices(freezing(&config)?)),
        ("image-size", sizes(&config)),
    ];
    let mut space = Vec::new();
    for (option, domain) in all {
        let mut one = Dimension {
            option: option.into(),
            domain,
        };
        if one.is_given(shared)? {
            continue;
        }
        one.keep_valid(shared);
        space.extend(Some(one).filter(Dimension::varies));
    }
    if space.is_empty() {
        let message = format!(
            "there is nothing to search: all options that vary by default are given; leave some out, \
             or name others in a --space file: {}",
            SEARCHABLE.join(", ")
        );
        return Err(Error::Usage(message).into());
    }
    Ok(space)
}

impl Dimension {
    /// Leaves out choices that the network does not take.
    fn keep_valid(&mut self, shared: &Settings) {
        let Domain::Choices(choices) = &mut self.domain else {
            return;
        };
        choices.retain(|choice| {
            let alone = Self {
                option: self.option.clone(),
                domain: Domain::Choices(vec![choice.clone()]),
            };
            alone.check(shared).is_ok()
        });
    }

    fn varies(&self) -> bool {
        match &self.domain {
            Domain::Choices(choices) => choices.len() > 1,
            Domain::Range(_) => true,
        }
    }
}

fn choices<T: Into<Value>>(values: impl IntoIterator<Item = T>) -> Domain {
    Domain::Choices(values.into_iter().map(Into::into).collect())
}

/// The usual first trained layer, and those that leave about half and twice as many layers to train;
/// also `none` where the recipe trains all. Random layers are never frozen.
fn freezing(config: &Config) -> Result<Vec<String>> {
    if config.weights == WeightsSource::None {
        return Ok(Vec::new());
    }
    let usual = config.arch.fine_tune_from;
    let points = freeze_points(config)?;
    let at = |layer: &str| {
        let below = format!("{layer}.");
        points
            .iter()
            .position(|point| point == layer || point.starts_with(&below))
    };
    let (Some(usual_at), Some(head)) = (at(usual), at(config.arch.head)) else {
        return Ok(Vec::new());
    };
    let trained = head.saturating_sub(usual_at);
    let earlier = usual_at.checked_sub(trained).filter(|&at| at > 0);
    let later = Some(usual_at + trained / 2).filter(|&at| at > usual_at && at < head);
    let all = (!config.recipe.freezes).then(|| "none".to_owned());
    let named = |at: Option<usize>| at.map(|at| points[at].clone());
    let layers = [all, named(earlier), Some(usual.to_owned()), named(later)];
    Ok(layers.into_iter().flatten().collect())
}

fn sizes(config: &Config) -> Domain {
    let usual = config.image_size;
    let mut sizes: Vec<usize> = SIZES
        .iter()
        .map(|part| match *part {
            1.0 => usual,
            part => ((part * usual as f64 / STRIDE).round() * STRIDE) as usize,
        })
        .collect();
    sizes.dedup();
    choices(sizes.into_iter().map(|size| size as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::LearningRate;

    fn space(settings: &Settings) -> Vec<(String, Domain)> {
        let space = default_space(settings).unwrap();
        space
            .into_iter()
            .map(|one| (one.option, one.domain))
            .collect()
    }

    fn of_recipe(recipe: &str, arch: &str) -> Settings {
        Settings {
            recipe: Some(recipe.into()),
            arch: Some(arch.into()),
            ..Settings::default()
        }
    }

    fn listed(space: &[(String, Domain)], option: &str) -> Vec<String> {
        let found = space.iter().find(|(name, _)| name == option);
        let Some((_, Domain::Choices(choices))) = found else {
            return Vec::new();
        };
        choices.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_space_lies_around_the_defaults() {
        let space = space(&of_recipe("fast", "mobilenet_v2"));
        let names: Vec<&str> = space.iter().map(|(name, _)| &**name).collect();
        assert_eq!(
            names,
            [
                "lr",
                "weight-decay",
                "label-smoothing",
                "dropout",
                "augment",
                "freeze-until",
                "image-size"
            ]
        );
        let Domain::Range(lr) = space[0].1 else {
            panic!("{space:?}");
        };
        assert_eq!((lr.min, lr.max, lr.log), (3e-5, 3e-3, true));
        assert_eq!(listed(&space, "image-size"), ["160", "224", "288"]);
        let layers = ["\"features.9\"", "\"features.14\"", "\"features.16\""];
        assert_eq!(listed(&space, "freeze-until"), layers);
    }

    #[test]
    fn what_is_given_stays() {
        let settings = Settings {
            lr: Some(LearningRate::Rate(0.1)),
            image_size: Some(96),
            weights: Some("none".into()),
            ..of_recipe("scratch", "resnet18")
        };
        let space = space(&settings);
        let names: Vec<&str> = space.iter().map(|(name, _)| &**name).collect();
        // Random layers are never frozen.
        assert_eq!(
            names,
            ["weight-decay", "label-smoothing", "dropout", "augment"]
        );
        let Domain::Range(decay) = space[0].1 else {
            panic!("{space:?}");
        };
        assert_eq!((decay.min, decay.max), (1e-6, 0.01));
    }

    #[test]
    fn layers_that_a_network_has_and_sizes_that_it_takes_are_tried() {
        let resnet = space(&of_recipe("classic", "resnet18"));
        let layers = ["\"none\"", "\"layer3.0\"", "\"layer4\"", "\"layer4.1\""];
        assert_eq!(listed(&resnet, "freeze-until"), layers);
        // Its patches of 14 pixels fit into 224 pixels alone.
        let dino = space(&of_recipe("classic", "dinov2_vits14"));
        assert_eq!(listed(&dino, "image-size"), [""; 0]);
    }

    #[test]
    fn nothing_left_to_search_is_refused() {
        let text = "lr = 0.1\nweight-decay = 0\nlabel-smoothing = 0\ndropout = 0\naugment = \"none\"\n\
                    freeze-until = \"none\"\nimage-size = 64";
        let settings = Settings::from_toml(text).unwrap();
        let refused = default_space(&settings).unwrap_err().to_string();
        assert!(refused.contains("nothing to search"), "{refused}");
    }
}
