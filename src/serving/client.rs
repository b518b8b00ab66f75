//! Who asks, when proxies stand between.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Address(IpAddr),
    UnixSocket,
}

/// Proxies whose word is taken for where a request came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<IpNet>,
    unix_sockets: bool,
}

/// The origin of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// `None` behind a unix socket whose proxy does not tell.
    pub address: Option<IpAddr>,
    pub https: bool,
}

impl Trusted {
    /// Takes networks such as `10.0.0.0/8`, single addresses, and `unix`.
    pub fn new(names: &[TrustedName]) -> Self {
        let mut trusted = Self::default();
        for name in names {
            match name.0 {
                Some(network) => trusted.networks.push(network),
                None => trusted.unix_sockets = true,
            }
        }
        trusted
    }

    fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Address(address) => {
                let address = address.to_canonical();
                self.networks
                    .iter()
                    .any(|network| network.contains(&address))
            }
            Peer::UnixSocket => self.unix_sockets,
        }
    }

    /// The client of a request: the last address of `X-Forwarded-For` that no trusted proxy has.
    ///
    /// What a client itself wrote into the header stands to the left of what proxies added, and is
    /// never reached.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Client {
        let mut client = Client {
            address: match peer {
                Peer::Address(address) => Some(address.to_canonical()),
                Peer::UnixSocket => None,
            },
            https: false,
        };
        if !self.trusts(peer) {
            return client;
        }
        let proto = headers.get(FORWARDED_PROTO);
        let proto = proto.and_then(|proto| proto.to_str().ok()?.rsplit(',').next());
        client.https = proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"));
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for hop in hops {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client.address = Some(address.to_canonical());
            if !self.trusts(Peer::Address(address)) {
                break;
            }
        }
        client
    }
}

/// One value of `--trusted-proxy`; `None` is `unix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedName(Option<IpNet>);

impl FromStr for TrustedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self(None));
        }
        let network = text.parse::<IpNet>().ok();
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = network.or_else(address);
        let network = network
            .ok_or("expected a network such as 10.0.0.0/8, an address, or `unix`".to_owned())?;
        Ok(Self(Some(network)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&'static str]) -> Client {
        let names: Vec<TrustedName> = trusted.iter().map(|name| name.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        headers.append(FORWARDED_PROTO, HeaderValue::from_static("https"));
        let peer = peer.parse().map_or(Peer::UnixSocket, Peer::Address);
        Trusted::new(&names).client(peer, &headers)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (trusted, peer, forwarded, address) in [
            (&[][..], "192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            (&["10.0.0.0/8"], "192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            (
                &["10.0.0.0/8"],
                "10.1.2.3",
                &["198.51.100.7"],
                "198.51.100.7",
            ),
            // The client's own words stand on the left.
            (
                &["10.0.0.0/8"],
                "10.1.2.3",
                &["1.1.1.1, 198.51.100.7"],
                "198.51.100.7",
            ),
            (
                &["10.0.0.0/8"],
                "10.1.2.3",
                &["1.1.1.1", "198.51.100.7, 10.9.9.9"],
                "198.51.100.7",
            ),
            (&["10.0.0.0/8"], "10.1.2.3", &["unknown"], "10.1.2.3"),
            (&["10.0.0.0/8"], "10.1.2.3", &["10.5.5.5"], "10.5.5.5"),
            (
                &["10.0.0.0/8"],
                "::ffff:10.1.2.3",
                &["2001:db8::1"],
                "2001:db8::1",
            ),
            (&["unix"], "unix", &["198.51.100.7"], "198.51.100.7"),
        ] {
            let found = client(trusted, peer, forwarded);
            assert_eq!(found.address, address.parse().ok(), "{peer} {forwarded:?}");
        }
        assert_eq!(client(&["::1"], "unix", &["1.1.1.1"]).address, None);
        assert!(client(&["127.0.0.1"], "127.0.0.1", &[]).https);
        assert!(!client(&[], "127.0.0.1", &[]).https);
    }

    #[test]
    fn a_name_is_a_network_an_address_or_unix() {
        for good in ["10.0.0.0/8", "::1", "fd00::/8", "127.0.0.1", "unix"] {
            assert!(good.parse::<TrustedName>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(bad.parse::<TrustedName>().is_err(), "{bad}");
        }
    }
}
