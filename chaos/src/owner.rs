//! What the cinema's owner does: opens halls, and another one when those that are there fill up.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::crowd::{Halls, Person};
use crate::house::{Hall, OWNER};
use crate::rest::Rest;

/// The price of every seat, in minor units; staff's part of a third stays whole.
pub const PRICE: i64 = 1_200;
const SEATS_A_ROW: usize = 12;
const ROWS: [char; 6] = ['A', 'B', 'C', 'D', 'E', 'F'];
/// A hall of 72 seats lasts a small crowd about as long.
const NEW_HALL_EVERY: Duration = Duration::from_secs(15);

pub async fn log_in(rest: &Rest) -> Result<Person> {
    let body = json!({"email": OWNER.0, "password": OWNER.1});
    let session = rest.must(Method::POST, "/v1/auth/login", None, Some(body)).await?;
    Person::read(&session, OWNER.1).context("the owner's login")
}

/// A new moviegoer.
pub async fn register(rest: &Rest, number: usize) -> Result<Person> {
    let email = format!("p{number}-{}@example.org", Uuid::new_v4().simple());
    let body = json!({"email": email, "password": "correct horse", "name": "Ada"});
    let session = rest.must(Method::POST, "/v1/auth/register", None, Some(body)).await?;
    Person::read(&session, "correct horse").context("a registration")
}

/// A hall, a movie, and a showtime in a day.
pub async fn open_hall(rest: &Rest, owner: &Person) -> Result<Hall> {
    let post =
        async |path: &str, body: Value| rest.must(Method::POST, path, Some(&owner.token), Some(body)).await;
    let seats: Vec<Value> = (1..=SEATS_A_ROW).map(|n| json!({"number": n, "kind": "STANDARD"})).collect();
    let rows: Vec<Value> = ROWS.iter().map(|label| json!({"label": label, "seats": seats})).collect();
    let name = format!("Hall {}", Uuid::new_v4().simple());
    let hall =
        post("/v1/auditoriums", json!({"name": name, "timeZone": "Europe/Berlin", "rows": rows})).await?;
    let movie = json!({"title": "The Long Night", "durationMinutes": 90, "releaseDate": "2026-01-01"});
    let movie = post("/v1/movies", movie).await?;
    let starts = time::OffsetDateTime::now_utc() + time::Duration::DAY;
    let starts = starts.format(&time::format_description::well_known::Rfc3339)?;
    let prices = json!({"STANDARD": {"amount": PRICE, "currency": "EUR"}});
    let showtime =
        json!({"movieId": movie["id"], "auditoriumId": hall["id"], "startsAt": starts, "prices": prices});
    let showtime = post("/v1/showtimes", showtime).await?;
    let showtime = showtime["id"].as_str().context("a showtime has an id")?.to_owned();
    Ok(Hall { showtime, rows: ROWS.to_vec(), seats_a_row: SEATS_A_ROW })
}

/// Opens halls until `stop`. One that cannot be opened just now is opened the next time.
pub async fn keep_opening(rest: Rest, mut owner: Person, halls: Halls, stop: CancellationToken) {
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(NEW_HALL_EVERY) => {}
        }
        tokio::select! {
            _ = stop.cancelled() => return,
            opened = open_hall(&rest, &owner) => match opened {
                Ok(hall) => halls.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(hall),
                Err(_) => owner.renew(&rest).await,
            }
        }
    }
}
