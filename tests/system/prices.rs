//! Ticket types, price cards, and the tariffs that showtimes get of them. This file has the helpers, the files below have the
//! tests.

mod rows;
mod tariffs;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use time::{OffsetDateTime, Weekday};

use crate::cinema::{Answer, TestCinema, id};

/// A cinema with a movie of 100 minutes and a hall of two kinds of seat, where the clocks show New York's time.
struct Staff {
    cinema: TestCinema,
    movie: Value,
    hall: Value,
}

impl Staff {
    async fn open() -> Self {
        let cinema = TestCinema::open().await;
        let staff = Self { cinema, movie: Value::Null, hall: Value::Null };
        let movie = json!({"title": "Comets", "durationMinutes": 100, "releaseDate": "2026-01-01"});
        let movie = staff.post("/v1/movies", movie).await.expect(201);
        let seats = json!([{"number": 1, "kind": "STANDARD"}, {"number": 2, "kind": "WHEELCHAIR"}]);
        let hall =
            json!({"name": "East", "timeZone": "America/New_York", "rows": [{"label": "A", "seats": seats}]});
        let hall = staff.post("/v1/auditoriums", hall).await.expect(201);
        Self { movie, hall, ..staff }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.cinema.call(method, path, Some(&self.cinema.owner()), body).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await.expect(200)
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Replaces a row by these fields over this version.
    async fn put(&self, row: &Value, path: &str, changes: Value) -> Answer {
        let mut body = row.clone();
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        for name in ["id", "createdAt", "updatedAt"] {
            body.as_object_mut().unwrap().remove(name);
        }
        self.call(Method::PUT, &format!("{path}/{}", id(row)), Some(body)).await
    }

    async fn delete(&self, path: &str, row: &Value) -> Answer {
        self.call(Method::DELETE, &format!("{path}/{}", id(row)), None).await
    }

    async fn create_type(&self, code: &str, position: u16, more: Value) -> Value {
        self.post("/v1/ticket-types", of_type(code, position, more)).await.expect(201)
    }

    async fn create_card(&self, name: &str, adult: i64, more: Value) -> Value {
        self.post("/v1/price-cards", of_card(name, adult, more)).await.expect(201)
    }

    async fn schedule(&self, starts_at: OffsetDateTime, more: Value) -> Answer {
        self.post("/v1/showtimes", self.showtime(starts_at, more)).await
    }

    fn showtime(&self, starts_at: OffsetDateTime, more: Value) -> Value {
        let starts_at = starts_at.format(&time::format_description::well_known::Rfc3339).unwrap();
        let ids =
            json!({"movieId": self.movie["id"], "auditoriumId": self.hall["id"], "startsAt": starts_at});
        with(ids, more)
    }

    /// The tariff with which a showtime was published last.
    async fn published_tariff(&self, showtime: &Value) -> Value {
        let mut events = self.cinema.events("showtime.scheduled").await;
        events.extend(self.cinema.events("showtime.updated").await);
        events.retain(|event| event["showtimeId"] == showtime["id"]);
        events.sort_by_key(|event| event["version"].as_i64());
        events.pop().unwrap()["tariff"].clone()
    }
}

fn with(mut fields: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    fields
}

fn of_type(code: &str, position: u16, more: Value) -> Value {
    let fields = json!({
        "code": code, "name": {"en": code}, "channels": ["WEB", "BOX_OFFICE"], "position": position, "active": true,
    });
    with(fields, more)
}

/// A card of adults' tickets, half of that for children.
fn of_card(name: &str, adult: i64, more: Value) -> Value {
    let prices = json!({
        "ADULT": {"STANDARD": adult, "WHEELCHAIR": adult}, "CHILD": {"STANDARD": adult / 2},
    });
    with(json!({"name": name, "currency": "EUR", "prices": prices}), more)
}

/// This time (UTC) on the first such day that is at least two days ahead.
fn next(day: Weekday, hour: u8) -> OffsetDateTime {
    let mut at = OffsetDateTime::now_utc() + time::Duration::days(2);
    while at.weekday() != day {
        at += time::Duration::DAY;
    }
    at.replace_time(time::Time::from_hms(hour, 30, 0).unwrap())
}

/// The status, the code, and the first field with its rule.
fn refusal(answer: Answer) -> (u16, String, String) {
    let error = &answer.body["errors"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let field = [text(&error["field"]), text(&error["code"])].join(" ").trim().to_owned();
    (answer.status.as_u16(), answer.code().to_owned(), field)
}

fn codes(tariff: &Value) -> Vec<&str> {
    tariff["types"].as_array().unwrap().iter().map(|of| of["code"].as_str().unwrap()).collect()
}
