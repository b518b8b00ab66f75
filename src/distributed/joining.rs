//! How processes become a group: they meet, agree on what they train, and connect to each other.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::ffi;
use super::group::{Connections, Group, PATIENCE};
use super::meeting::meet;
use super::place::Place;
use super::share::Share;
use super::store::{PAUSE, Store, line, require_support};
use super::told::Told;
use super::watch::Watch;
use crate::device::Device;
use crate::error::{Error, Result};

/// What `--collectives` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Collectives {
    /// NCCL on NVIDIA's GPUs where the program was built with it, else Gloo
    #[default]
    Auto,
    /// On processors and GPUs; gradients of GPUs go through host memory
    Gloo,
    /// On NVIDIA's GPUs, one process each
    Nccl,
}

/// How long processes wait for each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Timeouts {
    /// Until all have come.
    pub join: Duration,
    /// In every collective operation.
    pub collective: Duration,
}

/// What a process wants of the group.
pub(crate) struct Terms<'a> {
    pub collectives: Collectives,
    pub timeouts: Timeouts,
    pub device: Device,
    /// What all must agree on, a setting a line.
    pub settings: &'a str,
    /// Ends this process when another has ended and it does not notice.
    pub lost: fn(anyhow::Error),
}

/// What a process says of itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Card {
    host: String,
    version: String,
    world: usize,
    settings: String,
    nccl: bool,
    /// The GPU that NCCL is to use.
    gpu: Option<String>,
}

/// How long process 0 waits for the others to read why it refuses them.
const READING: Duration = Duration::from_millis(800);

const DUPLICATE: &str = "duplicate";
const REFUSED: &str = "refused";
const READ: &str = "read";
/// The hosts of all processes, once they agree.
const AGREED: &str = "agreed";

/// Joins the group of a place, once all of its processes have come and agree.
///
/// # Errors
/// [`Error::Usage`] when they do not agree, [`Error::Environment`] when one does not come in time, when two
/// share a GPU that NCCL would be used on, and when they can't connect to each other.
pub(crate) fn join(place: &Place, terms: &Terms<'_>) -> Result<Group> {
    require_support()?;
    let until = Instant::now() + terms.timeouts.join;
    let card = card(place, terms)?;
    let store = meet(place, until)?;
    let rank = place.share.rank;
    if store.add(&format!("rank/{rank}"), 1)? > 1 {
        store.set(DUPLICATE, &format!("{rank} {}", card.host))?;
    }
    let key = |rank: usize| format!("card/{rank}");
    store.set(&key(rank), &serde_json::to_string(&card)?)?;
    if rank == 0 {
        let other = |rank| -> Result<Option<Card>> {
            let text = store.get(&key(rank))?;
            Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
        };
        gather(&store, &card, place, until, other)?;
    }
    let hosts = agreed(&store, place, until)?;
    let place = place
        .clone()
        .among(hosts.iter().filter(|host| **host == card.host).count());
    connect(place, terms, &card, store, hosts)
}

fn card(place: &Place, terms: &Terms<'_>) -> Result<Card> {
    let gpu = match terms.device {
        Device::Cuda(index) => Some(index),
        _ => None,
    };
    let nccl = match (terms.collectives, gpu) {
        (Collectives::Gloo, _) | (Collectives::Auto, None) => false,
        (Collectives::Auto, Some(_)) => ffi::has_nccl(),
        (Collectives::Nccl, Some(_)) if ffi::has_nccl() => true,
        (Collectives::Nccl, None) => {
            let message = "--collectives nccl works between NVIDIA's GPUs only: use --device cuda, or \
                           --collectives gloo";
            return Err(Error::Environment(message.into()).into());
        }
        (Collectives::Nccl, Some(_)) => {
            let message = "this program was built without NCCL, whose headers were not found then: use \
                           --collectives gloo, or build it again with CUDA_HOME and NCCL_HOME set";
            return Err(Error::Environment(message.into()).into());
        }
    };
    let identity = gpu.filter(|_| nccl).map(ffi::gpu).transpose();
    Ok(Card {
        host: gethostname::gethostname().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").into(),
        world: place.share.world,
        settings: terms.settings.into(),
        nccl,
        gpu: identity.map_err(|cause| Error::Environment(line(&cause)))?,
    })
}

/// Waits for all others, and says whether they agree with process 0.
fn gather(
    store: &Store,
    own: &Card,
    place: &Place,
    until: Instant,
    card: impl Fn(usize) -> Result<Option<Card>>,
) -> Result<()> {
    let world = place.share.world;
    let mut cards: Vec<Option<Card>> = (0..world).map(|_| None).collect();
    let refusal = loop {
        if let Some(twice) = store.get(DUPLICATE)? {
            let (rank, host) = twice.split_once(' ').unwrap_or((&twice, ""));
            let message = format!("two processes have rank {rank}, one of them on {host}");
            break Some(Error::Usage(message));
        }
        for (rank, slot) in cards.iter_mut().enumerate().skip(1) {
            if slot.is_none() {
                *slot = card(rank)?;
            }
        }
        let others = || {
            cards
                .iter()
                .enumerate()
                .filter_map(|(rank, card)| Some((rank, card.as_ref()?)))
        };
        if let Some(difference) = others().find_map(|(rank, card)| difference(own, rank, card)) {
            break Some(Error::Usage(difference));
        }
        if others().count() + 1 == world {
            break shared_gpu(own, others()).map(Error::Environment);
        }
        if Instant::now() >= until {
            let missing: Vec<String> = (1..world)
                .filter(|&rank| cards[rank].is_none())
                .map(|rank| rank.to_string())
                .collect();
            break Some(Error::Environment(format!(
                "not all {world} processes came within --join-timeout; of these ranks there is none: {}",
                missing.join(", ")
            )));
        }
        sleep(PAUSE);
    };
    let Some(refusal) = refusal else {
        let hosts = cards.iter().map(|card| &card.as_ref().unwrap_or(own).host);
        let hosts: Vec<&String> = hosts.collect();
        return store.set(AGREED, &serde_json::to_string(&hosts)?);
    };
    let told = Told::of(&refusal.into());
    store.set(REFUSED, &serde_json::to_string(&told)?)?;
    let leaving = Instant::now() + READING;
    while store.add(READ, 0)? + 1 < world as i64 && Instant::now() < leaving {
        sleep(PAUSE);
    }
    Ok(())
}

/// Waits for what process 0 says, and gives the hosts of all processes.
fn agreed(store: &Store, place: &Place, until: Instant) -> Result<Vec<String>> {
    // Process 0 says something when the time is over.
    let until = until + READING;
    loop {
        if let Some(refusal) = store.get(REFUSED)? {
            store.add(READ, 1)?;
            let told: Told = serde_json::from_str(&refusal)?;
            return Err(told.into_error(""));
        }
        if let Some(hosts) = store.get(AGREED)? {
            let Share { rank, .. } = place.share;
            if store.add(&format!("rank/{rank}"), 0)? > 1 {
                let message = format!("there is a process of rank {rank} already");
                return Err(Error::Usage(message).into());
            }
            return Ok(serde_json::from_str(&hosts)?);
        }
        if Instant::now() >= until {
            let message = "process 0 did not gather all processes within --join-timeout";
            return Err(Error::Environment(message.into()).into());
        }
        sleep(PAUSE);
    }
}

/// In what a process differs from process 0.
fn difference(first: &Card, rank: usize, card: &Card) -> Option<String> {
    let who = |own: &str, other: &str| {
        Some(format!(
            "the processes do not agree: process 0 on {} has {own}, process {rank} on {} {other}",
            first.host, card.host
        ))
    };
    if first.version != card.version {
        return who(&format!("flowers {}", first.version), &card.version);
    }
    if first.world != card.world {
        let own = format!("a world size of {}", first.world);
        return who(&own, &format!("one of {}", card.world));
    }
    if first.settings != card.settings {
        let (mut own, mut other) = (first.settings.lines(), card.settings.lines());
        loop {
            match (own.next(), other.next()) {
                (None, None) => return None,
                (own, other) if own == other => {}
                (own, other) => {
                    let shown = |line: Option<&str>| format!("`{}`", line.unwrap_or_default());
                    return who(&shown(own), &shown(other));
                }
            }
        }
    }
    if first.nccl != card.nccl {
        let name = |nccl| if nccl { "NCCL" } else { "Gloo" };
        let why = who(name(first.nccl), name(card.nccl));
        return why.map(|why| format!("{why}; use --collectives gloo"));
    }
    None
}

/// NCCL would wait forever.
fn shared_gpu<'a>(
    own: &'a Card,
    others: impl Iterator<Item = (usize, &'a Card)>,
) -> Option<String> {
    let mut seen = vec![(0, own)];
    for (rank, card) in others {
        let same = |(_, known): &&(usize, &Card)| known.gpu.is_some() && known.gpu == card.gpu;
        if let Some((other, _)) = seen.iter().find(same) {
            return Some(format!(
                "processes {other} and {rank} are on one GPU of {}, which NCCL does not allow: use \
                 --collectives gloo or one process a GPU",
                card.host
            ));
        }
        seen.push((rank, card));
    }
    None
}

fn connect(
    place: Place,
    terms: &Terms<'_>,
    card: &Card,
    store: Store,
    hosts: Vec<String>,
) -> Result<Group> {
    let Share { rank, world } = place.share;
    let timeout = terms.timeouts.collective;
    let has_interface = std::env::var_os("GLOO_SOCKET_IFNAME").is_some_and(|name| !name.is_empty());
    // The name of a machine that is used alone often has no address.
    let address = (place.is_one_machine() && !has_interface).then_some("127.0.0.1");
    let failed = |cause: String| {
        Error::Environment(format!(
            "the processes can't connect to each other ({}); GLOO_SOCKET_IFNAME names the network \
             interface to use",
            line(&cause)
        ))
    };
    let gloo = |name| {
        let group = ffi::Group::gloo(store.raw(), name, address, (rank, world), timeout);
        group.map_err(failed)
    };
    let (group, watched) = (gloo("gloo")?, gloo("watch")?);
    watched.set_timeout(PATIENCE).map_err(failed)?;
    let nccl = match (card.nccl, terms.device) {
        (true, Device::Cuda(index)) => {
            let group = ffi::Group::nccl(store.raw(), (rank, world), index, timeout);
            Some(group.map_err(failed)?)
        }
        _ => None,
    };
    let connections = Connections {
        watch: Watch::start(watched, terms.lost)?,
        nccl,
        gloo: group,
        store,
    };
    Ok(Group::new(place, connections, hosts, timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(settings: &str, gpu: Option<&str>) -> Card {
        Card {
            host: "a".into(),
            version: "1".into(),
            world: 2,
            settings: settings.into(),
            nccl: gpu.is_some(),
            gpu: gpu.map(String::from),
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let own = card("lr = 0.1\nseed = 1\n", None);
        assert_eq!(
            difference(&own, 1, &card("lr = 0.1\nseed = 1\n", None)),
            None
        );
        let found = difference(&own, 1, &card("lr = 0.1\nseed = 2\n", None)).unwrap();
        assert!(
            found.contains("`seed = 1`, process 1 on a `seed = 2`"),
            "{found}"
        );
        let longer = difference(&own, 1, &card("lr = 0.1\nseed = 1\nx = 1\n", None)).unwrap();
        assert!(longer.contains("`x = 1`"), "{longer}");
        let larger = Card {
            world: 3,
            ..card("lr = 0.1\nseed = 1\n", None)
        };
        let found = difference(&own, 1, &larger).unwrap();
        assert!(
            found.contains("size of 2, process 1 on a one of 3"),
            "{found}"
        );
        let nccl = difference(&own, 1, &card("lr = 0.1\nseed = 1\n", Some("7"))).unwrap();
        assert!(
            nccl.contains("has Gloo") && nccl.contains("--collectives gloo"),
            "{nccl}"
        );
    }

    #[test]
    fn one_gpu_for_two_processes_is_refused() {
        let cards = ["7", "8", "8"].map(|gpu| card("", Some(gpu)));
        let others = || cards.iter().enumerate().skip(1);
        assert_eq!(shared_gpu(&cards[0], others().take(1)), None);
        let refused = shared_gpu(&cards[0], others()).unwrap();
        assert!(
            refused.starts_with("processes 1 and 2 are on one GPU of a"),
            "{refused}"
        );
        assert!(refused.contains("--collectives gloo or one process a GPU"));
        let none = [card("", None), card("", None)];
        assert_eq!(shared_gpu(&none[0], none.iter().enumerate().skip(1)), None);
    }
}
