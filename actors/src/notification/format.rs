//! How times and prices are written in a mail: in its language, times in full and by the cinema's own clock, with the zone
//! named.

use bus::contract::{Line, Locale, Money, Timestamp};
use jiff::Zoned;
use jiff::tz::TimeZone;

use super::texts::{self, fill};

/// `Saturday, 7 March 2026, 20:15 (CET)`, by the clock of an IANA zone; by UTC where the zone is unknown.
pub fn date_time(at: Timestamp, zone: &str, locale: Locale) -> String {
    written(texts::of(locale).date_time, at, zone, locale)
}

/// `Saturday, 7 March`.
pub fn date(at: Timestamp, zone: &str, locale: Locale) -> String {
    written(texts::of(locale).date, at, zone, locale)
}

/// `20:15`.
pub fn time(at: Timestamp, zone: &str) -> String {
    local(at, zone).map(|at| at.strftime("%H:%M").to_string()).unwrap_or_default()
}

/// `20260307T191500Z`, as calendars want it.
pub fn basic_utc(at: Timestamp) -> String {
    local(at, "UTC").map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string()).unwrap_or_default()
}

/// `2026-03-07T20:15:00+01:00` (ISO 8601), with the zone's offset.
pub fn iso(at: Timestamp, zone: &str) -> String {
    local(at, zone).map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()).unwrap_or_default()
}

/// The price of an order: nothing is a word, not a sum.
pub fn price(total: Money, locale: Locale) -> String {
    if total.amount == 0 { texts::of(locale).free.to_owned() } else { money(total, locale) }
}

/// `€1,234.50`; in German `1.234,50 €`.
pub fn money(sum: Money, locale: Locale) -> String {
    match locale {
        Locale::En => sum.shown(),
        Locale::De => {
            let plain = sum.currency.plain(sum.amount.saturating_abs());
            let (major, minor) = plain.split_once('.').map_or((&*plain, None), |(m, n)| (m, Some(n)));
            let sign = if sum.amount < 0 { "-" } else { "" };
            let minor = minor.map(|minor| format!(",{minor}")).unwrap_or_default();
            // A no-break space, so that the sum stays on one line.
            format!("{sign}{}{minor}\u{a0}{}", grouped(major), symbol(sum.currency.as_str()))
        }
    }
}

fn symbol(code: &str) -> &str {
    match code {
        "EUR" => "€",
        "USD" => "$",
        "GBP" => "£",
        "JPY" => "¥",
        code => code,
    }
}

fn grouped(major: &str) -> String {
    let mut text = String::new();
    for (at, digit) in major.chars().enumerate() {
        if at > 0 && (major.len() - at).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    text
}

fn written(text: &str, at: Timestamp, zone: &str, locale: Locale) -> String {
    let texts = texts::of(locale);
    // A contract's time lies far within what jiff holds.
    let Some(local) = local(at, zone) else { return String::new() };
    let weekday = texts.weekdays[usize::from(local.weekday().to_monday_zero_offset().unsigned_abs())];
    let month = texts.months[usize::from(local.month().unsigned_abs()) - 1];
    let (day, year) = (local.day().to_string(), local.year().to_string());
    let abbreviation = local.strftime("%Z").to_string();
    fill(
        text,
        &[
            ("weekday", weekday),
            ("day", &day),
            ("month", month),
            ("year", &year),
            ("time", &time(at, zone)),
            ("zone", zone_name(&abbreviation, locale)),
        ],
    )
}

/// An abbreviation as people of the language know it.
fn zone_name(abbreviation: &str, locale: Locale) -> &str {
    match (locale, abbreviation) {
        (Locale::De, "CET") => "MEZ",
        (Locale::De, "CEST") => "MESZ",
        _ => abbreviation,
    }
}

fn local(at: Timestamp, zone: &str) -> Option<Zoned> {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Some(jiff::Timestamp::from_microsecond(at.unix_micros()).ok()?.to_zoned(zone))
}
/// The ticket type with what it must show: `Student (student card)`.
pub fn ticket_type(line: &Line) -> String {
    match &line.proof {
        Some(proof) => format!("{} ({proof})", line.type_name),
        None => line.type_name.clone(),
    }
}
