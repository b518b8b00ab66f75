//! Random initial parameters, each drawn from its own stream so that no layer moves another's.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};
use sha2::{Digest, Sha256};

use super::{Graph, Op, Parameter, Role};
use crate::weights::{StateDict, Tensor, Values};

/// Of tokens and position embeddings, as Dosovitskiy et al. (2021) draw them.
const EMBEDDING_DEVIATION: f64 = 0.02;

impl Graph {
    /// Fresh parameters as PyTorch's classification networks start: convolutions by He's normal
    /// initialisation over the fan-out (He et al., 2015), linear layers uniform within
    /// `1 / sqrt(fan_in)`, normalisations as the identity. The same seed gives the same bytes.
    pub fn initialise(&self, seed: u64) -> StateDict {
        self.parameters()
            .map(|parameter| {
                let tensor = self.initial(&parameter, seed);
                (parameter.name, tensor)
            })
            .collect()
    }

    fn initial(&self, parameter: &Parameter, seed: u64) -> Tensor {
        let count = parameter.shape.iter().product();
        let values = match (parameter.role, &self[parameter.node].op) {
            (Role::Weight, Op::Conv2d(conv)) => {
                let fan_out = conv.out_channels / conv.groups * conv.taps();
                let deviation = (2.0 / fan_out as f64).sqrt();
                drawn(
                    Normal::new(0.0, deviation).ok(),
                    count,
                    seed,
                    &parameter.name,
                )
            }
            (Role::Weight | Role::Bias, Op::Linear(linear)) => {
                let bound = (linear.in_features as f64).sqrt().recip();
                drawn(
                    Uniform::new(-bound, bound).ok(),
                    count,
                    seed,
                    &parameter.name,
                )
            }
            (Role::Embedding, _) => drawn(
                Normal::new(0.0, EMBEDDING_DEVIATION).ok(),
                count,
                seed,
                &parameter.name,
            ),
            // A branch that begins small keeps a deep network near the identity.
            (Role::Scale, Op::LayerScale { .. }) => Values::F32(vec![1e-6; count]),
            (Role::Scale | Role::RunningVariance, _) => Values::F32(vec![1.0; count]),
            (Role::BatchesTracked, _) => Values::I64(vec![0; count]),
            _ => Values::F32(vec![0.0; count]),
        };
        Tensor {
            shape: parameter.shape.clone(),
            values,
        }
    }
}

/// Values of a distribution; a degenerate one (no inputs at all) gives zeros.
fn drawn(
    distribution: Option<impl Distribution<f64>>,
    count: usize,
    seed: u64,
    name: &str,
) -> Values {
    let Some(distribution) = distribution else {
        return Values::F32(vec![0.0; count]);
    };
    let stream = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    let rng = ChaCha8Rng::from_seed(stream.into());
    Values::F32(
        distribution
            .sample_iter(rng)
            .take(count)
            .map(|x| x as f32)
            .collect(),
    )
}
