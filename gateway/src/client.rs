//! The address of the client, determined through our trusted proxies.
//!
//! Invariant: a client cannot forge its address in a forwarding header. The header is read from its right end and only as far
//! as trusted proxies wrote it; the first address that is not a trusted proxy is the client's.
//! All users of an undeclared proxy count as one client, so one of them who guesses passwords delays all. It is warned of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use poem::Addr;
use poem::http::{HeaderMap, HeaderName, header};
use poem::web::RemoteAddr;

/// Most addresses of the header that are read: there are fewer proxies in a row.
const HOPS_MAX: usize = 16;

/// The one header that our proxies write. A second header could be forged by the client, since a proxy passes on headers that
/// it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// The header of nearly every proxy.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

impl ForwardedBy {
    fn header(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }
}

/// The proxies in front of this gateway.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    pub trusted: Vec<IpNet>,
    pub forwarded_by: ForwardedBy,
    /// A proxy that is not declared was seen.
    pub undeclared: Arc<AtomicBool>,
}

impl Proxies {
    /// The client's address. A socket without one (a test's) counts as one client.
    pub fn client(&self, peer: &RemoteAddr, headers: &HeaderMap) -> IpAddr {
        match &peer.0 {
            Addr::SocketAddr(peer) => {
                let peer = peer.ip().to_canonical();
                self.warn_of_undeclared_proxy(peer, headers);
                self.client_behind(peer, headers)
            }
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// Warns once when no proxy is declared and a peer in a private network sends the header of a proxy.
    fn warn_of_undeclared_proxy(&self, peer: IpAddr, headers: &HeaderMap) {
        let is_proxy = self.trusted.is_empty()
            && is_private(peer)
            && [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded]
                .iter()
                .any(|by| headers.contains_key(by.header()));
        if is_proxy && !self.undeclared.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "a proxy in front that TRUSTED_PROXIES does not name: all its users count as one address"
            );
        }
    }

    fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.is_trusted(client) {
            return client;
        }
        let values: Vec<&str> =
            headers.get_all(self.forwarded_by.header()).iter().filter_map(|v| v.to_str().ok()).collect();
        let hops = values.iter().rev().flat_map(|value| value.rsplit(',')).take(HOPS_MAX);
        for hop in hops {
            let address = match self.forwarded_by {
                ForwardedBy::XForwardedFor => address(hop),
                ForwardedBy::Forwarded => forwarded_for(hop).and_then(address),
            };
            // An unreadable address was not written by one of our proxies: the last readable one counts as the client.
            let Some(address) = address else { break };
            client = address;
            if !self.is_trusted(client) {
                break;
            }
        }
        client
    }

    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// An address that is not routed on the Internet.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// An address, optionally in quotes, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().ok();
    parsed.or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip())).map(|ip| ip.to_canonical())
}

/// The `for` of one element of a `Forwarded` header.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(forwarded_by: ForwardedBy, peer: &str, given: &[&str]) -> String {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(forwarded_by.header(), value.parse().unwrap());
        }
        let proxies = Proxies { trusted, forwarded_by, ..Proxies::default() };
        proxies.client_behind(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_no_trusted_proxy_is_the_client() {
        let seen = |peer, given: &[&str]| seen(ForwardedBy::XForwardedFor, peer, given);
        assert_eq!(
            seen("203.0.113.9", &["1.1.1.1"]),
            "203.0.113.9",
            "the header of an untrusted peer is ignored"
        );
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["203.0.113.7"]), "203.0.113.7");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 203.0.113.7, 10.0.0.2"]), "203.0.113.7", "6.6.6.6 is forged");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "203.0.113.7:4711"]), "203.0.113.7", "two headers are one");
        assert_eq!(seen("10.0.0.1", &["203.0.113.7, rubbish"]), "10.0.0.1");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(seen("10.0.0.1", &["::ffff:203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn an_undeclared_proxy_is_noticed_and_a_strangers_header_is_not() {
        let noticed = |peer: &str, header: &'static str, trusted: &[&str]| {
            let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let proxies = Proxies { trusted, ..Proxies::default() };
            let mut headers = HeaderMap::new();
            headers.insert(header, "for=203.0.113.7".parse().unwrap());
            proxies.warn_of_undeclared_proxy(peer.parse().unwrap(), &headers);
            proxies.undeclared.load(Ordering::Relaxed)
        };
        for peer in ["10.0.0.1", "127.0.0.1", "192.168.1.1", "fd00::1"] {
            assert!(noticed(peer, "x-forwarded-for", &[]) && noticed(peer, "forwarded", &[]), "{peer}");
        }
        assert!(!noticed("203.0.113.9", "x-forwarded-for", &[]));
        assert!(!noticed("10.0.0.1", "x-real-ip", &[]));
        assert!(!noticed("10.0.0.1", "x-forwarded-for", &["10.0.0.0/8"]));
    }

    #[test]
    fn the_forwarded_header_is_read_where_it_is_configured() {
        let seen = |given: &[&str]| seen(ForwardedBy::Forwarded, "10.0.0.1", given);
        assert_eq!(seen(&["for=6.6.6.6, For=\"[2001:db8::7]:99\";proto=https"]), "2001:db8::7");
        assert_eq!(seen(&["for=203.0.113.7;by=10.0.0.1, for=10.0.0.2"]), "203.0.113.7");
        assert_eq!(seen(&["for=unknown"]), "10.0.0.1");
    }
}
