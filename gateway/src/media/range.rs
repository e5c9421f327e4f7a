//! Normalizes the `Range` header before Poem reads it.
//!
//! Poem adds to the client's numbers, so large ones overflow, and refuses a range that ends after the file, although it means
//! the rest of the file (RFC 9110, 14.1.2).

use poem::http::{HeaderMap, HeaderValue, header};

/// Longer than any file.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// Rewrites the header as `bytes=first-last`, both inside the file. A header that is not supported (another unit, several
/// ranges) is removed, so the whole file is sent. An error: no byte of the file is in the range.
pub fn normalize(headers: &mut HeaderMap, length: u64) -> Result<(), Unsatisfiable> {
    let Some(given) = headers.remove(header::RANGE) else { return Ok(()) };
    let Some((first, last)) = given.to_str().ok().and_then(single) else { return Ok(()) };
    let (first, last) = match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if first > last => return Ok(()),
        (Some(first), last) => (first, last.unwrap_or(NUMBER_MAX).min(length.saturating_sub(1))),
        (None, Some(0)) => return Err(Unsatisfiable),
        (None, Some(suffix)) => (length.saturating_sub(suffix), length.saturating_sub(1)),
        (None, None) => return Ok(()),
    };
    if first >= length {
        return Err(Unsatisfiable);
    }
    let range = HeaderValue::try_from(format!("bytes={first}-{last}")).expect("numbers are printable");
    headers.insert(header::RANGE, range);
    Ok(())
}

/// 416.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsatisfiable;

/// The first and last byte of a single range, each digits or empty.
fn single(header: &str) -> Option<(&str, &str)> {
    let (unit, ranges) = header.split_once('=')?;
    let (first, last) = ranges.trim().split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (unit.eq_ignore_ascii_case("bytes") && digits(first) && digits(last)).then_some((first, last))
}

/// `None` for no digits. A number above [`NUMBER_MAX`] is refused, since it could overflow in Poem.
fn number(digits: &str) -> Result<Option<u64>, Unsatisfiable> {
    match digits.parse() {
        Ok(number) if number <= NUMBER_MAX => Ok(Some(number)),
        _ if digits.is_empty() => Ok(None),
        _ => Err(Unsatisfiable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(given: &str, length: u64) -> Result<Option<String>, Unsatisfiable> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, given.parse().unwrap());
        normalize(&mut headers, length)?;
        Ok(headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_range_is_clamped_to_the_file() {
        let inside = |given: &str| normalized(given, 100).unwrap();
        for (given, range) in [
            ("bytes=0-", "bytes=0-99"),
            ("bytes=0-0", "bytes=0-0"),
            ("Bytes=10-19", "bytes=10-19"),
            ("bytes=90-5000", "bytes=90-99"),
            ("bytes=-1", "bytes=99-99"),
            ("bytes=-5000", "bytes=0-99"),
        ] {
            assert_eq!(inside(given).as_deref(), Some(range), "{given}");
        }
        for whole in ["bytes=0-1,5-6", "lines=0-1", "bytes=-", "bytes=9-1", "bytes=a-b", "bytes", "bytes=1"] {
            assert_eq!(inside(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_range_that_overflows_or_lies_outside_is_refused() {
        for given in [
            "bytes=0-18446744073709551615",
            "bytes=18446744073709551615-",
            "bytes=-18446744073709551615",
            "bytes=0-99999999999999999999999",
            "bytes=9223372036854775808-9223372036854775809",
            "bytes=100-",
            "bytes=-0",
        ] {
            assert_eq!(normalized(given, 100), Err(Unsatisfiable), "{given}");
        }
        assert_eq!(normalized("bytes=0-", 0), Err(Unsatisfiable));
        assert_eq!(normalized("bytes=-5", 0), Err(Unsatisfiable));
    }
}
