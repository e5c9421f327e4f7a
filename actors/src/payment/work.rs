//! What a payment actor is given to do, which rule decides it, what of it is written, and how its sender hears.
//!
//! Invariant: a stream's message is acknowledged, and an asker answered, only after what follows from it is committed.

use bus::consumer::Delivery;
use bus::contract::Timestamp;
use bus::contract::payment::{
    PaymentEnd, PaymentFailed, PaymentInitiated, RefundCompleted, RefundFailed, Rejection,
};
use bus::contract::reservation::{RefundRequested, ReservationCancelled, ReservationCreated};
use bus::event::Outgoing;
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Env;
use super::actor::Known;
use super::calls::Heard;
use super::model::{Facts, Payment};
use super::refund;
use super::rules::{self, Paying, Wish};
use super::step::{CANCELLED, Call, KeyWrite, Said, Step};
use super::store::{PaymentRows, ProviderEvent, Rows};
use super::webhook::{About, Notice};
use crate::delivery::{Change, IdempotencyWrite, InboxKey, StoredAnswer};

pub const CONSUMER: &str = "payment";
/// The inbox's name for the provider's webhooks.
const PROVIDER: &str = "provider";

/// `Ok(None)`: the answer is stored under the idempotency key.
pub type PayReply = oneshot::Sender<Result<Option<Bytes>, Problem>>;
pub type EndReply = oneshot::Sender<Result<PaymentEnd, Problem>>;

pub enum Work {
    Created(Box<ReservationCreated>, Delivery),
    Cancelled(Box<ReservationCancelled>, Delivery),
    Refund(Box<RefundRequested>, Delivery),
    Pay(Box<PayWork>),
    End { code: &'static str, context: Context, reply: EndReply },
    Notice(Box<NoticeWork>),
    Heard(Call, Heard),
    Due,
}

pub struct PayWork {
    pub wish: Wish,
    pub facts: Facts,
    pub reply: PayReply,
    /// When the asker gives up.
    pub until: Instant,
    /// An older attempt was asked to be closed on its behalf.
    pub waited: bool,
}

pub struct NoticeWork {
    pub notice: Notice,
    pub body: String,
    pub reply: oneshot::Sender<Result<(), Problem>>,
}

/// What follows: a step from a payment as it was before, or nothing.
pub struct Decision {
    pub step: Option<(Payment, Step)>,
}

pub enum No {
    Rejection(Rejection),
    Failure(Failure),
}

impl From<Rejection> for No {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

impl Work {
    /// A new reservation's payment is almost never there, so it is written without a look.
    pub fn needs_row(&self) -> bool {
        !matches!(self, Self::Created(..))
    }

    /// Another host may have changed what a decision to do nothing would rest on.
    pub fn wants_fresh(&self, known: &Known) -> bool {
        match self {
            Self::Pay(_) | Self::End { .. } | Self::Refund(..) | Self::Due => true,
            // Most webhooks tell what the answer told already; looking each time would be a read for nothing.
            Self::Notice(work) => {
                matches!(known, Known::Absent) || matches!(work.notice.about, About::Refund { .. })
            }
            Self::Created(..) | Self::Cancelled(..) | Self::Heard(..) => false,
        }
    }

    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Pay(pay) => Some(pay.until),
            _ => None,
        }
    }

    pub fn decide(&self, known: &Known, now: Timestamp) -> Result<Decision, No> {
        let here = match known {
            Known::Here(payment) => Some(payment),
            Known::Absent | Known::Unread => None,
        };
        let opened = |facts: Facts, context: &Context| match here {
            Some(payment) => payment.clone(),
            None => Payment::open(facts, context, now),
        };
        let (before, step) = match self {
            Self::Created(..) if here.is_some() => return Ok(Decision { step: None }),
            Self::Created(created, delivery) => {
                let before = opened(facts(created), &delivery.context);
                let step = rules::opened(&before, now);
                (before, step)
            }
            Self::Cancelled(cancelled, delivery) => {
                let before = opened(facts(&cancelled.reservation), &delivery.context);
                let step = rules::end(&before, CANCELLED, now);
                (before, step)
            }
            Self::Pay(pay) => {
                if Instant::now() >= pay.until {
                    return Err(No::Failure(Failure::transient("nobody waits for this payment any more")));
                }
                let before = opened(pay.facts.clone(), &pay.wish.context);
                let step = match rules::pay(&before, &pay.wish, now)? {
                    Paying::Begin(step) => *step,
                    Paying::CloseFirst(_) if pay.waited => return Err(Rejection::ProviderAway.into()),
                    Paying::CloseFirst(step) => *step,
                };
                (before, step)
            }
            Self::Refund(wanted, _) => {
                let before = here.filter(|payment| payment.id == wanted.payment_id);
                let before =
                    before.ok_or_else(|| No::Failure(Failure::poison("there is no such payment")))?;
                (before.clone(), refund::requested(before, wanted, now))
            }
            work => match here {
                Some(before) => (before.clone(), work.follow(before, now)),
                None => return Ok(Decision { step: None }),
            },
        };
        Ok(Decision { step: Some((before, step)) })
    }

    /// What needs a payment to be about.
    fn follow(&self, before: &Payment, now: Timestamp) -> Step {
        match self {
            Self::End { code, .. } => rules::end(before, code, now),
            Self::Heard(call, Heard::Attempt(answer)) => rules::answered(before, *call, answer, now),
            Self::Heard(Call::Refund(id) | Call::LookAtRefund(id), Heard::Refund(tries, answer)) => {
                refund::answered(before, *id, *tries, answer, now)
            }
            Self::Notice(work) if work.notice.payment_id.is_none_or(|id| id == before.id) => {
                match &work.notice.about {
                    About::Attempt { number, sight } => rules::seen(before, *number, sight, now),
                    About::Refund { id: Some(id), tries, sight } => {
                        refund::seen(before, *id, *tries, sight, now)
                    }
                    About::Refund { id: None, .. } | About::Other => rules::nothing(before, now),
                }
            }
            Self::Due => rules::due(before, now),
            _ => rules::nothing(before, now),
        }
    }

    pub fn provider_event(&self) -> Option<ProviderEvent> {
        let Self::Notice(work) = self else { return None };
        let Notice { id, kind, .. } = &work.notice;
        Some(ProviderEvent { id: id.clone(), kind: kind.clone(), body: work.body.clone() })
    }

    fn inbox(&self) -> Option<InboxKey> {
        match self {
            Self::Created(_, delivery) | Self::Cancelled(_, delivery) | Self::Refund(_, delivery) => {
                Some(InboxKey { consumer: CONSUMER, event_id: delivery.id.clone() })
            }
            Self::Notice(work) => Some(InboxKey { consumer: PROVIDER, event_id: work.notice.id.clone() }),
            _ => None,
        }
    }

    /// The request that caused it; what nobody asked for just now goes back to who began the payment, and so does what the
    /// provider tells: it came of that request, whichever of webhook and answer was faster.
    fn context<'a>(&'a self, payment: &'a Payment) -> &'a Context {
        match self {
            Self::Created(_, delivery) | Self::Cancelled(_, delivery) | Self::Refund(_, delivery) => {
                &delivery.context
            }
            Self::Pay(pay) => &pay.wish.context,
            Self::End { context, .. } => context,
            Self::Notice(_) | Self::Heard(..) | Self::Due => &payment.context,
        }
    }

    pub fn done(self) {
        match self {
            Self::Created(_, delivery) | Self::Cancelled(_, delivery) | Self::Refund(_, delivery) => {
                delivery.ack();
            }
            Self::Notice(work) => drop(work.reply.send(Ok(()))),
            Self::Pay(_) | Self::End { .. } | Self::Heard(..) | Self::Due => {}
        }
    }

    pub fn refuse(self, no: No) {
        match (self, no) {
            (Self::Pay(pay), No::Rejection(rejection)) => drop(pay.reply.send(Err(rejection.into()))),
            (work, No::Rejection(rejection)) => work.fail(Failure::poison(format!("{rejection:?}"))),
            (work, No::Failure(failure)) => work.fail(failure),
        }
    }

    /// The key was claimed a moment ago by another request.
    pub fn repeated(self, stored: &StoredAnswer) {
        match self {
            Self::Pay(pay) => drop(pay.reply.send(repeated(stored, &pay.wish.hash).map(Some))),
            work => work.fail(Failure::poison("only paying has an idempotency key")),
        }
    }

    pub fn fail(self, failure: Failure) {
        match self {
            Self::Created(_, delivery) | Self::Cancelled(_, delivery) | Self::Refund(_, delivery) => {
                delivery.fail(failure);
            }
            Self::Pay(pay) => drop(pay.reply.send(Err(failure.into()))),
            Self::End { reply, .. } => drop(reply.send(Err(failure.into()))),
            Self::Notice(work) => drop(work.reply.send(Err(failure.into()))),
            // The row's deadline brings it back.
            Self::Heard(..) | Self::Due => {
                tracing::warn!(%failure, "a payment's step was not written; asking again")
            }
        }
    }
}

/// What a repeated request gets: the first answer, byte for byte, or why not yet or not at all.
pub fn repeated(stored: &StoredAnswer, hash: &[u8; 32]) -> Result<Bytes, Problem> {
    match &stored.response {
        _ if stored.request_hash != *hash => Err(Rejection::IdempotencyMismatch.into()),
        Some(response) => Ok(response.clone()),
        None => Err(Rejection::IdempotencyRunning.into()),
    }
}

type Written = (Change<Rows>, Option<(i32, Bytes)>);

/// The change that a piece of work makes, and the answer that it stores.
pub fn change(env: &Env, work: &Work, decided: Option<&(Payment, Step)>) -> Result<Written, No> {
    let mut change = Change::new(Rows { payment: None, event: work.provider_event() });
    change.inbox = work.inbox();
    let Some((before, step)) = decided.filter(|(_, step)| step.changed) else { return Ok((change, None)) };
    change.rows.payment = Some(PaymentRows::of(before, step));
    let context = work.context(&step.payment);
    change.outbox = step.said.iter().filter_map(|said| outgoing(env, step, said, context)).collect();
    let mut completed = None;
    change.idempotency = match &step.key {
        None => None,
        Some(KeyWrite::Claim { key, hash }) => {
            Some(IdempotencyWrite::Claim { key: key.clone(), request_hash: *hash, response: None })
        }
        Some(KeyWrite::Forget { key }) => Some(IdempotencyWrite::Forget { key: key.clone() }),
        Some(KeyWrite::Complete { key, attempt }) => {
            let shown = serde_json::to_vec(&step.payment.shown());
            let response: Bytes = shown.map_err(|e| No::Failure(Failure::poison(e)))?.into();
            completed = Some((*attempt, response.clone()));
            Some(IdempotencyWrite::Complete { key: key.clone(), response })
        }
    };
    Ok((change, completed))
}

fn outgoing(env: &Env, step: &Step, said: &Said, context: &Context) -> Option<Outgoing> {
    let payment = &step.payment;
    let (payment_id, reservation_id, at) = (payment.id, payment.reservation_id, payment.updated_at);
    Some(match said {
        Said::Initiated(number) => {
            let checkout_url = payment.attempt(*number)?.checkout_url.clone();
            let expires_at = payment.expires_at;
            let event = PaymentInitiated { payment_id, reservation_id, checkout_url, expires_at };
            Outgoing::new(CONSUMER, &event, at, context)
        }
        Said::Success => Outgoing::new(CONSUMER, &payment.success(env.provider.name())?, at, context),
        Said::Failed { code } => {
            let reason = "The payment is over; nothing was captured.".to_owned();
            let event = PaymentFailed { payment_id, reservation_id, code: code.clone(), reason };
            Outgoing::new(CONSUMER, &event, at, context)
        }
        Said::RefundCompleted(id) => {
            let total = payment.refund(*id)?.total;
            let event = RefundCompleted { refund_id: *id, reservation_id, payment_id, total };
            Outgoing::new(CONSUMER, &event, at, context)
        }
        Said::RefundFailed(id) => {
            let refund = payment.refund(*id)?;
            let (total, code) = (refund.total, refund.code.clone());
            let event = RefundFailed { refund_id: *id, reservation_id, payment_id, total, code };
            Outgoing::new(CONSUMER, &event, at, context)
        }
    })
}

fn facts(created: &ReservationCreated) -> Facts {
    Facts {
        reservation_id: created.reservation_id,
        user_id: created.user_id,
        email: Some(created.email.clone()),
        description: format!("{} · {}", created.movie_title, created.seats.join(", ")),
        total: created.total,
        expires_at: created.expires_at,
    }
}
