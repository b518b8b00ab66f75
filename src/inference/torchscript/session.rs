//! A compiled network and its packed weights in memory, ready for images.

use tch::{IValue, Tensor};

use super::batches::{Batches, Rounding};
use super::compile::{Compiled, compile, method_of};
use super::input::Input;
use super::loaded::Loaded;
use super::target::Target;
use crate::device::Device;
use crate::error::{NonFinite, Result};
use crate::graph::{InferenceGraph, NodeId};
use crate::image::Preprocessing;
use crate::inference::{Backend, Execution, FeatureExtractor, Images, NodeValues, Options};
use crate::memory;
use crate::torch::{append, tell_libtorch, torch};

/// A network compiled for this machine.
pub struct Session {
    module: Loaded,
    batches: Batches,
    /// Whether batches of the listed sizes have methods of their own.
    packed: bool,
    device: Device,
    target: Target,
    input: Input,
    classes: usize,
    passed_over: Option<String>,
}

impl Session {
    /// Compiles a network and packs its weights.
    ///
    /// # Errors
    /// Those of [`Target::new`], and [`Error::Environment`](crate::error::Error::Environment) when
    /// memory runs out.
    pub fn new(
        network: &InferenceGraph,
        preprocessing: &Preprocessing,
        options: &Options,
    ) -> Result<Self> {
        Self::extracting(network, preprocessing, options, &[])
    }

    fn extracting(
        network: &InferenceGraph,
        preprocessing: &Preprocessing,
        options: &Options,
        observed: &[NodeId],
    ) -> Result<Self> {
        let device = options.device;
        let target = Target::new(network, options)?;
        let batches = Batches::new(device, target);
        let Compiled { module, packed } = compile(network, target, batches, observed)?;
        let module = Loaded::compile(module, device)?;
        memory::release_unused();
        Ok(Self {
            module,
            batches,
            packed,
            device,
            target,
            input: Input::new(network, preprocessing, device, target),
            classes: network.graph().output_shape().iter().product(),
            passed_over: None,
        })
    }

    /// Keeps why a faster backend was passed over.
    pub fn after(self, passed_over: Option<String>) -> Self {
        Self {
            passed_over,
            ..self
        }
    }

    /// Replaces the weights by those of a network with the same graph, without compiling it again.
    ///
    /// # Errors
    /// [`Error::Environment`](crate::error::Error::Environment) when memory runs out.
    pub fn set_weights(&mut self, network: &InferenceGraph) -> Result<()> {
        let Compiled { module, .. } = compile(network, self.target, self.batches, &[])?;
        self.module.refill(module, self.device)
    }

    /// Frees the weights, until [`Session::set_weights`].
    ///
    /// # Errors
    /// [`Error::Environment`](crate::error::Error::Environment) when memory runs out.
    pub fn clear_weights(&mut self) -> Result<()> {
        self.module.clear()
    }

    /// Scores of as many images as run together, as float32 `(n, classes)`.
    fn scores(&self, images: Images<'_>) -> Result<Tensor> {
        let n = images.len() / self.input.values_of_one();
        let x = self.padded(self.input.tensor(images)?, n)?;
        let method = match self.packed && self.batches.sizes.contains(&n) {
            true => method_of(n, self.batches),
            false => method_of(self.batches.usual, self.batches),
        };
        let rows = self.module.run(&method, x)?;
        torch(rows.f_narrow(0, 0, n as i64))
    }

    /// On a GPU, pads a batch of `n` with zeros to an efficient size.
    fn padded(&self, x: Tensor, n: usize) -> Result<Tensor> {
        let missing = (self.batches.efficient(n) - n) as i64;
        match self.batches.rounding {
            Rounding::PowerOfTwo if missing > 0 => {
                torch(x.f_constant_pad_nd([0, 0, 0, 0, 0, 0, 0, missing]))
            }
            _ => Ok(x),
        }
    }
}

impl Backend for Session {
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>> {
        tell_libtorch();
        let mut logits = Vec::new();
        for slice in self.batches.slices(images, self.input.values_of_one()) {
            append(&self.scores(slice)?, &mut logits)?;
        }
        match logits.iter().all(|value| value.is_finite()) {
            true => Ok(logits),
            false => NonFinite::weights(),
        }
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn image_size(&self) -> usize {
        self.input.image_size()
    }

    fn execution(&self) -> Execution {
        Execution {
            backend: "torchscript",
            passed_over: self.passed_over.clone(),
            device: self.device,
            arithmetic: self.target.arithmetic,
            native: self.target.is_native(),
            fused: self.target.fused,
        }
    }

    fn efficient_batch(&self, images: usize) -> usize {
        self.batches.efficient(images)
    }

    /// On a GPU kernels are chosen and loaded at the first batch of a size, for a second or so each.
    fn warm_up(&self, largest: usize) -> Result<()> {
        if self.batches.rounding != Rounding::PowerOfTwo {
            return Ok(());
        }
        let sizes = (0..).map(|power| 1 << power);
        let largest = largest.min(self.batches.usual);
        for n in sizes.take_while(|&n: &usize| n < 2 * largest) {
            self.logits(Images::Rgb8(&vec![0; n * self.input.values_of_one()]))?;
        }
        Ok(())
    }
}

/// A compiled network that gives the values of some of its nodes.
pub struct Extractor(Session);

impl Extractor {
    /// As [`Session::new`], for the values of these nodes.
    ///
    /// # Errors
    /// As there.
    pub fn new(
        network: &InferenceGraph,
        preprocessing: &Preprocessing,
        options: &Options,
        nodes: &[NodeId],
    ) -> Result<Self> {
        Session::extracting(network, preprocessing, options, nodes).map(Self)
    }
}

impl FeatureExtractor for Extractor {
    fn values(&self, images: Images<'_>) -> Result<Vec<NodeValues>> {
        tell_libtorch();
        let Session {
            module,
            batches,
            input,
            ..
        } = &self.0;
        let mut all: Vec<NodeValues> = Vec::new();
        for slice in batches.slices(images, input.values_of_one()) {
            let x = IValue::Tensor(input.tensor(slice)?);
            let IValue::TensorList(values) = module.call("values", &[x])? else {
                anyhow::bail!("observed values are tensors");
            };
            if all.is_empty() {
                all = values.iter().map(empty).collect();
            }
            for (all, value) in all.iter_mut().zip(&values) {
                let inner = match value.dim() {
                    4 => torch(value.f_permute([0, 2, 3, 1]))?,
                    _ => value.shallow_clone(),
                };
                append(&inner, &mut all.values)?;
            }
        }
        Ok(all)
    }
}

fn empty(value: &Tensor) -> NodeValues {
    NodeValues {
        channels: match value.size()[..] {
            [_, channels, _, _] => channels as usize,
            ref shape => shape.last().map_or(1, |&features| features as usize),
        },
        values: Vec::new(),
    }
}
