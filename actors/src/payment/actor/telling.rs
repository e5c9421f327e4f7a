//! What the payment actor tells: those who wait for an attempt or an end, and the log.
//!
//! Invariant: nobody is told anything that is not committed, and whoever waits is told as soon as nobody is working on it.

use std::collections::HashSet;

use bus::contract::payment::{PaymentEnd, Rejection};
use bytes::Bytes;

use super::super::declines;
use super::super::hear::NO_SUCH_METHOD;
use super::super::model::{Payment, Stage, State};
use super::super::step::{Call, Step};
use super::super::work::{PayWork, Work};
use super::{Known, PaymentActor};

impl PaymentActor {
    /// Tells whoever waits for what is settled by now, or for what nobody is working on any more.
    pub fn tell(&mut self) {
        let answers_wait = self.waiting.iter().any(|work| matches!(work, Work::Heard(..)));
        if self.busy || answers_wait {
            return;
        }
        let closing = self.calls.iter().any(|call| matches!(call, Call::Close(_) | Call::Begin(_)));
        if !closing && let Some(pay) = self.parked.take() {
            self.waiting.push_front(Work::Pay(pay));
            // Decided by `go_on`, which called this or is about to go on.
        }
        let Known::Here(payment) = &self.known else {
            return self.give_up(closing);
        };
        let (calls, completed) = (&self.calls, &mut self.completed);
        let done: Vec<i32> = self
            .pays
            .keys()
            .filter(|number| is_settled(payment, **number) || !is_asked(calls, **number))
            .copied()
            .collect();
        for number in done {
            if let Some(reply) = self.pays.remove(&number) {
                // The asker may have given up waiting.
                let _ = reply.send(outcome(payment, number, completed.remove(&number)));
            }
        }
        completed.clear();
        let ended = match &payment.stage {
            Stage::Over { .. } => Some(PaymentEnd::Over),
            Stage::Captured { .. } => {
                payment.success(self.env.provider.name()).map(|success| PaymentEnd::Captured { success })
            }
            _ if closing => None,
            _ => Some(PaymentEnd::Unknown),
        };
        if let Some(ended) = ended {
            self.ends.drain(..).for_each(|reply| drop(reply.send(Ok(ended.clone()))));
        }
    }

    /// Gives the first answer to a request that is repeated; one that is not comes back.
    pub fn look_first(&self, mut pay: Box<PayWork>) {
        let (env, reservation) = (self.env.clone(), self.id);
        tokio::spawn(async move {
            match env.answers.get(pay.wish.key.clone()).await {
                Ok(Some(stored)) => Work::Pay(pay).repeated(&stored),
                Ok(None) => {
                    pay.key_is_new = true;
                    env.send(reservation, Work::Pay(pay));
                }
                Err(failure) => Work::Pay(pay).fail(failure),
            }
        });
    }

    /// The row is not known: nobody may be told anything but that.
    fn give_up(&mut self, closing: bool) {
        if closing || !self.waiting.is_empty() {
            return;
        }
        for (_, reply) in self.pays.drain() {
            let _ = reply.send(Err(Rejection::ProviderAway.into()));
        }
        self.ends.drain(..).for_each(|reply| drop(reply.send(Ok(PaymentEnd::Unknown))));
    }
}

fn is_asked(calls: &HashSet<Call>, number: i32) -> bool {
    calls.contains(&Call::Begin(number)) || calls.contains(&Call::Close(number))
}

fn is_settled(payment: &Payment, number: i32) -> bool {
    payment.attempt(number).is_none_or(|attempt| !matches!(attempt.state, State::Opening | State::Closing))
}

/// What the asker of an attempt is told: `Ok(None)` where the stored answer has to be looked up.
fn outcome(payment: &Payment, number: i32, completed: Option<Bytes>) -> Result<Option<Bytes>, bus::Problem> {
    let Some(attempt) = payment.attempt(number) else { return Err(Rejection::ProviderAway.into()) };
    let paid = matches!(&payment.stage, Stage::Captured { provider_ref, .. } if attempt.intent.as_ref() == Some(provider_ref));
    let rejection = match attempt.state {
        State::Open => return Ok(completed),
        State::Captured if paid => return Ok(completed),
        State::Captured if matches!(payment.stage, Stage::Captured { .. }) => Rejection::AlreadyPaid,
        State::Declined if attempt.code.as_deref() == Some(NO_SUCH_METHOD) => Rejection::UnknownPaymentMethod,
        State::Declined => {
            let code = declines::told(attempt.code.as_deref().unwrap_or_default()).to_owned();
            Rejection::CardDeclined { code }
        }
        State::Closed if attempt.code.is_none() => Rejection::PaymentOver,
        State::Opening | State::Closing | State::Captured | State::Closed => Rejection::ProviderAway,
    };
    Err(rejection.into())
}

pub fn note(step: &Step) {
    for line in &step.log {
        tracing::info!(
            payment = %step.payment.id,
            version = step.payment.version,
            detail = line.detail,
            request_id = step.payment.context.correlation_id,
            "payment: {}", line.entry
        );
    }
    if step.alarm {
        metrics::counter!("payment_attention_total").increment(1);
        let why = step.payment.attention.as_deref().unwrap_or_default();
        tracing::error!(payment = %step.payment.id, why, "a payment needs attention: a person must look");
    }
}
