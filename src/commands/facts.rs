//! What a report says of a run besides its numbers: what, from what, where, when.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use crate::bundle::Manifest;
use crate::data::{Part, Source};
use crate::device::Device;
use crate::error::shown;
use crate::machine;
use crate::report::Fact;
use crate::training::WeightsSource;

/// A heading that names the data set, such as `resnet18 on photos`.
pub(super) fn title(manifest: &Manifest, data: &Source) -> String {
    let root = data.root();
    let absolute = std::path::absolute(&root).unwrap_or(root);
    let name = absolute.file_name().map_or_else(|| data.to_string(), shown);
    format!("{} on {name}", manifest.architecture)
}

pub(super) fn fact(name: &'static str, value: impl Into<String>) -> Fact {
    let value = value.into();
    Fact { name, value }
}

/// What training started from, if the model file records it.
pub(super) fn starting_weights(manifest: &Manifest) -> Option<Fact> {
    let record = manifest.recipe.as_ref()?;
    let weights = match WeightsSource::from(record.weights()?.to_owned()) {
        WeightsSource::None => "random, trained from scratch".into(),
        WeightsSource::Imagenet | WeightsSource::Auto => "ImageNet".into(),
        WeightsSource::File(path) => shown(path.file_name().unwrap_or(path.as_os_str())),
    };
    let hash = record.weights_sha256().and_then(|hash| hash.get(..8));
    let hash = hash.map_or(String::new(), |hash| format!(" ({hash})"));
    Some(fact("Starting weights", weights + &hash))
}

/// Which photos were measured on, and how many.
pub(super) fn measured_on(part: Option<Part>, photos: usize) -> Fact {
    let part = part.map_or("all", Part::name);
    fact("Measured on", format!("{photos} photos ({part})"))
}

/// The processor, how many of its threads computed, and the device when that is another.
pub(super) fn processor(device: Device, threads: usize) -> Fact {
    let threads = match threads {
        1 => "1 thread".into(),
        n => format!("{n} threads"),
    };
    let elsewhere = match device {
        Device::Cpu => String::new(),
        device => format!(", computed on {device}"),
    };
    fact(
        "Processor",
        format!("{}, {threads}{elsewhere}", machine::processor()),
    )
}

/// The day and minute, in UTC.
pub(super) fn date(now: SystemTime) -> Fact {
    let now = DateTime::<Utc>::from(now);
    fact("Date", now.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// A duration as people say it: `850 ms`, `3.2 s`, `2 min 09 s`, `1 h 05 min`.
pub(super) fn duration(name: &'static str, took: Duration) -> Fact {
    let seconds = took.as_secs();
    let value = match seconds {
        0 => format!("{} ms", took.as_millis()),
        1..60 => format!("{:.1} s", took.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    };
    fact(name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_say_them() {
        for (milliseconds, said) in [
            (850, "850 ms"),
            (3_210, "3.2 s"),
            (129_000, "2 min 09 s"),
            (3_900_000, "1 h 05 min"),
        ] {
            let took = Duration::from_millis(milliseconds);
            assert_eq!(duration("Time", took).value, said);
        }
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(951_827_640);
        assert_eq!(date(day).value, "2000-02-29 12:34 UTC");
    }
}
