//! A network on this machine's cores: plans, the memory of passes through them, and threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::constants::Constants;
use super::library::OneDnn;
use super::memory::Kind;
use super::plan::{Context, Form, Plan, build};
use super::slices::{Threads, cut};
use crate::device::Device;
use crate::error::{Error, NonFinite, Result};
use crate::graph::InferenceGraph;
use crate::image::Preprocessing;
use crate::inference::pixels::{Element, Pixels};
use crate::inference::precision::arithmetic;
use crate::inference::{Arithmetic, Backend, Cpu, Execution, Images, Kernels, Options};

/// A network for this machine. A batch of one image is computed by all of the calling thread's threads, a
/// larger one in slices, each by one thread.
pub struct Session {
    library: &'static OneDnn,
    network: InferenceGraph,
    arithmetic: Arithmetic,
    constants: Constants,
    /// By batch size and number of threads.
    plans: Mutex<BTreeMap<(usize, usize), Arc<Ready>>>,
    threads: Threads,
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
        let plan = Arc::new(build(network, arithmetic, 1, &constants)?);
        let element = match plan.input() {
            Form::Integer(qparams) => Element::Uint8(qparams),
            Form::Float(Kind::Bfloat16) => Element::Bfloat16,
            Form::Float(_) => Element::Float32,
        };
        let ready = Ready {
            plan,
            idle: Mutex::default(),
        };
        Ok(Self {
            library,
            network: network.clone(),
            arithmetic,
            constants,
            plans: Mutex::new(BTreeMap::from([((1, threads), Arc::new(ready))])),
            threads: Threads::default(),
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
        let plan = build(&self.network, self.arithmetic, images, &self.constants)?;
        let ready = Arc::new(Ready {
            plan: Arc::new(plan),
            idle: Mutex::default(),
        });
        plans.insert((images, threads), Arc::clone(&ready));
        Ok(ready)
    }

    /// Scores of images that run together, on the calling thread's threads.
    fn pass(&self, images: Images<'_>, scores: &mut [f32]) -> Result<()> {
        let ready = self.ready(images.len() / self.pixels.values_of_one())?;
        let idle = lock(&ready.idle).pop();
        let mut context = match idle {
            Some(context) => context,
            None => Context::new(&ready.plan)?,
        };
        context.run(|input| self.pixels.write(images, input), scores)?;
        lock(&ready.idle).push(context);
        Ok(())
    }

    /// Several images, in slices.
    fn slices(&self, images: Images<'_>, n: usize, scores: &mut [f32]) -> Result<()> {
        let threads = self.library.threads();
        let mut rest = (images, scores);
        let mut slices = Vec::new();
        for size in cut(n, threads) {
            let (images, other_images) = rest.0.split_at(size * self.pixels.values_of_one());
            let (scores, other_scores) = rest.1.split_at_mut(size * self.classes);
            slices.push((images, scores));
            rest = (other_images, other_scores);
        }
        self.library.with_threads(1, || {
            let set_threads = || self.library.set_threads(1);
            self.threads
                .each(threads, slices, set_threads, |(images, scores)| {
                    self.pass(images, scores)
                })
        })
    }
}

impl Backend for Session {
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>> {
        let n = images.len() / self.pixels.values_of_one();
        let mut scores = vec![0.0; n * self.classes];
        match n {
            0 => {}
            1 => self.pass(images, &mut scores)?,
            n => self.slices(images, n, &mut scores)?,
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
