//! Which passwords are accepted: 8–128 characters, none of the most common ones, and not the account's own address.
//!
//! Passwords are compared and hashed in Unicode's form NFKC, since keyboards and systems write the same letter differently
//! (`é` as one character or as two). Source: NIST SP 800-63B-4, 3.1.1.2; OWASP ASVS 5, 6.2.4.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

use crate::contract::{Fields, Problem, Rule};

/// Each line is a password in lower case; lines that begin with `#` name the source of the list.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("common_passwords.txt").lines();
    lines.filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
});

/// A password as it is hashed.
pub fn normalized(password: &str) -> String {
    password.nfkc().collect()
}

pub(super) fn validate(password: &str, field: &str, fields: &mut Fields) {
    fields.length(password.chars().count(), 8..=128, field);
    fields.check(!is_common(password), field, Rule::PasswordCommon);
}

pub(super) fn validate_with_email(password: &str, email: &str, field: &str, fields: &mut Fields) {
    validate(password, field, fields);
    fields.check(!is_address(password, email), field, Rule::PasswordIsEmail);
}

/// For requests that do not name the address: 422 where the password is the address of its account.
pub fn check_is_not_address(password: &str, email: &str, field: &str) -> Result<(), Problem> {
    if is_address(password, email) {
        return Err(Problem::invalid_field(field, Rule::PasswordIsEmail));
    }
    Ok(())
}

/// On the list, or the same character all through.
fn is_common(password: &str) -> bool {
    let plain = normalized(password).to_lowercase();
    let mut letters = plain.chars();
    let first = letters.next();
    COMMON.contains(plain.as_str()) || letters.all(|letter| Some(letter) == first)
}

fn is_address(password: &str, email: &str) -> bool {
    let plain = |text: &str| normalized(text.trim()).to_lowercase();
    let (password, email) = (plain(password), plain(email));
    let local = email.split('@').next().unwrap_or_default();
    password == email || password == local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(password: &str) -> Vec<String> {
        let mut fields = Fields::default();
        validate_with_email(password, "Grace.Hopper@example.org", "password", &mut fields);
        let refused = fields.into_result().err();
        refused.into_iter().flat_map(|problem| problem.errors).map(|error| error.code).collect()
    }

    #[test]
    fn common_passwords_and_the_address_are_refused_in_any_spelling() {
        for common in
            ["password", "PassWord1", "12345678", "        ", "ａａａａａａａａ", "ｐａｓｓｗｏｒｄ"]
        {
            assert_eq!(errors(common), ["password-common"], "{common}");
        }
        for address in ["grace.hopper@EXAMPLE.org", " Grace.Hopper "] {
            assert_eq!(errors(address), ["password-is-email"], "{address}");
        }
        for good in ["correct horse", "popcorn-2026", "at-least-8-characters", "pässwörd-é"] {
            assert_eq!(errors(good), Vec::<String>::new(), "{good}");
        }
        assert_eq!(COMMON.len(), 3_000);
    }

    #[test]
    fn the_same_letters_are_the_same_password_however_they_are_written() {
        assert_eq!(normalized("pa\u{308}sswo\u{308}rd-e\u{301}"), normalized("pässwörd-é"));
    }
}
