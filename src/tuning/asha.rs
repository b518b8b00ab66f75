//! Which trial is trained next: asynchronous successive halving (ASHA, Li et al., 2020,
//! arXiv:1810.05934) with one worker.
//!
//! Every trial is trained to the first rung. Whenever there are enough on a rung, the best of them is
//! trained on to the next rung; otherwise a new one begins. Each run is planned with its full schedule
//! and paused at the rungs, so a trial that is promoted is at the same point as if it had never paused.

use std::cmp::Ordering;

/// How good a trial is at a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// On the validation photos, 0 to 1.
    pub accuracy: f64,
    pub loss: f64,
}

/// How far a trial has got.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Progress {
    /// The rung that it was sent to.
    pub sent: usize,
    /// At each rung that it has reached.
    pub scores: Vec<Score>,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A trial is on its way to the rung that it was sent to.
    GoOn(usize),
    Promote {
        trial: usize,
        rung: usize,
    },
    /// A new trial begins.
    Draw,
}

impl Score {
    /// That of a trial that failed: worse than all others.
    pub(super) const FAILED: Self = Self {
        accuracy: -1.0,
        loss: f64::INFINITY,
    };

    fn is_failed(&self) -> bool {
        self.accuracy < 0.0
    }

    /// The better one first: by accuracy, among equals by loss.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let by_accuracy = other.accuracy.total_cmp(&self.accuracy);
        by_accuracy.then(self.loss.total_cmp(&other.loss))
    }
}

/// The epochs at each rung, in rising order: those of the whole run, and of that a part of
/// 1/`reduction`, and so on, as long as an epoch is left. Epochs in which the classifier is solved for
/// come before the first rung and are not counted: they differ in nothing that a search varies.
pub(super) fn rungs([solved, stepped]: [usize; 2], reduction: usize) -> Vec<usize> {
    let mut rungs = Vec::new();
    let mut part = stepped as f64;
    while part >= 1.0 || rungs.is_empty() {
        rungs.push(solved + part.round() as usize);
        part /= reduction as f64;
    }
    rungs.reverse();
    rungs
}

/// What is to be done next, with so many rungs. The paper's `get_job`: from the highest rung down, the
/// best trial of the top 1/`reduction` that was not promoted yet; a new one if there is none.
pub(super) fn next(trials: &[Progress], rungs: usize, reduction: usize) -> Next {
    let is_on_its_way = |trial: &Progress| trial.scores.len() <= trial.sent;
    if let Some(trial) = trials.iter().position(is_on_its_way) {
        return Next::GoOn(trial);
    }
    for rung in (0..rungs.saturating_sub(1)).rev() {
        let there = best_first(trials, rung);
        let top = &there[..there.len() / reduction];
        let promotable =
            |&&(trial, score): &&(usize, Score)| trials[trial].sent == rung && !score.is_failed();
        if let Some(&(trial, _)) = top.iter().find(promotable) {
            let rung = rung + 1;
            return Next::Promote { trial, rung };
        }
    }
    Next::Draw
}

/// The best trial of the highest rung that one has reached; `None` when all have failed.
pub(super) fn furthest(trials: &[Progress], rungs: usize) -> Option<usize> {
    (0..rungs).rev().find_map(|rung| {
        let (trial, score) = *best_first(trials, rung).first()?;
        (!score.is_failed()).then_some(trial)
    })
}

/// The trials that have reached a rung; of equals the earlier one first.
fn best_first(trials: &[Progress], rung: usize) -> Vec<(usize, Score)> {
    let scores = trials.iter().map(|trial| trial.scores.get(rung).copied());
    let mut there: Vec<(usize, Score)> = scores
        .enumerate()
        .filter_map(|(trial, score)| Some((trial, score?)))
        .collect();
    there.sort_by(|(_, a), (_, b)| a.order(b));
    there
}

/// The place of a trial among those that have reached a rung, from 1, and how many these are.
pub(super) fn place(trials: &[Progress], trial: usize, rung: usize) -> Option<(usize, usize)> {
    let there = best_first(trials, rung);
    let at = there.iter().position(|(other, _)| *other == trial)?;
    Some((at + 1, there.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(accuracy: f64) -> Score {
        Score {
            accuracy,
            loss: 1.0 - accuracy,
        }
    }

    /// Runs a search whose trials have these accuracies at every rung, and gives each step as the trial
    /// and the rung that it is trained to, counted from 0.
    fn searched(accuracies: &[f64], rungs: usize, reduction: usize) -> Vec<(usize, usize)> {
        let mut trials: Vec<Progress> = Vec::new();
        let mut steps = Vec::new();
        loop {
            let (trial, rung) = match next(&trials, rungs, reduction) {
                Next::GoOn(trial) => (trial, trials[trial].sent),
                Next::Promote { trial, rung } => (trial, rung),
                Next::Draw if trials.len() == accuracies.len() => return steps,
                Next::Draw => {
                    let scores = Vec::new();
                    trials.push(Progress { sent: 0, scores });
                    continue;
                }
            };
            trials[trial].sent = rung;
            trials[trial].scores.push(score(accuracies[trial]));
            steps.push((trial, rung));
        }
    }

    #[test]
    fn rungs_are_those_of_the_paper() {
        // r = 1, R = 9 and 3 as the reduction factor, as in its figure 1.
        assert_eq!(rungs([0, 9], 3), [1, 3, 9]);
        assert_eq!(rungs([0, 25], 3), [3, 8, 25]);
        assert_eq!(rungs([0, 16], 4), [1, 4, 16]);
        // The head is solved for in an epoch before.
        assert_eq!(rungs([1, 6], 3), [3, 7]);
        assert_eq!(rungs([0, 2], 3), [2]);
        assert_eq!(rungs([0, 1], 2), [1]);
    }

    #[test]
    fn nine_trials_end_as_in_the_paper() {
        // Nine trials on the first of three rungs, the best three of them on the second, the best of
        // these on the third, when good ones come late; trials are promoted as soon as they can be.
        let rising = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
        let steps = searched(&rising, 3, 3);
        let expected = [
            (0, 0),
            (1, 0),
            (2, 0),
            (2, 1),
            (3, 0),
            // With four on the rung, one may be promoted, and the best of them was not yet.
            (3, 1),
            (4, 0),
            (4, 1),
            // Three are on the second rung: its best goes to the third.
            (4, 2),
            (5, 0),
            (5, 1),
            (5, 2),
            (6, 0),
            (6, 1),
            (6, 2),
            (7, 0),
            (7, 1),
            (7, 2),
            (8, 0),
            (8, 1),
            (8, 2),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn with_good_ones_first_as_few_are_promoted_as_in_synchronous_halving() {
        let falling = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
        let steps = searched(&falling, 3, 3);
        let at = |rung: usize| -> Vec<usize> {
            let there = steps.iter().filter(|(_, at)| *at == rung);
            there.map(|(trial, _)| *trial).collect()
        };
        assert_eq!(at(0), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(at(1), [0, 1, 2]);
        assert_eq!(at(2), [0]);
        // The best is on the second rung as soon as three are on the first.
        assert_eq!(steps[..4], [(0, 0), (1, 0), (2, 0), (0, 1)]);
        assert_eq!(steps[7..9], [(1, 1), (6, 0)]);
    }

    #[test]
    fn a_trial_on_its_way_goes_on_first() {
        let at = |sent, scores: &[f64]| Progress {
            sent,
            scores: scores.iter().map(|&a| score(a)).collect(),
        };
        let trials = [at(0, &[0.9]), at(1, &[0.8]), at(0, &[0.1]), at(0, &[0.2])];
        assert_eq!(next(&trials, 2, 3), Next::GoOn(1));
    }

    #[test]
    fn what_failed_is_never_promoted() {
        let failed = Progress {
            sent: 0,
            scores: vec![Score::FAILED],
        };
        let mut trials = vec![failed.clone(); 3];
        assert_eq!(next(&trials, 2, 3), Next::Draw);
        assert_eq!(furthest(&trials, 2), None);
        trials.push(Progress {
            sent: 0,
            scores: vec![score(0.0)],
        });
        let promoted = Next::Promote { trial: 3, rung: 1 };
        assert_eq!(next(&trials, 2, 3), promoted);
        assert_eq!(furthest(&trials, 2), Some(3));
        // One that fails on its way up stays there.
        trials[3] = Progress {
            sent: 1,
            scores: vec![score(0.9), Score::FAILED],
        };
        assert_eq!(next(&trials, 2, 3), Next::Draw);
    }

    #[test]
    fn the_loss_decides_among_equal_accuracies_and_then_the_earlier() {
        let with = |loss| Progress {
            sent: 0,
            scores: vec![Score {
                accuracy: 0.5,
                loss,
            }],
        };
        let trials = [with(0.7), with(0.3), with(0.3)];
        let best = Next::Promote { trial: 1, rung: 1 };
        assert_eq!(next(&trials, 2, 3), best);
        assert_eq!(place(&trials, 2, 0), Some((2, 3)));
        assert_eq!(place(&trials, 2, 1), None);
    }
}
