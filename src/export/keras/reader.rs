//! Reads Keras files as networks again: for verification, so it knows the layers that are written.

use std::collections::BTreeMap;
use std::io::Cursor;

use anyhow::{Context, bail};
use serde_json::Value as Json;
use zip::{CompressionMethod, ZipArchive};

use super::hdf5::Reader as Hdf5;
use super::{legacy, v3};
use crate::error::Result;
use crate::export::assembly::{Around, Assembly, Value, kernel_from_first, linear_from_last};
use crate::export::reread::Reread;
use crate::graph::{Activation, Conv2d, Op};
use crate::weights::Tensor;

/// Reads a `.keras` file.
pub(super) fn read(file: &[u8]) -> Result<Reread> {
    let mut archive = ZipArchive::new(Cursor::new(file)).context("it is not a zip archive")?;
    // Nothing in it is compressed.
    let mut part = |name: &str| {
        let part = archive.by_name(name);
        let part = part.with_context(|| format!("it has no {name}"))?;
        let start = usize::try_from(part.data_start().context("no content")?)?;
        let end = start.checked_add(usize::try_from(part.size())?);
        let content = end.and_then(|end| file.get(start..end));
        let is_stored = part.compression() == CompressionMethod::Stored;
        content
            .filter(|_| is_stored)
            .context("compressed, or not whole")
    };
    let config: Json = serde_json::from_slice(part(v3::CONFIG)?)?;
    let file = Hdf5::new(part(v3::WEIGHTS)?)?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    Reader::new(&config)?.read(|layer| {
        let class = v3::snake_case(text(layer, "class_name")?);
        let earlier = seen.entry(class.clone()).or_default();
        let group = v3::numbered(&class, *earlier);
        *earlier += 1;
        let arrays = (0..).map_while(|at| file.array(&format!("layers/{group}/vars/{at}")).ok());
        Ok(arrays.collect())
    })
}

/// Reads an `.h5` file.
pub(super) fn read_h5(file: &[u8]) -> Result<Reread> {
    let file = Hdf5::new(file)?;
    let root = file.group("")?;
    let config = root.text(legacy::CONFIG).context("no configuration")?;
    let config: Json = serde_json::from_str(config)?;
    let weights = file.group(legacy::WEIGHTS)?;
    let names = weights
        .texts(legacy::LAYER_NAMES)
        .context("no names of layers")?;
    Reader::new(&config)?.read(|layer| {
        let name = text(layer, "name")?;
        if !names.iter().any(|known| known == name) {
            return Ok(Vec::new());
        }
        let path = format!("{}/{name}", legacy::WEIGHTS);
        let group = file.group(&path)?;
        let weights = group
            .texts(legacy::WEIGHT_NAMES)
            .context("no names of weights")?;
        let arrays = weights
            .iter()
            .map(|weight| file.array(&format!("{path}/{weight}")));
        arrays.collect()
    })
}

struct Reader<'a> {
    layers: &'a [Json],
    output: &'a str,
    values: BTreeMap<&'a str, Value>,
    assembly: Assembly,
}

impl<'a> Reader<'a> {
    fn new(config: &'a Json) -> Result<Self> {
        let config = &config["config"];
        let layers = config["layers"].as_array().context("no layers")?;
        let end = |which: &str| config[which][0][0].as_str().context("no input or output");
        let (input, output) = (end("input_layers")?, end("output_layers")?);
        let first = layers.iter().find(|layer| layer["name"] == input);
        let first = &first.context("its input is no layer")?["config"];
        let shape = first.get("batch_shape").or(first.get("batch_input_shape"));
        let shape: (Option<usize>, usize, usize, usize) =
            serde_json::from_value(shape.context("its input has no shape")?.clone())?;
        let (None, size, _, 3) = shape else {
            bail!("its input is of shape {shape:?}");
        };
        let (assembly, value) = Assembly::new(size);
        Ok(Self {
            layers,
            output,
            values: BTreeMap::from([(input, value)]),
            assembly,
        })
    }

    /// Reads all layers, whose weights `weights` gives in their order.
    fn read(mut self, mut weights: impl FnMut(&Json) -> Result<Vec<Tensor>>) -> Result<Reread> {
        for layer in self.layers {
            let name = text(layer, "name")?;
            let read = weights(layer).and_then(|weights| self.layer(layer, &weights));
            read.with_context(|| format!("layer {name}"))?;
        }
        let last = *self
            .values
            .get(self.output)
            .context("nothing computes the output")?;
        self.assembly.finish(last, None)
    }

    fn layer(&mut self, layer: &'a Json, weights: &[Tensor]) -> Result<()> {
        let (name, class) = (text(layer, "name")?, text(layer, "class_name")?);
        if class == "InputLayer" {
            return Ok(());
        }
        let config = &layer["config"];
        let inputs = self.inputs(layer)?;
        let x = *inputs.first().context("no input")?;
        let assembly = &mut self.assembly;
        let value = match class {
            "Normalization" => {
                let (mean, variance) = (floats(config, "mean")?, floats(config, "variance")?);
                let scale: Vec<f64> = variance.iter().map(|v| 1.0 / v.sqrt()).collect();
                let shift = mean.iter().zip(&scale).map(|(mean, scale)| -mean * scale);
                let shift: Vec<f32> = shift.map(|x| x as f32).collect();
                let scale: Vec<f32> = scale.iter().map(|&x| x as f32).collect();
                assembly.per_channel(name, x, &scale, &shift)?
            }
            "Rescaling" => {
                let number = |key: &str| config[key].as_f64().map(|x| x as f32);
                let scale = number("scale").context("no scale")?;
                let offset = number("offset").context("no offset")?;
                assembly.per_channel(name, x, &[scale], &[offset])?
            }
            "BatchNormalization" => {
                let [gamma, beta, mean, variance] = weights else {
                    bail!("{} weights", weights.len());
                };
                let eps = config["epsilon"].as_f64().context("no epsilon")?;
                let values = |tensor: &Tensor| tensor.as_f32().unwrap_or_default().to_vec();
                let parameters = [gamma, beta, mean, variance].map(values);
                assembly.batch_norm(name, x, eps, parameters)?
            }
            "Conv2D" | "DepthwiseConv2D" => self.convolution(layer, x, weights)?,
            "Dense" => {
                let [weight, bias] = weights else {
                    bail!("{} weights", weights.len());
                };
                let channels = assembly.flattened_channels(x);
                let values = weight.as_f32().unwrap_or_default();
                let weight = linear_from_last(values, &weight.shape, channels)?;
                let value = assembly.linear(name, x, weight.shape[0])?;
                assembly.parameter(value, "weight", weight);
                assembly.parameter(value, "bias", bias.clone());
                value
            }
            "ZeroPadding2D" => {
                let sides = &config["padding"];
                let sides: [[usize; 2]; 2] = serde_json::from_value(sides.clone())?;
                let [[top, bottom], [left, right]] = sides;
                Value {
                    around: Some(Around::new([top, bottom, left, right], 0.0)?),
                    ..x
                }
            }
            "MaxPooling2D" | "AveragePooling2D" => {
                if config["padding"] != "valid" {
                    bail!("a pool that is padded by itself");
                }
                let window = [side(config, "pool_size")?, side(config, "strides")?];
                match class {
                    "MaxPooling2D" => assembly.max_pool(name, x, window)?,
                    _ => assembly.avg_pool(name, x, window)?,
                }
            }
            "Dropout" => x,
            _ => assembly.operator(name, operator(class, config)?, &inputs)?,
        };
        self.values.insert(name, value);
        Ok(())
    }

    /// The values that a layer is called with, in either version's notation.
    fn inputs(&self, layer: &Json) -> Result<Vec<Value>> {
        let node = &layer["inbound_nodes"][0];
        let names: Vec<&str> = match node.as_array() {
            Some(inputs) => inputs
                .iter()
                .filter_map(|input| input[0].as_str())
                .collect(),
            None => {
                let argument = &node["args"][0];
                let one = std::slice::from_ref(argument);
                let all = argument.as_array().map_or(one, Vec::as_slice);
                let name = |tensor: &'_ Json| -> Option<String> {
                    Some(tensor["config"]["keras_history"][0].as_str()?.to_owned())
                };
                let found = all.iter().map(|tensor| {
                    let name = name(tensor).context("an input that is no layer")?;
                    self.value(&name)
                });
                return found.collect();
            }
        };
        names.into_iter().map(|name| self.value(name)).collect()
    }

    fn value(&self, name: &str) -> Result<Value> {
        let value = self.values.get(name).copied();
        value.with_context(|| format!("{name} is not computed"))
    }

    fn convolution(&mut self, layer: &Json, x: Value, weights: &[Tensor]) -> Result<Value> {
        let (name, config) = (text(layer, "name")?, &layer["config"]);
        let is_depthwise = layer["class_name"] == "DepthwiseConv2D";
        let kernel = weights.first().context("no weights")?;
        let values = kernel.as_f32().unwrap_or_default();
        let weight = kernel_from_first(values, &kernel.shape, is_depthwise)?;
        let groups = match is_depthwise {
            true => weight.shape[0],
            false => config["groups"].as_u64().context("no groups")? as usize,
        };
        let is_as_said = match is_depthwise {
            true => config["depth_multiplier"] == 1,
            false => config["filters"] == weight.shape[0],
        };
        if !is_as_said || side(config, "kernel_size")? != weight.shape[2] {
            bail!("its kernel is of shape {:?}", kernel.shape);
        }
        let conv = Conv2d::new(weight.shape[0], weight.shape[2]).groups(groups);
        let conv = conv.stride(side(config, "strides")?);
        let conv = conv.dilation(side(config, "dilation_rate")?);
        let is_same = config["padding"] == "same";
        let bias = match (weights, config["use_bias"] == true) {
            ([_, bias], true) => bias.clone(),
            ([_], false) => Tensor::f32([weight.shape[0]], vec![0.0; weight.shape[0]]),
            _ => bail!("{} weights", weights.len()),
        };
        let value = self.assembly.convolution(name, x, conv, is_same)?;
        self.assembly.parameter(value, "weight", weight);
        self.assembly.parameter(value, "bias", bias);
        Ok(value)
    }
}

/// The operator of a layer that has neither weights nor padding.
fn operator(class: &str, config: &Json) -> Result<Op> {
    Ok(match class {
        "ReLU" => match config["max_value"].as_f64() {
            None => Op::Activation(Activation::Relu),
            Some(6.0) => Op::Activation(Activation::Relu6),
            Some(other) => bail!("a ReLU up to {other}"),
        },
        "Activation" if config["activation"] == "sigmoid" => Op::Activation(Activation::Sigmoid),
        "Add" => Op::Add,
        "Multiply" => Op::Mul,
        "Concatenate" if config["axis"] == -1 => Op::Concat,
        "GlobalAveragePooling2D" if config["keepdims"] == true => Op::GlobalAvgPool,
        "Flatten" => Op::Flatten,
        "Softmax" => Op::Softmax,
        other => bail!("{other} is not known"),
    })
}

fn text<'a>(json: &'a Json, key: &str) -> Result<&'a str> {
    json[key]
        .as_str()
        .with_context(|| format!("{key} is not a text"))
}

fn floats(config: &Json, key: &str) -> Result<Vec<f64>> {
    Ok(serde_json::from_value(config[key].clone())?)
}

/// The number of both height and width.
fn side(config: &Json, key: &str) -> Result<usize> {
    let [height, width]: [usize; 2] = serde_json::from_value(config[key].clone())?;
    match height == width {
        true => Ok(height),
        false => bail!("{key} is {height} and {width}"),
    }
}
