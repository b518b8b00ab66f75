//! A training session: a new or resumed run with its photos and its network, ready to train.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::budget::Budget;
use super::callback::Callback;
use super::checkpoint::{Checkpoint, Header, Resumed, State};
use super::config::Config;
use super::fit::fit;
use super::initial::Origin;
use super::job::Job;
use super::network::Network;
use super::phase::Inputs;
use super::prepare::{Prepared, checked, network, refuse_inside, set_up};
use super::run::{Run, SPLIT};
use super::teacher::Teacher;
use super::unlabelled;
use crate::data::decoded::Key;
use crate::data::{
    CacheMode, DecodedCache, Depth, Folder, ScanOptions, Source, Split, Transform, Undecodable,
};
use crate::device::Device;
use crate::distributed::Group;
use crate::error::{Error, Result, shown};
use crate::image::Limits;
use crate::inference;
use crate::progress::Progress;

/// A run that is ready to train.
pub struct TrainingSession {
    pub run: Run,
    pub folder: Folder,
    pub split: Split,
    /// Of this session, for the user: those of a new run, and of this machine.
    pub warnings: Vec<String>,
    /// What was found out for the configuration of a new run, one per line.
    pub notes: Vec<String>,
    pub(super) network: Network,
    pub(super) teacher: Option<Teacher>,
    pub(super) cache: Option<Arc<DecodedCache>>,
    pub(super) shared_features: Option<PathBuf>,
    pub(super) resumed: Option<Resumed>,
    pub(super) group: Option<Rc<Group>>,
    pub(super) started: Instant,
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
    /// Creates a run in the folder `out`, for a group of processes if there is one, with the split of a
    /// manifest or a new one. Whatever can fail quickly is checked before the data set is scanned, and
    /// weights are downloaded last.
    ///
    /// # Errors
    /// [`Error::Usage`] for an output folder that is in use or holds files, [`Error::Data`] for photos,
    /// a split or weights that can't be used, [`Error::Environment`] for weights that can't be
    /// downloaded, a device that this machine lacks, or a folder that can't be written to.
    pub fn start(
        config: Config,
        data: &Source,
        out: &Path,
        split: Option<&Path>,
        group: Option<&Group>,
        progress: &dyn Progress,
    ) -> Result<(Self, Origin)> {
        let started = Instant::now();
        let initial = checked(&config, split, progress)?;
        refuse_inside(out, data)?;
        let lock = Run::create(out)?;
        let prepared = Prepared::new(config, data, split, initial, group, progress)?;
        let Prepared {
            config,
            manifest,
            folder,
            split,
            warnings,
            notes,
            network,
            origin,
            teacher,
        } = prepared;
        let mut header = Header::new(config, manifest, data);
        header.warnings = warnings.clone();
        let run = Run::begin(out, lock, header)?;
        split.manifest.write(&run.file(SPLIT))?;
        let session = Self {
            run,
            folder,
            split,
            warnings,
            notes,
            network,
            teacher,
            cache: None,
            shared_features: None,
            resumed: None,
            group: None,
            started,
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
        group: Option<&Group>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let started = Instant::now();
        let (mut run, checkpoint) = Run::resume(folder, data)?;
        if let Some(epochs) = epochs {
            run.train_until(epochs, &checkpoint.header.state)?;
        }
        let mut config = run.config().clone();
        let device = set_up(&config, group)?;
        // The split is stored, and need not be made again.
        let options = ScanOptions::cached(config.max_bad, Depth::Headers);
        let mut folder = Folder::scan(run.data(), &options, progress)?;
        let path = run.file(SPLIT);
        let mut split = Split::load(&path, &folder)?;
        if run.manifest().split_sha256 != Some(split.manifest.sha256()?) {
            let message = format!(
                "{} is not the split that the run began with; restore it, or start a new run",
                shown(&path)
            );
            return Err(Error::Data(message).into());
        }
        let teacher = Teacher::load(&mut config, &folder.labels, device)?;
        unlabelled::join(
            &mut config,
            teacher.as_ref(),
            &mut folder,
            &mut split,
            progress,
        )?;
        let graph = run.manifest().graph()?;
        let (network, warning) = network(graph, &checkpoint.network, device, &mut config)?;
        if epochs.is_some() {
            run.record_epochs(&checkpoint)?;
        }
        let Checkpoint {
            header: Header { state, .. },
            optimizer,
            average,
            start,
            ..
        } = checkpoint;
        Ok(Self {
            run,
            folder,
            split,
            warnings: warning.into_iter().collect(),
            notes: Vec::new(),
            network,
            teacher,
            cache: None,
            shared_features: None,
            resumed: Some(Resumed {
                state,
                optimizer,
                average,
                start,
            }),
            group: None,
            started,
        })
    }

    /// The position that a resumed session continues from.
    pub fn resumed_from(&self) -> Option<&State> {
        self.resumed.as_ref().map(|resumed| &resumed.state)
    }

    /// The result of this process, unless another one of the group has failed.
    ///
    /// # Errors
    /// This process's, or that of another.
    pub(crate) fn together<T>(&self, own: Result<T>) -> Result<T> {
        match &self.group {
            Some(group) => group.together(own),
            None => own,
        }
    }

    /// Opens the cache of decoded photos that the configuration asks for. `tell` is called with what the
    /// user should know of it, once at most.
    pub fn open_cache(&mut self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let config = self.run.config();
        let limit = config.cache_size.0;
        self.cache = match config.cache {
            CacheMode::Off => None,
            CacheMode::Ram => {
                let processes = self.group.as_ref().map_or(1, |group| group.local_world());
                Some(DecodedCache::in_memory(limit / processes as u64, tell))
            }
            CacheMode::Disk => Some(DecodedCache::in_cache_folder(limit, self.keys(), tell)),
        }
        .map(Arc::new);
    }

    /// What the photos of all phases and of validation are found by in a cache.
    fn keys(&self) -> HashSet<Key> {
        let plain = Transform::plain(&self.run.manifest().preprocessing);
        let mut keys = HashSet::new();
        let mut add = |transform: &Transform, indices: &[usize]| {
            let key = |&index: &usize| transform.key(&self.folder.photos[index]);
            keys.extend(indices.iter().map(key));
        };
        add(&plain, &self.split.val);
        for phase in self.run.config().phases() {
            let Inputs::Photos(augmentations) = phase.inputs else {
                continue;
            };
            let transform = Transform {
                augmentations: Some(augmentations),
                ..plain.clone()
            };
            add(&transform, &self.split.train);
        }
        keys
    }

    /// Keeps features in a folder that other runs of the same photos share, where they stay when the
    /// run ends.
    pub fn share_features(&mut self, folder: PathBuf) {
        self.shared_features = Some(folder);
    }

    /// Trains to the end of the last phase. Photos that can't be decoded are left out and counted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after saving when `stop` is set; [`Error::Gate`] when training
    /// diverges: the loss, a parameter or a logit is not finite; those of reading photos and
    /// writing files. The last checkpoint is kept in all cases.
    pub fn train(
        self,
        undecodable: &Arc<Undecodable>,
        stop: &AtomicBool,
        callback: &mut dyn Callback,
    ) -> Result<FinishedRun> {
        self.fit(undecodable, stop, None, callback)
    }

    /// Trains until `pauses` says so of the state after an epoch, or to the end of the last phase, and
    /// leaves the run to be resumed: from there, or to be ended.
    ///
    /// # Errors
    /// As [`TrainingSession::train`].
    pub fn train_until(
        self,
        pauses: &dyn Fn(&State) -> bool,
        undecodable: &Arc<Undecodable>,
        stop: &AtomicBool,
        callback: &mut dyn Callback,
    ) -> Result<State> {
        let paused = self.fit(undecodable, stop, Some(pauses), callback)?;
        Ok(paused.state)
    }

    fn fit(
        mut self,
        undecodable: &Arc<Undecodable>,
        stop: &AtomicBool,
        pauses: Option<&dyn Fn(&State) -> bool>,
        callback: &mut dyn Callback,
    ) -> Result<FinishedRun> {
        let job = Job {
            run: &self.run,
            photos: Arc::clone(&self.folder.photos),
            undecodable: Arc::clone(undecodable),
            train: &self.split.train,
            val: &self.split.val,
            tested: match self.split.test.len() {
                0 => self.split.val.len(),
                photos => photos,
            },
            budget: self.run.config().time_budget.map(|seconds| {
                let before = self
                    .resumed
                    .iter()
                    .flat_map(|resumed| &resumed.state.profiles);
                let before = before.map(|profile| profile.total).sum();
                Budget::new(seconds, self.started, before)
            }),
            limits: Limits::default(),
            teacher: self.teacher.as_ref(),
            cache: self.cache,
            shared_features: self.shared_features,
            pauses,
            stop,
            group: self.group.as_deref(),
        };
        let state = fit(&job, &mut self.network, self.resumed, callback)?;
        if let Some(group) = &self.group {
            group.barrier()?;
            // What is left is done by process 0 alone.
            inference::set_threads(self.run.config().threads);
        }
        Ok(FinishedRun {
            run: self.run,
            folder: self.folder,
            split: self.split,
            state,
            device: self.network.device(),
        })
    }
}
