//! The parsers of bytes from outside, one function each: webhook, access token, event, seat ids, layouts. Only in builds for
//! tests and for the fuzzer (`fuzz/`).
//!
//! Invariant: any bytes are parsed or refused; nothing panics, and nothing without a valid signature is accepted.

use bus::contract::movie::{CreateAuditorium, ShowtimeScheduled};
use bus::contract::payment::{
    PaymentFailed, PaymentInitiated, PaymentSuccess, RefundCompleted, RefundFailed,
};
use bus::contract::reservation::{
    CreateReservation, RefundRequested, ReservationCancelled, ReservationConfirmed, ReservationCreated,
};
use bus::contract::{Fields, Request};

use crate::payment::provider::objects as provider;
use crate::reservation::seat_map::SeatMap;

#[cfg(test)]
mod tests;

/// The first line is the header, the rest the body.
pub fn webhook(bytes: &[u8]) {
    let (header, body) = head_and_body(bytes);
    let now = 1_700_000_000;
    assert!(provider::verify("whsec_of_nobody_else", &header, body, now).is_err(), "accepted: {header}");
    let _ = provider::parse(body);
}

/// A bearer token of `Authorization`.
pub fn token(bytes: &[u8]) {
    let _ = bus::token::key_id(&String::from_utf8_lossy(bytes));
}

/// The first line is the `traceparent`, the rest the payload.
pub fn event(bytes: &[u8]) {
    let (header, body) = head_and_body(bytes);
    let _ = bus::Context::from_parts(Some(&header), Some(&header));
    fn read<E: serde::de::DeserializeOwned + serde::Serialize>(body: &[u8]) {
        if let Ok(event) = serde_json::from_slice::<E>(body) {
            let again = serde_json::to_vec(&event).expect("a parsed event serializes");
            serde_json::from_slice::<E>(&again).expect("a serialized event parses");
        }
    }
    read::<ReservationCreated>(body);
    read::<ReservationConfirmed>(body);
    read::<ReservationCancelled>(body);
    read::<PaymentInitiated>(body);
    read::<PaymentSuccess>(body);
    read::<PaymentFailed>(body);
    read::<RefundRequested>(body);
    read::<RefundCompleted>(body);
    read::<RefundFailed>(body);
    read::<ShowtimeScheduled>(body);
}

/// The body of an order.
pub fn seats(bytes: &[u8]) {
    if let Ok(order) = serde_json::from_slice::<CreateReservation>(bytes) {
        order.validate(&mut Fields::default());
    }
}

/// A seat map is made of every valid layout.
pub fn layout(bytes: &[u8]) {
    let Ok(hall) = serde_json::from_slice::<CreateAuditorium>(bytes) else { return };
    let mut fields = Fields::default();
    hall.validate(&mut fields);
    if fields.into_result().is_ok() {
        SeatMap::new(&hall.rows, &Default::default(), 1);
    }
}

fn head_and_body(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes.get(end + 1..).unwrap_or_default())
}
