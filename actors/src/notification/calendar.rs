//! The calendar entry of an order (RFC 5545). Its times are UTC, which every calendar shows by its owner's clock.

use bus::contract::{Timestamp, seat_list};
use icalendar::{Calendar, Component, Event, EventLike};

use super::format;
use super::model::Facts;

/// `None` while the end of the show is not known. The same order has the same UID, so that the entry of an exchange
/// replaces the one before: `SEQUENCE` is the reservation's version.
pub fn entry(facts: &Facts, made_at: Timestamp) -> Option<String> {
    let (attendee, showtime) = (facts.attendee.as_ref()?, facts.showtime.as_ref()?);
    let told = &attendee.told;
    let event = Event::new()
        .uid(&format!("{}@marquee", told.reservation_id))
        .add_property("DTSTAMP", format::basic_utc(made_at))
        .add_property("DTSTART", format::basic_utc(showtime.starts_at))
        .add_property("DTEND", format::basic_utc(showtime.ends_at))
        .add_property("SEQUENCE", told.version.to_string())
        .summary(&told.movie_title)
        .description(&format!("Seats {}", seat_list(&told.seats)))
        .location(&showtime.auditorium_name)
        .done();
    let mut calendar = Calendar::new();
    calendar.append_property(("METHOD", "PUBLISH"));
    Some(calendar.push(event).done().to_string())
}
