//! Which addresses count as one client, for limits that a client must not evade by changing its address.
//!
//! Addresses of IPv4 that are written as IPv6 (`::ffff:192.0.2.1`) count as IPv4.

use std::net::IpAddr;

/// The address, or of IPv6 the first address of the /64 that a provider gives one customer.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        address => address,
    }
}

/// The first address of the network: of IPv4 the /24, whose addresses a mobile provider gives its customers by turns; of
/// IPv6 the /64.
pub fn network(address: IpAddr) -> IpAddr {
    match customer(address) {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [a, b, c, 0].into()
        }
        address => address,
    }
}

/// The network in CIDR notation, such as `203.0.113.0/24` or `2001:db8:1:2::/64`.
pub fn name(address: IpAddr) -> String {
    let network = network(address);
    format!("{network}/{}", if network.is_ipv4() { 24 } else { 64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_count_as_one() {
        for (address, one, network, called) in [
            ("203.0.113.7", "203.0.113.7", "203.0.113.0", "203.0.113.0/24"),
            ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:2::", "2001:db8:1:2::/64"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(customer(address).to_string(), one);
            assert_eq!(super::network(address).to_string(), network);
            assert_eq!(name(address), called);
        }
    }
}
