//! `docs/events.md`: when each event is published, its payload's type, and whether it contains an e-mail address.

use serde_json::{Value, json};

use super::asyncapi::source;

/// When each event is published, in the order of a sale.
pub(super) const WHEN: [(&str, &str); 30] = [
    ("movie.created", "a movie is in the catalogue; services may publish it too (`AMQP_INBOUND`)"),
    ("movie.updated", "a movie's texts, rating, genres or media have changed"),
    ("movie.deleted", "a movie is taken out of the catalogue"),
    ("movie.reminder", "a showtime starts soon"),
    ("showtime.scheduled", "a showtime is on sale, with its rows of seats and prices"),
    ("showtime.updated", "time, seats or prices of a showtime have changed"),
    ("showtime.cancelled", "a showtime is cancelled; its reservations follow with events of their own"),
    (
        "showtime.change_refused",
        "a change would take seats that were sold meanwhile; the movie host takes it back",
    ),
    ("reservation.created", "seats are held for a customer, until `expiresAt`"),
    ("reservation.confirmed", "the seats are paid and belong to the customer"),
    ("reservation.cancelled", "a reservation has ended, with the reason; its seats are free"),
    ("reservation.exchanged", "a confirmed reservation has other seats, perhaps of another showtime"),
    ("reservation.updated", "seats of a confirmed reservation were given back; the others stay"),
    ("reservation.readdressed", "mails about a reservation go to another address"),
    ("payment.initiated", "a customer has begun to pay"),
    ("payment.success", "the money is captured"),
    ("payment.failed", "a payment is over and nothing was captured"),
    ("payment.disputed", "the customer's bank asks for the money back, or has decided about it"),
    ("refund.requested", "money is to be given back"),
    ("refund.completed", "the provider has given the money back"),
    ("refund.failed", "the provider could not give the money back; staff see it"),
    ("user.registered", "a new account"),
    ("user.verification_requested", "a mail to verify an address is to be sent (the event has no token)"),
    ("user.email_verified", "the address of an account is verified"),
    ("user.password_reset_requested", "a mail to reset a password is to be sent (the event has no token)"),
    ("user.password_changed", "a password was changed"),
    ("user.role_changed", "an account has another role"),
    ("user.merged", "orders of a guest belong to an account now"),
    ("user.erased", "a person is erased: remove what you have stored about the user"),
    ("site.updated", "the cinema's name, legal data, look or rules were saved"),
];

/// The payload that the page shows.
pub(super) fn sample() -> Value {
    json!({
        "paymentId": "0199e2c4-7a11-7c3e-9d52-3f1b6a0d9e01",
        "reservationId": "0199e2c4-51f0-7b1a-8c44-0d8a5be2f702",
        "code": "K7M2QX4D",
        "version": 3,
        "userId": "0199e2c3-9be2-7f00-a1d7-5c2e4f9b1a03",
        "email": "ada@example.com",
        "showtimeId": "0199e2b0-2d4e-7aa1-b6f3-7e9d8c5a4b04",
        "movieId": "0199e2af-c0de-7d01-93ab-1f2e3d4c5b05",
        "movieTitle": "The Night Train",
        "startsAt": "2026-05-01T18:15:00Z",
        "seats": ["C7", "C8"],
        "lines": [
            {"seat": "C7", "type": "ADULT", "typeName": "Adult", "reportedAs": "FULL",
             "price": {"amount": 1200, "currency": "EUR"}, "surcharge": 0, "tax": {"rate": 7000, "amount": 79}},
            {"seat": "C8", "type": "STUDENT", "typeName": "Student", "proof": "student card", "reportedAs": "REDUCED",
             "price": {"amount": 900, "currency": "EUR"}, "surcharge": 0, "tax": {"rate": 7000, "amount": 59}},
        ],
        "fees": [
            {"code": "BOOKING", "name": "Booking fee", "price": {"amount": 100, "currency": "EUR"},
             "tax": {"rate": 19000, "amount": 16}, "refundable": true},
        ],
        "total": {"amount": 2200, "currency": "EUR"},
        "expiresAt": "2026-04-30T10:15:00Z",
    })
}

const HEAD: &str = "\
# The events

Every event has one name, which is its NATS subject, its routing key on RabbitMQ and Nest's pattern. Types of all payloads for
TypeScript: [`examples/nest/events.d.ts`](../examples/nest/events.d.ts); JSON Schemas: [`docs/asyncapi.yaml`](asyncapi.yaml). This page
and both files are made from the code.

| event | when | payload | published by | e-mail address |
|---|---|---|---|---|
";

pub fn page() -> String {
    let schemas: Vec<(&str, Value)> = bus::contract::event_schemas()
        .into_iter()
        .map(|(subject, schema)| (subject, schema.to_value()))
        .collect();
    let mut text = HEAD.to_owned();
    for (subject, when) in WHEN {
        let (_, schema) = schemas.iter().find(|(of, _)| *of == subject).expect("the event exists");
        let name = schema["title"].as_str().unwrap_or_default();
        let address = if has_address(schema) { "yes" } else { "" };
        text.push_str(&format!("| `{subject}` | {when} | `{name}` | {} | {address} |\n", source(subject)));
    }
    let sample = serde_json::to_string_pretty(&sample()).unwrap_or_default();
    text.push_str(&format!("\nThe payload of a `reservation.confirmed`:\n\n```json\n{sample}\n```\n"));
    text
}

fn has_address(schema: &Value) -> bool {
    schema["properties"].get("email").is_some()
}
