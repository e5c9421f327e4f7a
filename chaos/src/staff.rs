//! What staff do: they create showtimes, and new ones while the existing ones fill up.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::Client;
use crate::deployment::{OWNER, Showtime};
use crate::load::{Account, Showtimes};

/// The price of every seat in minor units, divisible by three for the partial refunds.
pub const PRICE: i64 = 1_200;
const SEATS_PER_ROW: usize = 12;
const ROWS: [char; 6] = ['A', 'B', 'C', 'D', 'E', 'F'];
/// A few customers fill the 72 seats of a hall in about this time.
const NEW_SHOWTIME_EVERY: Duration = Duration::from_secs(15);

pub async fn log_in(client: &Client) -> Result<Account> {
    let body = json!({"email": OWNER.0, "password": OWNER.1});
    let session = client.send_until_done(Method::POST, "/v1/auth/login", None, Some(body)).await?;
    Account::read(&session, OWNER.1).context("the owner's login")
}

/// Registers a customer.
pub async fn register(client: &Client, number: usize) -> Result<Account> {
    let email = format!("p{number}-{}@example.org", Uuid::new_v4().simple());
    let body = json!({"email": email, "password": "correct horse", "name": "Ada"});
    let session = client.send_until_done(Method::POST, "/v1/auth/register", None, Some(body)).await?;
    Account::read(&session, "correct horse").context("a registration")
}

/// Creates a hall, a movie, and a showtime in a day.
pub async fn create_showtime(client: &Client, staff: &Account) -> Result<Showtime> {
    let post = async |path: &str, body: Value| {
        client.send_until_done(Method::POST, path, Some(&staff.token), Some(body)).await
    };
    let seats: Vec<Value> = (1..=SEATS_PER_ROW).map(|n| json!({"number": n, "kind": "STANDARD"})).collect();
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
    let id = showtime["id"].as_str().context("a showtime has an id")?.to_owned();
    Ok(Showtime { id, rows: ROWS.to_vec(), seats_per_row: SEATS_PER_ROW })
}

/// Creates showtimes until `stop`. A failure is followed by a new login and the next attempt.
pub async fn keep_creating_showtimes(
    client: Client,
    mut staff: Account,
    showtimes: Showtimes,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = tokio::time::sleep(NEW_SHOWTIME_EVERY) => {}
        }
        tokio::select! {
            _ = stop.cancelled() => return,
            created = create_showtime(&client, &staff) => match created {
                Ok(showtime) => showtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(showtime),
                Err(_) => staff.renew(&client).await,
            }
        }
    }
}
