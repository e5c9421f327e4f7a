//! The load: customers who order, pay, forget to pay, cancel, exchange, pay twice and repeat requests, chosen by a seed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::{Client, Outcome};
use crate::deployment::Showtime;
use crate::record::{Order, PromiseKind, Recorder, id_of};

/// The pause between two orders of a customer: short enough for races, long enough for two busy cores.
const PAUSE_MS: std::ops::Range<u64> = 150..900;
/// How long a customer waits for the confirmation.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: Uuid,
    pub email: String,
    pub password: String,
    pub token: String,
}

impl Account {
    /// Reads the answer to a registration or a login.
    pub fn read(session: &Value, password: &str) -> Option<Self> {
        Some(Self {
            id: session["user"]["id"].as_str()?.parse().ok()?,
            email: session["user"]["email"].as_str()?.to_owned(),
            password: password.to_owned(),
            token: session["accessToken"].as_str()?.to_owned(),
        })
    }

    /// Logs in again for a new token.
    pub async fn renew(&mut self, client: &Client) {
        let body = json!({"email": self.email, "password": self.password});
        let answer = client.try_once(Method::POST, "/v1/auth/login", None, "", Some(&body)).await;
        if let Some(token) =
            answer.and_then(|answer| answer.json()["accessToken"].as_str().map(str::to_owned))
        {
            self.token = token;
        }
    }
}

/// The showtimes on sale; staff add new ones.
pub type Showtimes = Arc<Mutex<Vec<Showtime>>>;

/// A customer who orders again and again.
pub struct Customer {
    pub client: Client,
    pub account: Account,
    /// The account of staff, for partial refunds.
    pub staff: Account,
    pub showtimes: Showtimes,
    pub recorder: Recorder,
    pub random: StdRng,
    /// Always this behaviour, for a planted bug.
    pub only: Option<Behaviour>,
}

/// What a customer does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Pays,
    DeclinedThenPays,
    PaysOnPage,
    PaysOnPageAndCancels,
    Forgets,
    CancelsUnpaid,
    CancelsPaid,
    RefundedInPart,
    PaysTwiceAtOnce,
    ExchangesTwiceAtOnce,
}

const BEHAVIOURS: [(Behaviour, u32); 10] = [
    (Behaviour::Pays, 34),
    (Behaviour::DeclinedThenPays, 8),
    (Behaviour::PaysOnPage, 10),
    (Behaviour::PaysOnPageAndCancels, 6),
    (Behaviour::Forgets, 14),
    (Behaviour::CancelsUnpaid, 8),
    (Behaviour::CancelsPaid, 8),
    (Behaviour::RefundedInPart, 6),
    (Behaviour::PaysTwiceAtOnce, 6),
    (Behaviour::ExchangesTwiceAtOnce, 6),
];

impl Customer {
    pub fn random(seed: u64, number: usize) -> StdRng {
        StdRng::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some((order, text)) = self.order().await {
                let behaviour = self.next_behaviour();
                self.act(behaviour, order, &text).await;
            }
            let pause = Duration::from_millis(self.random.random_range(PAUSE_MS));
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn next_behaviour(&mut self) -> Behaviour {
        if let Some(only) = self.only {
            return only;
        }
        let mut choice =
            self.random.random_range(0..BEHAVIOURS.iter().map(|(_, weight)| weight).sum::<u32>());
        for (behaviour, weight) in BEHAVIOURS {
            match choice.checked_sub(weight) {
                None => return behaviour,
                Some(left) => choice = left,
            }
        }
        Behaviour::Pays
    }

    fn next_showtime(&mut self) -> Option<Showtime> {
        let showtimes = self.showtimes.lock().unwrap_or_else(PoisonError::into_inner);
        // Most orders go to the newest showtime, which has most free seats; the others to any, for cancelled seats.
        let newest = showtimes.len().checked_sub(1)?;
        let at = if self.random.random_bool(0.8) { newest } else { self.random.random_range(0..=newest) };
        showtimes.get(at).cloned()
    }

    /// Orders seats; returns the id and the answer if the order was accepted.
    async fn order(&mut self) -> Option<(Uuid, String)> {
        let showtime = self.next_showtime()?;
        let count = self.random.random_range(1..=3);
        let body = if self.random.random_bool(0.6) {
            json!({"showtimeId": showtime.id, "bestAvailable": {"count": count}})
        } else {
            let row = self.random.random_range(0..showtime.rows.len());
            let first = self.random.random_range(1..=showtime.seats_per_row - count + 1);
            let seats: Vec<String> =
                (first..first + count).map(|n| format!("{}{n}", showtime.rows[row])).collect();
            json!({"showtimeId": showtime.id, "seats": seats})
        };
        let (key, sent_at) = (Uuid::new_v4().to_string(), OffsetDateTime::now_utc());
        let token = self.account.token.clone();
        let outcome = self.client.post("/v1/reservations", &token, &key, &body).await;
        let order = Order {
            user: self.account.id,
            token,
            key,
            body,
            outcome,
            sent_at,
            answered_at: OffsetDateTime::now_utc(),
        };
        let accepted = order.reservation();
        let refused = match &order.outcome {
            Outcome::Refused(status, text) => Some((*status, text.clone())),
            _ => None,
        };
        if let Outcome::Done(text) = &order.outcome
            && self.random.random_bool(0.2)
        {
            self.repeat(&order, text).await;
        }
        let text = match &order.outcome {
            Outcome::Done(text) => text.clone(),
            _ => String::new(),
        };
        self.recorder.lock().orders.push(order);
        if let Some((401, _)) = refused {
            self.account.renew(&self.client).await;
        }
        accepted.map(|id| (id, text))
    }

    async fn repeat(&self, order: &Order, first: &str) {
        let again = self.client.post("/v1/reservations", &order.token, &order.key, &order.body).await;
        match again {
            Outcome::Done(second) => self.recorder.repeated(&order.key, first, &second),
            Outcome::Refused(status, text) if status != 401 => {
                self.recorder.repeated(&order.key, first, &format!("{status} {text}"));
            }
            _ => {}
        }
    }

    async fn act(&mut self, behaviour: Behaviour, id: Uuid, order: &str) {
        match behaviour {
            Behaviour::Forgets => {}
            Behaviour::Pays => self.pay(id, "pm_card_visa").await,
            Behaviour::DeclinedThenPays => {
                self.pay(id, "pm_card_chargeDeclined").await;
                self.pay(id, "pm_card_visa").await;
            }
            Behaviour::PaysTwiceAtOnce => {
                tokio::join!(self.pay(id, "pm_card_visa"), self.pay(id, "pm_card_visa"));
            }
            Behaviour::PaysOnPage => self.pay_on_page(id).await,
            Behaviour::PaysOnPageAndCancels => {
                self.pay_on_page(id).await;
                self.cancel(id).await;
            }
            Behaviour::CancelsUnpaid => self.cancel(id).await,
            Behaviour::CancelsPaid => {
                self.pay(id, "pm_card_visa").await;
                self.until_confirmed(id).await;
                self.cancel(id).await;
            }
            Behaviour::ExchangesTwiceAtOnce => {
                self.pay(id, "pm_card_visa").await;
                if self.until_confirmed(id).await {
                    self.exchange_twice_at_once(id, order).await;
                }
            }
            Behaviour::RefundedInPart => {
                self.pay(id, "pm_card_visa").await;
                if self.until_confirmed(id).await {
                    self.refund_a_third(id, order).await;
                }
            }
        }
    }

    async fn pay(&self, id: Uuid, card: &str) {
        let (key, body) = (Uuid::new_v4().to_string(), json!({"reservationId": id, "paymentMethod": card}));
        let paid = self.client.post("/v1/payments", &self.account.token, &key, &body).await;
        let Outcome::Done(text) = paid else { return };
        self.recorder.promised(PromiseKind::Payment, id, &text);
        if text.len() % 5 == 0
            && let Outcome::Done(second) =
                self.client.post("/v1/payments", &self.account.token, &key, &body).await
        {
            self.recorder.repeated(&key, &text, &second);
        }
    }

    /// Opens the page of the provider and pays there, without the deployment.
    async fn pay_on_page(&self, id: Uuid) {
        let (key, body) = (Uuid::new_v4().to_string(), json!({"reservationId": id}));
        let opened = self.client.post("/v1/payments", &self.account.token, &key, &body).await;
        let Outcome::Done(text) = opened else { return };
        self.recorder.promised(PromiseKind::Payment, id, &text);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(page) = answer["checkoutUrl"].as_str() {
            // Whether it was paid is read from the provider at the end.
            let _ = self.client.http.post(page).form(&[("number", "4242424242424242")]).send().await;
        }
    }

    async fn cancel(&self, id: Uuid) {
        let key = Uuid::new_v4().to_string();
        let path = format!("/v1/reservations/{id}/cancel");
        let body = json!({"reason": "changed my mind"});
        if let Outcome::Done(text) = self.client.post(&path, &self.account.token, &key, &body).await {
            self.recorder.promised(PromiseKind::Cancellation, id, &text);
        }
    }

    /// Exchanges to one seat and at the same time to as many seats as before: they must not be sold at the price of one.
    async fn exchange_twice_at_once(&self, id: Uuid, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let Some(count) = order["seats"].as_array().map(Vec::len) else { return };
        tokio::join!(self.exchange(id, 1), self.exchange(id, count));
    }

    async fn exchange(&self, id: Uuid, count: usize) {
        let key = Uuid::new_v4().to_string();
        let path = format!("/v1/reservations/{id}/exchange");
        let body = json!({"bestAvailable": {"count": count}});
        // The result is read from seats and money at the end; any answer is allowed.
        let _ = self.client.post(&path, &self.account.token, &key, &body).await;
    }

    async fn until_confirmed(&self, id: Uuid) -> bool {
        let until = tokio::time::Instant::now() + MAX_WAIT;
        while tokio::time::Instant::now() < until {
            let path = format!("/v1/reservations/{id}?wait=5");
            let answer = self.client.try_once(Method::GET, &path, Some(&self.account.token), "", None).await;
            match answer.map(|answer| answer.json()) {
                Some(answer) if answer["status"] == "CONFIRMED" => return true,
                Some(answer) if answer["status"].is_string() && answer["status"] != "PENDING" => {
                    return false;
                }
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        false
    }

    /// Staff refund a third of the price; the reservation stays confirmed.
    async fn refund_a_third(&self, id: Uuid, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let Some(total) = order["total"]["amount"].as_i64() else { return };
        let path = format!("/v1/reservations/{id}");
        let answer = self.client.try_once(Method::GET, &path, Some(&self.account.token), "", None).await;
        let payment = answer.and_then(|answer| id_of(&answer.json()["payment"].to_string()));
        let Some(payment) = payment else { return };
        let (key, amount) = (Uuid::new_v4().to_string(), total / 3);
        let body = json!({"amount": amount, "reason": "the projector was late"});
        let path = format!("/v1/payments/{payment}/refund");
        if let Outcome::Done(text) = self.client.post(&path, &self.staff.token, &key, &body).await {
            self.recorder.promised(PromiseKind::Refund(amount), id, &text);
        }
    }
}
