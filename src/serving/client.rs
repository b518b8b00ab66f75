//! The client of a request, behind trusted proxies or not.

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

/// Proxies whose `X-Forwarded-*` headers are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<TrustedProxy>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// None behind a Unix socket whose proxy does not send it.
    pub address: Option<IpAddr>,
    pub https: bool,
}

impl TrustedProxies {
    pub fn new(proxies: Vec<TrustedProxy>) -> Self {
        Self(proxies)
    }

    fn trust(&self, peer: Peer) -> bool {
        self.0.iter().any(|proxy| match (proxy, peer) {
            (TrustedProxy::Network(network), Peer::Address(address)) => {
                network.contains(&address.to_canonical())
            }
            (TrustedProxy::UnixSocket, Peer::UnixSocket) => true,
            _ => false,
        })
    }

    /// The client of a request: the last address of `X-Forwarded-For` that is not a trusted proxy.
    ///
    /// Proxies append to the header, so what the client itself put there is further left, and
    /// ignored.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Client {
        let mut client = Client {
            address: match peer {
                Peer::Address(address) => Some(address.to_canonical()),
                Peer::UnixSocket => None,
            },
            https: false,
        };
        if !self.trust(peer) {
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
            if !self.trust(Peer::Address(address)) {
                break;
            }
        }
        client
    }
}

/// One value of `--trusted-proxy`: a network such as `10.0.0.0/8`, an address, or `unix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    Network(IpNet),
    UnixSocket,
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::UnixSocket);
        }
        let network = text.parse::<IpNet>().ok();
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = network.or_else(address);
        let expected = || "expected a network such as 10.0.0.0/8, an address, or `unix`".to_owned();
        let network = network.ok_or_else(expected)?;
        Ok(Self::Network(network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&'static str]) -> Client {
        let proxies: Vec<_> = trusted.iter().map(|name| name.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        headers.append(FORWARDED_PROTO, HeaderValue::from_static("https"));
        let peer = peer.parse().map_or(Peer::UnixSocket, Peer::Address);
        TrustedProxies::new(proxies).client(peer, &headers)
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
            // What the client sent is on the left.
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
    fn a_proxy_is_a_network_an_address_or_unix() {
        for good in ["10.0.0.0/8", "::1", "fd00::/8", "127.0.0.1", "unix"] {
            assert!(good.parse::<TrustedProxy>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(bad.parse::<TrustedProxy>().is_err(), "{bad}");
        }
    }
}
