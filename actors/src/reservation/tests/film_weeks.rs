//! The spans of time that reports count by.

use time::macros::date;

use super::super::report::{Spans, film_week};
use super::*;

#[test]
fn a_film_week_begins_on_thursday() {
    let weeks = [
        (date!(2026 - 01 - 01), date!(2026 - 01 - 01)),
        (date!(2026 - 01 - 07), date!(2026 - 01 - 01)),
        (date!(2026 - 01 - 08), date!(2026 - 01 - 08)),
        (date!(2026 - 01 - 11), date!(2026 - 01 - 08)),
    ];
    for (day, thursday) in weeks {
        assert_eq!(film_week(day), thursday);
    }
}

#[test]
fn weeks_begin_at_midnight_in_the_cinemas_zone_whatever_the_clocks_do() {
    let berlin = crate::zone::named("Europe/Berlin").unwrap();
    // The clocks go forward on 29 March 2026.
    let weeks = Spans::film_weeks("2026-03-25", "2026-04-02", &berlin).unwrap();
    assert_eq!(weeks.first_days, [date!(2026 - 03 - 25), date!(2026 - 03 - 26), date!(2026 - 04 - 02)]);
    let hours: Vec<u8> = weeks.starts.iter().map(|start| start.hour()).collect();
    assert_eq!(hours, [23, 23, 22, 22]);
}

#[test]
fn a_report_has_at_most_fifty_three_weeks() {
    let utc = jiff::tz::TimeZone::UTC;
    assert!(Spans::days("2026-01-01", "2027-01-06", &utc).is_ok());
    let refused = Spans::days("2026-01-01", "2027-01-07", &utc).err();
    assert_eq!(refused, Some(Rejection::ReportRange { days: 371 }));
}
