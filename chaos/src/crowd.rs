//! The load: moviegoers who order, pay, forget to pay, change their minds, pay twice and ask again, by a seeded die.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::Hall;
use crate::rest::{Outcome, Rest};
use crate::story::{Order, Story, What, id_of};

/// Between two orders of one moviegoer: enough of them for a race, few enough for two busy cores.
const PAUSE_MS: std::ops::Range<u64> = 150..900;
/// How long a moviegoer looks whether the tickets are there.
const PATIENCE: Duration = Duration::from_secs(15);

/// An account.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: Uuid,
    pub email: String,
    pub password: String,
    pub token: String,
}

impl Person {
    /// From the answer to a registration or a login.
    pub fn read(session: &Value, password: &str) -> Option<Self> {
        Some(Self {
            id: session["user"]["id"].as_str()?.parse().ok()?,
            email: session["user"]["email"].as_str()?.to_owned(),
            password: password.to_owned(),
            token: session["accessToken"].as_str()?.to_owned(),
        })
    }

    /// Logs in again, for a token that lives longer.
    pub async fn renew(&mut self, rest: &Rest) {
        let body = json!({"email": self.email, "password": self.password});
        let answer = rest.try_once(Method::POST, "/v1/auth/login", None, "", Some(&body)).await;
        if let Some(token) =
            answer.and_then(|answer| answer.json()["accessToken"].as_str().map(str::to_owned))
        {
            self.token = token;
        }
    }
}

/// The halls that are sold just now; the owner adds to them.
pub type Halls = Arc<Mutex<Vec<Hall>>>;

/// Somebody who goes on ordering.
pub struct Moviegoer {
    pub rest: Rest,
    pub person: Person,
    pub owner: Person,
    pub halls: Halls,
    pub story: Story,
    /// Where the provider's pay pages are reached, as a browser does: not through the house.
    pub random: StdRng,
    /// Only this behaviour, for the test of one bug.
    pub only: Option<Habit>,
}

/// What a moviegoer does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
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

const HABITS: [(Habit, u32); 10] = [
    (Habit::Pays, 34),
    (Habit::DeclinedThenPays, 8),
    (Habit::PaysOnPage, 10),
    (Habit::PaysOnPageAndCancels, 6),
    (Habit::Forgets, 14),
    (Habit::CancelsUnpaid, 8),
    (Habit::CancelsPaid, 8),
    (Habit::RefundedInPart, 6),
    (Habit::PaysTwiceAtOnce, 6),
    (Habit::ExchangesTwiceAtOnce, 6),
];

impl Moviegoer {
    pub fn random(seed: u64, number: usize) -> StdRng {
        StdRng::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub async fn go_on(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some((order, text)) = self.order().await {
                let habit = self.habit();
                self.act(habit, order, &text).await;
            }
            let pause = Duration::from_millis(self.random.random_range(PAUSE_MS));
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn habit(&mut self) -> Habit {
        if let Some(only) = self.only {
            return only;
        }
        let mut die = self.random.random_range(0..HABITS.iter().map(|(_, weight)| weight).sum::<u32>());
        for (habit, weight) in HABITS {
            match die.checked_sub(weight) {
                None => return habit,
                Some(left) => die = left,
            }
        }
        Habit::Pays
    }

    fn hall(&mut self) -> Option<Hall> {
        let halls = self.halls.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest are the emptiest; older ones are looked at for what was given back.
        let newest = halls.len().checked_sub(1)?;
        let at = if self.random.random_bool(0.8) { newest } else { self.random.random_range(0..=newest) };
        halls.get(at).cloned()
    }

    /// Orders seats; a reservation's id and the answer when it was told.
    async fn order(&mut self) -> Option<(Uuid, String)> {
        let hall = self.hall()?;
        let count = self.random.random_range(1..=3);
        let body = if self.random.random_bool(0.6) {
            json!({"showtimeId": hall.showtime, "bestAvailable": {"count": count}})
        } else {
            let row = self.random.random_range(0..hall.rows.len());
            let first = self.random.random_range(1..=hall.seats_a_row - count + 1);
            let seats: Vec<String> =
                (first..first + count).map(|n| format!("{}{n}", hall.rows[row])).collect();
            json!({"showtimeId": hall.showtime, "seats": seats})
        };
        let (key, asked_at) = (Uuid::new_v4().to_string(), OffsetDateTime::now_utc());
        let token = self.person.token.clone();
        let outcome = self.rest.post("/v1/reservations", &token, &key, &body).await;
        let order = Order {
            user: self.person.id,
            token,
            key,
            body,
            outcome,
            asked_at,
            told_at: OffsetDateTime::now_utc(),
        };
        let told = order.reservation();
        let refused = match &order.outcome {
            Outcome::Refused(status, text) => Some((*status, text.clone())),
            _ => None,
        };
        if let Outcome::Done(text) = &order.outcome
            && self.random.random_bool(0.2)
        {
            self.ask_again(&order, text).await;
        }
        let text = match &order.outcome {
            Outcome::Done(text) => text.clone(),
            _ => String::new(),
        };
        self.story.look().orders.push(order);
        if let Some((401, _)) = refused {
            self.person.renew(&self.rest).await;
        }
        told.map(|id| (id, text))
    }

    async fn ask_again(&self, order: &Order, first: &str) {
        let again = self.rest.post("/v1/reservations", &order.token, &order.key, &order.body).await;
        match again {
            Outcome::Done(second) => self.story.repeated(&order.key, first, &second),
            Outcome::Refused(status, text) if status != 401 => {
                self.story.repeated(&order.key, first, &format!("{status} {text}"));
            }
            _ => {}
        }
    }

    async fn act(&mut self, habit: Habit, id: Uuid, order: &str) {
        match habit {
            Habit::Forgets => {}
            Habit::Pays => self.pay(id, "pm_card_visa").await,
            Habit::DeclinedThenPays => {
                self.pay(id, "pm_card_chargeDeclined").await;
                self.pay(id, "pm_card_visa").await;
            }
            Habit::PaysTwiceAtOnce => {
                tokio::join!(self.pay(id, "pm_card_visa"), self.pay(id, "pm_card_visa"));
            }
            Habit::PaysOnPage => self.pay_on_page(id).await,
            Habit::PaysOnPageAndCancels => {
                self.pay_on_page(id).await;
                self.cancel(id).await;
            }
            Habit::CancelsUnpaid => self.cancel(id).await,
            Habit::CancelsPaid => {
                self.pay(id, "pm_card_visa").await;
                self.until_confirmed(id).await;
                self.cancel(id).await;
            }
            Habit::ExchangesTwiceAtOnce => {
                self.pay(id, "pm_card_visa").await;
                if self.until_confirmed(id).await {
                    self.exchange_twice_at_once(id, order).await;
                }
            }
            Habit::RefundedInPart => {
                self.pay(id, "pm_card_visa").await;
                if self.until_confirmed(id).await {
                    self.give_back_a_third(id, order).await;
                }
            }
        }
    }

    async fn pay(&self, id: Uuid, card: &str) {
        let (key, body) = (Uuid::new_v4().to_string(), json!({"reservationId": id, "paymentMethod": card}));
        let paid = self.rest.post("/v1/payments", &self.person.token, &key, &body).await;
        let Outcome::Done(text) = paid else { return };
        self.story.promised(What::Payment, id, &text);
        if text.len() % 5 == 0
            && let Outcome::Done(second) =
                self.rest.post("/v1/payments", &self.person.token, &key, &body).await
        {
            self.story.repeated(&key, &text, &second);
        }
    }

    /// Opens the provider's page and pays there.
    async fn pay_on_page(&self, id: Uuid) {
        let (key, body) = (Uuid::new_v4().to_string(), json!({"reservationId": id}));
        let opened = self.rest.post("/v1/payments", &self.person.token, &key, &body).await;
        let Outcome::Done(text) = opened else { return };
        self.story.promised(What::Payment, id, &text);
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(page) = answer["checkoutUrl"].as_str() {
            // Whether it was paid shows in the provider's books.
            let _ = self.rest.http.post(page).form(&[("number", "4242424242424242")]).send().await;
        }
    }

    async fn cancel(&self, id: Uuid) {
        let key = Uuid::new_v4().to_string();
        let path = format!("/v1/reservations/{id}/cancel");
        let body = json!({"reason": "changed my mind"});
        if let Outcome::Done(text) = self.rest.post(&path, &self.person.token, &key, &body).await {
            self.story.promised(What::Cancellation, id, &text);
        }
    }

    /// To one seat, and at once to as many others as there are: the second must not be had at the price of the first.
    async fn exchange_twice_at_once(&self, id: Uuid, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let Some(count) = order["seats"].as_array().map(Vec::len) else { return };
        tokio::join!(self.exchange(id, 1), self.exchange(id, count));
    }

    async fn exchange(&self, id: Uuid, count: usize) {
        let key = Uuid::new_v4().to_string();
        let path = format!("/v1/reservations/{id}/exchange");
        let body = json!({"bestAvailable": {"count": count}});
        // What becomes of it shows in seats and money; a refusal is as good an answer as any.
        let _ = self.rest.post(&path, &self.person.token, &key, &body).await;
    }

    async fn until_confirmed(&self, id: Uuid) -> bool {
        let until = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < until {
            let path = format!("/v1/reservations/{id}?wait=5");
            let answer = self.rest.try_once(Method::GET, &path, Some(&self.person.token), "", None).await;
            match answer.map(|answer| answer.json()) {
                Some(seen) if seen["status"] == "CONFIRMED" => return true,
                Some(seen) if seen["status"].is_string() && seen["status"] != "PENDING" => return false,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        false
    }

    /// Staff give a third of the price back; the reservation lives on.
    async fn give_back_a_third(&self, id: Uuid, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let Some(total) = order["total"]["amount"].as_i64() else { return };
        let path = format!("/v1/reservations/{id}");
        let seen = self.rest.try_once(Method::GET, &path, Some(&self.person.token), "", None).await;
        let payment = seen.and_then(|answer| id_of(&answer.json()["payment"].to_string()));
        let Some(payment) = payment else { return };
        let (key, amount) = (Uuid::new_v4().to_string(), total / 3);
        let body = json!({"amount": amount, "reason": "the projector was late"});
        let path = format!("/v1/payments/{payment}/refund");
        if let Outcome::Done(text) = self.rest.post(&path, &self.owner.token, &key, &body).await {
            self.story.promised(What::Refund(amount), id, &text);
        }
    }
}
