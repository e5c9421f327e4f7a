//! What a payment actor is given to do, which rule decides it, what of it is written, and how its sender hears.
//!
//! Invariant: a stream's message is acknowledged, and an asker answered, only after what follows from it is committed.

use bus::consumer::Delivery;
use bus::contract::payment::{self as contract, PaymentEnd, Rejection};
use bus::contract::reservation::{
    RefundRequested, ReservationCancelled, ReservationCreated, ReservationExchanged,
};
use bus::contract::{Timestamp, seat_list};
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::actor::Known;
use super::calls::Heard;
use super::change;
use super::dispute;
use super::model::{Facts, Payment, Stage};
use super::refund;
use super::rules::{self, Paying, Wish};
use super::show;
use super::step::{Call, Step};
use super::store::ProviderEvent;
use super::webhook::{About, Notice};
use crate::delivery::StoredAnswer;

pub const CONSUMER: &str = "payment";

/// `Ok(None)`: the answer is stored under the idempotency key.
pub type PayReply = oneshot::Sender<Result<Option<Bytes>, Problem>>;
pub type ShownReply = oneshot::Sender<Result<contract::Payment, Problem>>;
pub type EndReply = oneshot::Sender<Result<PaymentEnd, Problem>>;

pub enum Work {
    Created(Box<ReservationCreated>, Delivery),
    Cancelled(Box<ReservationCancelled>, Delivery),
    Exchanged(Box<ReservationExchanged>, Delivery),
    Refund(Box<RefundRequested>, Delivery),
    Pay(Box<PayWork>),
    End {
        code: &'static str,
        context: Context,
        reply: EndReply,
    },
    Notice(Box<NoticeWork>),
    /// A person wants everything asked again.
    Resume {
        by: Uuid,
        context: Context,
        reply: ShownReply,
    },
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
    /// Its key was looked up and is not used.
    pub key_is_new: bool,
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

impl PayWork {
    /// Something was tried before, perhaps by this very request: its key has to be looked up. Nearly all payments are the
    /// first try, and none of those looks. A payment of nothing is paid without an attempt.
    pub fn may_repeat(&self, known: &Known) -> bool {
        let is_tried = |payment: &Payment| !payment.attempts.is_empty() || payment.stage != Stage::Payable;
        !self.key_is_new && matches!(known, Known::Here(payment) if is_tried(payment))
    }
}

impl Work {
    /// Another host may have changed what a decision to do nothing would rest on.
    pub fn wants_fresh(&self, known: &Known) -> bool {
        match self {
            Self::Pay(_) | Self::End { .. } | Self::Refund(..) | Self::Resume { .. } | Self::Due => true,
            // Most webhooks tell what the answer told already; looking each time would be a read for nothing.
            Self::Notice(work) => {
                let rare = matches!(work.notice.about, About::Refund { .. } | About::Dispute(_));
                rare || matches!(known, Known::Absent)
            }
            // Of a payment that is here a newer row has a newer version of the reservation, or the write shows it.
            Self::Exchanged(..) => matches!(known, Known::Absent),
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
                let step = show::cancelled(&before, cancelled, now);
                (before, step)
            }
            Self::Exchanged(exchanged, _) => {
                let before = here.filter(|payment| payment.id == exchanged.payment_id);
                let before = before.ok_or_else(no_such_payment)?;
                (before.clone(), show::exchanged(before, exchanged, now))
            }
            Self::Pay(pay) => {
                if Instant::now() >= pay.until {
                    return Err(No::Failure(Failure::transient("nobody waits for this payment any more")));
                }
                let before = opened(pay.facts.clone(), &pay.wish.context);
                let step = match rules::pay(&before, &pay.wish, now)? {
                    Paying::Begin(step) | Paying::Done(step) => *step,
                    Paying::CloseFirst(_) if pay.waited => return Err(Rejection::ProviderAway.into()),
                    Paying::CloseFirst(step) => *step,
                };
                (before, step)
            }
            Self::Refund(wanted, _) => {
                let before = here.filter(|payment| payment.id == wanted.payment_id);
                let before = before.ok_or_else(no_such_payment)?;
                (before.clone(), refund::requested(before, wanted, now))
            }
            Self::Resume { .. } if here.is_none() => return Err(Rejection::NoSuchPayment.into()),
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
            Self::Heard(Call::FindRefund(id), Heard::Refund(tries, answer)) => {
                refund::looked_for(before, *id, *tries, answer, now)
            }
            Self::Heard(Call::LookAtDispute(id), Heard::Dispute(answer)) => {
                dispute::answered(before, *id, answer, now)
            }
            Self::Resume { by, .. } => rules::resume(before, *by, now),
            Self::Notice(work) if work.notice.payment_id.is_none_or(|id| id == before.id) => {
                match &work.notice.about {
                    About::Attempt { number, sight } => rules::seen(before, *number, sight, now),
                    About::Refund { id: Some(id), tries, sight } => {
                        refund::seen(before, *id, *tries, sight, now)
                    }
                    About::Dispute(sight) => dispute::seen(before, sight, now),
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
        let (id, kind, body) = (id.clone(), kind.clone(), work.body.clone());
        Some(ProviderEvent { id, kind, body, payment_id: None })
    }

    /// The request that caused it; what nobody in the house asked for just now goes back to who began the payment, and so
    /// does what the provider tells: it came of that request, whichever of webhook and answer was faster.
    pub fn context<'a>(&'a self, payment: &'a Payment) -> &'a Context {
        match self {
            Self::Created(_, delivery)
            | Self::Cancelled(_, delivery)
            | Self::Exchanged(_, delivery)
            | Self::Refund(_, delivery) => &delivery.context,
            Self::Pay(pay) => &pay.wish.context,
            Self::End { context, .. } | Self::Resume { context, .. } => context,
            Self::Notice(_) | Self::Heard(..) | Self::Due => &payment.context,
        }
    }

    pub fn done(self) {
        match self {
            Self::Created(_, delivery)
            | Self::Cancelled(_, delivery)
            | Self::Exchanged(_, delivery)
            | Self::Refund(_, delivery) => {
                delivery.ack();
            }
            Self::Notice(work) => drop(work.reply.send(Ok(()))),
            Self::Pay(_) | Self::End { .. } | Self::Resume { .. } | Self::Heard(..) | Self::Due => {}
        }
    }

    pub fn refuse(self, no: No) {
        match (self, no) {
            (Self::Pay(pay), No::Rejection(rejection)) => drop(pay.reply.send(Err(rejection.into()))),
            (Self::Resume { reply, .. }, No::Rejection(rejection)) => {
                drop(reply.send(Err(rejection.into())));
            }
            (work, No::Rejection(rejection)) => work.fail(Failure::poison(format!("{rejection:?}"))),
            (work, No::Failure(failure)) => work.fail(failure),
        }
    }

    /// The key was claimed a moment ago by another request.
    pub fn repeated(self, stored: &StoredAnswer) {
        match self {
            Self::Pay(pay) => drop(pay.reply.send(change::repeated(stored, &pay.wish.hash).map(Some))),
            work => work.fail(Failure::poison("only paying has an idempotency key")),
        }
    }

    pub fn fail(self, failure: Failure) {
        match self {
            Self::Created(_, delivery)
            | Self::Cancelled(_, delivery)
            | Self::Exchanged(_, delivery)
            | Self::Refund(_, delivery) => {
                delivery.fail(failure);
            }
            Self::Pay(pay) => drop(pay.reply.send(Err(failure.into()))),
            Self::End { reply, .. } => drop(reply.send(Err(failure.into()))),
            Self::Resume { reply, .. } => drop(reply.send(Err(failure.into()))),
            Self::Notice(work) => drop(work.reply.send(Err(failure.into()))),
            // The row's deadline brings it back.
            Self::Heard(..) | Self::Due => {
                tracing::warn!(%failure, "a payment's step was not written; asking again")
            }
        }
    }
}

fn no_such_payment() -> No {
    No::Failure(Failure::poison("there is no such payment"))
}

fn facts(created: &ReservationCreated) -> Facts {
    Facts {
        reservation_id: created.reservation_id,
        user_id: created.user_id,
        email: Some(created.email.clone()),
        description: format!("{} · {}", created.movie_title, seat_list(&created.seats)),
        sale: Some(show::sale(created)),
        seats_version: created.version,
        total: created.total,
        expires_at: created.expires_at,
    }
}
