//! A session that several processes have: process 0 makes it, and the others get what it is made of.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Resumed, State};
use super::prepare::{network, set_up};
use super::run::Run;
use super::session::TrainingSession;
use super::teacher::Teacher;
use super::unlabelled;
use crate::data::{Depth, Folder, ScanOptions, Source, Split, SplitManifest};
use crate::distributed::Group;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::weights::StateDict;

/// What a session is made of, besides a checkpoint.
#[derive(Serialize, Deserialize)]
struct Shared {
    /// The folder of the run on the machine of process 0.
    folder: PathBuf,
    split: String,
    is_resumed: bool,
}

impl TrainingSession {
    /// Gives the other processes of a group the session that process 0 has begun, or the error that kept
    /// it from that. What a new run has written is removed when another process can't take part.
    ///
    /// # Errors
    /// That of beginning it, and those of the other processes.
    pub(crate) fn lead(begun: Result<Self>, group: &Rc<Group>) -> Result<Self> {
        let session = group.patiently(|| group.together(begun))?;
        let is_resumed = session.resumed_from().is_some();
        let folder = session.run.folder().to_path_buf();
        let led = session.share(group);
        if led.is_err() && !is_resumed {
            Run::remove_begun(&folder)?;
        }
        led
    }

    fn share(mut self, group: &Rc<Group>) -> Result<Self> {
        let sent = self.to_send();
        let (shared, checkpoint) = group.together(sent)?;
        group.patiently(|| {
            group.broadcast(shared, 0)?;
            group.broadcast(checkpoint, 0)?;
            // Meanwhile the others read their photos.
            group.barrier()
        })?;
        self.group = Some(Rc::clone(group));
        Ok(self)
    }

    /// The bytes that other processes need.
    fn to_send(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let resumed = self.resumed.as_ref();
        let dict = |of: fn(&Resumed) -> &StateDict| resumed.map(of).cloned().unwrap_or_default();
        let checkpoint = Checkpoint {
            header: self
                .run
                .header(self.resumed_from().cloned().unwrap_or_default()),
            network: self.network.state_dict()?,
            optimizer: dict(|resumed| &resumed.optimizer),
            average: dict(|resumed| &resumed.average),
            start: dict(|resumed| &resumed.start),
        };
        let shared = Shared {
            folder: self.run.folder().to_path_buf(),
            split: self.split.manifest.to_json()?,
            is_resumed: resumed.is_some(),
        };
        Ok((serde_json::to_vec(&shared)?, checkpoint.into_bytes()?))
    }

    /// The session of process 0, with this process's own photos, which must be the same. `data` is where
    /// they are, if not where process 0 has them.
    ///
    /// # Errors
    /// [`Error::Data`] for other photos, and those of any other process.
    pub(crate) fn follow(
        group: &Rc<Group>,
        data: Option<Source>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (shared, checkpoint) = group.patiently(|| {
            group.together(Ok(()))?;
            group.together(Ok(()))?;
            Ok((
                group.broadcast(Vec::new(), 0)?,
                group.broadcast(Vec::new(), 0)?,
            ))
        })?;
        let own = Self::received(group, &shared, &checkpoint, data, progress);
        group.patiently(|| group.together(own))
    }

    fn received(
        group: &Rc<Group>,
        shared: &[u8],
        checkpoint: &[u8],
        data: Option<Source>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let shared: Shared = serde_json::from_slice(shared)?;
        let Checkpoint {
            header,
            network: weights,
            optimizer,
            average,
            start,
        } = Checkpoint::from_bytes(checkpoint)?;
        let mut config = header.config.clone();
        let device = set_up(&config, Some(group))?;
        let data = data.unwrap_or_else(|| header.data.clone());
        let options = ScanOptions::cached(config.max_bad, Depth::Headers);
        let mut folder = Folder::scan(&data, &options, progress)?;
        let mut split = split(&shared.split, &folder, group)?;
        let teacher = Teacher::load(&mut config, &folder.labels, device)?;
        unlabelled::join(
            &mut config,
            teacher.as_ref(),
            &mut folder,
            &mut split,
            progress,
        )?;
        let graph = header.manifest.graph()?;
        let (network, warning) = network(graph, &weights, device, &mut config)?;
        let state: State = header.state.clone();
        let mut header = header;
        header.data = data;
        Ok(Self {
            run: Run::followed(&shared.folder, header),
            folder,
            split,
            warnings: warning.into_iter().collect(),
            notes: Vec::new(),
            network,
            teacher,
            cache: None,
            shared_features: None,
            resumed: shared.is_resumed.then_some(Resumed {
                state,
                optimizer,
                average,
                start,
            }),
            group: Some(Rc::clone(group)),
            started: Instant::now(),
        })
    }
}

/// The split of process 0, followed with this machine's photos.
fn split(manifest: &str, folder: &Folder, group: &Group) -> Result<Split> {
    let manifest = SplitManifest::parse(manifest.as_bytes());
    let split = manifest.and_then(|manifest| Split::follow(manifest, folder));
    split.map_err(|what| {
        let message = format!(
            "the photos on {} are not those of process 0: {what}",
            group.host()
        );
        Error::Data(message).into()
    })
}
