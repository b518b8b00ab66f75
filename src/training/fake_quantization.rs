//! Quantization-aware training: a float network learns to give its own answers when weights and values
//! are rounded as integers round them (Jacob et al., 2018).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::Kind;

use super::distillation::divergence;
use super::network::{Mode, Network};
use super::optimizer::{Algorithm, Optimizer};
use super::rounding::{FakeQuantization, Rounding};
use super::schedule::{Plateau, Schedule, Scheduler};
use super::tensors::torch;
use crate::data::loader::{Loader, Transform, epoch_order};
use crate::data::{Photo, Undecodable};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::InferenceGraph;
use crate::image::augment::Augmentations;
use crate::image::{Limits, Preprocessing};
use crate::progress::Progress;
use crate::torch::Normalise;
use crate::weights::StateDict;

/// Photos in a step.
const BATCH: usize = 32;

/// What a network is trained on.
pub(crate) struct FineTuning<'a> {
    pub photos: Arc<[Photo]>,
    /// Of the training photos.
    pub indices: Vec<usize>,
    pub undecodable: Arc<Undecodable>,
    pub preprocessing: &'a Preprocessing,
    pub epochs: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    pub seed: u64,
    pub workers: usize,
    pub device: Device,
    pub stop: &'a AtomicBool,
    pub progress: &'a dyn Progress,
}

impl FineTuning<'_> {
    /// The parameters of a float network after training it, rounded, towards its own probabilities. The
    /// labels of the photos are not looked at.
    ///
    /// # Errors
    /// [`Error::Gate`] when it diverges, [`Error::Interrupted`], those of reading photos, and
    /// [`Error::Environment`] when memory runs out.
    pub(crate) fn train(
        &self,
        network: &InferenceGraph,
        rounded: &FakeQuantization,
    ) -> Result<StateDict> {
        let (weights, _) = network.clone().into_parts();
        let graph = network.graph();
        let teacher = Network::new(graph.clone(), &weights, self.device)?;
        let student = Network::new(graph.clone(), &weights, self.device)?;
        let student = student.rounded(Rounding::new(rounded, self.device)?);
        drop(weights);
        let mut optimizer = Optimizer::new(Algorithm::Adam, student.trainable(), 0.0)?;
        let schedule = Schedule {
            scheduler: Scheduler::Cosine,
            peak: self.learning_rate,
            epochs: self.epochs,
            steps_per_epoch: self.indices.len().div_ceil(BATCH),
            warmup: 0.0,
            plateau: Plateau::default(),
        };
        let photos = self.epochs * self.indices.len();
        self.progress.begin("fine-tuning for int8", photos as u64);
        let mut step = 0;
        for epoch in 0..self.epochs {
            let mut loader = self.loader(epoch as u64)?;
            while let Some(batch) = loader.next() {
                let batch = batch?;
                if !batch.labels.is_empty() {
                    let rate = schedule.learning_rate(step);
                    self.step(&teacher, &student, &batch.pixels, rate, &mut optimizer)?;
                }
                step += 1;
                self.progress.advance(batch.labels.len() as u64);
                loader.recycle(batch);
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted("stopped".into()).into());
                }
            }
        }
        self.progress.finish();
        match student.is_finite()? {
            true => student.state_dict(),
            false => Err(Error::Gate(
                "fine-tuning for int8 diverged: nothing was written; try a lower --lr".into(),
            )
            .into()),
        }
    }

    fn loader(&self, epoch: u64) -> Result<Loader> {
        let transform = Transform {
            limits: Limits::default(),
            preprocessing: self.preprocessing.clone(),
            augmentations: Some(Augmentations::fast(self.preprocessing.crop)),
            seed: self.seed,
            epoch,
            cache: None,
        };
        let order = epoch_order(self.indices.len(), self.seed, epoch)
            .into_iter()
            .map(|at| self.indices[at])
            .collect();
        let photos = Arc::clone(&self.photos);
        let loader = Loader::new(photos, order, BATCH, transform, self.workers)?;
        Ok(loader.tolerating(&self.undecodable))
    }

    fn step(
        &self,
        teacher: &Network,
        student: &Network,
        pixels: &[u8],
        learning_rate: f64,
        optimizer: &mut Optimizer,
    ) -> Result<()> {
        let size = self.preprocessing.crop as usize;
        let pixels = Normalise::new(self.preprocessing, self.device).pixels(pixels, size)?;
        let wanted = teacher.forward(&pixels, Mode::Evaluate)?;
        let found = student.forward(&pixels, Mode::Train)?;
        let apart = divergence(&wanted, &found).and_then(|apart| apart.f_mean(Kind::Float));
        let gradients = optimizer.gradients(&torch(apart)?)?;
        optimizer.apply(gradients, learning_rate)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::graph::{Activation, Builder, Conv2d, Epilogue, QuantizationParameters};
    use crate::progress::Silent;

    fn qparams(scale: f32) -> QuantizationParameters {
        QuantizationParameters {
            scale,
            zero_point: 128,
        }
    }

    /// A fused residual network, rounded to a few integers, comes nearer to what it was.
    #[test]
    fn training_brings_a_rounded_network_nearer_to_its_answers() {
        let (mut g, x) = Builder::new(8);
        let fused = |add| Epilogue {
            add,
            activation: Some(Activation::Relu),
        };
        let conv = |outputs, add| Conv2d {
            in_channels: 8,
            bias: true,
            epilogue: fused(add),
            ..Conv2d::new(outputs, 3)
        };
        let x = g.conv2d("a", x, conv(8, false));
        let y = g.conv2d("b", x, conv(8, false));
        let op = crate::graph::Op::Conv2d(conv(8, true));
        let x = g.push("c", op, &[y, x]);
        let x = g.global_avg_pool("pool", x);
        let x = g.flatten("flat", x);
        let x = g.linear("fc", x, 5);
        let graph = g.finish(x).unwrap();
        let weights = graph.initialise(3);
        let network = InferenceGraph::unfused(graph.clone(), weights.clone(), None).unwrap();
        let layers = network.layers().map(|id| {
            let outputs = graph[id].shape[0];
            (id, vec![0.2; outputs])
        });
        let rounded = FakeQuantization {
            weights: layers.collect(),
            values: BTreeMap::from([(graph.input(), qparams(0.05))]),
        };
        let stop = AtomicBool::new(false);
        let preprocessing = Preprocessing::imagenet(8);
        let tuning = FineTuning {
            photos: Arc::new([]),
            indices: Vec::new(),
            undecodable: Arc::new(Undecodable::allowing(0, |_| ())),
            preprocessing: &preprocessing,
            epochs: 1,
            learning_rate: 0.0,
            seed: 0,
            workers: 1,
            device: Device::Cpu,
            stop: &stop,
            progress: &Silent,
        };
        let teacher = Network::new(graph.clone(), &weights, Device::Cpu).unwrap();
        let rounding = || Rounding::new(&rounded, Device::Cpu).unwrap();
        let student = Network::new(graph.clone(), &weights, Device::Cpu).unwrap();
        let student = student.rounded(rounding());
        let pixels: Vec<u8> = (0..16 * 3 * 64).map(|at| (at * 37 % 251) as u8).collect();
        let apart = || {
            let normalise = Normalise::new(&preprocessing, Device::Cpu);
            let pixels = normalise.pixels(&pixels, 8).unwrap();
            let [wanted, found] =
                [&teacher, &student].map(|one| one.forward(&pixels, Mode::Evaluate).unwrap());
            (wanted - found)
                .square()
                .mean(Kind::Float)
                .double_value(&[])
        };
        let before = apart();
        let mut optimizer = Optimizer::new(Algorithm::Adam, student.trainable(), 0.0).unwrap();
        for _ in 0..60 {
            tuning
                .step(&teacher, &student, &pixels, 5e-3, &mut optimizer)
                .unwrap();
        }
        let after = apart();
        assert!(before > 1e-4 && after < 0.5 * before, "{before} {after}");
    }
}
