//! A mail's data for mail programs (schema.org `EventReservation` as JSON-LD), which show it as a card with the tickets: one
//! reservation for each seat.

use serde_json::{Value, json};

use super::format;
use super::model::{Facts, Topic};
use crate::config::NotificationSettings;

/// The JSON of a mail about tickets, or about their end; other mails have none. `tokens` are the tickets' codes.
pub fn of(
    topic: &Topic,
    facts: &Facts,
    tokens: &[String],
    settings: &NotificationSettings,
) -> Option<String> {
    let is_off = match topic {
        _ if topic.has_tickets() => false,
        Topic::ReservationCancelled { .. } | Topic::ShowtimeCancelled if facts.was_confirmed() => true,
        _ => return None,
    };
    let (attendee, showtime) = (facts.attendee.as_ref()?, facts.showtime.as_ref()?);
    let (reservation, cinema) = (&attendee.reservation, &settings.cinema);
    let zone = showtime.time_zone.as_str();
    let status = if is_off { "ReservationCancelled" } else { "ReservationConfirmed" };
    let show = json!({
        "@type": "ScreeningEvent",
        "name": reservation.movie_title,
        "startDate": format::iso(showtime.starts_at, zone),
        "endDate": format::iso(showtime.ends_at, zone),
        "location": {
            "@type": "MovieTheater",
            "name": format!("{}, {}", cinema.name, showtime.auditorium_name),
            "address": cinema.address.as_deref().unwrap_or(&cinema.name),
        },
    });
    let number =
        reservation.code.map_or_else(|| reservation.reservation_id.to_string(), |code| code.to_string());
    let url = format!("{}/reservations/{}", settings.public_url, reservation.reservation_id);
    let of_seat = |(at, seat): (usize, &bus::contract::SeatId)| {
        let mut ticket = json!({
            "@type": "Ticket",
            "ticketNumber": format!("{number}-{seat}"),
            "ticketedSeat": {"@type": "Seat", "seatNumber": seat.as_str()},
        });
        if let Some(token) = tokens.get(at) {
            ticket["ticketToken"] = format!("qrCode:{token}").into();
        }
        json!({
            "@context": "https://schema.org",
            "@type": "EventReservation",
            "reservationNumber": number,
            "reservationStatus": format!("https://schema.org/{status}"),
            "underName": {"@type": "Person", "name": reservation.email, "email": reservation.email},
            "reservationFor": show,
            "reservedTicket": ticket,
            "url": url,
            "modifyReservationUrl": url,
        })
    };
    let seats: Vec<Value> = reservation.seats.iter().enumerate().map(of_seat).collect();
    // Within a script element: nothing in it may look like its end.
    Some(Value::from(seats).to_string().replace('<', "\\u003c"))
}
