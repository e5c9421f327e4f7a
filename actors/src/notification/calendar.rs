//! The calendar entry of an order (RFC 5545), and its end (RFC 5546). Its times are UTC, which every calendar shows by its
//! owner's clock.
//!
//! Invariant: all entries of an order have one UID, also that of the page, and `SEQUENCE` is the reservation's version: an
//! exchange replaces the entry before it, and a cancellation takes it out.

use std::str::FromStr;

use bus::contract::{Locale, Timestamp, seat_list};
use icalendar::{Alarm, Calendar, CalendarDateTime, Component, Event, EventLike};

use super::model::{Facts, Topic};
use super::texts::{self, fill};
use super::{format, order};
use crate::config::CinemaSettings;

/// How long before the show the alarm is, as on the page.
const ALARM: &str = "-PT1H";

/// A part of a mail: its method and its text.
pub struct Part {
    pub method: &'static str,
    pub text: String,
}

/// What an entry has besides the order's facts.
pub struct Entry<'a> {
    pub made_at: Timestamp,
    /// Who sends it.
    pub organizer: &'a str,
    pub cinema: &'a CinemaSettings,
    pub public_url: &'a str,
    pub locale: Locale,
}

/// What a mail brings for the calendar.
pub fn part(topic: &Topic, facts: &Facts, entry: &Entry<'_>) -> Option<Part> {
    let is_cancelled = match topic {
        _ if topic.has_tickets() => false,
        // A hold that was given up had none.
        Topic::ReservationCancelled { .. } | Topic::ShowtimeCancelled if order::has_entry(facts) => true,
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
    let texts = texts::of(entry.locale);
    let starts_at = showtime.map_or(reservation.starts_at, |showtime| showtime.starts_at);
    let mut event = Event::new();
    event
        .uid(&format!("{}@marquee", reservation.reservation_id))
        .add_property("DTSTAMP", format::basic_utc(entry.made_at))
        .add_property("DTSTART", format::basic_utc(starts_at))
        .add_property("SEQUENCE", reservation.version.to_string())
        .add_property("STATUS", status)
        .add_property("ORGANIZER", format!("mailto:{}", entry.organizer))
        .summary(&text(&reservation.movie_title))
        .description(&fill(texts.calendar_seats, &[("seats", &seat_list(&reservation.seats))]))
        .url(&format!("{}/reservations/{}", entry.public_url, reservation.reservation_id));
    if let Some(ends_at) = ends_at {
        event.add_property("DTEND", format::basic_utc(ends_at));
    }
    if let Some(showtime) = showtime {
        let cinema = entry.cinema;
        let place = [Some(showtime.auditorium_name.as_str()), Some(&cinema.name), cinema.address.as_deref()];
        event.location(&text(&place.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    }
    if !is_cancelled
        && let Some(alarm) =
            alarm(&text(&fill(texts.calendar_alarm, &[("title", &reservation.movie_title)])), starts_at)
    {
        event.alarm(alarm);
    }
    let mut calendar = Calendar::new();
    calendar.append_property(("METHOD", method));
    Some(Part { method, text: calendar.push(event.done()).done().to_string() })
}

/// A text with line feeds alone, which the library escapes; a carriage return would end a line of the entry.
fn text(value: &str) -> String {
    value.replace("\r\n", "\n").replace('\r', "\n")
}

/// The library wants a time; the one that counts is relative, so that it moves with the entry.
fn alarm(text: &str, starts_at: Timestamp) -> Option<Alarm> {
    let at = CalendarDateTime::from_str(&format::basic_utc(starts_at)).ok()?;
    Some(Alarm::display(text, at).add_property("TRIGGER", ALARM).done())
}
