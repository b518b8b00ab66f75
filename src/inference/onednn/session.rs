//! A network on this machine's cores: plans, the memory of passes through them, and threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::constants::Constants;
use super::library::OneDnn;
use super::memory::Kind;
use super::plan::{Context, Form, Plan, build};
use super::slices::{Threads, cut, largest};
use crate::device::Device;
use crate::error::{Error, NonFinite, Result};
use crate::graph::{InferenceGraph, NodeId};
use crate::image::Preprocessing;
use crate::inference::pixels::{Element, Pixels};
use crate::inference::precision::arithmetic;
use crate::inference::{
    Arithmetic, Backend, Cpu, Execution, FeatureExtractor, Images, Kernels, NodeValues, Options,
};
use crate::memory;

/// A network for this machine. A batch of one image is computed by all of the calling thread's threads, a
/// larger one in slices, each by one thread.
pub struct Session {
    library: &'static OneDnn,
    /// Without float parameters, which are in `constants`.
    network: InferenceGraph,
    arithmetic: Arithmetic,
    observed: Vec<NodeId>,
    constants: Constants,
    /// By batch size and number of threads.
    plans: Mutex<BTreeMap<(usize, usize), Arc<Ready>>>,
    threads: Threads,
    largest_slice: usize,
    pixels: Pixels,
    classes: usize,
}

/// A plan, and the contexts that nobody computes with.
struct Ready {
    plan: Arc<Plan>,
    idle: Mutex<Vec<Context>>,
}

impl Session {
    /// Makes the primitives for one image.
    ///
    /// # Errors
    /// [`Error::Environment`] when oneDNN can't be used here, for this device, or for these kernels;
    /// [`Error::Usage`] for a precision that the network can't have; and when oneDNN has no fast kernel
    /// for one of the nodes.
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
        let library = OneDnn::get()?;
        let refused = |why: &str| Err(Error::Environment(why.into()).into());
        if options.device != Device::Cpu {
            return refused("oneDNN computes on the CPU only: use --device cpu");
        }
        if options.kernels == Kernels::Plain {
            return refused("oneDNN has no plain kernels: use --backend torchscript");
        }
        let arithmetic = arithmetic(
            network,
            options,
            || Cpu::detect().bfloat16,
            || Cpu::detect().bfloat16,
        )?;
        if arithmetic == Arithmetic::EmulatedBfloat16 {
            return refused("this processor has no bfloat16: use --backend torchscript");
        }
        let constants = Constants::default();
        let threads = library.threads();
        let plan = Arc::new(build(network, arithmetic, 1, observed, &constants)?);
        let element = match plan.input() {
            Form::Integer(qparams) => Element::Uint8(qparams),
            Form::Float(Kind::Bfloat16) => Element::Bfloat16,
            Form::Float(_) => Element::Float32,
        };
        let ready = Ready {
            plan,
            idle: Mutex::default(),
        };
        memory::release_unused();
        Ok(Self {
            library,
            // The plan holds the parameters in its own order.
            network: network.without_parameters(),
            arithmetic,
            observed: observed.to_vec(),
            constants,
            plans: Mutex::new(BTreeMap::from([((1, threads), Arc::new(ready))])),
            threads: Threads::default(),
            largest_slice: largest(network, arithmetic),
            pixels: Pixels::new(preprocessing, network.graph().image_size(), element),
            classes: network.graph().output_shape().iter().product(),
        })
    }

    /// The plan for a batch size and the calling thread's number of threads, made at its first use.
    fn ready(&self, images: usize) -> Result<Arc<Ready>> {
        let threads = self.library.threads();
        let mut plans = lock(&self.plans);
        if let Some(found) = plans.get(&(images, threads)) {
            return Ok(Arc::clone(found));
        }
        let plan = build(
            &self.network,
            self.arithmetic,
            images,
            &self.observed,
            &self.constants,
        )?;
        let ready = Arc::new(Ready {
            plan: Arc::new(plan),
            idle: Mutex::default(),
        });
        plans.insert((images, threads), Arc::clone(&ready));
        Ok(ready)
    }

    /// Computes images that run together, on the calling thread's threads.
    fn pass(&self, images: Images<'_>, read: impl FnOnce(&Context)) -> Result<()> {
        let ready = self.ready(images.len() / self.pixels.values_of_one())?;
        let idle = lock(&ready.idle).pop();
        let mut context = match idle {
            Some(context) => context,
            None => Context::new(&ready.plan)?,
        };
        context.run(|input| self.pixels.write(images, input))?;
        read(&context);
        lock(&ready.idle).push(context);
        Ok(())
    }

    /// Computes a batch, in slices if it has several images. Each slice has a place for its results,
    /// given its size.
    fn each<P: Send>(
        &self,
        images: Images<'_>,
        mut place: impl FnMut(usize) -> P,
        read: impl Fn(&Context, P) + Sync,
    ) -> Result<()> {
        let one = self.pixels.values_of_one();
        let n = images.len() / one;
        if n == 1 {
            let place = place(1);
            return self.pass(images, |context| read(context, place));
        }
        let threads = self.library.threads();
        let mut rest = images;
        let mut slices = Vec::new();
        for size in cut(n, threads, self.largest_slice) {
            let (slice, others) = rest.split_at(size * one);
            slices.push((slice, place(size)));
            rest = others;
        }
        let set_threads = || self.library.set_threads(1);
        self.library.with_threads(1, || {
            self.threads
                .each(threads, slices, set_threads, |(images, place)| {
                    self.pass(images, |context| read(context, place))
                })
        })
    }
}

impl Backend for Session {
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>> {
        let n = images.len() / self.pixels.values_of_one();
        let mut scores = vec![0.0; n * self.classes];
        let mut rest = &mut scores[..];
        let place = |images| {
            let (place, others) = std::mem::take(&mut rest).split_at_mut(images * self.classes);
            rest = others;
            place
        };
        self.each(images, place, |context, scores| {
            for (score, found) in scores.iter_mut().zip(context.output(0)) {
                *score = found;
            }
        })?;
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => NonFinite::weights(),
        }
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn image_size(&self) -> usize {
        self.pixels.image_size()
    }

    fn execution(&self) -> Execution {
        Execution {
            backend: "onednn",
            passed_over: None,
            device: Device::Cpu,
            arithmetic: self.arithmetic,
            native: true,
            fused: true,
        }
    }
}

/// A network that gives the values of some of its nodes.
pub struct Extractor {
    session: Session,
    /// Channels of the values.
    channels: Vec<usize>,
}

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
        let channels = nodes.iter().map(|&id| match network.graph()[id].shape[..] {
            [channels, _, _] => channels,
            ref shape => shape.last().copied().unwrap_or(1),
        });
        Ok(Self {
            channels: channels.collect(),
            session: Session::extracting(network, preprocessing, options, nodes)?,
        })
    }
}

impl FeatureExtractor for Extractor {
    fn values(&self, images: Images<'_>) -> Result<Vec<NodeValues>> {
        let slices = Mutex::new(BTreeMap::new());
        let mut first = 0;
        let place = |images| {
            first += images;
            first
        };
        self.session.each(images, place, |context, at| {
            let values = (0..self.channels.len()).map(|node| context.output(node + 1));
            let values: Vec<Vec<f32>> = values.map(Iterator::collect).collect();
            lock(&slices).insert(at, values);
        })?;
        let slices = slices.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<NodeValues> = self
            .channels
            .iter()
            .map(|&channels| NodeValues {
                channels,
                values: Vec::new(),
            })
            .collect();
        for values in slices.into_values() {
            for (all, values) in all.iter_mut().zip(values) {
                all.values.extend(values);
            }
        }
        Ok(all)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
