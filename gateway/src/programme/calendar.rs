//! `/programme.ics` (RFC 5545): an entry for each showtime to come, for calendars that subscribe to it. Times are UTC, which every
//! calendar shows by its owner's clock.
//!
//! Invariant: the same programme is the same text, so that its entity tag changes only with it: no entry has the time of the
//! request. A cancelled showtime stays, with its status, so that subscribers see that it is off.

use bus::contract::Locale;
use bus::contract::movie::{Showtime, ShowtimeStatus};
use icalendar::{Calendar, Component, Event, EventLike};

use super::Snapshot;
use super::words::{basic_utc, shown};

/// How often a calendar reads it again (RFC 7986, 5.7).
const REFRESH: &str = "PT1H";

/// `cinema` is its name.
pub fn calendar(base: &str, cinema: &str, locale: Locale, snapshot: &Snapshot) -> String {
    let mut calendar = Calendar::new();
    calendar.append_property(("METHOD", "PUBLISH"));
    // The library escapes the properties that it knows: not this one of RFC 7986.
    calendar.append_property(("NAME", escaped(cinema).as_str()));
    calendar.append_property(("X-WR-CALNAME", text(cinema).as_str()));
    calendar.append_property(("REFRESH-INTERVAL;VALUE=DURATION", REFRESH));
    for showtime in &snapshot.showtimes {
        calendar.push(entry(base, cinema, locale, showtime));
    }
    calendar.done().to_string()
}

fn entry(base: &str, cinema: &str, locale: Locale, showtime: &Showtime) -> Event {
    let status = match showtime.status {
        ShowtimeStatus::OnSale => "CONFIRMED",
        ShowtimeStatus::Draft | ShowtimeStatus::Cancelled => "CANCELLED",
    };
    let mut event = Event::new();
    event
        .uid(&format!("{}@marquee", showtime.id))
        .add_property("DTSTAMP", basic_utc(showtime.updated_at))
        .add_property("DTSTART", basic_utc(showtime.starts_at))
        .add_property("DTEND", basic_utc(showtime.ends_at))
        .add_property("SEQUENCE", (showtime.version - 1).max(0).to_string())
        .add_property("STATUS", status)
        // It takes no time of the subscriber.
        .add_property("TRANSP", "TRANSPARENT")
        .summary(&text(&showtime.movie_title))
        .location(&text(&format!("{}, {}", showtime.auditorium_name, cinema)))
        .url(&format!("{base}/showtimes/{}", showtime.id));
    let shown = shown(showtime, locale);
    if !shown.is_empty() {
        event.description(&text(&shown));
    }
    event.done()
}

/// A text with line feeds alone, which the library escapes; a carriage return would end a line of the file.
fn text(value: &str) -> String {
    value.replace("\r\n", "\n").replace('\r', "\n")
}

/// A text as RFC 5545 (3.3.11) writes it.
fn escaped(value: &str) -> String {
    let value = text(value).replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;");
    value.replace('\n', "\\n")
}
