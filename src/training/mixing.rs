//! MixUp and CutMix: pictures of a batch mixed in pairs, and their targets with them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};
use tch::{Kind, Tensor};

use super::network::Activations;
use super::tensors::{copied, torch};
use crate::error::Result;

/// How the pictures of a batch are mixed, as by torchvision's reference training: each with its
/// predecessor, in one proportion for the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Mixing {
    /// Alpha of MixUp (Zhang et al., 2018): weighted sums of two pictures.
    pub mixup: Option<f64>,
    /// Alpha of CutMix (Yun et al., 2019): a rectangle of the other picture.
    pub cutmix: Option<f64>,
}

/// What the pictures of a batch show.
pub(super) struct Targets {
    /// Class ids (n): the larger share of each picture.
    pub labels: Tensor,
    /// Shares of the classes, float32 `(n, classes)`, where pictures are mixed.
    pub shares: Option<Tensor>,
    /// Probabilities that teachers give, likewise.
    pub taught: Option<Tensor>,
}

enum Mix {
    /// The share of each picture itself.
    Up(f64),
    Cut(Rectangle),
}

/// Rows and columns, from and to.
struct Rectangle {
    rows: (i64, i64),
    columns: (i64, i64),
    /// The share of the picture around it.
    around: f64,
}

impl Mixing {
    /// Mixes the values of a batch and what they show, of so many classes; `seed` decides how. With both
    /// kinds, each takes half of the batches. What teachers say of a mixture is the mixture of what they
    /// say.
    ///
    /// # Errors
    /// When memory runs out, and for CutMix when the values are not one map a picture.
    pub(super) fn mix(
        self,
        values: Activations,
        shown: Targets,
        classes: usize,
        seed: u64,
    ) -> Result<(Activations, Targets)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (alpha, cuts) = match (self.mixup, self.cutmix) {
            (None, None) => return Ok((values, shown)),
            (Some(mixup), Some(cutmix)) => match rng.random::<bool>() {
                true => (cutmix, true),
                false => (mixup, false),
            },
            (Some(mixup), None) => (mixup, false),
            (None, Some(cutmix)) => (cutmix, true),
        };
        let share = Beta::new(alpha, alpha)?.sample(&mut rng);
        let mix = match cuts {
            false => Mix::Up(share),
            true => {
                let sizes = values.values().next().map(Tensor::size);
                let Some(&[_, _, height, width]) = sizes.as_deref() else {
                    anyhow::bail!("CutMix needs pictures");
                };
                Mix::Cut(Rectangle::random(share, height, width, &mut rng))
            }
        };
        let mixed = values.into_iter().map(|(node, x)| {
            let x = torch(mix.values(&x))?;
            Ok((node, x))
        });
        let mixed = mixed.collect::<Result<Activations>>()?;
        let share = match mix {
            Mix::Up(share) => share,
            Mix::Cut(rectangle) => rectangle.around,
        };
        Ok((mixed, torch(mixed_targets(shown, share, classes))?))
    }
}

impl Mix {
    fn values(&self, x: &Tensor) -> Result<Tensor, tch::TchError> {
        let others = x.f_roll([1], [0])?;
        match self {
            Self::Up(share) => x.f_lerp(&others, 1.0 - share),
            Self::Cut(rectangle) => {
                let inside = |x: &Tensor| {
                    let ((top, bottom), (left, right)) = (rectangle.rows, rectangle.columns);
                    x.f_narrow(2, top, bottom - top)?
                        .f_narrow(3, left, right - left)
                };
                let mixed = copied(x)?;
                inside(&mixed)?.f_copy_(&inside(&others)?)?;
                Ok(mixed)
            }
        }
    }
}

impl Rectangle {
    /// One that leaves about `share` of a picture, with its centre anywhere in it.
    fn random(share: f64, height: i64, width: i64, rng: &mut ChaCha8Rng) -> Self {
        let half = 0.5 * (1.0 - share).sqrt();
        let mut range = |side: i64| {
            let centre = rng.random_range(0..side);
            let reach = (half * side as f64) as i64;
            ((centre - reach).max(0), (centre + reach).min(side))
        };
        let (columns, rows) = (range(width), range(height));
        let area = (columns.1 - columns.0) * (rows.1 - rows.0);
        Self {
            rows,
            columns,
            around: 1.0 - area as f64 / (width * height) as f64,
        }
    }
}

/// Targets of pictures that keep this share of themselves.
fn mixed_targets(shown: Targets, share: f64, classes: usize) -> Result<Targets, tch::TchError> {
    let Targets { labels, taught, .. } = shown;
    let own = labels.f_one_hot(classes as i64)?.f_to_kind(Kind::Float)?;
    let mixed = |own: &Tensor| own.f_lerp(&own.f_roll([1], [0])?, 1.0 - share);
    Ok(Targets {
        labels: match share >= 0.5 {
            true => labels,
            false => labels.f_roll([1], [0])?,
        },
        shares: Some(mixed(&own)?),
        taught: taught.as_ref().map(mixed).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;

    /// Pictures of 2 channels of 8 x 6 pixels, each of one value, its number from 0; classes 0 and 1.
    fn mixed(mixing: Mixing, n: i64, seed: u64) -> (Tensor, Targets) {
        let cpu = tch::Device::Cpu;
        let values = Tensor::arange(n, (Kind::Float, cpu)).reshape([n, 1, 1, 1]);
        let pictures = values.expand([n, 2, 8, 6], false).contiguous();
        let labels = Tensor::arange(n, (Kind::Int64, cpu)).remainder(2);
        let graph: Graph = crate::models::find("resnet18")
            .unwrap()
            .graph(&crate::models::Options {
                classes: 2,
                image_size: 32,
                head: crate::models::find("resnet18").unwrap().default_head(),
                channels: crate::graph::Channels::new(),
            })
            .unwrap();
        let node = graph.input();
        let values = Activations::from([(node, pictures)]);
        let shown = Targets {
            taught: Some(labels.one_hot(2).to_kind(Kind::Float)),
            labels,
            shares: None,
        };
        let (mut values, targets) = mixing.mix(values, shown, 2, seed).unwrap();
        (values.remove(&node).unwrap(), targets)
    }

    fn floats(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
    }

    const MIXUP: Mixing = Mixing {
        mixup: Some(0.7),
        cutmix: None,
    };
    const CUTMIX: Mixing = Mixing {
        mixup: None,
        cutmix: Some(1.0),
    };

    #[test]
    fn shares_are_those_of_the_pixels() {
        for (mixing, seed) in (0..20).flat_map(|seed| [(MIXUP, seed), (CUTMIX, seed)]) {
            let (pictures, targets) = mixed(mixing, 4, seed);
            let shares = floats(&targets.shares.unwrap());
            assert_eq!(floats(&targets.taught.unwrap()), shares);
            // The second picture, of value 1 and class 1, with the first, of value 0 and class 0.
            let mean = floats(&pictures.mean_dim(&[1i64, 2, 3][..], false, Kind::Float))[1];
            assert!((shares[3] - mean).abs() < 1e-6, "{mixing:?} {seed}");
            assert!((shares[2] + shares[3] - 1.0).abs() < 1e-6);
            let label = i64::try_from(targets.labels.get(1)).unwrap();
            assert_eq!(label == 1, mean >= 0.5, "{mixing:?} {mean}");
        }
    }

    #[test]
    fn cutmix_leaves_whole_pixels() {
        let (pictures, _) = mixed(CUTMIX, 4, 3);
        let values = floats(&pictures.get(2));
        assert!(values.iter().all(|value| [1.0, 2.0].contains(value)));
        assert!(values.contains(&1.0) && values.contains(&2.0), "{values:?}");
    }

    #[test]
    fn the_seed_decides_and_both_kinds_come_up() {
        let both = Mixing {
            mixup: Some(1.0),
            cutmix: Some(1.0),
        };
        let pictures = |seed| floats(&mixed(both, 3, seed).0);
        assert_eq!(pictures(5), pictures(5));
        assert_ne!(pictures(5), pictures(6));
        let cuts = (0..40).filter(|&seed| pictures(seed).iter().all(|value| value.fract() == 0.0));
        assert!((10..30).contains(&cuts.count()));
    }

    #[test]
    fn a_picture_alone_stays_itself() {
        for mixing in [MIXUP, CUTMIX] {
            let (pictures, targets) = mixed(mixing, 1, 1);
            assert!(floats(&pictures).iter().all(|&value| value == 0.0));
            assert_eq!(floats(&targets.shares.unwrap()), [1.0, 0.0]);
        }
    }
}
