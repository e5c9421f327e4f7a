//! The catalogue of a measurement: one hall, and as many showtimes as needed.

use anyhow::Context;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::client::Client;

/// A showtime and its seats.
#[derive(Debug, Clone)]
pub struct Showtime {
    pub id: String,
    pub seats: Vec<String>,
}

/// A movie and a hall of `rows` × `columns` seats.
pub struct Programme {
    movie: String,
    auditorium: String,
    seats: Vec<String>,
    /// Days from now of the next showtime.
    next: i64,
}

impl Programme {
    pub async fn make(owner: &mut Client, rows: usize, columns: usize) -> anyhow::Result<Self> {
        let genre = json!({"name": format!("Bench {}", uuid::Uuid::now_v7())});
        let genre = id(&owner.post("/v1/genres", None, &genre).await?.expect(201)?)?;
        let movie = json!({"title": "The Long Queue", "synopsis": "People wait.", "durationMinutes": 100,
            "rating": "PG", "releaseDate": "2026-01-01", "language": "en", "genreIds": [genre]});
        let movie = id(&owner.post("/v1/movies", None, &movie).await?.expect(201)?)?;
        let label = |row: usize| char::from(b'A' + row as u8).to_string();
        let row = |row: usize| {
            let seats: Vec<Value> = (1..=columns).map(|n| json!({"number": n, "kind": "STANDARD"})).collect();
            json!({"label": label(row), "seats": seats})
        };
        let hall = json!({"name": format!("Hall {}", uuid::Uuid::now_v7()), "timeZone": "Europe/Berlin",
            "rows": (0..rows).map(row).collect::<Vec<_>>()});
        let auditorium = id(&owner.post("/v1/auditoriums", None, &hall).await?.expect(201)?)?;
        let seats =
            (0..rows).flat_map(|row| (1..=columns).map(move |n| format!("{}{n}", label(row)))).collect();
        Ok(Self { movie, auditorium, seats, next: 2 })
    }

    /// Further showtimes of the hall, one a day.
    pub async fn schedule(&mut self, owner: &mut Client, count: usize) -> anyhow::Result<Vec<Showtime>> {
        let mut showtimes = Vec::with_capacity(count);
        for _ in 0..count {
            let starts_at = time::OffsetDateTime::now_utc() + time::Duration::days(self.next);
            self.next += 1;
            let body = json!({"movieId": self.movie, "auditoriumId": self.auditorium,
                "startsAt": starts_at.replace_nanosecond(0)?.format(&Rfc3339)?,
                "prices": {"STANDARD": {"amount": 1200, "currency": "EUR"}}});
            let made = owner.post("/v1/showtimes", None, &body).await?.expect(201)?;
            showtimes.push(Showtime { id: id(&made)?, seats: self.seats.clone() });
        }
        Ok(showtimes)
    }
}

fn id(answer: &Value) -> anyhow::Result<String> {
    Ok(answer["id"].as_str().context("an answer without id")?.to_owned())
}
