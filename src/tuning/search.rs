//! A search: its trials, and which is trained next.

use std::path::{Path, PathBuf};
use std::time::Instant;

use toml::Table;

use super::asha::{self, Next, Progress};
use super::draw::draw;
use super::journal::{self, Journal};
use super::pace::forecast;
use super::space::Dimension;
use super::trial::{Record, Trial, configured, failure};
use crate::error::{Error, Result, shown};
use crate::runs::differences;
use crate::training::{Config, Recorded, Settings, State};

/// Where a search ends. It goes on where it stopped with others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Most trials, the defaults among them.
    pub trials: Option<usize>,
    /// Seconds, those of earlier sessions among them. The first complete trial is trained to its end in
    /// any case.
    pub seconds: Option<f64>,
}

/// A stretch of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    /// The number of the trial.
    pub trial: usize,
    /// Completed epochs of its run at the start and at the end.
    pub from: usize,
    pub until: usize,
    /// Whether the time budget does not end it.
    is_due: bool,
}

/// A search and its folder.
pub(crate) struct Search {
    out: PathBuf,
    /// What all trials have in common.
    shared: Settings,
    /// That of the defaults.
    pub config: Config,
    pub space: Vec<Dimension>,
    pub reduction: usize,
    /// Epochs at the rungs.
    pub rungs: Vec<usize>,
    pub trials: Vec<Trial>,
    split_sha256: Option<String>,
    /// Seconds of earlier sessions.
    before: f64,
    started: Instant,
}

impl Search {
    /// A new search, or the one of the folder, which has to be of the same options. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Usage`] for other options than those of the folder, which are named; [`Error::Data`]
    /// when what is written down there can't be read.
    pub(crate) fn open(
        out: &Path,
        shared: &Settings,
        space: Vec<Dimension>,
        reduction: usize,
    ) -> Result<Self> {
        let config = shared.clone().resolve()?;
        let mut search = Self {
            out: out.into(),
            shared: shared.clone(),
            rungs: asha::rungs(config.epochs_by_method(), reduction),
            config,
            space,
            reduction,
            trials: Vec::new(),
            split_sha256: None,
            before: 0.0,
            started: Instant::now(),
        };
        if let Some(journal) = Journal::read(out)? {
            search.require_same(&journal)?;
            search.go_on(journal)?;
        }
        Ok(search)
    }

    fn require_same(&self, journal: &Journal) -> Result<()> {
        let mut found = differences(&self.config, &journal.config)?;
        if self.reduction != journal.reduction {
            let (was, is) = (journal.reduction, self.reduction);
            found.push(format!("--reduction {was}, not {is}"));
        }
        let [here, there] = [&self.space, &journal.space];
        let lacks = |of: &[Dimension], one: &&Dimension| !of.contains(one);
        let ours = here.iter().filter(|one| lacks(there, one));
        let theirs = there.iter().filter(|one| lacks(here, one));
        let mut options: Vec<&str> = ours.chain(theirs).map(|one| &*one.option).collect();
        options.sort_unstable();
        options.dedup();
        if !options.is_empty() && found.is_empty() {
            found.push(format!("another space for {}", options.join(", ")));
        }
        if found.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} was searched with {}: give the same options as then, or choose another --out",
            shown(&self.out),
            found.join(", ")
        );
        Err(Error::Usage(message).into())
    }

    /// Takes over what is written down. Of a session that was killed in the middle of a trial, its last
    /// checkpoint tells the time.
    fn go_on(&mut self, journal: Journal) -> Result<()> {
        for (number, record) in journal.trials.into_iter().enumerate() {
            if record.sent >= self.rungs.len() {
                return Err(journal::broken(&self.out, &"a rung is missing").into());
            }
            let trial = Trial::of(number, record, &self.shared, &self.out)?;
            self.trials.push(trial);
        }
        self.split_sha256 = journal.split_sha256;
        self.before = journal.seconds;
        if let Next::GoOn(trial) = self.next_by_scores()
            && let Some(run) = Recorded::read(&self.trials[trial].folder)?
        {
            self.before += (run.seconds - self.trials[trial].seconds()).max(0.0);
        }
        Ok(())
    }

    /// Of the manifest that the trials were trained with, once there are some.
    pub(crate) fn split_sha256(&self) -> Option<&str> {
        self.split_sha256.as_deref()
    }

    /// Writes down what the search is, before its first trial.
    pub(crate) fn begin(&mut self, split_sha256: &str) -> Result<()> {
        self.split_sha256 = Some(split_sha256.into());
        self.save()
    }

    /// Writes down where the search is.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written.
    pub(crate) fn save(&self) -> Result<()> {
        let journal = Journal {
            schema: journal::SCHEMA,
            config: self.config.clone(),
            space: self.space.clone(),
            reduction: self.reduction,
            split_sha256: self.split_sha256.clone(),
            seconds: self.spent(),
            trials: self.trials.iter().map(|one| one.record.clone()).collect(),
        };
        journal.write(&self.out)
    }

    /// Seconds of this session and earlier ones.
    pub(crate) fn spent(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Where features are kept for all trials.
    pub(crate) fn features(&self) -> PathBuf {
        self.out.join(journal::FEATURES)
    }

    /// What is trained next; `None` when the search is over. It is written down before it is trained.
    ///
    /// # Errors
    /// Those of [`Search::save`].
    pub(crate) fn next(&mut self, limits: &Limits) -> Result<Option<Task>> {
        let top = self.rungs.len() - 1;
        if self.trials.is_empty() {
            // The defaults are what the others are compared with.
            let record = Record::new(Table::new(), top);
            let defaults = Trial::of(0, record, &self.shared, &self.out)?;
            self.trials.push(defaults);
            return self.send(0, top, true).map(Some);
        }
        let has_complete = self.trials.iter().any(|trial| self.is_complete(trial));
        match self.next_by_scores() {
            Next::GoOn(trial) => {
                let rung = self.trials[trial].record.sent;
                if !has_complete || self.fits(&self.trials[trial], rung, limits) {
                    return self.send(trial, rung, !has_complete).map(Some);
                }
            }
            Next::Promote { trial, rung } => {
                if self.fits(&self.trials[trial], rung, limits) {
                    return self.send(trial, rung, false).map(Some);
                }
            }
            Next::Draw => {
                if let Some(trial) = self.drawn(limits)?
                    && self.fits(&trial, 0, limits)
                {
                    self.trials.push(trial);
                    return self.send(self.trials.len() - 1, 0, false).map(Some);
                }
            }
        }
        // One is trained to the end in any case.
        match asha::furthest(&self.progress(), self.rungs.len()) {
            Some(trial) if !has_complete => self.send(trial, top, true).map(Some),
            _ => Ok(None),
        }
    }

    fn next_by_scores(&self) -> Next {
        asha::next(&self.progress(), self.rungs.len(), self.reduction)
    }

    fn progress(&self) -> Vec<Progress> {
        let trials = self.trials.iter();
        trials.map(|trial| trial.progress(&self.rungs)).collect()
    }

    fn send(&mut self, trial: usize, rung: usize, is_due: bool) -> Result<Task> {
        self.trials[trial].record.sent = rung;
        self.save()?;
        Ok(Task {
            trial,
            from: self.trials[trial].record.history.len(),
            until: self.rungs[rung],
            is_due,
        })
    }

    /// A new trial, unless there are enough or the space holds no other. Values that do not go together
    /// are passed over.
    fn drawn(&self, limits: &Limits) -> Result<Option<Trial>> {
        let number = self.trials.len();
        if limits.trials.is_some_and(|most| number >= most) {
            return Ok(None);
        }
        let is_new = |values: &Table| {
            let config = configured(values, &self.shared);
            config.is_ok_and(|config| self.trials.iter().all(|trial| trial.config != config))
        };
        let Some(values) = draw(&self.space, self.config.seed, number, is_new) else {
            return Ok(None);
        };
        let record = Record::new(values, 0);
        Trial::of(number, record, &self.shared, &self.out).map(Some)
    }

    fn fits(&self, trial: &Trial, rung: usize, limits: &Limits) -> bool {
        let Some(all) = limits.seconds else {
            return true;
        };
        let (from, until) = (trial.record.history.len(), self.rungs[rung]);
        self.spent() + forecast(&self.trials, &trial.config, from, until) <= all
    }

    /// Whether the run of a task pauses at a state: at its rung, or when the time is up.
    pub(crate) fn is_paused(&self, task: &Task, limits: &Limits, state: &State) -> bool {
        let is_late = limits.seconds.is_some_and(|all| self.spent() > all);
        state.history.len() >= task.until || (is_late && !task.is_due)
    }

    /// Writes down what became of a task. Gives why its trial failed, if it did.
    ///
    /// # Errors
    /// Those that are no failure of the trial, and those of [`Search::save`].
    pub(crate) fn record(&mut self, task: &Task, trained: Result<State>) -> Result<Option<String>> {
        let trial = &mut self.trials[task.trial];
        let why = match trained {
            Ok(state) => {
                trial.advance(&state);
                None
            }
            Err(error) => match failure(&error) {
                Some(why) => Some(why),
                None => {
                    self.save()?;
                    return Err(error);
                }
            },
        };
        trial.record.failure = why.clone();
        self.save()?;
        Ok(why)
    }

    /// Whether a trial is trained to the end.
    pub(crate) fn is_complete(&self, trial: &Trial) -> bool {
        trial.is_complete(self.rungs[self.rungs.len() - 1])
    }

    /// What a trial is worth on the rung that it has just reached, its place there, from 1, and how many
    /// have been there; `None` when it has not reached it.
    pub(crate) fn place(&self, task: &Task) -> Option<(f64, [usize; 2])> {
        let rung = self.rungs.iter().position(|&epochs| epochs == task.until)?;
        let progress = self.progress();
        let score = progress[task.trial].scores.get(rung)?;
        let (place, of) = asha::place(&progress, task.trial, rung)?;
        Some((score.accuracy, [place, of]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;
    use crate::metrics::Epoch;
    use crate::tuning::space::read;

    const SPACE: &str = "lr = { min = 1e-4, max = 1e-2, log = true }\ndropout = [0.1, 0.2, 0.3]";

    fn settings() -> Settings {
        Settings {
            epochs: Some(3),
            image_size: Some(64),
            ..Settings::default()
        }
    }

    fn opened(out: &Path) -> Result<Search> {
        let space = read(SPACE, &settings())?;
        Search::open(out, &settings(), space, 3)
    }

    /// A state after so many epochs, each of ten seconds.
    fn state(search: &Search, task: &Task, accuracy: f64) -> State {
        let row = |epoch| Epoch {
            epoch,
            phase: "train".into(),
            learning_rate: 0.1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss: 1.0 - accuracy,
            val_accuracy: accuracy,
            images_per_second: 1.0,
            waiting: 0.0,
            seconds: 10.0,
            candidate: true,
        };
        let profile = crate::training::Profile {
            total: 10.0,
            ..Default::default()
        };
        State {
            history: (1..=task.until).map(row).collect(),
            profiles: vec![profile; task.until],
            phase: usize::from(task.until == search.rungs[search.rungs.len() - 1]),
            ..State::default()
        }
    }

    /// Goes on until the limits, a trial being as good as its number says, and gives the trials and
    /// epochs of each step.
    fn searched(search: &mut Search, limits: &Limits) -> Vec<(usize, usize)> {
        let mut steps = Vec::new();
        while let Some(task) = search.next(limits).unwrap() {
            steps.push((task.trial, task.until));
            let accuracy = [0.5, 0.3, 0.6, 0.4, 0.7, 0.2][task.trial % 6];
            let state = state(search, &task, accuracy);
            assert_eq!(search.record(&task, Ok(state)).unwrap(), None);
        }
        steps
    }

    fn trials(most: usize) -> Limits {
        Limits {
            trials: Some(most),
            seconds: None,
        }
    }

    #[test]
    fn the_defaults_come_first_and_are_trained_to_the_end() {
        let out = tempfile::tempdir().unwrap();
        let mut search = opened(out.path()).unwrap();
        assert_eq!(search.rungs, [1, 3]);
        let steps = searched(&mut search, &trials(6));
        // Of three on the first rung the best goes on, unless that is the defaults.
        let expected = [
            (0, 3),
            (1, 1),
            (2, 1),
            (2, 3),
            (3, 1),
            (4, 1),
            (4, 3),
            (5, 1),
        ];
        assert_eq!(steps, expected);
        let defaults = &search.trials[0].config;
        assert_eq!(*defaults, settings().resolve().unwrap());
        assert!(
            search.trials[1..]
                .iter()
                .all(|trial| trial.config != *defaults)
        );
    }

    #[test]
    fn a_search_goes_on_as_if_it_had_not_stopped() {
        let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut undisturbed = opened(whole.path()).unwrap();
        let steps = searched(&mut undisturbed, &trials(6));
        let mut again = Vec::new();
        for most in 1..=6 {
            let mut search = opened(parts.path()).unwrap();
            again.extend(searched(&mut search, &trials(most)));
        }
        assert_eq!(again, steps);
        let ends = opened(parts.path()).unwrap();
        for (a, b) in undisturbed.trials.iter().zip(&ends.trials) {
            assert_eq!(a.record, b.record);
        }
        // A task that was not recorded is given again.
        let mut search = opened(parts.path()).unwrap();
        let task = search.next(&trials(9)).unwrap();
        assert!(task.is_some());
        let mut search = opened(parts.path()).unwrap();
        assert_eq!(search.next(&trials(9)).unwrap(), task);
    }

    #[test]
    fn time_ends_a_search_but_not_before_one_trial_is_complete() {
        let out = tempfile::tempdir().unwrap();
        let mut search = opened(out.path()).unwrap();
        let none = Limits {
            trials: None,
            seconds: Some(1e-9),
        };
        assert_eq!(searched(&mut search, &none), [(0, 3)]);
        // An epoch takes ten seconds, as far as is known.
        let few = Limits {
            trials: None,
            seconds: Some(5.0),
        };
        assert_eq!(searched(&mut search, &few), []);
        let enough = Limits {
            trials: Some(2),
            seconds: Some(15.0),
        };
        let task = search.next(&enough).unwrap().unwrap();
        assert_eq!((task.trial, task.until), (1, 1));
        let before = State::default();
        assert!(!search.is_paused(&task, &enough, &before));
        assert!(search.is_paused(&task, &none, &before));
        let after = state(&search, &task, 0.5);
        assert!(search.is_paused(&task, &enough, &after));
    }

    #[test]
    fn another_trial_is_completed_when_the_defaults_fail() {
        let out = tempfile::tempdir().unwrap();
        let mut search = opened(out.path()).unwrap();
        let diverged = || Err(Error::Gate("training diverged".into()).into());
        let limits = trials(2);
        let task = search.next(&limits).unwrap().unwrap();
        let why = search.record(&task, diverged()).unwrap();
        assert_eq!(why.as_deref(), Some("training diverged"));
        assert_eq!(searched(&mut search, &limits), [(1, 1), (1, 3)]);
        let other = search.record(&task, Err(Error::Data("gone".into()).into()));
        assert_eq!(exit_code(&other.unwrap_err()), 3);
    }

    #[test]
    fn other_options_are_named() {
        let out = tempfile::tempdir().unwrap();
        opened(out.path()).unwrap().begin("abc").unwrap();
        assert_eq!(opened(out.path()).unwrap().split_sha256(), Some("abc"));
        let refused = |settings: Settings, space: &str, reduction| {
            let space = read(space, &settings).unwrap();
            let Err(error) = Search::open(out.path(), &settings, space, reduction) else {
                panic!("{settings:?}");
            };
            assert_eq!(exit_code(&error), 2);
            error.to_string()
        };
        let more = Settings {
            epochs: Some(9),
            ..settings()
        };
        let said = refused(more, SPACE, 2);
        assert!(
            said.contains("--epochs 3, not 9, --reduction 3, not 2"),
            "{said}"
        );
        let other = SPACE.replace("0.3", "0.4");
        let said = refused(settings(), &other, 3);
        assert!(said.contains("another space for dropout:"), "{said}");
        std::fs::write(out.path().join("search.json"), "{").unwrap();
        assert_eq!(exit_code(&opened(out.path()).err().unwrap()), 3);
    }
}
