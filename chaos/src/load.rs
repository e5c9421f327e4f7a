//! The load: customers, some of them guests without an account, who order, pay, forget to pay, cancel, exchange, also for more seats,
//! give single tickets back, pay twice and repeat requests, chosen by a seed. `guest.rs` has what guests do besides.

use std::sync::atomic::{AtomicBool, Ordering};
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
use crate::mail_server::MailServer;
use crate::record::{Order, PromiseKind, Recorder, id_of};
use crate::staff::TYPES;

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

    /// A new guest, or `None` without an answer.
    pub async fn guest(client: &Client) -> Option<Self> {
        let answer = client.try_once(Method::POST, "/v1/auth/guest", None, "", Some(&json!({}))).await?;
        let guest = answer.json();
        Some(Self {
            id: guest["userId"].as_str()?.parse().ok()?,
            email: format!("guest-{}@example.org", Uuid::new_v4().simple()),
            password: String::new(),
            token: guest["accessToken"].as_str()?.to_owned(),
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
    /// The customer's own account, which a guest's orders may be merged into.
    pub home: Account,
    pub mail_server: MailServer,
    /// The account of staff, for partial refunds.
    pub staff: Account,
    pub showtimes: Showtimes,
    pub recorder: Recorder,
    pub random: StdRng,
    /// Always this behaviour, for a planted bug.
    pub only: Option<Behaviour>,
    /// Is a new guest with each order, once `all_new` is set.
    pub is_guest: bool,
    /// Whether every host runs this version. Before, customers do only what the release before knows.
    pub all_new: Arc<AtomicBool>,
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
    ReturnsTwiceAtOnce,
    ExchangesForMore,
}

impl Behaviour {
    /// Whether 0.1.0 knows it.
    fn is_old(self) -> bool {
        !matches!(self, Self::ReturnsTwiceAtOnce | Self::ExchangesForMore)
    }
}

const BEHAVIOURS: [(Behaviour, u32); 12] = [
    (Behaviour::Pays, 22),
    (Behaviour::DeclinedThenPays, 8),
    (Behaviour::PaysOnPage, 10),
    (Behaviour::PaysOnPageAndCancels, 6),
    (Behaviour::Forgets, 14),
    (Behaviour::CancelsUnpaid, 8),
    (Behaviour::CancelsPaid, 8),
    (Behaviour::RefundedInPart, 6),
    (Behaviour::PaysTwiceAtOnce, 6),
    (Behaviour::ExchangesTwiceAtOnce, 6),
    (Behaviour::ReturnsTwiceAtOnce, 6),
    (Behaviour::ExchangesForMore, 6),
];

impl Customer {
    pub fn random(seed: u64, number: usize) -> StdRng {
        StdRng::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Some((order, text)) = self.order_as_guest().await {
                let behaviour = self.next_behaviour();
                let is_known = behaviour.is_old() || self.all_new.load(Ordering::Relaxed);
                let behaviour = if is_known { behaviour } else { Behaviour::Pays };
                let is_guest = self.is_guest && self.all_new.load(Ordering::Relaxed);
                if is_guest {
                    self.merge_first(order).await;
                }
                self.act(behaviour, order, &text).await;
                if is_guest {
                    self.act_as_guest(order).await;
                }
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

    /// Orders as a new guest where the customer is one, and says then who the order is for.
    async fn order_as_guest(&mut self) -> Option<(Uuid, String)> {
        if !self.is_guest || !self.all_new.load(Ordering::Relaxed) {
            return self.order().await;
        }
        self.account = Account::guest(&self.client).await?;
        if let Some(email) = self.guest_address() {
            self.account.email = email;
        }
        let (id, text) = self.order().await?;
        let (path, body) = (format!("/v1/reservations/{id}/customer"), json!({"email": self.account.email}));
        for _ in 0..3 {
            let token = Some(self.account.token.as_str());
            let answer = self.client.try_once(Method::PUT, &path, token, "", Some(&body)).await;
            // Without an address the order cannot be paid, which is allowed.
            if answer.is_some_and(|answer| answer.status < 500) {
                break;
            }
        }
        Some((id, text))
    }

    /// The body of an order: the best seats or adjacent ones of some row, with ticket types where the showtime has them.
    fn choose_seats(&mut self, showtime: &Showtime) -> Value {
        let count = self.random.random_range(1..=3);
        let children = self.random.random_range(0..=count);
        let of = |at: usize| TYPES[usize::from(at < children)].0;
        let id = &showtime.id;
        if self.random.random_bool(0.6) {
            if !showtime.has_types {
                return json!({"showtimeId": id, "bestAvailable": {"count": count}});
            }
            let mut types = serde_json::Map::new();
            for at in 0..count {
                let counted = types.entry(of(at)).or_insert(json!(0));
                *counted = json!(counted.as_u64().unwrap_or(0) + 1);
            }
            return json!({"showtimeId": id, "bestAvailable": {"types": types}});
        }
        let row = self.random.random_range(0..showtime.rows.len());
        let first = self.random.random_range(1..=showtime.seats_per_row - count + 1);
        let seat = |at: usize| format!("{}{}", showtime.rows[row], first + at);
        if !showtime.has_types {
            return json!({"showtimeId": id, "seats": (0..count).map(seat).collect::<Vec<_>>()});
        }
        let ticket = |at: usize| json!({"seat": seat(at), "type": of(at)});
        json!({"showtimeId": id, "tickets": (0..count).map(ticket).collect::<Vec<_>>()})
    }

    /// Orders seats; returns the id and the answer if the order was accepted.
    async fn order(&mut self) -> Option<(Uuid, String)> {
        let showtime = self.next_showtime()?;
        let body = self.choose_seats(&showtime);
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
            Behaviour::ExchangesForMore => {
                self.pay(id, "pm_card_visa").await;
                if self.until_confirmed(id).await {
                    self.exchange_for_more(id, order).await;
                }
            }
            Behaviour::ReturnsTwiceAtOnce => {
                self.pay(id, "pm_card_visa").await;
                if self.until_confirmed(id).await {
                    self.return_twice_at_once(id, order).await;
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

    /// Gives back the first and the last seat at the same time, so that both are planned on one version: of two seats the second
    /// return is a cancellation.
    async fn return_twice_at_once(&self, id: Uuid, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let Some(seats) = order["seats"].as_array() else { return };
        let [Some(first), Some(last)] = [seats.first(), seats.last()] else { return };
        tokio::join!(self.give_back(id, first), self.give_back(id, last));
    }

    async fn give_back(&self, id: Uuid, seat: &Value) {
        let key = Uuid::new_v4().to_string();
        // The result is read from seats and money at the end; any answer is allowed.
        let body = json!({"seats": [seat]});
        let _ = self
            .client
            .post(&format!("/v1/reservations/{id}/cancel"), &self.account.token, &key, &body)
            .await;
    }

    async fn exchange(&self, id: Uuid, count: usize) {
        let key = Uuid::new_v4().to_string();
        let path = format!("/v1/reservations/{id}/exchange");
        let body = json!({"bestAvailable": {"count": count}});
        // The result is read from seats and money at the end; any answer is allowed.
        let _ = self.client.post(&path, &self.account.token, &key, &body).await;
    }

    /// Exchanges for one seat more and pays the difference, sometimes twice; every third order is cancelled then.
    async fn exchange_for_more(&self, id: Uuid, order: &str) {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        let Some(count) = order["seats"].as_array().map(Vec::len) else { return };
        let (key, path) = (Uuid::new_v4().to_string(), format!("/v1/reservations/{id}/exchange"));
        let body = json!({"bestAvailable": {"count": count + 1}});
        let answer = self.client.post(&path, &self.account.token, &key, &body).await;
        let Outcome::Done(text) = answer else { return };
        let Some(new) = id_of(&text).filter(|new| *new != id) else { return };
        self.pay(new, "pm_card_visa").await;
        if self.until_confirmed(new).await && new.as_u128() % 3 == 0 {
            self.cancel(new).await;
        }
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
