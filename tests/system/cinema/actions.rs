//! What users of the test cinema do: they register, log in, reserve, pay and cancel; staff schedule showtimes.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Person, TestCinema, id};

impl TestCinema {
    pub async fn log_in(&self, email: &str, password: &str) -> Person {
        let body = json!({"email": email, "password": password});
        person(self.call(Method::POST, "/v1/auth/login", None, Some(body)).await.expect(200))
    }

    /// A guest, who has no account.
    pub async fn guest(&self) -> Person {
        person(self.call(Method::POST, "/v1/auth/guest", None, Some(json!({}))).await.expect(201))
    }

    /// Sets the customer of an order.
    pub async fn set_customer(&self, who: &Person, reservation: &str, email: &str) -> Answer {
        let path = format!("/v1/reservations/{reservation}/customer");
        self.call(Method::PUT, &path, Some(who), Some(json!({"email": email}))).await
    }

    /// Publishes an event that no consumer can read, so that each parks it; returns it.
    pub async fn publish_unreadable_event(&self) -> bus::event::Outgoing {
        let event = bus::event::Outgoing {
            id: uuid::Uuid::now_v7(),
            subject: "payment.success".into(),
            source: "/marquee/payment".into(),
            time: bus::contract::Timestamp::wall_clock(),
            payload: "no JSON".into(),
            context: bus::Context::new(),
        };
        event.send(&self.cinema().bus).await.unwrap().await.unwrap();
        event
    }

    /// Registers a user and marks the e-mail address as verified.
    pub async fn register(&self) -> Person {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let body =
            json!({"email": format!("p{number}@example.org"), "password": "correct horse", "name": "Ada"});
        let session = self.call(Method::POST, "/v1/auth/register", None, Some(body)).await.expect(201);
        let verify = "update auth.users set verified_at = now() where id = $1::uuid";
        sqlx::query(verify).bind(session["user"]["id"].as_str()).execute(&self.database).await.unwrap();
        // A refreshed access token says that the address is verified.
        let body = json!({"refreshToken": session["refreshToken"]});
        person(self.call(Method::POST, "/v1/auth/refresh", None, Some(body)).await.expect(200))
    }

    /// Creates a hall with these rows (`S` standard, `W` wheelchair, `-` gap) and a showtime in it, `seconds` from now;
    /// returns the id of the showtime.
    pub async fn schedule(&self, rows: &[&str], seconds: i64) -> String {
        self.schedule_at(rows, seconds, [1200, 800]).await
    }

    /// As [`Self::schedule`], with the prices of a standard seat and of a wheelchair space in cents.
    pub async fn schedule_at(&self, rows: &[&str], seconds: i64, prices: [i64; 2]) -> String {
        let seat = |(at, kind): (usize, char)| {
            let kind = match kind {
                'W' => "WHEELCHAIR",
                '-' => "GAP",
                _ => "STANDARD",
            };
            json!({"number": at + 1, "kind": kind})
        };
        let rows: Vec<Value> = rows
            .iter()
            .zip('A'..)
            .map(|(row, label)| json!({"label": label, "seats": row.chars().enumerate().map(seat).collect::<Vec<_>>()}))
            .collect();
        self.schedule_priced(json!(rows), seconds, prices).await
    }

    /// As [`Self::schedule`], with any layout.
    pub async fn schedule_layout(&self, rows: Value, seconds: i64) -> String {
        self.schedule_priced(rows, seconds, [1200, 800]).await
    }

    async fn schedule_priced(&self, rows: Value, seconds: i64, [standard, wheelchair]: [i64; 2]) -> String {
        let owner = self.owner();
        let price = |amount: i64| json!({"amount": amount, "currency": "EUR"});
        let prices = json!({"STANDARD": price(standard), "WHEELCHAIR": price(wheelchair), "COMPANION": price(500), "LOVESEAT": price(1500)});
        // These names appear in the pictures of the README.
        static HALLS: AtomicU64 = AtomicU64::new(5);
        let number = HALLS.fetch_add(1, Ordering::Relaxed);
        let hall = json!({"name": format!("Hall {number}"), "timeZone": "Europe/Berlin", "rows": rows});
        let hall = self.call(Method::POST, "/v1/auditoriums", Some(&owner), Some(hall)).await.expect(201);
        let movie = json!({"title": "The Long Night", "durationMinutes": 90, "releaseDate": "2026-01-01"});
        let movie = self.call(Method::POST, "/v1/movies", Some(&owner), Some(movie)).await.expect(201);
        let starts = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        let starts = starts.format(&time::format_description::well_known::Rfc3339).unwrap();
        let showtime =
            json!({"movieId": movie["id"], "auditoriumId": hall["id"], "startsAt": starts, "prices": prices});
        let showtime =
            self.call(Method::POST, "/v1/showtimes", Some(&owner), Some(showtime)).await.expect(201);
        showtime["id"].as_str().unwrap().to_owned()
    }

    pub async fn try_reserve(&self, who: &Person, seats: &[&str]) -> Answer {
        let body = json!({"showtimeId": self.showtime, "seats": seats});
        self.call(Method::POST, "/v1/reservations", Some(who), Some(body)).await
    }

    /// Reserves seats and returns the id of the reservation.
    pub async fn reserve(&self, who: &Person, seats: &[&str]) -> String {
        id(&self.try_reserve(who, seats).await.expect(201))
    }

    pub async fn pay(&self, who: &Person, reservation: &str, token: &str) -> Answer {
        let body = json!({"reservationId": reservation, "paymentMethod": token});
        self.call(Method::POST, "/v1/payments", Some(who), Some(body)).await
    }

    /// Reserves seats, pays and waits until the reservation is confirmed.
    pub async fn buy(&self, who: &Person, seats: &[&str]) -> String {
        let reservation = self.reserve(who, seats).await;
        self.pay(who, &reservation, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &reservation).await;
        reservation
    }

    /// Opens the provider's payment page and returns its address.
    pub async fn open_payment_page(&self, who: &Person, reservation: &str) -> String {
        let body = json!({"reservationId": reservation});
        let payment = self.call(Method::POST, "/v1/payments", Some(who), Some(body)).await.expect(201);
        payment["checkoutUrl"].as_str().unwrap_or_else(|| panic!("no checkoutUrl in {payment}")).to_owned()
    }

    /// Fills in and sends the provider's page; returns whether the provider accepted the payment.
    pub async fn pay_on_page(&self, page: &str, card: &str) -> bool {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let form = [("card", card), ("card_number", card), ("number", card)];
        let answer = client.post(page).form(&form).send().await.unwrap();
        answer.status() == StatusCode::SEE_OTHER
    }

    pub async fn reservation(&self, who: &Person, reservation: &str) -> Value {
        self.call(Method::GET, &format!("/v1/reservations/{reservation}"), Some(who), None).await.expect(200)
    }

    pub async fn cancel(&self, who: &Person, reservation: &str) -> Answer {
        self.call(Method::POST, &format!("/v1/reservations/{reservation}/cancel"), Some(who), None).await
    }
}

fn person(session: Value) -> Person {
    Person { token: session["accessToken"].as_str().unwrap().to_owned() }
}
