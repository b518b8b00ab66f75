//! Runs loaders: what every backend answers, and the table of them.

mod cpu;
pub mod onednn;
pub mod onnx;
mod pixels;
mod precision;
pub mod torchscript;

use std::fmt;

pub use cpu::Cpu;
use precision::head;
pub use precision::{Arithmetic, Choice, Kernels, Precision};
pub use torchscript::{resolve_device, set_threads};

use crate::bundle::Bundle;
use crate::device::Device;
use crate::error::Result;
use crate::graph::{InferenceGraph, NodeId};
use crate::image::Preprocessing;

/// A network that is ready to run, on several threads at a time.
pub trait Backend: Send + Sync {
    /// Scores of a batch, float32 row-major `(n, classes)`: logits, unless the network itself ends in
    /// a softmax.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) with [`NonFinite`](crate::error::NonFinite) as its
    /// context when a score is infinite or NaN;
    /// [`Error::Environment`](crate::error::Error::Environment) when memory runs out.
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>>;

    fn classes(&self) -> usize;

    /// Height and width of the images in pixels.
    fn image_size(&self) -> usize;

    /// How it computes.
    fn execution(&self) -> Execution;

    /// A batch size of at least `images` that costs no more than its kernels make of it: where odd
    /// batches are slower, the next even one.
    fn efficient_batch(&self, images: usize) -> usize {
        images
    }

    /// Computes once in each batch size up to `largest` for which kernels are chosen at their first
    /// use.
    ///
    /// # Errors
    /// As [`Backend::logits`].
    fn warm_up(&self, _largest: usize) -> Result<()> {
        Ok(())
    }
}

/// Gives the values of some nodes of a network: what calibration measures.
pub trait FeatureExtractor {
    /// The values of the chosen nodes, in their order, for a batch.
    ///
    /// # Errors
    /// As [`Backend::logits`].
    fn values(&self, images: Images<'_>) -> Result<Vec<NodeValues>>;
}

/// A batch of images of a network's size.
#[derive(Debug, Clone, Copy)]
pub enum Images<'a> {
    /// 8-bit RGB `(n, size, size, 3)`, as [`Preprocessing::fit`] makes them.
    Rgb8(&'a [u8]),
    /// float32 planes `(n, 3, size, size)`, normalised.
    Normalised(&'a [f32]),
}

impl Images<'_> {
    /// Number of values.
    fn len(self) -> usize {
        match self {
            Self::Rgb8(pixels) => pixels.len(),
            Self::Normalised(planes) => planes.len(),
        }
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Self::Rgb8(pixels) => {
                let (a, b) = pixels.split_at(at);
                (Self::Rgb8(a), Self::Rgb8(b))
            }
            Self::Normalised(planes) => {
                let (a, b) = planes.split_at(at);
                (Self::Normalised(a), Self::Normalised(b))
            }
        }
    }
}

/// Values of a node for a batch: float32 with the channels innermost.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeValues {
    pub channels: usize,
    pub values: Vec<f32>,
}

/// How a network should compute.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub device: Device,
    pub precision: Precision,
    pub kernels: Kernels,
    pub backend: Choice,
}

impl Options {
    /// Float32 on the CPU.
    pub fn cpu() -> Self {
        Self::float32(Device::Cpu)
    }

    /// Float32, by the fastest backend and kernels of the device.
    pub fn float32(device: Device) -> Self {
        Self {
            precision: Precision::Float32,
            ..Self::auto(device)
        }
    }

    /// The fastest precision, backend and kernels of the device.
    pub fn auto(device: Device) -> Self {
        Self {
            device,
            precision: Precision::Auto,
            kernels: Kernels::Auto,
            backend: Choice::Auto,
        }
    }
}

/// How a network computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Of [`BACKENDS`], by name.
    pub backend: &'static str,
    /// Why not a faster backend.
    pub passed_over: Option<String>,
    pub device: Device,
    pub arithmetic: Arithmetic,
    /// Whether the processor computes in that precision, rather than in float32 that is rounded.
    pub native: bool,
    /// Whether convolutions, residuals and activations are one kernel.
    pub fused: bool,
}

impl Execution {
    /// Plain float32 kernels on the CPU.
    pub const PLAIN: Self = Self {
        backend: "onnx",
        passed_over: None,
        device: Device::Cpu,
        arithmetic: Arithmetic::Float32,
        native: true,
        fused: false,
    };
}

/// For a person: the precision, what is unusual about it, and the backend and its kernels.
impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernels = if self.fused { "fused" } else { "plain" };
        write!(
            f,
            "{} by {} with {kernels} kernels",
            self.arithmetic, self.backend
        )?;
        if self.arithmetic == Arithmetic::EmulatedBfloat16 {
            f.write_str(
                " (emulated: this processor has no bfloat16, so it is no faster than float32)",
            )?;
        }
        Ok(())
    }
}

/// A backend of the table.
pub struct BackendEntry {
    pub name: &'static str,
    /// One line for the help.
    pub summary: &'static str,
    /// Whether it is made for such a machine and such options.
    suits: fn(&Options) -> bool,
    /// Which kernels and devices this machine has for it.
    ///
    /// # Errors
    /// Why it can't be used here, and the remedy.
    pub status: fn() -> Result<String>,
    /// For networks of model files; `None` where it runs exported files alone.
    loaders: Option<Loaders>,
}

/// How a backend loads a network.
struct Loaders {
    load: Load,
    extract: Option<LoadExtractor>,
}

/// The last argument is why a faster backend was passed over.
type Load =
    fn(&InferenceGraph, &Preprocessing, &Options, Option<String>) -> Result<Box<dyn Backend>>;
type LoadExtractor =
    fn(&InferenceGraph, &Preprocessing, &Options, &[NodeId]) -> Result<Box<dyn FeatureExtractor>>;

/// A backend's name, with the version of its library where that may vary.
pub fn version(backend: &str) -> String {
    match backend {
        "onednn" => onednn::version(),
        name => name.into(),
    }
}

/// Every backend, the fastest first.
pub const BACKENDS: &[BackendEntry] = &[
    BackendEntry {
        name: "onednn",
        summary: "oneDNN by plans that are made once, on x86-64 CPUs; float32, bfloat16 and int8",
        suits: onednn::suits,
        status: onednn::status,
        loaders: Some(Loaders {
            load: |network, preprocessing, options, _| {
                Ok(Box::new(onednn::Session::new(
                    network,
                    preprocessing,
                    options,
                )?))
            },
            extract: Some(|network, preprocessing, options, nodes| {
                let extractor = onednn::Extractor::new(network, preprocessing, options, nodes)?;
                Ok(Box::new(extractor))
            }),
        }),
    },
    BackendEntry {
        name: "torchscript",
        summary: "libtorch, with oneDNN's fused kernels on x86; every precision and device",
        suits: |_| true,
        status: torchscript::status,
        loaders: Some(Loaders {
            load: |network, preprocessing, options, passed_over| {
                let session = torchscript::Session::new(network, preprocessing, options)?;
                Ok(Box::new(session.after(passed_over)))
            },
            extract: Some(|network, preprocessing, options, nodes| {
                let extractor =
                    torchscript::Extractor::new(network, preprocessing, options, nodes)?;
                Ok(Box::new(extractor))
            }),
        }),
    },
    BackendEntry {
        name: "onnx",
        summary: "exported ONNX files, operator by operator, to verify them",
        suits: |_| true,
        status: onnx::status,
        loaders: None,
    },
];

/// Loads a network with the backend of the options: the first that this machine has and that can run it,
/// unless one is named.
///
/// # Errors
/// [`Error::Usage`](crate::error::Error::Usage) for a precision that the network or the device can't
/// have; [`Error::Environment`](crate::error::Error::Environment) when the named backend, or none, can be
/// used here.
pub fn load(
    network: &InferenceGraph,
    preprocessing: &Preprocessing,
    options: &Options,
) -> Result<Box<dyn Backend>> {
    first(options, |loaders, passed_over| {
        Some((loaders.load)(network, preprocessing, options, passed_over))
    })
}

/// Loads the network of a model file; its weights are dropped as soon as they are packed.
///
/// # Errors
/// As [`load`], and [`Error::Data`](crate::error::Error::Data) when the weights do not fit the
/// architecture.
pub fn load_bundle(bundle: Bundle, options: &Options) -> Result<Box<dyn Backend>> {
    let preprocessing = bundle.manifest.preprocessing.clone();
    load(&bundle.into_network()?, &preprocessing, options)
}

/// Loads a network to extract the values of some nodes.
///
/// # Errors
/// As [`load`].
pub fn load_extractor(
    network: &InferenceGraph,
    preprocessing: &Preprocessing,
    options: &Options,
    nodes: &[NodeId],
) -> Result<Box<dyn FeatureExtractor>> {
    first(options, |loaders, _| {
        let extract = loaders.extract?;
        Some(extract(network, preprocessing, options, nodes))
    })
}

/// What the first backend of the options gives that can; it is told why one before it can't.
fn first<T>(
    options: &Options,
    load: impl Fn(&Loaders, Option<String>) -> Option<Result<T>>,
) -> Result<T> {
    let is_wanted = |entry: &&BackendEntry| match options.backend {
        Choice::Auto => (entry.suits)(options),
        Choice::Onednn => entry.name == "onednn",
        Choice::Torchscript => entry.name == "torchscript",
    };
    let mut failed: Option<anyhow::Error> = None;
    for entry in BACKENDS.iter().filter(is_wanted) {
        let Some(loaders) = &entry.loaders else {
            continue;
        };
        let passed_over = failed.as_ref().map(|cause| format!("{cause:#}"));
        let loaded = (entry.status)().and_then(|_| match load(loaders, passed_over) {
            Some(loaded) => loaded,
            None => anyhow::bail!("{} gives no features", entry.name),
        });
        match loaded {
            // The last backend takes every network: what it says is the matter with this one.
            Err(cause) if failed.is_none() => failed = Some(cause),
            loaded => return loaded,
        }
    }
    Err(failed.unwrap_or_else(|| anyhow::anyhow!("no backend runs networks")))
}
