//! `flowers train` in one of several processes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{complete, configured, processes, report, session, tidied, warn};
use crate::cli::train::TrainArgs;
use crate::commands::output::{fail, note, speak_as};
use crate::commands::photos;
use crate::commands::stop::stop_flag;
use crate::data::{Undecodable, Unreadable};
use crate::device::DeviceChoice;
use crate::distributed::{Group, Place, Terms, Timeouts, join};
use crate::error::{Error, Result, exit_code};
use crate::inference;
use crate::progress::Silent;
use crate::training::TrainingSession;
use crate::values::plural;

/// Joins the others, and trains with them.
///
/// # Errors
/// Those of joining, and those of any process.
pub(super) fn run(args: &TrainArgs, place: &Place) -> Result<()> {
    processes::end_with_launcher();
    if place.share.rank > 0 {
        speak_as(place.share.rank);
    }
    let (settings, device) = agreement(args)?;
    let device = place.device(inference::resolve_device(device)?);
    let terms = Terms {
        collectives: args.processes.collectives,
        timeouts: Timeouts {
            join: time("--join-timeout", args.processes.join_timeout)?,
            collective: time("--collective-timeout", args.processes.collective_timeout)?,
        },
        device,
        settings: &settings,
        lost: |error| {
            fail(&error);
            signal_hook::low_level::exit(exit_code(&error).into());
        },
    };
    let group = Rc::new(join(place, &terms)?);
    match group.is_first() {
        true => tidied(args, || lead(args, &group)),
        false => follow(args, &group),
    }
}

/// What all processes must agree on, a setting a line, and the device that they are to compute on.
fn agreement(args: &TrainArgs) -> Result<(String, DeviceChoice)> {
    if args.resume.is_some() {
        let epochs = args
            .settings
            .epochs
            .map_or("as begun".into(), |n| n.to_string());
        let settings = format!("resume = true\nepochs = {epochs}\n");
        return Ok((settings, DeviceChoice::Auto));
    }
    let config = configured(&args.settings, args.config.as_deref())?;
    let mut settings = config.portable()?;
    settings += &format!("data = {}\n", args.source.named()?);
    settings += &format!("resume-or-start = {}\n", args.resume_or_start);
    Ok((settings, config.device))
}

fn time(option: &str, seconds: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(seconds);
    time.map_err(|_| Error::Usage(format!("{option} is too long")).into())
}

fn lead(args: &TrainArgs, group: &Rc<Group>) -> Result<()> {
    let started = Instant::now();
    let begun = session(args, Some(group));
    let session = TrainingSession::lead(begun, group)?;
    note(format_args!(
        "{}, gradients by {}",
        plural(group.world(), "process"),
        group.collectives()
    ));
    let stop = stop_flag()?;
    let trained = complete(session, &stop)?;
    report(&trained, started.elapsed(), args.json)
}

fn follow(args: &TrainArgs, group: &Rc<Group>) -> Result<()> {
    let mut session = TrainingSession::follow(group, args.source.source(), &Silent)?;
    warn(&session.warnings);
    let stop = stop_flag()?;
    let tell = |photo: &Unreadable| warn(&[photos::skipped(photo)]);
    let allowed = session.folder.tolerated(session.run.config().max_bad);
    let undecodable = Arc::new(Undecodable::allowing(allowed, tell));
    // Process 0 opens the files of the run.
    session.together(Ok(()))?;
    session.open_cache(|complaint| warn(&[complaint.to_owned()]));
    session.train(&undecodable, &stop, &mut Vec::new())?;
    Ok(())
}
