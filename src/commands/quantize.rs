//! `flowers quantize`: a float model in, an int8 model out, and what that cost.

mod compare;
mod finetune;
mod report;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;

use super::compute;
use super::output::{Output, note};
use super::photos;
use super::progress::Bar;
use super::stop::stop_flag;
use crate::bundle::{Bundle, Manifest};
use crate::cli::quantize::QuantizeArgs;
use crate::data::{Folder, Photo, Source, Undecodable, load_all, stratified};
use crate::error::{Error, Result, shown};
use crate::evaluation::parts;
use crate::files;
use crate::graph::{InferenceGraph, Method};
use crate::inference::{self, Backend, Cpu, Options};
use crate::quantization::{
    Calibration, Coverage, Found, Observer, SENSITIVITY_IMAGES, Scheme, Search, search,
};
use compare::{Compared, Test};
use report::{Evaluated, Report};

const SAMPLES: u32 = 300;

/// Runs `flowers quantize`.
///
/// # Errors
/// [`Error::Gate`] when the accuracy drops too far whatever layers stay float; nothing is written
/// then, as with any other error.
pub(super) fn run(args: &QuantizeArgs) -> Result<()> {
    check(args)?;
    let (bundle, _) = Bundle::read(&args.model)?;
    if bundle.manifest.quantization.is_some() {
        let message = format!(
            "{} is already int8: quantize the float model that it was made from",
            shown(&args.model)
        );
        return Err(Error::Data(message).into());
    }
    let options = Options {
        backend: args.compute.backend,
        ..Options::auto(compute::set_up(&args.compute)?)
    };
    let manifest = &bundle.manifest;
    let network = manifest
        .graph()
        .and_then(|graph| InferenceGraph::float(&graph, &bundle.weights))
        .with_context(|| shown(&args.model))?;
    let work = Work {
        args,
        manifest,
        options,
        stop: stop_flag()?,
        progress: Bar::new(),
    };
    let (network, report) = work.quantized(network, bundle.weights.byte_len())?;
    let (weights, quantization) = network.into_parts();
    let mut int8 = Bundle {
        manifest: manifest.clone(),
        weights,
    };
    int8.manifest.quantization = quantization;
    if let Some(quantization) = &mut int8.manifest.quantization {
        quantization.details = report.details()?;
    }
    int8.manifest.flowers_version = env!("CARGO_PKG_VERSION").into();
    int8.write(&args.out)?;
    let mut output = Output::stdout(args.json);
    output.json(&report.json(&args.out)?)?;
    output.text(report.text(&args.out))
}

/// What can be refused before any work.
fn check(args: &QuantizeArgs) -> Result<()> {
    let usage = |message: &str| Err(Error::Usage(message.into()).into());
    match (args.method, &args.calibration) {
        (Method::Static, None) => {
            return usage(
                "--method static needs photos to measure activation ranges on: give --calibration \
                 DATA, or use --method dynamic",
            );
        }
        (Method::Dynamic, Some(_)) => {
            return usage("--method dynamic measures ranges as it runs: leave out --calibration");
        }
        _ => {}
    }
    files::check_replaceable(&args.out, &args.model, args.force)
}

struct Work<'a> {
    args: &'a QuantizeArgs,
    manifest: &'a Manifest,
    options: Options,
    stop: Arc<AtomicBool>,
    progress: Bar,
}

impl Work<'_> {
    /// The int8 network and what there is to tell about it.
    fn quantized(
        &self,
        network: InferenceGraph,
        float_bytes: usize,
    ) -> Result<(InferenceGraph, Report)> {
        let test = match &self.args.eval {
            Some(data) => Some(self.test(data, &network)?),
            None => None,
        };
        let images = match (&self.args.calibration, &test) {
            (Some(data), _) => self.sample(data)?,
            (None, Some(test)) => test.images(SENSITIVITY_IMAGES, self)?,
            (None, None) => Vec::new(),
        };
        let calibration = Calibration {
            preprocessing: &self.manifest.preprocessing,
            images: &images,
            options: self.options,
            stop: &self.stop,
            progress: &self.progress,
        };
        let observer = self.args.observer.unwrap_or(Observer::Mse);
        let scheme = match self.args.method {
            Method::Dynamic => Scheme::dynamic(network)?,
            Method::Static => Scheme::calibrated(network, observer, &calibration)?,
        };
        let (scheme, finetuned) = self.finetuned(scheme, test.as_ref())?;
        let found = self.search(&scheme, test.as_ref(), &calibration)?;
        let backend = self.load(&found.network)?;
        note_processor(&*backend);
        let evaluation = match (&test, found.measured) {
            (Some(test), Some(compared)) => Some(test.report(compared, &*backend, &images)?),
            _ => None,
        };
        calibration.check_stop()?;
        if evaluation.as_ref().is_some_and(Evaluated::is_slower) {
            note("warning: on this machine the int8 model is slower than the float model");
        }
        let calibrated = self.args.method == Method::Static;
        let report = Report {
            method: self.args.method,
            observer: calibrated.then_some(observer),
            samples: calibrated.then_some(calibration.len()),
            coverage: Coverage::of(&found.network),
            finetuned,
            float_bytes,
            float_layers: found.float_layers,
            sensitivity: found.sensitivity,
            evaluation,
        };
        Ok((found.network, report))
    }

    /// All layers int8, or as many as the accuracy on test photos allows.
    fn search(
        &self,
        scheme: &Scheme,
        test: Option<&Test>,
        calibration: &Calibration<'_>,
    ) -> Result<Found<Option<Compared>>> {
        let max_drop = self.args.max_drop;
        let accurate = |compared: &Option<Compared>| {
            let compared = compared.as_ref();
            compared.is_none_or(|compared| compared.drops_at_most(max_drop))
        };
        let drop = |compared: &Option<Compared>| {
            let compared = compared.as_ref();
            compared.map_or(0.0, |compared| -compared.paired.difference)
        };
        let mut first = true;
        let found = search(scheme, calibration, accurate, |network| {
            let Some(test) = test else { return Ok(None) };
            let compared = Some(test.compare(&*self.load(network)?, self)?);
            if std::mem::take(&mut first) && !accurate(&compared) {
                note(format_args!(
                    "with all layers in int8, the accuracy drops by {:.4}, more than --max-drop \
                     {max_drop}: returning the most sensitive layers to float",
                    drop(&compared)
                ));
            }
            Ok(compared)
        })?;
        match found {
            Search::Found(found) => Ok(*found),
            Search::NotFound(last) => {
                let message = format!(
                    "the accuracy drops by more than --max-drop {max_drop} no matter which layers \
                     are int8 (by {:.4} in the last attempt): nothing was written",
                    drop(&last)
                );
                Err(Error::Gate(message).into())
            }
        }
    }

    fn load(&self, network: &InferenceGraph) -> Result<Box<dyn Backend>> {
        inference::load(network, &self.manifest.preprocessing, &self.options)
    }

    fn scan(&self, data: &Path) -> Result<Folder> {
        let depth = parts::depth(&self.args.model, None, self.manifest);
        let max_bad = self.args.bad.max_bad;
        photos::scan(&Source::from(data), max_bad, depth, &self.progress)
    }

    /// Calibration pictures of a data set folder.
    fn sample(&self, data: &Path) -> Result<Vec<u8>> {
        let folder = self.scan(data)?;
        let indices = parts::to_calibrate(&self.args.model, self.manifest, &folder);
        let wanted = self.args.samples.unwrap_or(SAMPLES) as usize;
        let indices = stratified(&folder.photos, &indices, wanted);
        let undecodable = photos::tolerated(&folder, self.args.bad.max_bad);
        self.images(&folder.photos, &indices, &undecodable)
    }

    fn images(
        &self,
        all: &Arc<[Photo]>,
        indices: &[usize],
        undecodable: &Arc<Undecodable>,
    ) -> Result<Vec<u8>> {
        let preprocessing = &self.manifest.preprocessing;
        let (stop, progress) = (&*self.stop, &self.progress);
        load_all(all, indices, preprocessing, undecodable, stop, progress)
    }
}

/// Says so when int8 is not what this machine is fast at.
fn note_processor(backend: &dyn Backend) {
    if !backend.execution().fused {
        note(
            "note: this device has no int8 kernels; the int8 model runs in float32 with rounded \
             values, no faster than the float model",
        );
    } else if !Cpu::detect().int8 {
        note(
            "note: this processor has no 8-bit dot products (AVX512-VNNI, AVX-VNNI or AMX), so \
             int8 gains less than on those that have them; --eval measures it",
        );
    }
}
