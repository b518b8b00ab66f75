//! Reads Keras files as networks again: for verification, so it knows the layers that are written.

use std::collections::BTreeMap;
use std::io::Cursor;

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};
use zip::{CompressionMethod, ZipArchive};

use super::hdf5::Reader as Hdf5;
use crate::error::Result;
use crate::export::assembly::{Around, Assembly, Value, kernel_from_first, linear_from_last};
use crate::export::reread::Reread;
use crate::graph::{Activation, Conv2d, Op};
use crate::weights::Tensor;

/// Reads a `.keras` file: the network, and its labels as JSON.
pub(super) fn read(file: &[u8]) -> Result<(Reread, String)> {
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
    let config: Json = serde_json::from_slice(part("config.json")?)?;
    let labels = std::str::from_utf8(part("labels.json")?)?.to_owned();
    let file = Hdf5::new(part("model.weights.h5")?)?;
    let reader = Reader::new(&config)?;
    // Weights are in groups by class, numbered as Keras counts the layers.
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut weights = BTreeMap::new();
    for layer in reader.in_keras_order()? {
        let Some(group) = group(text(layer, "class_name")?) else {
            continue;
        };
        let earlier = seen.entry(group).or_default();
        let place = match *earlier {
            0 => group.to_owned(),
            number => format!("{group}_{number}"),
        };
        *earlier += 1;
        let path = format!("layers/{place}/vars");
        let names = file.group(&path)?.names();
        let arrays = (0..names).map(|at| file.array(&format!("{path}/{at}")));
        weights.insert(text(layer, "name")?, arrays.collect::<Result<Vec<_>>>()?);
    }
    if file.group("layers")?.names() != weights.len() {
        bail!("it has weights of no layer");
    }
    Ok((reader.read(weights)?, labels))
}

/// Reads an `.h5` file, as [`read`].
pub(super) fn read_h5(file: &[u8]) -> Result<(Reread, String)> {
    let file = Hdf5::new(file)?;
    let root = file.group("")?;
    let config = root.text("model_config").context("no configuration")?;
    let config: Json = serde_json::from_str(config)?;
    let labels = root.text("labels").context("no labels")?.to_owned();
    let stored = file.group("model_weights")?;
    let names = stored.texts("layer_names").context("no names of layers")?;
    let reader = Reader::new(&config)?;
    // The weights of layers are found by position.
    let layers = reader.in_keras_order()?.into_iter();
    let weighted = layers.filter(|layer| text(layer, "class_name").is_ok_and(has_weights));
    let weighted: Vec<&Json> = weighted.collect();
    if weighted.len() != names.len() {
        bail!(
            "{} layers have weights, not {}",
            names.len(),
            weighted.len()
        );
    }
    let mut weights = BTreeMap::new();
    for (layer, name) in weighted.into_iter().zip(names) {
        let path = format!("model_weights/{name}");
        let group = file.group(&path)?;
        let arrays = group.texts("weight_names").context("no names of weights")?;
        let arrays = arrays
            .iter()
            .map(|weight| file.array(&format!("{path}/{weight}")));
        weights.insert(text(layer, "name")?, arrays.collect::<Result<Vec<_>>>()?);
    }
    Ok((reader.read(weights)?, labels))
}

/// What Keras calls the weights of a class; `None` for one that has none.
fn group(class: &str) -> Option<&'static str> {
    Some(match class {
        "Conv2D" => "conv2d",
        "DepthwiseConv2D" => "depthwise_conv2d",
        "Dense" => "dense",
        "BatchNormalization" => "batch_normalization",
        "LayerNormalization" => "layer_normalization",
        _ => return None,
    })
}

fn has_weights(class: &str) -> bool {
    group(class).is_some()
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

    /// Layers by their longest way to the output, the longest first; of one length, as a search from the
    /// output comes to them.
    fn in_keras_order(&self) -> Result<Vec<&'a Json>> {
        let mut found = Vec::new();
        self.search(self.output, &mut found)?;
        let mut ways: BTreeMap<&str, usize> = found.iter().map(|&name| (name, 0)).collect();
        let longest = found.len();
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for &name in &found {
                let way = ways[name] + 1;
                if way > longest {
                    bail!("layers read each other in a circle");
                }
                for input in input_names(named(self.layers, name)?)? {
                    let known = ways.get_mut(input).context("a layer that was not found")?;
                    has_changed |= *known < way;
                    *known = way.max(*known);
                }
            }
        }
        // Stable, so that what was found first stays first.
        found.sort_by_key(|name| std::cmp::Reverse(ways[name]));
        found.iter().map(|name| named(self.layers, name)).collect()
    }

    /// Adds a layer, and then what it reads, unless they were found before.
    fn search(&self, name: &str, found: &mut Vec<&'a str>) -> Result<()> {
        let layer = named(self.layers, name)?;
        let name = text(layer, "name")?;
        if found.contains(&name) {
            return Ok(());
        }
        found.push(name);
        let mut inputs = input_names(layer)?.into_iter();
        inputs.try_for_each(|input| self.search(input, found))
    }

    /// Reads all layers with their weights, by name.
    fn read(mut self, mut weights: BTreeMap<&str, Vec<Tensor>>) -> Result<Reread> {
        for layer in self.layers {
            let name = text(layer, "name")?;
            let own = weights.remove(name).unwrap_or_default();
            self.layer(layer, &own)
                .with_context(|| format!("layer {name}"))?;
        }
        let last = self.values.get(self.output);
        let last = *last.context("nothing computes the output")?;
        self.assembly.finish(last, None)
    }

    fn layer(&mut self, layer: &'a Json, weights: &[Tensor]) -> Result<()> {
        let (name, class) = (text(layer, "name")?, text(layer, "class_name")?);
        if class == "InputLayer" {
            let dtype = text(&layer["config"], "dtype")?;
            return match ["uint8", "float32"].contains(&dtype) {
                true => Ok(()),
                false => bail!("images of {dtype}"),
            };
        }
        let config = &layer["config"];
        let inputs = self.inputs(layer)?;
        let x = *inputs.first().context("no input")?;
        let assembly = &mut self.assembly;
        let value = match class {
            "Normalization" if config["invert"] == true || config["axis"] != json!([-1]) => {
                bail!("a normalisation of another kind")
            }
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
                let number = |key: &str| config[key].as_f64();
                let eps = number("epsilon").context("no epsilon")?;
                let momentum = 1.0 - number("momentum").context("no momentum")?;
                let values = |tensor: &Tensor| tensor.as_f32().unwrap_or_default().to_vec();
                let parameters = [gamma, beta, mean, variance].map(values);
                assembly.batch_norm(name, x, [eps, momentum], parameters)?
            }
            "LayerNormalization" => {
                let ([gamma, beta], -1) = (weights, config["axis"].as_i64().unwrap_or(0)) else {
                    bail!("{} weights, over {}", weights.len(), config["axis"]);
                };
                let eps = config["epsilon"].as_f64().context("no epsilon")?;
                let values = |tensor: &Tensor| tensor.as_f32().unwrap_or_default().to_vec();
                let parameters = [gamma, beta].map(values);
                assembly.layer_norm(name, x, eps, Some(parameters))?
            }
            "Reshape" => {
                let shape = &config["target_shape"];
                let shape: Vec<usize> = serde_json::from_value(shape.clone())?;
                match shape[..] {
                    [_, _, groups, _] => assembly.in_groups(x, groups)?,
                    [_, _, _] => assembly.joined(name, x)?,
                    _ => bail!("the shape {shape:?}"),
                }
            }
            "Permute" if config["dims"] == json!([1, 2, 4, 3]) => assembly.swapped(x)?,
            "Cropping2D" if config["data_format"] == "channels_first" => {
                let sides: [[usize; 2]; 2] = serde_json::from_value(config["cropping"].clone())?;
                let [[0, 0], [start, rest]] = sides else {
                    bail!("cropped by {sides:?}");
                };
                let count = assembly.channels(x)?.saturating_sub(start + rest);
                assembly.slice(name, x, start, count)?
            }
            "Conv2D" | "DepthwiseConv2D" => self.convolution(layer, x, weights)?,
            "Dense" => {
                let [weight, bias] = weights else {
                    bail!("{} weights", weights.len());
                };
                let channels = assembly.flattened_channels(x);
                let values = weight.as_f32().unwrap_or_default();
                let weight = linear_from_last(values, &weight.shape, channels)?;
                if config["units"] != weight.shape[0] || config["use_bias"] != true {
                    bail!("a weight of {} units", weight.shape[0]);
                }
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
                    around: Some(Around::new([top, bottom, left, right], 0.0)),
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
            "Dropout" => {
                let probability = config["rate"].as_f64().context("no rate")?;
                assembly.operator(name, Op::Dropout { probability }, &[x])?
            }
            _ => assembly.operator(name, operator(class, config)?, &inputs)?,
        };
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => bail!("two layers have the name"),
        }
    }

    /// The values that a layer is called with.
    fn inputs(&self, layer: &Json) -> Result<Vec<Value>> {
        let names = input_names(layer)?;
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
        if !is_as_said || config["kernel_size"] != json!(weight.shape[2..]) {
            bail!("its kernel is of shape {:?}", kernel.shape);
        }
        let kernel = [weight.shape[2], weight.shape[3]];
        let conv = Conv2d::rectangular(weight.shape[0], kernel).groups(groups);
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

fn named<'a>(layers: &'a [Json], name: &str) -> Result<&'a Json> {
    let layer = layers.iter().find(|layer| layer["name"] == name);
    layer.with_context(|| format!("there is no layer {name}"))
}

/// The layers that a layer is called with, in either version's notation.
fn input_names(layer: &Json) -> Result<Vec<&str>> {
    let node = &layer["inbound_nodes"][0];
    let names: Option<Vec<&str>> = match node {
        Json::Null => Some(Vec::new()),
        Json::Array(inputs) => inputs.iter().map(|input| input[0].as_str()).collect(),
        call => {
            let argument = &call["args"][0];
            let one = std::slice::from_ref(argument);
            let all = argument.as_array().map_or(one, Vec::as_slice).iter();
            all.map(|tensor| tensor["config"]["keras_history"][0].as_str())
                .collect()
        }
    };
    names.context("an input that is no layer")
}

/// The operator of a layer that has neither weights nor padding.
fn operator(class: &str, config: &Json) -> Result<Op> {
    Ok(match class {
        "ReLU" if config["negative_slope"] != 0.0 || config["threshold"] != 0.0 => {
            bail!("a ReLU with a slope or a threshold")
        }
        "ReLU" => match config["max_value"].as_f64() {
            None => Op::Activation(Activation::Relu),
            Some(6.0) => Op::Activation(Activation::Relu6),
            Some(other) => bail!("a ReLU up to {other}"),
        },
        "Activation" if config["activation"] == "sigmoid" => Op::Activation(Activation::Sigmoid),
        "Activation" if config["activation"] == "gelu" => Op::Activation(Activation::Gelu),
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
