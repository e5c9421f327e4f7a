//! Addresses as relays take them: a domain beyond ASCII is written in its ASCII form (RFC 5890), which every relay knows.

/// `karl@käse.example` as `karl@xn--kse-qla.example`. What is no domain is left as it is, for the relay to refuse.
pub fn in_ascii(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => match idna::domain_to_ascii(domain) {
            Ok(domain) => format!("{local}@{domain}"),
            Err(_) => address.to_owned(),
        },
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::in_ascii;

    #[test]
    fn only_a_domain_beyond_ascii_is_written_otherwise() {
        assert_eq!(in_ascii("karl@käse.example"), "karl@xn--kse-qla.example");
        assert_eq!(in_ascii("jürgen@Käse.example"), "jürgen@xn--kse-qla.example");
        for same in ["o'brien+kino@visitor.example", "Karl@XN--KSE-QLA.example", "nobody"] {
            assert_eq!(in_ascii(same), same);
        }
    }
}
