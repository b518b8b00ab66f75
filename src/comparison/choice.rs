//! Which model to take: the Pareto front, and advice in sentences.

use serde::Serialize;

use crate::error::Result;
use crate::metrics::{Paired, Predictions};

/// A model by its architecture and the precision that it computes in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ModelName {
    pub architecture: &'static str,
    pub precision: String,
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.architecture, self.precision)
    }
}

/// The loss of accuracy that speed is recommended for.
const POINT: f64 = 0.01;
/// 0.98 - 0.97 in binary must not be more than 0.01.
const ROUNDING: f64 = 1e-9;

/// A model to choose.
pub(crate) struct Choice<'a> {
    pub name: ModelName,
    pub accuracy: f64,
    pub latency_ms: f64,
    /// Of its file.
    pub megabytes: f64,
    pub predictions: &'a Predictions,
}

/// What a model may need at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub latency_ms: Option<f64>,
    pub megabytes: Option<f64>,
}

/// A recommendation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Advice {
    /// What is wanted: `fastest within one point`, or `most accurate within limits`.
    pub wanted: &'static str,
    /// `None` when no model will do.
    pub model: Option<ModelName>,
    pub sentence: String,
}

/// Whether each of the points (accuracy, latency) is on the Pareto front: no other is at least as
/// accurate and as fast, and better in one of both.
pub(super) fn front(points: &[(f64, f64)]) -> Vec<bool> {
    let dominates = |(a, fast): (f64, f64), (b, slow): (f64, f64)| {
        a >= b && fast <= slow && (a > b || fast < slow)
    };
    let is_on = |&point: &(f64, f64)| !points.iter().any(|&other| dominates(other, point));
    points.iter().map(is_on).collect()
}

/// The most accurate model, of equals the fastest.
pub(super) fn best<'a, 'b>(
    choices: impl IntoIterator<Item = &'a Choice<'b>>,
) -> Option<&'a Choice<'b>>
where
    'b: 'a,
{
    choices.into_iter().reduce(|best, other| {
        let is_better = other.accuracy > best.accuracy
            || (other.accuracy == best.accuracy && other.latency_ms < best.latency_ms);
        if is_better { other } else { best }
    })
}

/// What to take: the fastest model within a point of the best, and with limits the most accurate one
/// that keeps them.
///
/// # Errors
/// When the models were not measured on the same photos.
pub(crate) fn advice(choices: &[Choice<'_>], limits: Limits) -> Result<Vec<Advice>> {
    let mut all = Vec::new();
    all.extend(fast(choices)?);
    if limits.latency_ms.is_some() || limits.megabytes.is_some() {
        all.extend(fitting(choices, limits)?);
    }
    Ok(all)
}

fn fast(choices: &[Choice<'_>]) -> Result<Option<Advice>> {
    let Some(best) = best(choices) else {
        return Ok(None);
    };
    let near = choices
        .iter()
        .filter(|choice| choice.accuracy >= best.accuracy - POINT - ROUNDING);
    let Some(fastest) = near.min_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms)) else {
        return Ok(None);
    };
    let sentence = match fastest.name == best.name {
        true => format!(
            "Fastest within one point of the best: {}, the most accurate itself ({})",
            best.name,
            figures(best)
        ),
        false => format!(
            "Fastest within one point of the best: {} ({}); the most accurate, {} ({}), {}",
            fastest.name,
            figures(fastest),
            best.name,
            figures(best),
            compared(fastest, best)?
        ),
    };
    Ok(Some(Advice {
        wanted: "fastest within one point",
        model: Some(fastest.name.clone()),
        sentence: sentence + ".",
    }))
}

fn fitting(choices: &[Choice<'_>], limits: Limits) -> Result<Option<Advice>> {
    let fits = |choice: &&Choice<'_>| limits.excess(choice) <= 1.0;
    let within = limits.text();
    let Some(best) = best(choices.iter().filter(fits)) else {
        let nearest = choices.iter().min_by(|a, b| {
            let excess = limits.excess(a).total_cmp(&limits.excess(b));
            excess.then(b.accuracy.total_cmp(&a.accuracy))
        });
        return Ok(nearest.map(|nearest| Advice {
            wanted: "most accurate within limits",
            model: None,
            sentence: format!(
                "No model keeps within {within}; the nearest is {} ({}, {:.1} MB).",
                nearest.name,
                figures(nearest),
                nearest.megabytes
            ),
        }));
    };
    let mut sentence = format!(
        "Most accurate within {within}: {} ({}, {:.1} MB)",
        best.name,
        figures(best),
        best.megabytes
    );
    let mut faster: Vec<&Choice<'_>> = choices.iter().filter(fits).collect();
    faster.retain(|choice| choice.latency_ms < best.latency_ms);
    faster.sort_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms));
    for choice in faster {
        if is_noise(&Paired::of(choice.predictions, best.predictions)?) {
            sentence.push_str(&format!(
                "; against {} ({}), which is faster, it {}",
                choice.name,
                figures(choice),
                compared(choice, best)?
            ));
            break;
        }
    }
    Ok(Some(Advice {
        wanted: "most accurate within limits",
        model: Some(best.name.clone()),
        sentence: sentence + ".",
    }))
}

impl Limits {
    /// How many times as much a model needs as it may, of the limit that it exceeds the most.
    fn excess(&self, choice: &Choice<'_>) -> f64 {
        let latency = self.latency_ms.map(|limit| choice.latency_ms / limit);
        let size = self.megabytes.map(|limit| choice.megabytes / limit);
        latency.into_iter().chain(size).fold(0.0, f64::max)
    }

    fn text(&self) -> String {
        let latency = self.latency_ms.map(|limit| format!("{limit} ms"));
        let size = self.megabytes.map(|limit| format!("{limit} MB"));
        let both: Vec<String> = latency.into_iter().chain(size).collect();
        both.join(" and ")
    }
}

/// Whether a difference may be none: its 95% interval holds 0.
pub(crate) fn is_noise(paired: &Paired) -> bool {
    let [low, high] = paired.interval;
    low <= 0.0 && high >= 0.0
}

fn figures(choice: &Choice<'_>) -> String {
    format!(
        "{:.1}%, {} ms",
        100.0 * choice.accuracy,
        milliseconds(choice.latency_ms)
    )
}

/// A time with three significant digits, or one after the point.
pub(crate) fn milliseconds(ms: f64) -> String {
    match ms {
        ..10.0 => format!("{ms:.2}"),
        _ => format!("{ms:.1}"),
    }
}

/// By how much the second is better, and whether that means something.
fn compared(other: &Choice<'_>, best: &Choice<'_>) -> Result<String> {
    let paired = Paired::of(other.predictions, best.predictions)?;
    let [low, high] = paired.interval.map(|end| 100.0 * end);
    let interval = format!("95% interval of the difference {low:+.1} to {high:+.1} points");
    let by = 100.0 * paired.difference;
    Ok(if by == 0.0 {
        format!("is just as accurate ({interval})")
    } else if is_noise(&paired) {
        format!("is {by:.1} points better, which is within noise ({interval})")
    } else {
        format!("is {by:.1} points better, more than noise explains ({interval})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;

    /// The first `right` of 200 images are predicted right.
    fn predictions(right: usize) -> Predictions {
        let labels = Labels::new(["a", "b"]).unwrap();
        let logits: Vec<f32> = (0..200)
            .flat_map(|image| {
                if image < right {
                    [1.0, 0.0]
                } else {
                    [0.0, 1.0]
                }
            })
            .collect();
        Predictions::from_logits(labels, &[0; 200], &logits).unwrap()
    }

    /// Name, right of 200, latency, size.
    fn choices<'a>(
        of: &[(&'static str, usize, f64, f64)],
        predictions: &'a [Predictions],
    ) -> Vec<Choice<'a>> {
        let both = of.iter().zip(predictions);
        both.map(
            |(&(architecture, right, latency_ms, megabytes), predictions)| Choice {
                name: ModelName {
                    architecture,
                    precision: "int8".into(),
                },
                accuracy: right as f64 / 200.0,
                latency_ms,
                megabytes,
                predictions,
            },
        )
        .collect()
    }

    /// Names and sentences of the advice.
    fn advised(
        of: &[(&'static str, usize, f64, f64)],
        limits: Limits,
    ) -> Vec<(Option<&'static str>, String)> {
        let predictions: Vec<Predictions> = of.iter().map(|row| predictions(row.1)).collect();
        let all = advice(&choices(of, &predictions), limits).unwrap();
        let named = |advice: Advice| (advice.model.map(|m| m.architecture), advice.sentence);
        all.into_iter().map(named).collect()
    }

    #[test]
    fn the_front_holds_what_nothing_dominates() {
        assert_eq!(
            front(&[(0.9, 5.0), (0.8, 6.0), (0.95, 9.0), (0.9, 5.5), (0.7, 1.0)]),
            [true, false, true, false, true]
        );
        // Equal ones do not dominate each other.
        assert_eq!(
            front(&[(0.9, 5.0), (0.9, 5.0), (0.9, 4.0)]),
            [false, false, true]
        );
        assert_eq!(front(&[(0.9, 5.0), (0.9, 5.0)]), [true, true]);
        assert_eq!(front(&[]), [false; 0]);
    }

    #[test]
    fn of_equally_accurate_models_the_faster_is_the_best() {
        let rows = [
            ("slow", 190, 9.0, 1.0),
            ("fast", 190, 3.0, 1.0),
            ("low", 180, 1.0, 1.0),
        ];
        let predictions: Vec<Predictions> = rows.iter().map(|row| predictions(row.1)).collect();
        let choices = choices(&rows, &predictions);
        assert_eq!(best(&choices).unwrap().name.architecture, "fast");
    }

    #[test]
    fn the_fastest_within_a_point_is_recommended() {
        // 2 of 200 are a point, 3 are more.
        let rows = [
            ("large", 196, 30.0, 20.0),
            ("medium", 194, 10.0, 10.0),
            ("small", 193, 5.0, 5.0),
        ];
        let advised_all = advised(&rows, Limits::default());
        let [(model, sentence)] = &advised_all[..] else {
            panic!("{advised_all:?}");
        };
        assert_eq!(*model, Some("medium"));
        // 2 gained of 200: (3/202 - 1/202) -+ 1.96 sqrt((4/202 - (2/202)^2) / 202).
        assert_eq!(
            sentence,
            "Fastest within one point of the best: medium in int8 (97.0%, 10.0 ms); the most accurate, \
             large in int8 (98.0%, 30.0 ms), is 1.0 points better, which is within noise (95% interval \
             of the difference -0.9 to +2.9 points)."
        );
    }

    #[test]
    fn the_best_itself_may_be_the_fastest() {
        let rows = [("a", 190, 3.0, 1.0), ("b", 189, 4.0, 1.0)];
        let (model, sentence) = advised(&rows, Limits::default()).remove(0);
        assert_eq!(model, Some("a"));
        assert!(sentence.contains("the most accurate itself"), "{sentence}");
    }

    #[test]
    fn limits_are_kept_or_the_nearest_is_named() {
        let rows = [
            ("large", 196, 30.0, 20.0),
            ("medium", 194, 10.0, 10.0),
            ("small", 150, 5.0, 5.0),
        ];
        let within = |latency_ms, megabytes| {
            let limits = Limits {
                latency_ms,
                megabytes,
            };
            advised(&rows, limits).remove(1)
        };
        let (model, sentence) = within(Some(10.0), None);
        assert_eq!(model, Some("medium"));
        // The small one is faster, and worse beyond noise.
        assert_eq!(
            sentence,
            "Most accurate within 10 ms: medium in int8 (97.0%, 10.0 ms, 10.0 MB)."
        );
        let (model, sentence) = within(None, Some(50.0));
        assert_eq!(model, Some("large"));
        assert!(sentence.contains("against medium in int8"), "{sentence}");
        let (model, sentence) = within(Some(40.0), Some(9.0));
        assert_eq!(model, Some("small"));
        assert!(
            sentence.starts_with("Most accurate within 40 ms and 9 MB"),
            "{sentence}"
        );
        let (model, sentence) = within(Some(8.0), Some(4.0));
        assert_eq!(model, None);
        // 5/4 of the size; the medium one needs 10/4.
        assert_eq!(
            sentence,
            "No model keeps within 8 ms and 4 MB; the nearest is small in int8 (75.0%, 5.00 ms, 5.0 MB)."
        );
    }

    #[test]
    fn a_difference_beyond_noise_is_said_to_be_one() {
        let [worse, better] = [150, 190].map(predictions);
        let both = [worse, better];
        let choices = choices(&[("a", 150, 1.0, 1.0), ("b", 190, 1.0, 1.0)], &both);
        let text = compared(&choices[0], &choices[1]).unwrap();
        assert!(
            text.starts_with("is 20.0 points better, more than noise"),
            "{text}"
        );
        let same = compared(&choices[0], &choices[0]).unwrap();
        assert!(same.starts_with("is just as accurate"), "{same}");
    }
}
