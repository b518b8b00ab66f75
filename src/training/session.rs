//! A training session: a new or resumed run with its photos and its network, ready to train.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::callback::Callback;
use super::checkpoint::{Checkpoint, Header, Resumed, State};
use super::config::Config;
use super::fit::fit;
use super::initial::{InitialWeights, Origin};
use super::job::Job;
use super::network::Network;
use super::precision;
use super::range_test;
use super::run::Run;
use super::source::PhotoSource;
use crate::bundle::{Manifest, TrainingRecord};
use crate::data::{self, Depth, Folder, ScanOptions, Source, Split, Undecodable};
use crate::device::Device;
use crate::error::{Error, Result, shown};
use crate::graph::Graph;
use crate::image::Limits;
use crate::inference;
use crate::progress::Progress;
use crate::weights::StateDict;

/// A run that is ready to train.
pub struct TrainingSession {
    pub run: Run,
    pub folder: Folder,
    pub split: Split,
    /// Of this session, for the user: those of a new run, and of this machine.
    pub warnings: Vec<String>,
    /// What was found out for the configuration of a new run, one per line.
    pub notes: Vec<String>,
    network: Network,
    resumed: Option<Resumed>,
}

/// A run whose last phase is complete.
pub struct FinishedRun {
    pub run: Run,
    pub folder: Folder,
    pub split: Split,
    pub state: State,
    pub device: Device,
}

impl TrainingSession {
    /// Creates a run in the folder `out`, with the split of a manifest or a new one. Whatever can
    /// fail quickly is checked before the data set is scanned, and weights are downloaded last.
    ///
    /// # Errors
    /// [`Error::Usage`] for an output folder that is in use or holds files, [`Error::Data`] for photos,
    /// a split or weights that can't be used, [`Error::Environment`] for weights that can't be
    /// downloaded, a device that this machine lacks, or a folder that can't be written to.
    pub fn start(
        mut config: Config,
        data: &Source,
        out: &Path,
        split: Option<&Path>,
        progress: &dyn Progress,
    ) -> Result<(Self, Origin)> {
        if let Some(path) = split {
            data::SplitManifest::read(path)?;
        }
        let initial = InitialWeights::read(&config, progress)?;
        refuse_inside(out, data)?;
        let lock = Run::create(out)?;
        let device = set_up(&config)?;
        let options = ScanOptions::cached(config.max_bad, Depth::Pixels);
        let folder = Folder::scan(data, &options, progress)?;
        let split = match split {
            Some(path) => Split::load(path, &folder)?,
            None => Split::make(&folder, &config.split_options())?,
        };
        let initial = match initial {
            Some(initial) => initial,
            None => InitialWeights::download(&config, progress)?,
        };
        initial.record(&mut config);
        let mut warnings = warnings(&initial, &folder, &split);

        let graph = config
            .arch
            .graph(&config.model_options(folder.labels.len()))?;
        let (weights, origin) = initial.parameters(&config, &graph)?;
        let (network, warning) = network(graph, &weights, device, &mut config)?;
        warnings.extend(warning);
        drop(weights);
        let notes = find_learning_rate(&mut config, &folder, &split, &network)?;
        let manifest = manifest(&config, &folder, &split)?;
        let mut header = Header::new(config, manifest, data);
        header.warnings = warnings.clone();
        let run = Run::begin(out, lock, header)?;
        split.manifest.write(&run.file("split.json"))?;
        let session = Self {
            run,
            folder,
            split,
            warnings,
            notes: notes.into_iter().collect(),
            network,
            resumed: None,
        };
        Ok((session, origin))
    }

    /// Resumes the run of a folder, with another number of epochs if one is given. `data` is the
    /// data set if it has been moved.
    ///
    /// # Errors
    /// Those of [`Run::resume`], [`Run::train_until`] and [`Folder::scan`], and [`Error::Data`] when
    /// the split is not that of the run.
    pub fn resume(
        folder: &Path,
        data: Option<Source>,
        epochs: Option<usize>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (mut run, checkpoint) = Run::resume(folder, data)?;
        if let Some(epochs) = epochs {
            run.train_until(epochs, &checkpoint.header.state)?;
        }
        let mut config = run.config().clone();
        let device = set_up(&config)?;
        // The split is stored, and need not be made again.
        let options = ScanOptions::cached(config.max_bad, Depth::Headers);
        let folder = Folder::scan(run.data(), &options, progress)?;
        let path = run.file("split.json");
        let split = Split::load(&path, &folder)?;
        if run.manifest().split_sha256 != Some(split.manifest.sha256()?) {
            let message = format!(
                "{} is not the split that the run began with; restore it, or start a new run",
                shown(&path)
            );
            return Err(Error::Data(message).into());
        }
        let graph = run.manifest().graph()?;
        let (network, warning) = network(graph, &checkpoint.network, device, &mut config)?;
        if epochs.is_some() {
            run.record_epochs(&checkpoint)?;
        }
        let Checkpoint {
            header: Header { state, .. },
            optimizer,
            average,
            ..
        } = checkpoint;
        Ok(Self {
            run,
            folder,
            split,
            warnings: warning.into_iter().collect(),
            notes: Vec::new(),
            network,
            resumed: Some(Resumed {
                state,
                optimizer,
                average,
            }),
        })
    }

    /// The position that a resumed session continues from.
    pub fn resumed_from(&self) -> Option<&State> {
        self.resumed.as_ref().map(|resumed| &resumed.state)
    }

    /// Trains to the end of the last phase. Photos that can't be decoded are left out and counted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after saving when `stop` is set; [`Error::Gate`] when training
    /// diverges: the loss, a parameter or a logit is not finite; those of reading photos and
    /// writing files. The last checkpoint is kept in all cases.
    pub fn train(
        mut self,
        undecodable: &Arc<Undecodable>,
        stop: &AtomicBool,
        callback: &mut dyn Callback,
    ) -> Result<FinishedRun> {
        let job = Job {
            run: &self.run,
            photos: Arc::clone(&self.folder.photos),
            undecodable: Arc::clone(undecodable),
            train: &self.split.train,
            val: &self.split.val,
            limits: Limits::default(),
            stop,
        };
        let state = fit(&job, &mut self.network, self.resumed, callback)?;
        Ok(FinishedRun {
            run: self.run,
            folder: self.folder,
            split: self.split,
            state,
            device: self.network.device(),
        })
    }
}

/// Sets the number of threads, and gives the device.
fn set_up(config: &Config) -> Result<Device> {
    inference::set_threads(config.threads);
    inference::resolve_device(config.device)
}

/// A network in the precision of the configuration, which holds the one chosen from then on, and
/// what is to be said of it.
fn network(
    graph: Graph,
    weights: &StateDict,
    device: Device,
    config: &mut Config,
) -> Result<(Network, Option<String>)> {
    let precision = config.precision.resolve(device, &graph);
    config.precision = precision.into();
    let warning = precision::warning(precision, device)?;
    let network = Network::new(graph, weights, device)?.with_precision(precision);
    Ok((network, warning))
}

/// Replaces the learning rate of a configuration that asks for it, and says by what.
fn find_learning_rate(
    config: &mut Config,
    folder: &Folder,
    split: &Split,
    network: &Network,
) -> Result<Option<String>> {
    if !std::mem::take(&mut config.find_lr) {
        return Ok(None);
    }
    let photos = Arc::clone(&folder.photos);
    let undecodable = Undecodable::allowing(folder.tolerated(config.max_bad), |_| ());
    let source = PhotoSource {
        photos,
        undecodable: Arc::new(undecodable),
        preprocessing: (config.arch.preprocessing)(config.image_size as u32),
        augmentations: (config.recipe.augmentations)(config.image_size as u32),
        limits: Limits::default(),
        batch_size: range_test::batch_size(config),
        workers: config.workers,
        seed: config.seed,
    };
    Ok(Some(
        match range_test::find(config, network, &source, &split.train)? {
            Some(rate) => {
                config.lr = rate;
                format!("learning rate {rate:.1e}, found by a range test")
            }
            None => format!(
                "the range test found no learning rate at which the loss falls: {:.1e}, the \
                 recipe's, is used",
                config.lr
            ),
        },
    ))
}

fn manifest(config: &Config, folder: &Folder, split: &Split) -> Result<Manifest> {
    let head = config.model_options(folder.labels.len()).head;
    let preprocessing = (config.arch.preprocessing)(config.image_size as u32);
    Ok(Manifest {
        recipe: Some(TrainingRecord::of(config)?),
        split_sha256: Some(split.manifest.sha256()?),
        ..Manifest::new(config.arch.name, head, folder.labels.clone(), preprocessing)
    })
}

/// Refuses an output folder inside the data set, which is never written to.
fn refuse_inside(out: &Path, data: &Source) -> Result<()> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let out_is_inside = |folder: &&Path| absolute(out).starts_with(absolute(folder));
    let is_walked = !matches!(data, Source::Listed { .. });
    if is_walked && data.folders().iter().any(out_is_inside) {
        let message = format!(
            "--out {} is inside the data set, which is never written to; choose another folder",
            shown(out)
        );
        return Err(Error::Usage(message).into());
    }
    Ok(())
}

/// What the user should know of a new run.
fn warnings(initial: &InitialWeights, folder: &Folder, split: &Split) -> Vec<String> {
    let mut warnings = Vec::new();
    if let InitialWeights::Random { warning } = initial {
        warnings.extend(warning.clone());
    }
    warnings.extend(split.warnings(folder));
    warnings.extend(folder.lookalikes());
    if let Some(first) = folder.unreadable.first() {
        warnings.push(format!(
            "skipped {} unreadable photos, e.g. {} ({})",
            folder.unreadable.len(),
            folder.shown(&first.path),
            first.reason
        ));
    }
    let check = folder.source.check();
    if let Some(first) = folder.damaged.first() {
        warnings.push(format!(
            "damaged photos, used as far as they can be decoded: {}, e.g. {} ({}); `{check}` lists them",
            folder.damaged.len(),
            folder.shown(&first.path),
            first.reason
        ));
    }
    if let Some(first) = folder.loose.first() {
        warnings.push(format!(
            "photos outside the class folders, not used: {}, e.g. {}; `{check}` lists them",
            folder.loose.len(),
            folder.shown(first)
        ));
    }
    warnings
}
