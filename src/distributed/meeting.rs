//! Where the processes of a run meet: a store that process 0 serves.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::thread::sleep;
use std::time::Instant;

use super::place::Place;
use super::store::{PAUSE, Store, require_support};
use crate::error::{Error, Result};

/// What an agent's store says of process 0's: host, port, and a word that this store knows. Agents keep
/// theirs when they start all processes anew, with what the last ones said.
const ADDRESS: &str = "flowers/address";
const WORD: &str = "word";

/// A store on this machine for processes that this one starts.
pub(crate) struct Hub {
    port: u16,
    _store: Store,
}

impl Hub {
    /// Serves a store on a free port of the loopback interface.
    ///
    /// # Errors
    /// [`Error::Environment`] when the system refuses, or this program was built without collectives.
    pub(crate) fn open() -> Result<Self> {
        require_support()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let refused = |cause| Error::Environment(format!("no free port on this machine: {cause}"));
        let listener = listener.map_err(refused)?;
        let port = listener.local_addr().map_err(refused)?.port();
        Ok(Self {
            port,
            _store: Store::serve(listener)?,
        })
    }

    /// The environment variables of one of `world` processes: those of torchrun.
    pub(crate) fn variables(&self, rank: usize, world: usize) -> Vec<(&'static str, String)> {
        vec![
            ("RANK", rank.to_string()),
            ("WORLD_SIZE", world.to_string()),
            ("LOCAL_RANK", rank.to_string()),
            ("LOCAL_WORLD_SIZE", world.to_string()),
            ("MASTER_ADDR", Ipv4Addr::LOCALHOST.to_string()),
            ("MASTER_PORT", self.port.to_string()),
            ("TORCHELASTIC_USE_AGENT_STORE", "True".into()),
        ]
    }
}

/// The store of a run, as soon as process 0 serves it, up to a moment.
///
/// # Errors
/// [`Error::Environment`] when the port is in use, or process 0 is not met.
pub(super) fn meet(place: &Place, until: Instant) -> Result<Store> {
    let (host, port) = (&place.host, place.port);
    let is_first = place.share.rank == 0;
    match place.has_agent {
        false if is_first => Store::serve(listen(port)?),
        false => Store::connect(host, port, until),
        true => {
            let agent = Store::connect(host, port, until)?;
            match is_first {
                true => announced(place, &agent),
                false => found(&agent, until),
            }
        }
    }
}

/// Serves a store on a free port, and says so in that of the agent.
fn announced(place: &Place, agent: &Store) -> Result<Store> {
    let listener = listen(0)?;
    let unknown = |cause| Error::Environment(format!("no address to listen on: {cause}"));
    let port = listener.local_addr().map_err(unknown)?.port();
    let store = Store::serve(listener)?;
    let word = format!("{:016x}", rand::random::<u64>());
    store.set(WORD, &word)?;
    let host = match place.is_one_machine() {
        true => Ipv4Addr::LOCALHOST.to_string(),
        false => gethostname::gethostname().to_string_lossy().into_owned(),
    };
    agent.set(ADDRESS, &format!("{host} {port} {word}"))?;
    Ok(store)
}

/// The store that process 0 announces, which may not be the one that was announced last.
fn found(agent: &Store, until: Instant) -> Result<Store> {
    loop {
        let announced = agent.get(ADDRESS)?.unwrap_or_default();
        if let [host, port, word] = announced.split(' ').collect::<Vec<_>>()[..]
            && let Ok(port) = port.parse()
            && let Some(store) = Store::try_connect(host, port)
            && store
                .get(WORD)
                .is_ok_and(|known| known.as_deref() == Some(word))
        {
            return Ok(store);
        }
        if Instant::now() >= until {
            let message = "process 0 has not come, or can't be reached from here";
            return Err(Error::Environment(message.into()).into());
        }
        sleep(PAUSE);
    }
}

/// A port of all interfaces, of either family where the system has both.
fn listen(port: u16) -> Result<TcpListener> {
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(cause) if cause.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        }
        bound => bound,
    };
    listener.map_err(|cause| {
        let remedy = match cause.kind() {
            ErrorKind::AddrInUse => {
                ": another process 0 or another program has it; set another MASTER_PORT"
            }
            _ => "",
        };
        Error::Environment(format!("can't listen on port {port}: {cause}{remedy}")).into()
    })
}
