//! How money and times are written in a mail: in full, by the cinema's own clock, with the zone named.

use bus::contract::{Money, Timestamp};
use jiff::tz::TimeZone;

/// `Saturday, 7 March 2026, 20:15 (CET)`, by the clock of an IANA zone; by UTC where the zone is unknown.
pub fn date_time(at: Timestamp, zone: &str) -> String {
    format!("{} ({})", strftime(at, zone, "%A, %-d %B %Y, %H:%M"), strftime(at, zone, "%Z"))
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

/// `€1,234.50`, `¥1,200`, `CHF 24.00`: minor units by the currency (ISO 4217), thousands apart.
pub fn money(money: Money) -> String {
    let code = money.currency.as_str();
    let digits = minor_digits(code);
    let unit = 10u64.pow(digits);
    let (major, minor) = (money.amount.unsigned_abs() / unit, money.amount.unsigned_abs() % unit);
    let fraction =
        if digits == 0 { String::new() } else { format!(".{minor:0width$}", width = digits as usize) };
    let sign = if money.amount < 0 { "-" } else { "" };
    let amount = format!("{}{fraction}", thousands(major));
    match symbol(code) {
        Some(symbol) => format!("{sign}{symbol}{amount}"),
        None => format!("{sign}{code} {amount}"),
    }
}

/// The price of an order: nothing is a word, not a sum.
pub fn price(total: Money) -> String {
    if total.amount == 0 { "Free".to_owned() } else { money(total) }
}

fn thousands(major: u64) -> String {
    let digits = major.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn symbol(code: &str) -> Option<&'static str> {
    match code {
        "EUR" => Some("€"),
        "USD" => Some("$"),
        "GBP" => Some("£"),
        "JPY" => Some("¥"),
        _ => None,
    }
}

fn minor_digits(code: &str) -> u32 {
    match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}
