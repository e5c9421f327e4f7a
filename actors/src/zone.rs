//! Time zones: the days and times of day of a place as instants.
//!
//! Invariant: the rules come from one database, the one that is compiled in (jiff's). Postgres has another, of another
//! age; where rules changed in between, the two disagree by an hour. So SQL gets instants and offsets from UTC, which are
//! computed here, and never the name of a zone.

use bus::contract::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use time::{Date, OffsetDateTime, Time};

/// Changes of the clock that a span may have: two a year over two hundred years. Later times get the last offset.
const CHANGES_MAX: usize = 400;

/// The zone of an IANA name, spelled as the database spells it: browsers know no other spelling.
pub fn named(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

/// The zone of a name in any case, for a single look-up.
pub fn any(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// When the clock shows this: the first time where it shows it twice, `None` where the clocks skip it.
pub fn instant(date: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    let local = civil(date)?.at(number(time.hour())?, number(time.minute())?, 0, 0);
    let offset = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => offset,
        AmbiguousOffset::Gap { .. } => return None,
    };
    timestamp(offset.to_timestamp(local).ok()?)
}

/// When a day begins: at midnight, or where the clocks skip midnight, at the time after it.
pub fn day_start(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    let start = civil(date)?.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    timestamp(start.timestamp())
}

/// The local day of an instant.
pub fn day_of(at: Timestamp, zone: &TimeZone) -> Option<Date> {
    local(at, zone).map(|(date, _)| date)
}

/// The local day and time of day, in whole seconds, of an instant.
pub fn local(at: Timestamp, zone: &TimeZone) -> Option<(Date, Time)> {
    let local = jiff_timestamp(at)?.to_zoned(zone.clone()).datetime();
    let number = |n: i8| u8::try_from(n).ok();
    let month = time::Month::try_from(number(local.month())?).ok()?;
    let date = Date::from_calendar_date(local.year().into(), month, number(local.day())?).ok()?;
    let time =
        Time::from_hms(number(local.hour())?, number(local.minute())?, number(local.second())?).ok()?;
    Some((date, time))
}

/// A span of time in which the clocks are not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub until: Timestamp,
    /// East of UTC.
    pub offset_seconds: i32,
}

/// The time between two instants, cut where the clocks are changed.
pub fn spans(from: Timestamp, until: Timestamp, zone: &TimeZone) -> Vec<Span> {
    let (Some(first), Some(last)) = (jiff_timestamp(from), jiff_timestamp(until)) else { return Vec::new() };
    let mut span = Span { from, until, offset_seconds: zone.to_offset(first).seconds() };
    let mut spans = Vec::new();
    for change in zone.following(first).take_while(|change| change.timestamp() < last).take(CHANGES_MAX) {
        let Some(at) = timestamp(change.timestamp()) else { break };
        spans.push(Span { until: at, ..span });
        span = Span { from: at, until, offset_seconds: change.offset().seconds() };
    }
    spans.push(span);
    spans
}

fn civil(date: Date) -> Option<civil::Date> {
    let year = i16::try_from(date.year()).ok()?;
    civil::Date::new(year, number(date.month().into())?, number(date.day())?).ok()
}

fn number(n: u8) -> Option<i8> {
    i8::try_from(n).ok()
}

fn timestamp(at: jiff::Timestamp) -> Option<Timestamp> {
    Some(OffsetDateTime::from_unix_timestamp(at.as_second()).ok()?.into())
}

fn jiff_timestamp(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(at.unix_micros()).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime, time};

    use super::*;

    #[test]
    fn a_zone_has_one_spelling() {
        assert!(
            named("America/Vancouver").is_some() && named("UTC").is_some() && named("Etc/GMT-5").is_some()
        );
        for odd in ["europe/berlin", "Europe/Atlantis", "CEST", "", "Europe/Berlin "] {
            assert!(named(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn a_day_begins_when_its_clock_does() {
        let berlin = named("Europe/Berlin").unwrap();
        assert_eq!(day_start(date!(2027 - 03 - 28), &berlin), Some(datetime!(2027-03-27 23:00 UTC).into()));
        assert_eq!(day_start(date!(2027 - 03 - 29), &berlin), Some(datetime!(2027-03-28 22:00 UTC).into()));
        assert_eq!(day_of(datetime!(2027-03-28 21:59:59 UTC).into(), &berlin), Some(date!(2027 - 03 - 28)));
        // In Cairo the clocks go from 0:00 to 1:00: that day begins at 1:00.
        let cairo = named("Africa/Cairo").unwrap();
        assert_eq!(day_start(date!(2026 - 04 - 24), &cairo), Some(datetime!(2026-04-23 22:00 UTC).into()));
        assert_eq!(instant(date!(2026 - 04 - 24), time!(0:30), &cairo), None);
    }

    #[test]
    fn spans_join_and_each_has_its_own_offset() {
        let berlin = named("Europe/Berlin").unwrap();
        let (from, until) = (datetime!(2027-01-01 0:00 UTC).into(), datetime!(2028-01-01 0:00 UTC).into());
        let spans = spans(from, until, &berlin);
        let offsets: Vec<i32> = spans.iter().map(|span| span.offset_seconds / 3600).collect();
        assert_eq!(offsets, [1, 2, 1]);
        assert!(spans.windows(2).all(|pair| pair[0].until == pair[1].from), "{spans:?}");
        assert_eq!((spans[0].from, spans[2].until), (from, until));
        let utc = named("UTC").unwrap();
        assert_eq!(super::spans(from, until, &utc), [Span { from, until, offset_seconds: 0 }]);
    }
}
