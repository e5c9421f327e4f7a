//! Addresses of servers (`scheme://user:password@host:port/path?query`), read in one way for every server.
//!
//! RFC 3986 defines where a part begins and ends, and each part is percent-decoded once. Two extensions: any character except
//! `/`, `?` and `#` may be unencoded in a password, and a `%` that begins no code stands for itself. The clients' own parsers
//! differ: some keep the brackets of `[::1]`, one reads an IPv6 address as localhost, one does not decode.

use std::fmt::Write as _;

/// An address in its parts, decoded. It may hold a password, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// Without the brackets of an IPv6 address; empty if the scheme allows that (a unix socket).
    pub host: String,
    pub port: Option<u16>,
    /// Without the slash at its beginning; `None` when nothing follows the host.
    pub path: Option<String>,
    pub query: Vec<(String, String)>,
    /// As it is written.
    pub fragment: Option<String>,
}

impl Address {
    /// The error describes the problem without any part of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let shape = "must be an address such as scheme://user:password@host:port";
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("must not contain spaces: write one in a password as %20");
        }
        let (scheme, rest) = text.split_once("://").ok_or(shape)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if rest.contains('@') {
            // Most likely it is in the password, and what looks like the host is a part of it.
            return Err(
                "has an @ after the host: in a user or password write / as %2F, ? as %3F, # as %23, and \
                        elsewhere @ as %40",
            );
        }
        let (credentials, place) =
            authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            None => (None, None),
            Some((user, password)) => (not_empty(decoded(user)?), not_empty(decoded(password)?)),
        };
        let (host, port) = place_of(place)?;
        let (rest, fragment) =
            rest.split_once('#').map_or((rest, None), |(rest, f)| (rest, Some(f.to_owned())));
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        };
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            password,
            host,
            port,
            path: path.strip_prefix('/').map(decoded).transpose()?,
            query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect::<Result<_, &str>>()?,
            fragment,
        })
    }

    /// The value of one parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The address for a client that parses it again: everything ambiguous is encoded. `host` replaces the host.
    pub fn canonical(&self, host: &str) -> String {
        let mut text = format!("{}://", self.scheme);
        if self.user.is_some() || self.password.is_some() {
            text += &encoded(self.user.as_deref().unwrap_or_default());
            if let Some(password) = &self.password {
                text += &format!(":{}", encoded(password));
            }
            text.push('@');
        }
        text += &if host.contains(':') { format!("[{host}]") } else { encoded(host) };
        if let Some(port) = self.port {
            text += &format!(":{port}");
        }
        if let Some(path) = &self.path {
            text += &format!("/{}", encoded(path));
        }
        for (at, (name, value)) in self.query.iter().enumerate() {
            text += &format!("{}{}={}", if at == 0 { '?' } else { '&' }, encoded(name), encoded(value));
        }
        if let Some(fragment) = &self.fragment {
            text += &format!("#{fragment}");
        }
        text
    }
}

/// An address for logs: without user, password and parameters. A text that is no address is not shown.
pub fn shown(text: &str) -> String {
    let Ok(address) = Address::parse(text.trim()) else { return "(not an address)".to_owned() };
    let bare = Address { user: None, password: None, query: Vec::new(), fragment: None, ..address.clone() };
    let bare = bare.canonical(&bare.host).replace("%2F", "/");
    match (address.user.or(address.password), bare.split_once("://")) {
        (Some(_), Some((scheme, rest))) => format!("{scheme}://…@{rest}"),
        _ => bare,
    }
}

/// The addresses of a list. A comma separates two only if a scheme follows it: it may also be part of a password.
pub fn list<'a>(text: &'a str, schemes: &[&str]) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, _) in text.match_indices(',') {
        let next = text[at + 1..].trim_start();
        if next.is_empty() || schemes.iter().any(|scheme| next.starts_with(scheme)) {
            parts.push(text[begin..at].trim());
            begin = at + 1;
        }
    }
    parts.push(text[begin..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn not_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Host and port.
fn place_of(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has a [ without its ] around an IPv6 address")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address between [ and ]")?;
            (host.to_owned(), port)
        }
        None => {
            let (host, port) = place.find(':').map_or((place, ""), |at| place.split_at(at));
            (decoded(host)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => {
            Some(number.parse().map_err(|_| "has a port beyond 65535")?)
        }
        _ => {
            return Err(
                "has no number as its port; in a user or password write / as %2F, ? as %3F, # as %23, and an \
                        IPv6 address in [ and ]",
            );
        }
    };
    Ok((host, port))
}

/// Percent-decoding by RFC 3986: `+` is a plus. An invalid code stands for itself.
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok()).filter(|two| is_hex(two));
        match (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "has a %-code that is not UTF-8")?;
    // No server accepts it, and C strings end there.
    if text.contains('\0') { Err("has a %00") } else { Ok(text) }
}

fn is_hex(two: &str) -> bool {
    two.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Encodes all but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn a_password_may_have_every_character_when_it_is_encoded() {
        for c in (1u8..128).map(char::from).chain(['é', '人']) {
            let password = format!("a{c}b%41");
            let address = parsed(&format!("postgres://kino:{}@db:5432/kino", encoded(&password)));
            assert!(address.password.as_deref() == Some(&password), "{c:?}");
            let again = parsed(&address.canonical("db"));
            assert!(address == again, "{c:?} does not survive being written again");
        }
    }

    #[test]
    fn a_password_may_have_every_visible_character_as_it_is_but_three() {
        for c in (b'!'..=b'~').map(char::from) {
            let address = Address::parse(&format!("amqp://kino:ab{c}yz@rabbit:5672/cinema"));
            match c {
                '/' | '?' | '#' => assert!(address.is_err(), "{c:?} begins another part"),
                _ => {
                    let address = address.unwrap_or_else(|why| panic!("{c:?}: {why}"));
                    assert!(address.password == Some(format!("ab{c}yz")), "{c:?}");
                    assert_eq!((&*address.host, address.port), ("rabbit", Some(5672)), "{c:?}");
                }
            }
        }
        assert!(Address::parse("amqp://kino:ab%cd@rabbit").is_err(), "a code, and not of UTF-8");
    }

    #[test]
    fn a_slash_in_a_password_leads_nowhere_else() {
        // The password is 12/x: read in good faith it would be the server `kino`, port 12.
        for text in
            ["postgres://kino:12/x@db/kino", "postgres://kino:12?x@db/kino", "postgres://u:p@1/x@db/kino"]
        {
            let why = Address::parse(text).err().unwrap();
            assert!(why.contains("%2F"), "{why}");
        }
    }

    #[test]
    fn an_ipv6_address_loses_its_brackets_and_gets_them_back() {
        let address = parsed("redis://:s3cret@[::1]:6379/2");
        assert_eq!((&*address.host, address.port, address.path.as_deref()), ("::1", Some(6379), Some("2")));
        assert_eq!(address.canonical(&address.host), "redis://:s3cret@[::1]:6379/2");
        assert!(Address::parse("redis://::1:6379").is_err(), "which of them is the port?");
        assert!(Address::parse("redis://[::1").is_err() && Address::parse("redis://[kino]").is_err());
    }

    #[test]
    fn sockets_databases_and_parameters_are_decoded_and_a_plus_is_a_plus() {
        let address = parsed("postgres://kino@%2Frun%2Fpg:5433/a%20b?host=/run/x&password=a+b%2Bc");
        assert_eq!((&*address.host, address.path.as_deref()), ("/run/pg", Some("a b")));
        assert_eq!(
            (address.parameter("host"), address.parameter("password")),
            (Some("/run/x"), Some("a+b+c"))
        );
        assert!(parsed("postgres:///kino").host.is_empty());
        assert!(parsed("nats://a").path.is_none() && parsed("nats://a/").path.as_deref() == Some(""));
        for bad in
            ["db:5432", "postgres://u:a b@db", "postgres://db:70000", "postgres://db:x", "nats://u:%00@a"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_split_where_the_next_scheme_begins() {
        let schemes = ["nats://", "tls://"];
        assert_eq!(
            list("nats://u:a,b@a:4222, tls://b:4222,nats://c,", &schemes),
            ["nats://u:a,b@a:4222", "tls://b:4222", "nats://c"]
        );
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        assert_eq!(shown("postgres://u:s3,cr@et@db:5432/kino?password=s3cret"), "postgres://…@db:5432/kino");
        assert_eq!(shown("nats://a:4222"), "nats://a:4222");
        assert_eq!(shown("s3cret"), "(not an address)");
    }
}
