//! Calls to the provider: built from the payment as it was committed, tried again while the outcome is unknown.
//!
//! Invariant: a call that is tried again is the same call, under the same provider key.

use std::time::Duration;

use tokio::time::Instant;

use super::model::{Attempt, Payment};
use super::provider::{Answer, Order, Place, Provider, RefundOrder, RefundSight, Sight};
use super::step::Call;

/// Beyond this somebody waits for nothing: the deadline sweep goes on asking.
const TRIES_MAX: u64 = 3;

pub enum Request {
    Begin(Order),
    Look(Place),
    Close(Order, Option<Place>),
    Refund(RefundOrder),
    LookAtRefund(String, i32),
}

/// How a call ended; a refund's answer names the try that it is about.
pub enum Heard {
    Attempt(Answer<Sight>),
    Refund(i32, Answer<RefundSight>),
}

/// `None` where there is nothing to ask about.
pub fn request(payment: &Payment, call: Call) -> Option<Request> {
    Some(match call {
        Call::Begin(number) => Request::Begin(order(payment, payment.attempt(number)?)),
        Call::Look(number) => Request::Look(place(payment.attempt(number)?)?),
        Call::Close(number) => {
            let attempt = payment.attempt(number)?;
            Request::Close(order(payment, attempt), place(attempt))
        }
        Call::Refund(id) => {
            let refund = payment.refund(id)?;
            Request::Refund(RefundOrder {
                payment_id: payment.id,
                reservation_id: payment.reservation_id,
                refund_id: id,
                tries: refund.tries,
                intent: refund.intent.clone(),
                total: refund.total,
            })
        }
        Call::LookAtRefund(id) => {
            let refund = payment.refund(id)?;
            Request::LookAtRefund(refund.provider_ref.clone()?, refund.tries)
        }
    })
}

/// Asks until something definite is said, the tries are used up, or it is `until`.
pub async fn ask(provider: &dyn Provider, request: &Request, until: Instant) -> Heard {
    let mut heard = request.unheard("no time was left");
    // Not seeded by the payment alone: payments that failed together must not come back together.
    let seed = rand::random();
    for tries in 1..=TRIES_MAX {
        match tokio::time::timeout_at(until, request.send(provider)).await {
            Ok(answered) => heard = answered,
            Err(_) => return request.unheard("no answer in time"),
        }
        let pause = bus::retry::delay(tries, seed);
        if !heard.is_unknown() || Instant::now() + pause >= until {
            break;
        }
        metrics::counter!("payment_provider_retries_total").increment(1);
        tokio::time::sleep(if tries < TRIES_MAX { pause } else { Duration::ZERO }).await;
    }
    heard
}

impl Request {
    /// What it is called in a trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Look(_) => "look",
            Self::Close(..) => "close",
            Self::Refund(_) => "refund",
            Self::LookAtRefund(..) => "look at refund",
        }
    }

    async fn send(&self, provider: &dyn Provider) -> Heard {
        match self {
            Self::Begin(order) => Heard::Attempt(provider.begin(order).await),
            Self::Look(place) => Heard::Attempt(provider.look(place).await),
            Self::Close(order, place) => Heard::Attempt(provider.close(order, place.as_ref()).await),
            Self::Refund(order) => Heard::Refund(order.tries, provider.refund(order).await),
            Self::LookAtRefund(reference, tries) => {
                Heard::Refund(*tries, provider.look_at_refund(reference).await)
            }
        }
    }

    fn unheard(&self, why: &str) -> Heard {
        match self {
            Self::Refund(RefundOrder { tries, .. }) | Self::LookAtRefund(_, tries) => {
                Heard::Refund(*tries, Answer::Unknown(why.to_owned()))
            }
            _ => Heard::Attempt(Answer::Unknown(why.to_owned())),
        }
    }
}

impl Heard {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Attempt(Answer::Unknown(_)) | Self::Refund(_, Answer::Unknown(_)))
    }
}

fn order(payment: &Payment, attempt: &Attempt) -> Order {
    Order {
        payment_id: payment.id,
        reservation_id: payment.reservation_id,
        attempt: attempt.number,
        kind: attempt.kind.clone(),
        total: payment.total,
        description: payment.description.clone(),
        email: payment.email.clone(),
    }
}

/// The page where there is one: its payment appears and ends with it.
fn place(attempt: &Attempt) -> Option<Place> {
    let page = attempt.session.clone().map(Place::Page);
    page.or_else(|| attempt.intent.clone().map(Place::Intent))
}
