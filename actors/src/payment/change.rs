//! What a step becomes on its way to the journal: rows, events, and the answer that an idempotency key keeps.

use std::time::Duration;

use bus::contract::payment::{
    PaymentDisputed, PaymentFailed, PaymentInitiated, RefundCompleted, RefundFailed, Rejection,
};
use bus::event::Outgoing;
use bus::{Context, Failure, Problem};
use bytes::Bytes;

use super::Env;
use super::model::Payment;
use super::step::{Call, KeyWrite, Said, Step};
use super::store::{Bound, PaymentRows, ProviderEvent, Rows};
use super::work::{CONSUMER, No, Work};
use crate::delivery::{Change, IdempotencyWrite, StoredAnswer};

/// How long a decline counts to its account.
const DECLINES_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What a repeated request gets: the first answer, byte for byte, or why not yet or not at all.
pub fn repeated(stored: &StoredAnswer, hash: &[u8; 32]) -> Result<Bytes, Problem> {
    match &stored.response {
        _ if stored.request_hash != *hash => Err(Rejection::IdempotencyMismatch.into()),
        Some(response) => Ok(response.clone()),
        None => Err(Rejection::IdempotencyRunning.into()),
    }
}

/// The answer that a key keeps, and the attempt that it is about: 0 where a payment needed none.
type Written = (Change<Rows>, Option<(i32, Bytes)>);

/// The change that a piece of work makes, and the answer that it stores.
pub fn change(env: &Env, work: &Work, decided: Option<&(Payment, Step)>) -> Result<Written, No> {
    let about = decided.map(|(before, _)| before.id);
    let event = work.provider_event().map(|event| ProviderEvent { payment_id: about, ..event });
    let mut change = Change::new(Rows { event, ..Rows::default() });
    let Some((before, step)) = decided.filter(|(_, step)| step.changed) else { return Ok((change, None)) };
    change.rows.payment = Some(PaymentRows::of(before, step, bound(work, step)));
    let context = work.context(&step.payment);
    change.outbox = step.said.iter().filter_map(|said| outgoing(env, step, said, context)).collect();
    let answer = || {
        let shown = serde_json::to_vec(&step.payment.shown());
        shown.map(Bytes::from).map_err(|e| No::Failure(Failure::poison(e)))
    };
    let mut completed = None;
    change.idempotency = match &step.key {
        None => None,
        Some(KeyWrite::Answer { key, hash }) => {
            let response = answer()?;
            completed = Some((0, response.clone()));
            let (key, request_hash) = (key.clone(), *hash);
            Some(IdempotencyWrite::Claim { key, request_hash, response: Some(response) })
        }
        Some(KeyWrite::Claim { key, hash }) => {
            Some(IdempotencyWrite::Claim { key: key.clone(), request_hash: *hash, response: None })
        }
        Some(KeyWrite::Forget { key }) => Some(IdempotencyWrite::Forget { key: key.clone() }),
        Some(KeyWrite::Complete { key, attempt }) => {
            let response = answer()?;
            completed = Some((*attempt, response.clone()));
            Some(IdempotencyWrite::Complete { key: key.clone(), response })
        }
    };
    Ok((change, completed))
}

/// The bound of the direct charge that this step begins, if it begins one.
fn bound(work: &Work, step: &Step) -> Option<Bound> {
    let Work::Pay(pay) = work else { return None };
    let limits = pay.wish.bounded_charge()?;
    let begun = step.calls.iter().find_map(|call| match call {
        Call::Begin(number) => Some(*number),
        _ => None,
    });
    let (payer, since) = (step.payment.user_id, step.payment.updated_at.minus(DECLINES_FOR));
    Some(Bound { payer, number: begun?, most: limits.per_account_day_max, since })
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
        Said::Disputed(id) => {
            let dispute = payment.disputes.iter().find(|dispute| dispute.id == *id)?.shown();
            let event = PaymentDisputed { payment_id, reservation_id, dispute };
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
