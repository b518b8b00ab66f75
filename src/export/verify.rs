//! Reads an exported file back, and holds it against the model it was made of.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::{Artifact, Format, Input, Options, Reader, Weights};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::inference::{self, Backend, Images, Precision};
use crate::metrics::{softmax, top_k};
use crate::progress::Progress;
use crate::weights::{StateDict, Tensor};

/// Largest difference of scores, as a share of the largest score. Float32 sums in another order
/// differ in the sixth digit; an integer that rounds to the other side moves all that follow: two
/// implementations that round every value of MobileNetV2 to its nearest integer are 0.08 to 0.10 apart.
const FLOAT_TOLERANCE: f32 = 1e-3;
const HALF_TOLERANCE: f32 = 2e-2;
const INT8_TOLERANCE: f32 = 0.15;

/// Largest difference of a probability that is a byte: integers are rounded in other places there.
const BYTE_TOLERANCE: f32 = 0.2;

/// The mean of these differences, as a share of how far probabilities lie from their mean: a network that
/// answers the same to everything is as far away as that.
const BYTE_SPREAD: f32 = 0.5;

/// Pictures that run together where the file takes any number.
const BATCH: usize = 4;

/// What came of reading a file back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// Who read it.
    pub reader: &'static str,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub passed: bool,
}

/// Pictures to verify on.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// 8-bit RGB `(n, size, size, 3)`.
    pub pixels: Vec<u8>,
    /// Their classes in the model's order; empty where these are not known.
    pub classes: Vec<usize>,
}

/// How many pictures get the label that they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Correct {
    pub model: usize,
    pub export: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Verdict {
    Scores(Agreement),
    /// Parameters that are the model's, bit for bit, and all that were looked for.
    Parameters {
        equal: usize,
        parameters: usize,
    },
}

/// How far two networks' answers to the same pictures are apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    pub pictures: usize,
    /// Pictures that get the same label.
    pub same_label: usize,
    /// Pictures that get another one, though the model is surer of its own than the tolerance.
    pub mislabelled: usize,
    /// Of logits, or of the logarithms of probabilities.
    pub largest_difference: f32,
    /// What the difference may be.
    pub tolerance: f32,
    /// Where the pictures' classes are known.
    pub correct: Option<Correct>,
    /// Whether probabilities lie as far apart as the model's.
    #[serde(skip)]
    is_spread: bool,
}

impl Agreement {
    /// Compares scores, row-major with `classes` columns.
    fn of(expected: &[f32], found: &[f32], classes: usize, tolerance: f32) -> Self {
        let apart = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
        // NaN is as far away as can be.
        let apart = apart.map(|x| if x.is_nan() { f32::INFINITY } else { x });
        let rows = expected.chunks(classes).zip(found.chunks(classes));
        let others: Vec<_> = rows.filter(|(a, b)| top_k(a, 1) != top_k(b, 1)).collect();
        let is_sure = |scores: &[f32]| match top_k(scores, 2)[..] {
            [first, second] => scores[first] - scores[second] > tolerance,
            _ => true,
        };
        let pictures = expected.len() / classes.max(1);
        Self {
            pictures,
            same_label: pictures - others.len(),
            mislabelled: others.iter().filter(|(a, _)| is_sure(a)).count(),
            largest_difference: apart.fold(0.0, f32::max),
            tolerance,
            correct: None,
            is_spread: true,
        }
    }

    fn passed(&self) -> bool {
        self.largest_difference <= self.tolerance && self.mislabelled == 0 && self.is_spread
    }
}

impl Format {
    /// Reads an export of this format back and compares it with its model: its answers to pictures, or
    /// its parameters. The model is freed before `exported` is called, so that only one of the two is in
    /// memory.
    ///
    /// # Errors
    /// [`Error::Gate`] when it can't be read, [`Error::Interrupted`] after `stop`; those of the engine for
    /// the model.
    pub fn verify(
        &self,
        exported: impl FnOnce() -> Result<Artifact>,
        bundle: Bundle,
        options: &Options,
        samples: &Samples,
        stop: &AtomicBool,
        progress: &dyn Progress,
    ) -> Result<Verified> {
        let refused = |reader: &str, cause: anyhow::Error| {
            Error::Gate(format!("{reader} can't use the export: {cause:#}"))
        };
        let (reader, verdict) = match self.reader {
            Reader::Backend(name, open) => {
                let manifest = bundle.manifest.clone();
                let classes = manifest.labels.len();
                let pictures = Pictures {
                    pixels: &samples.pixels,
                    preprocessing: &manifest.preprocessing,
                    options,
                    classes,
                    stop,
                    progress,
                };
                // One after the other, so that one of them is in memory.
                let mut expected = pictures.scores_of(bundle)?;
                let found = open(exported()?, &manifest);
                let found = found.and_then(|backend| pictures.read_back(&*backend));
                let mut found = found.map_err(|cause| match stop.load(Ordering::Relaxed) {
                    true => cause,
                    false => refused(name, cause).into(),
                })?;
                if expected.len() != found.len() {
                    let rows = format!("{} scores, not {}", found.len(), expected.len());
                    return Err(refused(name, anyhow::anyhow!(rows)).into());
                }
                let is_int8 = manifest.quantization.is_some();
                let in_bytes = self.is_in_bytes(&manifest);
                if options.softmax && !in_bytes {
                    to_logarithms(&mut expected);
                    to_logarithms(&mut found);
                }
                let tolerance = match options.weights {
                    _ if in_bytes => BYTE_TOLERANCE,
                    _ if is_int8 => INT8_TOLERANCE * scale(&expected, classes),
                    Weights::Float16 => HALF_TOLERANCE * scale(&expected, classes),
                    Weights::Float32 => FLOAT_TOLERANCE * scale(&expected, classes),
                };
                let mut agreement = Agreement::of(&expected, &found, classes, tolerance);
                agreement.is_spread = !in_bytes || is_spread(&expected, &found, classes);
                if samples.classes.len() == agreement.pictures {
                    let [model, export] =
                        [&expected, &found].map(|scores| correct(scores, &samples.classes));
                    agreement.correct = Some(Correct { model, export });
                }
                (name, Verdict::Scores(agreement))
            }
            Reader::Parameters(open) => {
                let name = "flowers";
                let found = open(exported()?).map_err(|cause| refused(name, cause))?;
                (name, equal_parameters(&bundle.weights, &found)?)
            }
        };
        let passed = match &verdict {
            Verdict::Scores(agreement) => agreement.passed(),
            Verdict::Parameters { equal, parameters } => equal == parameters,
        };
        Ok(Verified {
            reader,
            verdict,
            passed,
        })
    }
}

/// Probabilities become logits again, up to a constant: those of many classes are all small, so that
/// by themselves a network that answers the same to everything would hardly differ.
fn to_logarithms(probabilities: &mut [f32]) {
    for p in probabilities {
        // What a softmax in float32 rounds to 0 may be any small number.
        *p = if p.is_nan() {
            f32::NAN
        } else {
            p.max(1e-30).ln()
        };
    }
}

/// What differences are measured against: how far scores lie from their mean in a picture. What is
/// less than 1 counts as 1, as logits are sums of larger numbers.
fn scale(scores: &[f32], classes: usize) -> f32 {
    let farthest = |row: &[f32]| {
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        row.iter()
            .fold(1.0, |most: f32, x| most.max((x - mean).abs()))
    };
    scores.chunks(classes).map(farthest).fold(1.0, f32::max)
}

/// The model as `flowers predict` runs it, in float32 or int8.
pub(super) fn reference(bundle: Bundle) -> Result<Box<dyn Backend>> {
    let options = inference::Options {
        precision: match bundle.manifest.quantization {
            Some(_) => Precision::Int8,
            None => Precision::Float32,
        },
        ..inference::Options::cpu()
    };
    inference::load_bundle(bundle, &options)
}

/// 8-bit RGB images of a network's size, and what to make of them.
struct Pictures<'a> {
    pixels: &'a [u8],
    preprocessing: &'a Preprocessing,
    options: &'a Options,
    classes: usize,
    stop: &'a AtomicBool,
    progress: &'a dyn Progress,
}

impl Pictures<'_> {
    /// What the model answers.
    fn scores_of(&self, bundle: Bundle) -> Result<Vec<f32>> {
        let model = reference(bundle)?;
        self.in_batches("running the model", |pixels| {
            let logits = model.logits(Images::Rgb8(pixels))?;
            if !self.options.softmax {
                return Ok(logits);
            }
            let rows = logits.chunks(self.classes.max(1));
            Ok(rows.flat_map(softmax).map(|p| p as f32).collect())
        })
    }

    /// What an exported file answers.
    fn read_back(&self, exported: &dyn Backend) -> Result<Vec<f32>> {
        self.in_batches("verifying", |pixels| match self.options.input {
            Input::Image => exported.logits(Images::Rgb8(pixels)),
            Input::Float => {
                let planes = self.preprocessing.planes(pixels);
                exported.logits(Images::Normalised(&planes))
            }
        })
    }

    fn in_batches(&self, what: &str, run: impl Fn(&[u8]) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
        let length = 3 * (self.preprocessing.crop as usize).pow(2);
        let batch = self.options.batch.unwrap_or(BATCH);
        let mut scores = Vec::new();
        self.progress
            .begin(what, (self.pixels.len() / length) as u64);
        for pixels in self.pixels.chunks(batch * length) {
            let n = pixels.len() / length;
            let mut pixels = pixels.to_vec();
            if self.options.batch.is_some() {
                // A network of one batch size gets its last ones filled up.
                pixels.resize(batch * length, 0);
            }
            scores.extend(run(&pixels)?.into_iter().take(n * self.classes));
            self.progress.advance(n as u64);
            check_stop(self.stop)?;
        }
        self.progress.finish();
        Ok(scores)
    }
}

/// Whether probabilities that are bytes differ from the model's by less, on average, than those differ among
/// themselves.
fn is_spread(expected: &[f32], found: &[f32], classes: usize) -> bool {
    let mean = 1.0 / classes.max(1) as f32;
    let count = expected.len().max(1) as f32;
    let spread = expected.iter().map(|p| (p - mean).abs()).sum::<f32>() / count;
    let apart = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
    // A byte is a multiple of 1/256.
    apart.sum::<f32>() / count <= (BYTE_SPREAD * spread).max(1.0 / 256.0)
}

/// Ends long work after Ctrl-C.
///
/// # Errors
/// [`Error::Interrupted`].
pub(super) fn check_stop(stop: &AtomicBool) -> Result<()> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted("stopped".into()).into()),
        false => Ok(()),
    }
}

/// How many pictures get their own class.
fn correct(scores: &[f32], classes: &[usize]) -> usize {
    let rows = scores.chunks(scores.len() / classes.len().max(1));
    let labels = rows.map(|row| top_k(row, 1)[0]);
    labels.zip(classes).filter(|(a, b)| a == *b).count()
}

/// How many of the model's parameters a file has, bit for bit.
fn equal_parameters(expected: &StateDict, found: &StateDict) -> Result<Verdict> {
    let mut equal = 0;
    for (name, tensor) in expected {
        if let Some(other) = found.get(name)
            && tensor.shape == other.shape
            && bits(tensor)? == bits(other)?
        {
            equal += 1;
        }
    }
    Ok(Verdict::Parameters {
        equal,
        parameters: expected.len().max(found.len()),
    })
}

fn bits(tensor: &Tensor) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(tensor.byte_len());
    tensor.values.write(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_compared_by_difference_and_label() {
        let expected = [2.0, 1.0, -3.0, 4.0];
        let compared = |found: &[f32]| Agreement::of(&expected, found, 2, 4e-3);
        let close = compared(&[2.0, 1.003, -3.0, 4.0]);
        assert_eq!((close.pictures, close.same_label), (2, 2));
        assert!(close.passed());
        let swapped = compared(&[1.0, 2.0, -3.0, 4.0]);
        assert_eq!((swapped.same_label, swapped.mislabelled), (1, 1));
        assert!(!swapped.passed());
        assert!(!compared(&[f32::NAN, 1.0, -3.0, 4.0]).passed());
    }

    #[test]
    fn a_label_may_change_only_where_the_model_is_not_sure() {
        let sure = Agreement::of(&[0.5, 0.35], &[0.42, 0.43], 2, 0.1);
        assert_eq!((sure.same_label, sure.mislabelled), (0, 1));
        assert!(sure.largest_difference < 0.1 && !sure.passed());
        let unsure = Agreement::of(&[0.5, 0.45], &[0.48, 0.49], 2, 0.1);
        assert_eq!((unsure.same_label, unsure.mislabelled), (0, 0));
        assert!(unsure.passed());
    }

    #[test]
    fn an_answer_that_is_the_same_for_every_class_is_refused() {
        let logits: Vec<f32> = (0..102).map(|class| (class as f32).sin()).collect();
        let softmax = |logits: &[f32]| {
            let mut scores: Vec<f32> = softmax(logits).into_iter().map(|p| p as f32).collect();
            to_logarithms(&mut scores);
            scores
        };
        let expected = softmax(&logits);
        let compared = |found: &[f32]| {
            let tolerance = INT8_TOLERANCE * scale(&expected, 102);
            Agreement::of(&expected, found, 102, tolerance)
        };
        assert!(!compared(&softmax(&[0.0; 102])).passed());
        assert!(compared(&expected).passed());
        // Probabilities that do not sum to 1.
        let doubled: Vec<f32> = expected.iter().map(|x| x + 2f32.ln()).collect();
        assert!(!compared(&doubled).passed());
    }

    #[test]
    fn bytes_that_are_the_same_for_every_class_are_refused() {
        let logits: Vec<f32> = (0..10)
            .map(|class| (class as f32 * 2.0).sin() * 2.0)
            .collect();
        let expected: Vec<f32> = softmax(&logits).into_iter().map(|p| p as f32).collect();
        let rounded: Vec<f32> = expected
            .iter()
            .map(|p| (p * 256.0).round() / 256.0)
            .collect();
        assert!(is_spread(&expected, &rounded, 10));
        assert!(!is_spread(&expected, &[0.1; 10], 10));
    }

    #[test]
    fn parameters_are_compared_by_their_bits() {
        let dict = |value| StateDict::from([("w".into(), Tensor::f32([1], vec![value]))]);
        let verdict = |a: f32, b: f32| equal_parameters(&dict(a), &dict(b)).unwrap();
        let one_of_one = |equal| Verdict::Parameters {
            equal,
            parameters: 1,
        };
        assert_eq!(verdict(f32::NAN, f32::NAN), one_of_one(1));
        assert_eq!(verdict(0.0, -0.0), one_of_one(0));
    }
}
