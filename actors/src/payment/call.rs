//! The calls of the provider that a step decides: what each is made of, and how it is sent.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::model::{Attempt, Payment, Refund};
use super::provider::{Answer, AttemptView, DisputeView, Order, Place, Provider, RefundOrder, RefundView};

/// Calls of one request; after that the next check repeats it.
const TRIES_MAX: u64 = 3;

/// A call to the provider, made once the step is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderCall {
    Begin(i32),
    Look(i32),
    Close(i32),
    Refund(Uuid),
    LookAtRefund(Uuid),
    /// Whether the provider has the refund, where its id was never received.
    FindRefund(Uuid),
    LookAtDispute(Uuid),
}

/// How a call ended; a refund's reply names the try that it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderReply {
    Attempt(Answer<AttemptView>),
    Refund(i32, Answer<RefundView>),
    Dispute(Answer<DisputeView>),
}

impl std::fmt::Display for ProviderCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin(number) => write!(f, "begin attempt {number}"),
            Self::Look(number) => write!(f, "look at attempt {number}"),
            Self::Close(number) => write!(f, "close attempt {number}"),
            Self::Refund(id) => write!(f, "make refund {id}"),
            Self::LookAtRefund(id) => write!(f, "look at refund {id}"),
            Self::FindRefund(id) => write!(f, "find refund {id}"),
            Self::LookAtDispute(id) => write!(f, "look at dispute {id}"),
        }
    }
}

/// A call to the provider with all its parameters.
pub enum Request {
    Begin(Order),
    Look(Place),
    Close(Order, Option<Place>),
    Refund(RefundOrder),
    LookAtRefund(String, i32),
    FindRefund(RefundOrder),
    LookAtDispute(String),
}

/// The request of a call, from the payment as it was committed; `None` where there is nothing to request.
pub fn request(payment: &Payment, call: ProviderCall) -> Option<Request> {
    Some(match call {
        ProviderCall::Begin(number) => Request::Begin(order(payment, payment.attempt(number)?)),
        ProviderCall::Look(number) => Request::Look(place(payment.attempt(number)?)?),
        ProviderCall::Close(number) => {
            let attempt = payment.attempt(number)?;
            Request::Close(order(payment, attempt), place(attempt))
        }
        ProviderCall::Refund(id) => Request::Refund(refund_order(payment, payment.refund(id)?)),
        ProviderCall::FindRefund(id) => Request::FindRefund(refund_order(payment, payment.refund(id)?)),
        ProviderCall::LookAtDispute(id) => {
            let dispute = payment.dispute(id)?;
            Request::LookAtDispute(dispute.provider_ref.clone())
        }
        ProviderCall::LookAtRefund(id) => {
            let refund = payment.refund(id)?;
            Request::LookAtRefund(refund.provider_ref.clone()?, refund.tries)
        }
    })
}

/// Sends the request until it is answered definitely, the tries are used up, or it is `until`.
pub async fn send(provider: &dyn Provider, request: &Request, until: Instant) -> ProviderReply {
    let mut reply = request.unknown("no time was left");
    // Not seeded by the payment alone: payments that failed together must not be retried together.
    let seed = rand::random();
    for tries in 1..=TRIES_MAX {
        match tokio::time::timeout_at(until, request.send(provider)).await {
            Ok(answered) => reply = answered,
            Err(_) => return request.unknown("no answer in time"),
        }
        let pause = bus::retry::delay(tries, seed);
        if !reply.is_unknown() || Instant::now() + pause >= until {
            break;
        }
        metrics::counter!("payment_provider_retries_total").increment(1);
        tokio::time::sleep(if tries < TRIES_MAX { pause } else { Duration::ZERO }).await;
    }
    reply
}

impl Request {
    /// Its name in a trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Look(_) => "look",
            Self::Close(..) => "close",
            Self::Refund(_) => "refund",
            Self::LookAtRefund(..) => "look at refund",
            Self::FindRefund(_) => "find refund",
            Self::LookAtDispute(_) => "look at dispute",
        }
    }

    async fn send(&self, provider: &dyn Provider) -> ProviderReply {
        match self {
            Self::Begin(order) => ProviderReply::Attempt(provider.begin(order).await),
            Self::Look(place) => ProviderReply::Attempt(provider.look(place).await),
            Self::Close(order, place) => ProviderReply::Attempt(provider.close(order, place.as_ref()).await),
            Self::Refund(order) => ProviderReply::Refund(order.tries, provider.refund(order).await),
            Self::LookAtRefund(reference, tries) => {
                ProviderReply::Refund(*tries, provider.look_at_refund(reference).await)
            }
            Self::FindRefund(order) => ProviderReply::Refund(order.tries, provider.find_refund(order).await),
            Self::LookAtDispute(reference) => {
                ProviderReply::Dispute(provider.look_at_dispute(reference).await)
            }
        }
    }

    fn unknown(&self, why: &str) -> ProviderReply {
        match self {
            Self::Refund(RefundOrder { tries, .. })
            | Self::FindRefund(RefundOrder { tries, .. })
            | Self::LookAtRefund(_, tries) => ProviderReply::Refund(*tries, Answer::Unknown(why.to_owned())),
            Self::LookAtDispute(_) => ProviderReply::Dispute(Answer::Unknown(why.to_owned())),
            Self::Begin(_) | Self::Look(_) | Self::Close(..) => {
                ProviderReply::Attempt(Answer::Unknown(why.to_owned()))
            }
        }
    }
}

impl ProviderReply {
    fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Attempt(Answer::Unknown(_))
                | Self::Refund(_, Answer::Unknown(_))
                | Self::Dispute(Answer::Unknown(_))
        )
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

fn refund_order(payment: &Payment, refund: &Refund) -> RefundOrder {
    RefundOrder {
        payment_id: payment.id,
        reservation_id: payment.reservation_id,
        refund_id: refund.id,
        tries: refund.tries,
        intent: refund.intent.clone(),
        total: refund.total,
    }
}

/// The page where there is one: the provider's payment is created and ends with it.
fn place(attempt: &Attempt) -> Option<Place> {
    let page = attempt.session.clone().map(Place::Page);
    page.or_else(|| attempt.intent.clone().map(Place::Intent))
}
