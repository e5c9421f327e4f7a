//! How many connections or live streams one network may have open at once.
//!
//! Invariant: a place is released when it is dropped, however its holder ended, and only networks that hold a place take
//! memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// Places of one kind, counted by network. Without a maximum every request for a place succeeds.
pub struct Networks {
    max: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One place, held until it is dropped.
pub struct Place(Option<(Arc<Networks>, IpAddr)>);

impl Networks {
    pub fn new(max: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// A place for the network of this address; `None` when it holds the maximum.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let Some(max) = self.max else { return Some(Place(None)) };
        let network = network(address);
        let mut open = self.counts();
        let count = open.entry(network).or_default();
        // `max` is at least one, so an entry that was just inserted never stays at zero.
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), network))))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((networks, network)) = self.0.take() else { return };
        let mut open = networks.counts();
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }
}

/// The network of an address. Loopback addresses are not grouped: each counts for itself.
fn network(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    if address.is_loopback() { address } else { bus::network::network(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gets_its_places_and_no_more_until_one_is_released() {
        let networks = Networks::new(Some(2));
        let enter = |address: &str| networks.enter(address.parse().unwrap());
        let (first, _second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.77").unwrap());
        assert!(enter("192.0.2.3").is_none(), "the same network in two notations");
        let _other = enter("192.0.3.1").expect("another network has its own places");
        drop(first);
        let _third = enter("192.0.2.3").expect("a place was released");
        let _six = (enter("2001:db8::1").unwrap(), enter("2001:db8::ffff:2").unwrap());
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        assert!(enter("127.0.0.1").is_some() && enter("127.0.0.2").is_some());
    }

    #[test]
    fn networks_without_a_place_take_no_memory_and_without_a_maximum_nothing_is_counted() {
        let networks = Networks::new(Some(1));
        drop(networks.enter([192, 0, 2, 1].into()));
        assert!(networks.counts().is_empty());
        let unbounded = Networks::new(None);
        let places: Vec<_> = (0..100).map(|_| unbounded.enter([192, 0, 2, 1].into()).unwrap()).collect();
        assert!(unbounded.counts().is_empty() && places.len() == 100);
    }
}
