//! Payment's requests: pay, get, end, and the provider's webhook.
//!
//! Invariant: an attempt begins only after reservation has agreed, in the moviegoer's name; its refusal is passed on.
//! Invariant: a webhook is answered only after what it tells is committed.

use std::time::Duration;

use base64::Engine;
use bus::contract::auth::Role;
use bus::contract::payment::{
    EndPayment, GetPayment, ListPayments, Pay, Rejection, ReportRevenue, ResumePayment, Webhook,
};
use bus::contract::reservation::BeginPayment;
use bus::contract::{Problem, Request};
use bus::service::{Answered, Ask, Call, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::Env;
use super::change;
use super::model::{Facts, Kind, Payment, payment_id};
use super::provider::{Answer, DisputeSight};
use super::rules::Wish;
use super::step::EXPIRED;
use super::store;
use super::webhook::{self, About, Notice};
use super::work::{NoticeWork, PayWork, Work};
use crate::delivery::{IdempotencyKey, Outcome, read_failure, request_hash};

/// A page ends by itself after this, where Stripe demands at least half an hour: only a backstop, since we end it.
const PAGE_LIVES: Duration = Duration::from_secs(40 * 60);
/// At Stripe a page lives a day at most; less, since clocks differ.
const PAGE_LIVES_MAX: Duration = Duration::from_secs(23 * 60 * 60);
/// What is left of a request's time after the provider was asked: to commit the outcome and to answer.
const TO_ANSWER: Duration = Duration::from_millis(500);
/// Longest wait for the provider while a moviegoer waits for us.
const CHARGE_WITHIN: Duration = Duration::from_secs(8);

pub async fn pay(env: Env, call: Call<Pay>) -> Answered {
    let user_id = call.caller()?.user_id;
    let key = call.idempotency_key.clone().ok_or(Rejection::IdempotencyKeyMissing)?;
    let key = IdempotencyKey { user_id, route: Pay::SUBJECT, key };
    let hash = request_hash(&call.request)?;
    let Pay { reservation_id, payment_method } = call.request;
    let ask = Ask {
        token: call.token.clone(),
        timeout: call.deadline.saturating_duration_since(Instant::now()).saturating_sub(TO_ANSWER),
        ..Ask::new(call.context.clone())
    };
    let begin = BeginPayment { reservation_id, payment_id: payment_id(reservation_id) };
    let begun = match env.bus.ask(&begin, &ask).await {
        Ok(begun) => begun,
        // Perhaps since this very request, sent before, has paid.
        Err(refusal) => return stored_answer(&env, key, &hash, refusal).await,
    };
    let now = env.clock.now();
    let kind = match payment_method {
        Some(method) => Kind::Token { method: Some(method) },
        None => {
            let ends_at = begun.expires_at.max(now.plus(PAGE_LIVES)).min(now.plus(PAGE_LIVES_MAX));
            Kind::Hosted { ends_at: ends_at.unix_seconds() }
        }
    };
    let wish = Wish {
        kind,
        key: key.clone(),
        hash,
        expires_at: begun.expires_at,
        description: begun.description.clone(),
        email: Some(begun.email.clone()),
        context: call.context,
        declines: env.declines,
    };
    let facts = Facts {
        reservation_id,
        user_id: begun.user_id,
        email: Some(begun.email),
        description: begun.description,
        sale: begun.sale,
        seats_version: 0,
        total: begun.total,
        expires_at: begun.expires_at,
    };
    let (reply, answer) = oneshot::channel();
    let until = (call.deadline - TO_ANSWER).min(Instant::now() + CHARGE_WITHIN);
    let pay = PayWork { wish, facts, reply, until, waited: false, key_is_new: false };
    env.send(reservation_id, Work::Pay(Box::new(pay)));
    match answer.await.unwrap_or_else(|_| Err(restarted()))? {
        Some(answer) => Ok(answer),
        // Another host settled the attempt; what it answered is stored.
        None => stored_answer(&env, key, &hash, Rejection::ProviderAway.into()).await,
    }
}

/// What a request was answered before; the problem, if it was not.
async fn stored_answer(env: &Env, key: IdempotencyKey, hash: &[u8; 32], problem: Problem) -> Answered {
    match env.answers.get(key).await? {
        Some(stored) => change::repeated(&stored, hash),
        None => Err(problem),
    }
}

pub async fn get(env: Env, call: Call<GetPayment>) -> Answered {
    let caller = call.caller()?;
    let staff = caller.role >= Role::Admin;
    let found = store::payment(&env.pool, call.request.id).await.map_err(read_failure)?;
    let payment = found.filter(|payment| staff || payment.user_id == caller.user_id);
    let payment = payment.ok_or(Rejection::NoSuchPayment)?;
    if !staff {
        return json(&payment.shown());
    }
    let log = store::log(&env.pool, payment.id).await.map_err(read_failure)?;
    json(&bus::contract::payment::Payment { log: Some(log), ..payment.shown_to_staff() })
}

pub async fn list(env: Env, call: Call<ListPayments>) -> Answered {
    let (payments, total) = store::list(&env.pool, &call.request).await.map_err(read_failure)?;
    let items = payments.iter().map(Payment::shown_to_staff).collect();
    json(&call.request.paging.of(items, total))
}

pub async fn resume(env: Env, call: Call<ResumePayment>) -> Answered {
    let by = call.caller()?.user_id;
    let found = store::payment(&env.pool, call.request.id).await.map_err(read_failure)?;
    let reservation = found.ok_or(Rejection::NoSuchPayment)?.reservation_id;
    let (reply, answer) = oneshot::channel();
    env.send(reservation, Work::Resume { by, context: call.context, reply });
    json(&answer.await.unwrap_or_else(|_| Err(restarted()))?)
}

pub async fn revenue(env: Env, call: Call<ReportRevenue>) -> Answered {
    let asked = &call.request;
    if crate::zone::any(&asked.time_zone).is_none() {
        return Err(Rejection::NoSuchTimeZone.into());
    }
    json(&store::revenue(&env.pool, asked).await.map_err(read_failure)?)
}

pub async fn end(env: Env, call: Call<EndPayment>) -> Answered {
    let EndPayment { reservation_id, payment_id: asked } = call.request;
    if asked != payment_id(reservation_id) {
        tracing::warn!(%reservation_id, payment_id = %asked, "reservation knows its payment by another id");
    }
    let (reply, answer) = oneshot::channel();
    env.send(reservation_id, Work::End { code: EXPIRED, context: call.context, reply });
    json(&answer.await.unwrap_or_else(|_| Err(restarted()))?)
}

pub async fn webhook(env: Env, call: Call<Webhook>) -> Answered {
    let body = base64::engine::general_purpose::STANDARD.decode(&call.request.body);
    let body = body.map_err(|_| Rejection::BadWebhook)?;
    webhook::verify(&env.webhook_secret, &call.request.signature, &body, env.clock.now().unix_seconds())?;
    let notice = webhook::parse(&body)?;
    let body = String::from_utf8(body).map_err(|_| Rejection::BadWebhook)?;
    tell(&env, notice, body).await?;
    json(&())
}

/// Applies an event of the provider's, however it came here; returns once what it tells is committed. The same event
/// again changes nothing.
pub async fn tell(env: &Env, notice: Notice, body: String) -> Result<(), Problem> {
    let reservation = match notice.reservation_id {
        Some(reservation) => Some(reservation),
        None => owner(env, &notice).await?,
    };
    let (reply, answer) = oneshot::channel();
    let work = Work::Notice(Box::new(NoticeWork { notice, body, reply }));
    match reservation {
        Some(reservation) => {
            env.send(reservation, work);
            answer.await.unwrap_or_else(|_| Err(restarted()))
        }
        None => keep(env, &work).await,
    }
}

/// Whose event it is when its object does not carry our metadata.
async fn owner(env: &Env, notice: &Notice) -> Result<Option<Uuid>, Problem> {
    let references = references(notice);
    if references.is_empty() {
        return Ok(None);
    }
    let known = store::reservation_of(&env.pool, &references).await.map_err(read_failure)?;
    let About::Dispute(DisputeSight { intent, .. }) = &notice.about else { return Ok(known) };
    if known.is_some() || intent.is_empty() {
        return Ok(known);
    }
    // A dispute can overtake the answer that tells us the payment's name; the provider keeps what we wrote on it.
    match tokio::time::timeout(CHARGE_WITHIN, env.provider.owner_of(intent)).await {
        Ok(Answer::Done(owner)) => Ok(owner),
        Ok(Answer::NoSuchObject | Answer::Refused { .. }) => Ok(None),
        Ok(Answer::Unknown(_)) | Err(_) => Err(Rejection::ProviderAway.into()),
    }
}

/// Keeps an event that is about nothing of ours.
async fn keep(env: &Env, work: &Work) -> Result<(), Problem> {
    let (change, _) = change::change(env, work, None).map_err(|_| Problem::internal())?;
    match env.journal.commit(change).await {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Failed(failure) => Err(failure.into()),
        other => {
            tracing::error!(?other, "a provider event is only ever stored");
            Err(Problem::internal())
        }
    }
}

/// The provider's names in an event whose object does not carry our metadata.
fn references(notice: &Notice) -> Vec<String> {
    match &notice.about {
        About::Attempt { sight, .. } => sight.intent.iter().chain(&sight.session).cloned().collect(),
        About::Refund { sight, .. } => vec![sight.reference.clone()],
        About::Dispute(sight) => vec![sight.intent.clone()],
        About::Other => Vec::new(),
    }
}

fn restarted() -> Problem {
    Problem::unavailable("The payment's keeper was restarted. Try again.")
}
