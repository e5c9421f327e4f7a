//! Which e-mail addresses are accepted.

use crate::contract::text::{is_invisible, is_noncharacter};
use crate::contract::{Fields, Rule};

/// An address that mails can be sent to. Before the `@` only ASCII: most relays take nothing else, and the tickets would
/// never leave. A domain beyond ASCII has an ASCII form, which is used.
pub(crate) fn validate_email(email: &str, field: &str, fields: &mut Fields) {
    let well_formed = is_email(email);
    fields.check(well_formed, field, Rule::Email { max: 254 });
    let local = email.split('@').next().unwrap_or_default();
    fields.check(!well_formed || local.is_ascii(), field, Rule::EmailAscii);
}

/// One `@`, something before it, a dot after it, no white space: the form that a mail server would at least try. The proof of
/// an address is a mail that arrives.
fn is_email(email: &str) -> bool {
    let well_sized = (3..=254).contains(&email.len());
    let clean = !email.chars().any(|c| is_invisible(c) || is_noncharacter(c) || "<>(),;:\\\"[]".contains(c));
    let mut parts = email.split('@');
    let (local, domain, rest) = (parts.next(), parts.next(), parts.next());
    let domain_ok = domain.is_some_and(|d| {
        d.contains('.') && d.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'))
    });
    well_sized
        && clean
        && rest.is_none()
        && local.is_some_and(|l| !l.is_empty() && l.len() <= 64)
        && domain_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_server_would_try_are_refused() {
        for good in ["ada@example.org", "a.b+c@mail.example.co.uk", "ü@exämple.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "",
            "ada",
            "@x.y",
            "a@",
            "a@b",
            "a@b..c",
            "a b@c.d",
            "a@b@c.d",
            "a@-b.c",
            "a\n@b.c",
            "<a@b.c>",
            "a\u{202E}@b.c",
            "\u{200B}@b.c",
            "a@b\u{AD}c.d",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_with_a_local_part_beyond_ascii_is_refused_with_the_reason() {
        let problems = |email: &str| {
            let mut fields = Fields::default();
            validate_email(email, "email", &mut fields);
            fields.into_result().err().map(|problem| problem.errors[0].message.clone())
        };
        assert_eq!(problems("karl@käse.example"), None);
        assert!(problems("jürgen@visitor.example").unwrap().contains("before the @"));
        assert!(problems("nobody").unwrap().contains("must be an e-mail address"));
    }
}
