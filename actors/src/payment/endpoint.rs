//! Payment's requests: pay, get, end, and the provider's webhook.
//!
//! Invariant: an attempt begins only after reservation has agreed, in the moviegoer's name; its refusal is passed on.
//! Invariant: a webhook is answered only after what it tells is committed.

use std::time::Duration;

use base64::Engine;
use bus::contract::auth::Role;
use bus::contract::payment::{EndPayment, GetPayment, Pay, Rejection, Webhook};
use bus::contract::reservation::BeginPayment;
use bus::contract::{Problem, Request};
use bus::service::{Answered, Ask, Call, json};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Env;
use super::actor::Message;
use super::model::{Facts, Kind, payment_id};
use super::rules::Wish;
use super::step::EXPIRED;
use super::store;
use super::webhook::{self, About, Notice};
use super::work::{self, NoticeWork, PayWork, Work};
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
    if let Some(stored) = env.answers.get(key.clone()).await? {
        return work::repeated(&stored, &hash);
    }
    let Pay { reservation_id, payment_method } = call.request;
    // Reads the row while reservation makes up its mind.
    env.entities().send(reservation_id, Message::Warm);
    let ask = Ask {
        token: call.token.clone(),
        timeout: call.deadline.saturating_duration_since(Instant::now()).saturating_sub(TO_ANSWER),
        ..Ask::new(call.context.clone())
    };
    let begin = BeginPayment { reservation_id, payment_id: payment_id(reservation_id) };
    let begun = env.bus.ask(&begin, &ask).await?;
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
    };
    let facts = Facts {
        reservation_id,
        user_id: begun.user_id,
        email: Some(begun.email),
        description: begun.description,
        total: begun.total,
        expires_at: begun.expires_at,
    };
    let (reply, answer) = oneshot::channel();
    let until = (call.deadline - TO_ANSWER).min(Instant::now() + CHARGE_WITHIN);
    env.send(reservation_id, Work::Pay(Box::new(PayWork { wish, facts, reply, until, waited: false })));
    match answer.await.unwrap_or_else(|_| Err(restarted()))? {
        Some(answer) => Ok(answer),
        None => stored_answer(&env, key, &hash).await,
    }
}

/// Another host settled the attempt; what it answered is stored.
async fn stored_answer(env: &Env, key: IdempotencyKey, hash: &[u8; 32]) -> Result<Bytes, Problem> {
    match env.answers.get(key).await? {
        Some(stored) => work::repeated(&stored, hash),
        None => Err(Rejection::ProviderAway.into()),
    }
}

pub async fn get(env: Env, call: Call<GetPayment>) -> Answered {
    let caller = call.caller()?;
    let staff = caller.role >= Role::Admin;
    let found = store::payment(&env.pool, call.request.id).await.map_err(read_failure)?;
    let payment = found.filter(|payment| staff || payment.user_id == caller.user_id);
    let payment = payment.ok_or(Rejection::NoSuchPayment)?;
    let mut shown = payment.shown();
    if staff {
        shown.log = Some(store::log(&env.pool, payment.id).await.map_err(read_failure)?);
    }
    json(&shown)
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
    let reservation = match (notice.reservation_id, references(&notice)) {
        (Some(reservation), _) => Some(reservation),
        (None, references) if references.is_empty() => None,
        (None, references) => store::reservation_of(&env.pool, &references).await.map_err(read_failure)?,
    };
    let body = String::from_utf8(body).map_err(|_| Rejection::BadWebhook)?;
    let (reply, answer) = oneshot::channel();
    let work = Work::Notice(Box::new(NoticeWork { notice, body, reply }));
    match reservation {
        Some(reservation) => {
            env.send(reservation, work);
            answer.await.unwrap_or_else(|_| Err(restarted()))?;
        }
        None => keep(&env, &work).await?,
    }
    json(&())
}

/// Keeps an event that is about nothing of ours.
async fn keep(env: &Env, work: &Work) -> Result<(), Problem> {
    let (change, _) = work::change(env, work, None).map_err(|_| Problem::internal())?;
    match env.journal.commit(change).await {
        Outcome::Committed { .. } | Outcome::Duplicate => Ok(()),
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
        About::Other => Vec::new(),
    }
}

fn restarted() -> Problem {
    Problem::unavailable("The payment's keeper was restarted. Try again.")
}
