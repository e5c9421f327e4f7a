//! Checks the signature header of webhooks as far as that is possible without the secret.
//!
//! The host verifies the signature. A header that cannot be valid is refused here, before its body is read and sent over
//! NATS: the route is public, and a body has up to 256 KiB.

use bus::contract::Problem;
use bus::contract::payment::Rejection;
use poem::http::HeaderMap;

const HEADER: &str = "stripe-signature";
/// The host's tolerance, in both directions (docs.stripe.com/webhooks/signature).
const TOLERANCE_SECONDS: u64 = 300;
/// While a secret is rotated there is one signature for each; many are an attempt to guess.
const SIGNATURES_MAX: usize = 16;

/// 400 unless there is exactly one `t=<Unix seconds>` close to now, and at least one `v1=<SHA-256 as hex>`.
pub fn check(headers: &HeaderMap, now: i64) -> Result<(), Problem> {
    let mut given = headers.get_all(HEADER).iter();
    let header = match (given.next(), given.next()) {
        (Some(header), None) => header.to_str().ok(),
        _ => None,
    };
    if header.is_some_and(|header| is_plausible(header, now)) {
        return Ok(());
    }
    metrics::counter!("webhooks_refused_total", "why" => "signature").increment(1);
    Err(Rejection::BadSignature.into())
}

fn is_plausible(header: &str, now: i64) -> bool {
    let (mut times, mut signatures) = (Vec::new(), Vec::new());
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", time)) => times.push(time),
            Some(("v1", signature)) => signatures.push(signature),
            // Other schemes, such as v0 of test mode.
            Some(_) => {}
            None => return false,
        }
    }
    let is_now = |time: &str| {
        let digits = time.bytes().all(|byte| byte.is_ascii_digit());
        digits && time.parse::<i64>().is_ok_and(|at| now.abs_diff(at) <= TOLERANCE_SECONDS)
    };
    let is_hash = |text: &&str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(times[..], [time] if is_now(time))
        && signatures.len() <= SIGNATURES_MAX
        && signatures.iter().any(is_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn only_a_plausible_and_recent_signature_is_accepted() {
        let hash = "0a".repeat(32);
        let plausible = |header: &str| is_plausible(header, NOW);
        assert!(plausible(&format!("t={NOW},v1={hash}")));
        assert!(plausible(&format!("t={}, v1={hash},v1=short,v0=x", NOW - 300)));
        assert!(plausible(&format!("v1={hash},t={}", NOW + 300)));
        let many = format!(",v1={hash}").repeat(17);
        for invalid in [
            "",
            &format!("t={NOW}"),
            &format!("v1={hash}"),
            &format!("t={NOW},v1={}", &hash[1..]),
            &format!("t={NOW},v1={}", "0g".repeat(32)),
            &format!("t={NOW},v0={hash}"),
            &format!("t={},v1={hash}", NOW - 301),
            &format!("t={},v1={hash}", NOW + 301),
            &format!("t={},t={NOW},v1={hash}", NOW - 900),
            &format!("t=-5,v1={hash}"),
            &format!("t=+{NOW},v1={hash}"),
            &format!("t=99999999999999999999,v1={hash}"),
            &format!("t={NOW},v1={hash},"),
            &format!("t={NOW}{many}"),
        ] {
            assert!(!plausible(invalid), "{invalid}");
        }
    }
}
