//! What staff do: they create showtimes, and new ones while the existing ones fill up.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::Client;
use crate::deployment::{OWNER, Showtime};
use crate::load::{Account, Showtimes};

/// The ticket types with their prices in minor units, divisible by three for the partial refunds.
pub const TYPES: [(&str, i64); 2] = [("ADULT", 1_200), ("CHILD", 900)];
/// What every seat costs where a showtime has plain prices; divisible by three, too.
pub const PRICE: i64 = 1_200;
/// On top of each ticket; also divisible by three.
pub const FEE: i64 = 30;
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

/// Creates showtimes that are sold by one price card, or by plain prices until there is one.
#[derive(Clone)]
pub struct Planner {
    pub client: Client,
    pub staff: Account,
    price_card: Arc<OnceLock<String>>,
}

impl Planner {
    pub fn new(client: Client, staff: Account) -> Self {
        Self { client, staff, price_card: Arc::default() }
    }

    /// Creates the price card, and the ticket types unless they are there: `marquee up` has those of the demo.
    pub async fn create_price_card(&self) -> Result<()> {
        let (client, staff) = (&self.client, &self.staff);
        let existing =
            client.send_until_done(Method::GET, "/v1/ticket-types", Some(&staff.token), None).await?;
        let items = existing["items"].as_array().context("ticket types are a list")?;
        let is_missing = |code: &str| items.iter().all(|item| item["code"] != code);
        for (position, (code, _)) in TYPES.iter().enumerate().filter(|(_, (code, _))| is_missing(code)) {
            let body = json!({"code": code, "name": {"en": code}, "channels": ["WEB"], "position": position, "active": true});
            post(client, staff, "/v1/ticket-types", body).await?;
        }
        let prices: Value = TYPES.iter().map(|(code, price)| (*code, json!({"STANDARD": price}))).collect();
        let fee = json!({"code": "BOOKING", "name": {"en": "Booking fee"}, "amount": FEE, "per": "TICKET",
            "channels": ["WEB"], "refundable": true});
        let card = json!({"name": "Always", "currency": "EUR", "prices": prices, "fees": [fee]});
        let card = post(client, staff, "/v1/price-cards", card).await?;
        let id = card["id"].as_str().context("a price card has an id")?.to_owned();
        self.price_card.set(id).map_err(|_| anyhow::anyhow!("there is a price card already"))
    }

    /// Creates a hall, a movie, and a showtime in a day.
    pub async fn create_showtime(&self) -> Result<Showtime> {
        let seats: Vec<Value> =
            (1..=SEATS_PER_ROW).map(|n| json!({"number": n, "kind": "STANDARD"})).collect();
        let rows: Vec<Value> = ROWS.iter().map(|label| json!({"label": label, "seats": seats})).collect();
        let name = format!("Hall {}", Uuid::new_v4().simple());
        let hall = json!({"name": name, "timeZone": "Europe/Berlin", "rows": rows});
        let hall = post(&self.client, &self.staff, "/v1/auditoriums", hall).await?;
        let movie = json!({"title": "The Long Night", "durationMinutes": 90, "releaseDate": "2026-01-01"});
        let movie = post(&self.client, &self.staff, "/v1/movies", movie).await?;
        let starts = time::OffsetDateTime::now_utc() + time::Duration::DAY;
        let starts = starts.format(&time::format_description::well_known::Rfc3339)?;
        let mut showtime = json!({"movieId": movie["id"], "auditoriumId": hall["id"], "startsAt": starts});
        match self.price_card.get() {
            // `marquee up` has price cards of its own that apply too.
            Some(card) => showtime["priceCardId"] = json!(card),
            None => showtime["prices"] = json!({"STANDARD": {"amount": PRICE, "currency": "EUR"}}),
        }
        let has_types = self.price_card.get().is_some();
        let showtime = post(&self.client, &self.staff, "/v1/showtimes", showtime).await?;
        let id = showtime["id"].as_str().context("a showtime has an id")?.to_owned();
        Ok(Showtime { id, has_types, rows: ROWS.to_vec(), seats_per_row: SEATS_PER_ROW })
    }

    /// Creates showtimes until `stop`. A failure is followed by a new login and the next attempt.
    pub async fn keep_creating(mut self, showtimes: Showtimes, stop: CancellationToken) {
        loop {
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(NEW_SHOWTIME_EVERY) => {}
            }
            let created = tokio::select! {
                _ = stop.cancelled() => return,
                created = self.create_showtime() => created,
            };
            match created {
                Ok(showtime) => {
                    showtimes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(showtime);
                }
                Err(_) => self.staff.renew(&self.client).await,
            }
        }
    }
}

async fn post(client: &Client, staff: &Account, path: &str, body: Value) -> Result<Value> {
    client.send_until_done(Method::POST, path, Some(&staff.token), Some(body)).await
}
