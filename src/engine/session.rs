//! A compiled network and its weights in memory, ready for pictures.

use anyhow::Context;
use half::bf16;
use tch::{Device, IValue, Kind, Tensor};

use super::compile::{Batches, Network, compile, method_of, takes_integers};
use super::cpu::Cpu;
use super::loaded::Loaded;
use super::normalise::Normalise;
use super::operators;
use super::precision::{Arithmetic, Kernels, Precision, Target};
use super::tensors::{append, torch};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::graph::Affine;
use crate::image::Preprocessing;
use crate::memory;

/// Pictures that run together: the feature maps of so many stay in cache, larger batches only move
/// more memory. A single picture wants the weights of some layers in another order.
const BATCHES: Batches = Batches {
    usual: 8,
    others: &[1],
    even: true,
};

/// As [`BATCHES`], for the smaller feature maps of int8.
const INTEGER_BATCHES: Batches = Batches {
    usual: 8,
    others: &[1, 16],
    even: true,
};

/// On a GPU more pictures together are faster, as long as they fit.
const GPU_BATCHES: Batches = Batches {
    usual: 128,
    others: &[],
    even: false,
};

/// How a session computes.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub device: Device,
    pub precision: Precision,
    pub kernels: Kernels,
}

impl Options {
    /// Float32 on the CPU.
    pub fn cpu() -> Self {
        Self::float32(Device::Cpu)
    }

    /// Float32, with the fastest operators of the device.
    pub fn float32(device: Device) -> Self {
        Self {
            device,
            precision: Precision::Float32,
            kernels: Kernels::Auto,
        }
    }
}

/// A batch of pictures of a network's size.
#[derive(Debug, Clone, Copy)]
pub enum Pictures<'a> {
    /// 8-bit RGB (n, size, size, 3), as [`Preprocessing::fit`] makes them.
    Rgb8(&'a [u8]),
    /// float32 planes (n, 3, size, size), normalised.
    Normalised(&'a [f32]),
}

/// Values of a node for a batch: float32 with the channels innermost.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    pub channels: usize,
    pub values: Vec<f32>,
}

/// A network that has learned into infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's scores are not finite")]
pub struct NotFinite;

impl NotFinite {
    /// What is the matter, with [`NotFinite`] as its context.
    pub(super) fn of_weights<T>() -> Result<T> {
        let message = "its weights are broken; train it again, perhaps with a lower learning rate";
        Err(Error::Data(message.into())).context(Self)
    }
}

/// Sets how many threads compute what the calling thread asks for.
pub fn use_threads(threads: usize) {
    // A thread's first question sets it to what any thread asked for last.
    tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// A network compiled for this machine. Several threads may run it at a time.
pub struct Session {
    module: Loaded,
    batches: Batches,
    /// Whether the other batches have methods of their own.
    packed: bool,
    device: Device,
    target: Target,
    input: Input,
    size: usize,
    classes: usize,
}

/// The numbers that the first layer takes.
struct Input {
    integers: Option<Affine>,
    /// On a GPU, where 8-bit pixels become real numbers.
    there: Option<Normalise>,
    /// `(x / 255 - mean) / std` of each 8-bit value, for each channel.
    tables: [[f32; 256]; 3],
}

impl Session {
    /// Compiles a model file's network and packs its weights.
    ///
    /// # Errors
    /// [`Error::Data`] when the weights do not fit the architecture; [`Error::Usage`] for a
    /// precision that the model or the device can't have.
    pub fn new(bundle: Bundle, options: &Options) -> Result<Self> {
        let preprocessing = bundle.manifest.preprocessing.clone();
        let network = network_of(bundle)?;
        Self::of_network(&network, &preprocessing, options, &[])
    }

    /// As [`Session::new`], from a network in the making. With `observed`, [`Session::values`]
    /// gives those nodes' values.
    pub fn of_network(
        network: &Network,
        preprocessing: &Preprocessing,
        options: &Options,
        observed: &[usize],
    ) -> Result<Self> {
        let target = target(network, options)?;
        let batches = match target.arithmetic {
            _ if options.device != Device::Cpu => GPU_BATCHES,
            Arithmetic::Int8 => INTEGER_BATCHES,
            _ => BATCHES,
        };
        let module = compile(network, target, batches, observed)?;
        let packed = module.has_method(&method_of(1));
        let module = Loaded::compile(module, options.device)?;
        memory::release_unused();
        let shape = &network.graph.nodes()[0].shape;
        Ok(Self {
            module,
            batches,
            packed,
            device: options.device,
            target,
            input: Input {
                integers: takes_integers(network, target),
                there: match options.device {
                    Device::Cpu => None,
                    device => Some(Normalise::new(preprocessing, device)),
                },
                tables: preprocessing.tables(),
            },
            size: shape.last().copied().unwrap_or_default(),
            classes: network.graph.output_shape().iter().product(),
        })
    }

    /// The precision and the kind of operators that were chosen.
    pub fn target(&self) -> Target {
        self.target
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Side of the pictures in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Logits of a batch, float32 row-major `(n, classes)`.
    ///
    /// # Errors
    /// [`Error::Data`] with [`NotFinite`] as its context when a logit is infinite or no number;
    /// [`Error::Environment`] when memory runs out.
    pub fn logits(&self, pictures: Pictures<'_>) -> Result<Vec<f32>> {
        let mut logits = Vec::new();
        for slice in pictures.slices(self.values_of_one(), self.batches) {
            let n = slice.len() / self.values_of_one();
            let x = self.filled_up(self.input.tensor(slice, self.size, self)?, n)?;
            let method = match self.packed && self.batches.others.contains(&n) {
                true => method_of(n),
                false => "forward".into(),
            };
            let rows = self.module.run(&method, x)?;
            append(&torch(rows.f_narrow(0, 0, n as i64))?, &mut logits)?;
        }
        if logits.iter().all(|value| value.is_finite()) {
            return Ok(logits);
        }
        NotFinite::of_weights()
    }

    /// Computes once in each batch size up to `most` that [`Session::logits`] uses on a GPU, whose
    /// kernels are chosen and loaded at the first batch of a size, for a second or so each.
    ///
    /// # Errors
    /// As [`Session::logits`].
    pub fn warm_up(&self, most: usize) -> Result<()> {
        if self.device == Device::Cpu {
            return Ok(());
        }
        let sizes = (0..).map(|power| 1 << power);
        for n in sizes.take_while(|&n: &usize| n < 2 * most.min(self.batches.usual)) {
            self.logits(Pictures::Rgb8(&vec![0; n * self.values_of_one()]))?;
        }
        Ok(())
    }

    /// On a GPU, fills a batch of `n` up with zeros to a power of two, so that few sizes occur.
    fn filled_up(&self, x: Tensor, n: usize) -> Result<Tensor> {
        let missing = (n.next_power_of_two() - n) as i64;
        match self.device {
            Device::Cpu => Ok(x),
            _ if missing == 0 => Ok(x),
            _ => torch(x.f_constant_pad_nd([0, 0, 0, 0, 0, 0, 0, missing])),
        }
    }

    /// Number of values of a picture.
    fn values_of_one(&self) -> usize {
        (3 * self.size * self.size).max(1)
    }

    /// The values of the observed nodes, in their order, for a batch.
    ///
    /// # Errors
    /// As [`Session::logits`].
    pub fn values(&self, pictures: Pictures<'_>) -> Result<Vec<Values>> {
        let mut all: Vec<Values> = Vec::new();
        for slice in pictures.slices(self.values_of_one(), self.batches) {
            let x = IValue::Tensor(self.input.tensor(slice, self.size, self)?);
            let values = self.module.call("values", &[x])?;
            let IValue::TensorList(values) = values else {
                anyhow::bail!("observed values are tensors");
            };
            if all.is_empty() {
                all = values.iter().map(Values::shaped).collect();
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

impl Values {
    fn shaped(value: &Tensor) -> Self {
        Self {
            channels: value.size().get(1).map_or(1, |&c| c as usize),
            values: Vec::new(),
        }
    }
}

impl<'a> Pictures<'a> {
    /// Parts of as many pictures as run together, the largest first. Where even numbers are
    /// faster, what is left is one, then a single picture.
    fn slices(self, of_one: usize, batches: Batches) -> Vec<Pictures<'a>> {
        let mut slices = Vec::new();
        let mut rest = self;
        while let n @ 1.. = rest.len() / of_one {
            let whole = [batches.usual]
                .into_iter()
                .chain(batches.others.iter().copied());
            let whole = whole.filter(|&batch| batch > 1 && batch <= n).max();
            let left = if batches.even { (n & !1).max(1) } else { n };
            let taken = whole.unwrap_or(left);
            let (slice, others) = rest.split_at(taken * of_one);
            slices.push(slice);
            rest = others;
        }
        slices
    }

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

impl Input {
    /// The pictures as the network takes them, channels innermost in memory.
    fn tensor(&self, pictures: Pictures<'_>, size: usize, session: &Session) -> Result<Tensor> {
        if let (Some(normalise), Pictures::Rgb8(pixels)) = (&self.there, pictures) {
            let real = normalise.pixels(pixels, size)?;
            return match session.target.arithmetic {
                Arithmetic::Bfloat16 => torch(real.f_to_kind(Kind::BFloat16)),
                _ => Ok(real),
            };
        }
        let (bytes, kind) = match self.integers {
            Some(affine) => (
                self.values(pictures, size, |real| [affine.quantize(real)]),
                Kind::Uint8,
            ),
            None if session.target.arithmetic == Arithmetic::Bfloat16 => (
                self.values(pictures, size, |real| bf16::from_f32(real).to_le_bytes()),
                Kind::BFloat16,
            ),
            None => (self.values(pictures, size, f32::to_ne_bytes), Kind::Float),
        };
        let side = size as i64;
        let n = bytes.len() as i64 / (3 * side * side * kind.elt_size_in_bytes() as i64).max(1);
        let shape = [n, side, side, 3];
        let x = Tensor::f_from_data_size(&bytes, &shape, kind);
        torch(x.and_then(|x| x.f_permute([0, 3, 1, 2])?.f_to_device(session.device)))
    }

    /// Every value as `N` bytes, in the order (n, y, x, channel).
    fn values<const N: usize>(
        &self,
        pictures: Pictures<'_>,
        size: usize,
        bytes: impl Fn(f32) -> [u8; N],
    ) -> Vec<u8> {
        match pictures {
            Pictures::Rgb8(pixels) => {
                let [red, green, blue] = self.tables.map(|table| table.map(&bytes));
                let mut values = vec![[[0; N]; 3]; pixels.len() / 3];
                for (values, &[r, g, b]) in values.iter_mut().zip(pixels.as_chunks().0) {
                    let at = [r, g, b].map(usize::from);
                    *values = [red[at[0]], green[at[1]], blue[at[2]]];
                }
                values.into_flattened().into_flattened()
            }
            Pictures::Normalised(planes) => {
                let area = (size * size).max(1);
                let mut values = Vec::with_capacity(N * planes.len());
                for picture in planes.chunks_exact(3 * area) {
                    for at in 0..area {
                        for channel in 0..3 {
                            values.extend_from_slice(&bytes(picture[channel * area + at]));
                        }
                    }
                }
                values
            }
        }
    }
}

/// The fused network of a model file.
///
/// # Errors
/// [`Error::Data`] for an architecture that is not known, or weights that do not fit it.
pub fn network_of(bundle: Bundle) -> Result<Network> {
    let graph = bundle.manifest.graph()?;
    match bundle.manifest.quantization {
        Some(quantization) => Network::of_int8(&graph, bundle.weights, quantization),
        None => Network::of_float(&graph, &bundle.weights),
    }
}

/// Turns wishes into what this machine and this model can do.
fn target(network: &Network, options: &Options) -> Result<Target> {
    let cpu = options.device == Device::Cpu;
    let fused = cpu && operators::has_fused();
    let fused = match options.kernels {
        Kernels::Auto => fused,
        Kernels::Plain => false,
        Kernels::Fused if fused => true,
        Kernels::Fused => {
            let message = "this device has no fused kernels; use --kernels plain";
            return Err(Error::Environment(message.into()).into());
        }
    };
    let integers = network.quantization.is_some();
    let arithmetic = match options.precision {
        Precision::Auto | Precision::Int8 if integers => Arithmetic::Int8,
        _ if integers => {
            let message =
                "an int8 model runs in int8 only; give the float model that it was made from";
            return Err(Error::Usage(message.into()).into());
        }
        Precision::Int8 => {
            let message = "this model is not int8: make one with `flowers quantize`";
            return Err(Error::Usage(message.into()).into());
        }
        Precision::Auto if fused && Cpu::detect().bfloat16 && operators::has_bfloat16() => {
            Arithmetic::Bfloat16
        }
        Precision::Auto | Precision::Float32 => Arithmetic::Float32,
        Precision::Bfloat16 if !cpu || (fused && operators::has_bfloat16()) => Arithmetic::Bfloat16,
        Precision::Bfloat16 => Arithmetic::RoundedToBfloat16,
    };
    Ok(Target { arithmetic, fused })
}
