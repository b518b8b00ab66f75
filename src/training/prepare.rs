//! What a new run needs before its first step, made without writing into its folder.

use std::path::Path;

use super::config::Config;
use super::initial::{InitialWeights, Origin};
use super::job::per_process;
use super::network::Network;
use super::precision;
use super::range_test;
use super::teacher::Teacher;
use super::unlabelled;
use crate::bundle::{Manifest, TrainingRecord};
use crate::data::{self, Depth, Folder, ScanOptions, Source, Split};
use crate::device::Device;
use crate::distributed::Group;
use crate::error::{Error, Result, shown};
use crate::graph::Graph;
use crate::inference;
use crate::progress::Progress;
use crate::torch;
use crate::weights::StateDict;

/// A scanned and split data set, and a network to train on it.
pub(super) struct Prepared {
    /// With what `--weights auto` came to.
    pub config: Config,
    pub manifest: Manifest,
    pub folder: Folder,
    pub split: Split,
    /// Of the data set and the weights, for the user.
    pub warnings: Vec<String>,
    /// What was found out for the configuration, for the user.
    pub notes: Vec<String>,
    pub network: Network,
    pub origin: Origin,
    pub teacher: Option<Teacher>,
}

/// Checks the split manifest, and reads the initial weights; `None` if they have to be downloaded.
///
/// # Errors
/// [`Error::Data`] for a split or weights that can't be used, and those of
/// [`InitialWeights::read`].
pub(super) fn checked(
    config: &Config,
    split: Option<&Path>,
    progress: &dyn Progress,
) -> Result<Option<InitialWeights>> {
    if let Some(path) = split {
        data::SplitManifest::read(path)?;
    }
    InitialWeights::read(config, progress)
}

impl Prepared {
    /// Scans and splits the data set, and makes the network; weights that [`checked`] did not give are
    /// downloaded last.
    ///
    /// # Errors
    /// As [`TrainingSession::start`](super::TrainingSession::start).
    pub(super) fn new(
        mut config: Config,
        data: &Source,
        split: Option<&Path>,
        initial: Option<InitialWeights>,
        group: Option<&Group>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let device = set_up(&config, group)?;
        let options = ScanOptions::cached(config.max_bad, Depth::Pixels);
        let mut folder = Folder::scan(data, &options, progress)?;
        let mut split = match split {
            Some(path) => Split::load(path, &folder)?,
            None => Split::make(&folder, &config.split_options())?,
        };
        let teacher = Teacher::load(&mut config, &folder.labels, device)?;
        let initial = match initial {
            Some(initial) => initial,
            None => InitialWeights::download(&config, progress)?,
        };
        initial.record(&mut config);
        let mut warnings = warnings(&initial, &folder, &split);
        let joined = unlabelled::join(
            &mut config,
            teacher.as_ref(),
            &mut folder,
            &mut split,
            progress,
        )?;
        let graph = config
            .arch
            .graph(&config.model_options(folder.labels.len()))?;
        if matches!(initial, InitialWeights::Random { .. }) && config.recipe.uses_features() {
            let warning = "the layers that the recipe fast keeps frozen are random: use pretrained \
                           --weights, or --recipe scratch";
            warnings.push(warning.into());
        }
        let (weights, origin) = initial.parameters(&config, &graph)?;
        let (network, warning) = network(graph, &weights, device, &mut config)?;
        warnings.extend(warning);
        drop(weights);
        let found = find_learning_rate(&mut config, &folder, &split, &network)?;
        Ok(Self {
            manifest: manifest(&config, &folder, &split)?,
            config,
            folder,
            split,
            warnings,
            notes: joined.into_iter().chain(found).collect(),
            network,
            origin,
            teacher,
        })
    }
}

/// Sets the number of threads, and gives the device; each process of a machine has its part of both.
pub(super) fn set_up(config: &Config, group: Option<&Group>) -> Result<Device> {
    torch::open()?;
    inference::set_threads(per_process(config.threads, group));
    let device = inference::resolve_device(config.device)?;
    Ok(group.map_or(device, |group| group.device(device)))
}

/// A network in the precision of the configuration, which holds the one chosen from then on, and
/// what is to be said of it.
pub(super) fn network(
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
    let found = range_test::find(config, network, folder, &split.train)?;
    Ok(Some(match found {
        Some(rate) => {
            config.lr = rate;
            format!("learning rate {rate:.1e}, found by a range test")
        }
        None => format!(
            "the range test found no learning rate at which the loss falls: {:.1e}, the recipe's, \
             is used",
            config.lr
        ),
    }))
}

fn manifest(config: &Config, folder: &Folder, split: &Split) -> Result<Manifest> {
    let options = config.model_options(folder.labels.len());
    let preprocessing = (config.arch.preprocessing)(config.image_size as u32);
    Ok(Manifest {
        recipe: Some(TrainingRecord::of(config)?),
        split_sha256: Some(split.manifest.sha256()?),
        channels: options.channels,
        ..Manifest::new(
            config.arch.name,
            options.head,
            folder.labels.clone(),
            preprocessing,
        )
    })
}

/// Refuses an output folder inside the data set, which is never written to.
///
/// # Errors
/// [`Error::Usage`].
pub fn refuse_inside(out: &Path, data: &Source) -> Result<()> {
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
