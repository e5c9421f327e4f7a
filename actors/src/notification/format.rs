//! How times and prices are written in a mail: times in full, by the cinema's own clock, with the zone named.

use bus::contract::{Money, Timestamp};
use jiff::tz::TimeZone;

/// `Saturday, 7 March 2026, 20:15 (CET)`, by the clock of an IANA zone; by UTC where the zone is unknown.
pub fn date_time(at: Timestamp, zone: &str) -> String {
    format!("{} ({})", strftime(at, zone, "%A, %-d %B %Y, %H:%M"), strftime(at, zone, "%Z"))
}

/// `Saturday, 7 March`.
pub fn date(at: Timestamp, zone: &str) -> String {
    strftime(at, zone, "%A, %-d %B")
}

/// `20:15`.
pub fn time(at: Timestamp, zone: &str) -> String {
    strftime(at, zone, "%H:%M")
}

/// `20260307T191500Z`, as calendars want it.
pub fn basic_utc(at: Timestamp) -> String {
    strftime(at, "UTC", "%Y%m%dT%H%M%SZ")
}

fn strftime(at: Timestamp, zone: &str, format: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let instant = jiff::Timestamp::from_microsecond(at.unix_micros());
    // A contract's time lies far within what jiff holds.
    instant.map(|instant| instant.to_zoned(zone).strftime(format).to_string()).unwrap_or_default()
}

/// The price of an order: nothing is a word, not a sum.
pub fn price(total: Money) -> String {
    if total.amount == 0 { "Free".to_owned() } else { total.shown() }
}
