//! The calendar entry of an order (RFC 5545), and its end (RFC 5546). Its times are UTC, which every calendar shows by its
//! owner's clock.
//!
//! Invariant: all entries of an order have one UID, and `SEQUENCE` is the reservation's version: an exchange replaces the
//! entry before it, and a cancellation takes it out.

use bus::contract::{Timestamp, seat_list};
use icalendar::{Calendar, Component, Event, EventLike};

use super::model::{Facts, Topic};
use super::{format, order};

/// A part of a mail: its method and its text.
pub struct Part {
    pub method: &'static str,
    pub text: String,
}

/// What a mail brings for the calendar. `organizer` is who sends it.
pub fn part(topic: &Topic, facts: &Facts, made_at: Timestamp, organizer: &str) -> Option<Part> {
    let is_cancelled = match topic {
        _ if topic.has_tickets() => false,
        // A hold that was given up had none.
        Topic::ReservationCancelled | Topic::ShowtimeCancelled if order::has_entry(facts) => true,
        _ => return None,
    };
    // Not REQUEST: tickets ask for no answer, and a mail program would offer one.
    let (method, status) = if is_cancelled { ("CANCEL", "CANCELLED") } else { ("PUBLISH", "CONFIRMED") };
    let (attendee, showtime) = (facts.attendee.as_ref()?, facts.showtime.as_ref());
    let reservation = &attendee.reservation;
    // An entry without an end is none that a calendar shows rightly; one that goes needs none.
    let ends_at = showtime.map(|showtime| showtime.ends_at);
    if ends_at.is_none() && !is_cancelled {
        return None;
    }
    let starts_at = showtime.map_or(reservation.starts_at, |showtime| showtime.starts_at);
    let mut event = Event::new();
    event
        .uid(&format!("{}@marquee", reservation.reservation_id))
        .add_property("DTSTAMP", format::basic_utc(made_at))
        .add_property("DTSTART", format::basic_utc(starts_at))
        .add_property("SEQUENCE", reservation.version.to_string())
        .add_property("STATUS", status)
        .add_property("ORGANIZER", format!("mailto:{organizer}"))
        .summary(&reservation.movie_title)
        .description(&format!("Seats {}", seat_list(&reservation.seats)));
    if let Some(ends_at) = ends_at {
        event.add_property("DTEND", format::basic_utc(ends_at));
    }
    if let Some(showtime) = showtime {
        event.location(&showtime.auditorium_name);
    }
    let mut calendar = Calendar::new();
    calendar.append_property(("METHOD", method));
    Some(Part { method, text: calendar.push(event.done()).done().to_string() })
}
