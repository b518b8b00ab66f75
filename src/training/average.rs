//! Averages of a network's weights, which are measured and kept in their place.

use super::network::Network;
use crate::error::Result;
use crate::weights::StateDict;

/// Weights averaged over the steps of a phase (Polyak and Juditsky, 1992), with those of the first
/// steps forgotten soon: timm's `ModelEmaV3` with `use_warmup`. Running statistics of normalisation
/// are averaged too.
pub(super) struct Average {
    decay: f64,
    network: Network,
}

impl Average {
    /// A copy of a network, the average from before the first step. `decay` is the largest part of
    /// the average that a step keeps, at least 0 and below 1.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn new(network: &Network, decay: f64) -> Result<Self> {
        let network = network.detached()?;
        Ok(Self { decay, network })
    }

    /// Takes in the weights of a network after its `steps`th step.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn update(&self, network: &Network, steps: u64) -> Result<()> {
        self.network
            .move_towards(network, 1.0 - decay(self.decay, steps))
    }

    /// The averaged network.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Restores the weights of [`Network::state_dict`].
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) when one is missing or has another shape.
    pub(super) fn restore(&self, weights: &StateDict) -> Result<()> {
        self.network.load(weights)
    }
}

/// Weights on the way from those that a phase begins with to those that it leads to, which do better
/// than either (Wortsman et al., 2022: WiSE-FT).
pub(super) struct Interpolation {
    part: f64,
    start: Network,
    between: Network,
}

impl Interpolation {
    /// Copies of a network from before the first step. `part` is that of the way, in 0..=1.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn new(network: &Network, part: f64) -> Result<Self> {
        Ok(Self {
            part,
            start: network.detached()?,
            between: network.detached()?,
        })
    }

    /// Interpolates towards the weights of a network.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn update(&self, network: &Network) -> Result<()> {
        self.between.move_towards(&self.start, 1.0)?;
        self.between.move_towards(network, self.part)
    }

    /// The interpolated network, as of the last update.
    pub(super) fn network(&self) -> &Network {
        &self.between
    }

    pub(super) fn start(&self) -> &Network {
        &self.start
    }

    /// Restores the weights that the phase began with.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) when one is missing or has another shape.
    pub(super) fn restore(&self, weights: &StateDict) -> Result<()> {
        self.start.load(weights)
    }
}

/// The part of the average that the step keeps: none at first, `largest` in the end.
fn decay(largest: f64, steps: u64) -> f64 {
    const POWER: f64 = 2.0 / 3.0;
    let earlier = steps.saturating_sub(1) as f64;
    (1.0 - (1.0 + earlier).powf(-POWER)).min(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::graph::Builder;

    #[test]
    fn weights_and_running_statistics_are_kept_part_of_the_way() {
        let (mut builder, x) = Builder::new(1);
        let x = builder.batch_norm("norm", x, 1e-5, 0.1);
        let x = builder.flatten("flatten", x);
        let output = builder.linear("classifier", x, 2);
        let graph = builder.finish(output).unwrap();
        let start = graph.initialise(0);
        let network = Network::new(graph, &start, Device::Cpu).unwrap();
        let interpolation = Interpolation::new(&network, 0.75).unwrap();
        for factor in [3.0, 2.0] {
            for name in ["norm.running_var", "classifier.weight"] {
                network.scale(name, factor).unwrap();
            }
            interpolation.update(&network).unwrap();
        }
        let end = network.state_dict().unwrap();
        for (name, kept) in interpolation.network().state_dict().unwrap().iter() {
            let Some(kept) = kept.as_f32() else {
                continue;
            };
            let ends = start[name]
                .as_f32()
                .unwrap()
                .iter()
                .zip(end[name].as_f32().unwrap());
            for (kept, (start, end)) in kept.iter().zip(ends) {
                let expected = start + 0.75 * (end - start);
                assert!((kept - expected).abs() < 1e-6, "{name}: {kept} {expected}");
            }
        }
    }

    #[test]
    fn the_decay_is_timms() {
        // timm.utils.ModelEmaV3(model, decay=0.99, use_warmup=True).get_decay(step)
        for (step, expected) in [
            (1, 0.0),
            (2, 0.370_039_475_052_563_4),
            (9, 0.768_879_575_216_455_1),
            (100, 0.953_584_111_663_872_2),
            (10_000, 0.99),
        ] {
            assert!((decay(0.99, step) - expected).abs() < 1e-9, "{step}");
        }
    }
}
