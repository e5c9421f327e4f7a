//! The day of a show in words that are true when a mail leaves, by the clock of the auditorium.

use std::time::Duration;

use bus::contract::{Locale, Timestamp};

use super::format;
use super::texts::{self, fill};
use crate::zone;

/// From then on it is an evening.
const EVENING: u8 = 17;
/// Sooner than that it is "soon".
const SOON: Duration = Duration::from_secs(3 * 60 * 60);

/// `Tonight at 20:15`, `Tomorrow at 00:05`, `Saturday, 7 March at 20:15`.
pub fn at(starts_at: Timestamp, now: Timestamp, time_zone: &str, locale: Locale) -> String {
    let texts = texts::of(locale);
    let zone = zone::named(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    let (today, day) = (zone::day_of(now, &zone), zone::day_of(starts_at, &zone));
    let time = format::time(starts_at, time_zone);
    let hour: u8 = time.get(..2).and_then(|hour| hour.parse().ok()).unwrap_or_default();
    let text = match (today, day) {
        (Some(today), Some(day)) if today == day && hour >= EVENING => texts.tonight,
        (Some(today), Some(day)) if today == day => texts.today,
        (Some(today), Some(day)) if today.next_day() == Some(day) => texts.tomorrow,
        _ => texts.on_day,
    };
    fill(text, &[("time", &time), ("date", &format::date(starts_at, time_zone, locale))])
}

/// Whether it begins within hours.
pub fn is_soon(starts_at: Timestamp, now: Timestamp) -> bool {
    starts_at <= now.plus(SOON)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_day_is_named_by_the_clock_of_the_auditorium_when_the_mail_leaves() {
        let at = |starts: time::OffsetDateTime, now: time::OffsetDateTime| {
            at(starts.into(), now.into(), "Europe/Berlin", Locale::En)
        };
        let late = datetime!(2026-03-07 23:05 UTC);
        assert_eq!(at(late, datetime!(2026-03-07 22:35 UTC)), "Tomorrow at 00:05");
        assert_eq!(at(late, datetime!(2026-03-07 23:00 UTC)), "Today at 00:05");
        let evening = datetime!(2026-03-07 19:15 UTC);
        assert_eq!(at(evening, datetime!(2026-03-07 18:15 UTC)), "Tonight at 20:15");
        assert_eq!(at(evening, datetime!(2026-03-06 22:59 UTC)), "Tomorrow at 20:15");
        assert_eq!(at(evening, datetime!(2026-03-05 12:00 UTC)), "Saturday, 7 March at 20:15");
        assert_eq!(at(datetime!(2026-03-07 10:00 UTC), datetime!(2026-03-07 09:00 UTC)), "Today at 11:00");
    }
}
