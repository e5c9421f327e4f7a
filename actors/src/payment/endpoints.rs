//! Payment's requests: pay, get, list, end, refunds' states, and the provider's webhook.
//!
//! Invariant: an attempt begins only after reservation has agreed, in the moviegoer's name; its refusal is passed on.
//! Invariant: a webhook is answered only after its effect is committed.

use std::time::Duration;

use base64::Engine;
use bus::contract::auth::Role;
use bus::contract::movie::{GetShowtime, Showtime};
use bus::contract::payment::{
    AreDisputed, Disputed, EndPayment, GetPayment, GetRefund, ListPayments, Pay, RefundAnswer, Rejection,
    ReportRevenue, ResumePayment, Webhook,
};
use bus::contract::reservation::{BeginPayment, GetReservation, PaymentBegun, RefundStatus};
use bus::contract::{Problem, Request};
use bus::service::{Answered, Ask, Call, Server, json};
use bus::{Context, Failure};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::Env;
use super::actor::{PaymentMachine, repeated};
use super::machine::{Input, WebhookEvent};
use super::model::{Bill, EXPIRED, Facts, Payment, payment_id};
use super::provider::objects::{self, About};
use super::provider::{Answer, DisputeView, Kind};
use super::step::PayRequest;
use super::store::{self, Rows};
use super::{erasure, purchase, receipt_requests};
use crate::delivery::{Change, IdempotencyKey, Outcome, read_failure, request_hash};
use crate::entity_shell::{Caller, Requester, actor as shell};

/// A page ends by itself after this, where Stripe demands at least half an hour: only a backstop, since we end it.
const PAGE_LIVES: Duration = Duration::from_secs(40 * 60);
/// At Stripe a page can be open for a day at most; less, since clocks differ.
const PAGE_LIVES_MAX: Duration = Duration::from_secs(23 * 60 * 60);
/// The rest of a request's time after the provider's reply: to commit the outcome and to answer.
const TO_ANSWER: Duration = Duration::from_millis(500);
/// Longest wait for movie's answer before a page is opened without it.
const SHOWTIME_WITHIN: Duration = Duration::from_secs(1);
/// Longest wait for the provider while a moviegoer waits.
const CHARGE_WITHIN: Duration = Duration::from_secs(8);

/// Registers every endpoint of the domain.
pub async fn serve(env: Env, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, pay).await?;
    server.serve_with(&env, get).await?;
    server.serve_with(&env, list).await?;
    server.serve_with(&env, resume).await?;
    server.serve_with(&env, revenue).await?;
    server.serve_with(&env, end).await?;
    server.serve_with(&env, get_refund).await?;
    server.serve_with(&env, receipt_requests::receipts).await?;
    server.serve_with(&env, receipt_requests::set_buyer).await?;
    server.serve_with(&env, are_disputed).await?;
    server.serve_with(&env, erasure::are_open).await?;
    server.serve_with(&env, webhook).await?;
    Ok(server)
}

async fn pay(env: Env, call: Call<Pay>) -> Answered {
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
        // Perhaps this very request has paid, when it was sent before.
        Err(refusal) => return stored_answer(&env, key, &hash, refusal).await,
    };
    let request = PayRequest {
        kind: kind(&env, payment_method, &begun, &call.context).await,
        facts: facts(begun),
        key: key.clone(),
        hash,
        context: call.context.clone(),
        declines: env.declines,
        has_waited: false,
    };
    let until = (call.deadline - TO_ANSWER).min(Instant::now() + CHARGE_WITHIN);
    let (reply, answer) = oneshot::channel();
    let caller = Caller {
        identity: None,
        context: call.context,
        key: Some((key.clone(), hash)),
        until: Some(until),
        reply,
    };
    let input = Input::Pay(Box::new(request));
    match send(&env, reservation_id, input, Requester::Call(Box::new(caller)), answer).await {
        // Another host may have settled the attempt; then the answer is stored.
        Err(problem) if problem == Rejection::ProviderAway.into() => {
            stored_answer(&env, key, &hash, problem).await
        }
        answered => answered,
    }
}

async fn kind(env: &Env, payment_method: Option<String>, begun: &PaymentBegun, context: &Context) -> Kind {
    if let Some(method) = payment_method {
        return Kind::Token { method: Some(method) };
    }
    let now = env.clock.now();
    let ends_at = begun.expires_at.max(now.plus(PAGE_LIVES)).min(now.plus(PAGE_LIVES_MAX));
    // Of a payment of nothing there is no page.
    let showtime = match &begun.sale {
        Some(sale) if begun.total.amount > 0 => showtime(env, sale.showtime_id, context).await,
        _ => None,
    };
    Kind::Hosted { ends_at: ends_at.unix_seconds(), purchase: purchase::of(begun, showtime.as_ref()) }
}

/// The showtime for the page's text, which can do without it.
async fn showtime(env: &Env, id: Uuid, context: &Context) -> Option<Showtime> {
    let ask = Ask { timeout: SHOWTIME_WITHIN, ..Ask::new(context.clone()) };
    env.bus.ask(&GetShowtime { id }, &ask).await.ok()
}

fn facts(begun: PaymentBegun) -> Facts {
    Facts {
        reservation_id: begun.reservation_id,
        user_id: begun.user_id,
        email: Some(begun.email),
        description: begun.description,
        sale: begun.sale,
        seats_version: 0,
        total: begun.total,
        bill: Bill {
            site_id: begun.site_id,
            code: begun.code,
            locale: begun.locale,
            lines: begun.lines,
            fees: begun.fees,
        },
        exchange_of: begun.exchange_of,
        credit: begun.credit,
        expires_at: begun.expires_at,
    }
}

async fn send(
    env: &Env,
    reservation: Uuid,
    input: Input,
    requester: Requester,
    answer: oneshot::Receiver<Answered>,
) -> Answered {
    shell::ask::<PaymentMachine>(env.entities(), reservation, input, requester, answer).await
}

/// Sends an input in the name of a host or of staff.
async fn send_internal(env: &Env, reservation: Uuid, input: Input, context: Context) -> Answered {
    let (requester, answer) = Requester::internal(context);
    send(env, reservation, input, requester, answer).await
}

/// The first answer to a request; the problem, if it has none.
async fn stored_answer(env: &Env, key: IdempotencyKey, hash: &[u8; 32], problem: Problem) -> Answered {
    match env.answers.get(key).await? {
        Some(stored) if stored.response.is_none() && stored.request_hash == *hash => Err(problem),
        Some(stored) => repeated(&stored, hash),
        None => Err(problem),
    }
}

async fn get(env: Env, call: Call<GetPayment>) -> Answered {
    let caller = call.caller()?;
    let is_staff = caller.role >= Role::Admin;
    let found = store::payment(&env.pool, call.request.id).await.map_err(read_failure)?;
    let payment = found.ok_or(Rejection::NoSuchPayment)?;
    let is_owner = caller.role == Role::User && payment.user_id == caller.user_id;
    if !is_staff && !is_owner {
        check_order(&env, &call, payment.reservation_id).await?;
    }
    if !is_staff {
        return json(&payment.shown());
    }
    let log = store::log(&env.pool, payment.id).await.map_err(read_failure)?;
    json(&bus::contract::payment::Payment { log: Some(log), ..payment.shown_to_staff() })
}

/// Has reservation decide whether the caller may see the order: it knows whose a guest's order is now, and which links are good.
async fn check_order(env: &Env, call: &Call<GetPayment>, id: Uuid) -> Result<(), Problem> {
    let ask = Ask { token: call.token.clone(), ..Ask::new(call.context.clone()) };
    match env.bus.ask(&GetReservation { id }, &ask).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.status == 404 => Err(Rejection::NoSuchPayment.into()),
        Err(problem) => Err(problem),
    }
}

async fn list(env: Env, call: Call<ListPayments>) -> Answered {
    let (payments, total) = store::list(&env.pool, &call.request).await.map_err(read_failure)?;
    let items = payments.iter().map(Payment::shown_to_staff).collect();
    json(&call.request.paging.of(items, total))
}

async fn resume(env: Env, call: Call<ResumePayment>) -> Answered {
    let by = call.caller()?.user_id;
    let found = store::payment(&env.pool, call.request.id).await.map_err(read_failure)?;
    let reservation = found.ok_or(Rejection::NoSuchPayment)?.reservation_id;
    send_internal(&env, reservation, Input::Resume { by }, call.context).await
}

async fn revenue(env: Env, call: Call<ReportRevenue>) -> Answered {
    let request = &call.request;
    if crate::zone::any(&request.time_zone).is_none() {
        return Err(Rejection::NoSuchTimeZone.into());
    }
    json(&store::revenue(&env.pool, request).await.map_err(read_failure)?)
}

async fn end(env: Env, call: Call<EndPayment>) -> Answered {
    let EndPayment { reservation_id, payment_id: named } = call.request;
    if named != payment_id(reservation_id) {
        tracing::warn!(%reservation_id, payment_id = %named, "reservation names its payment by another id");
    }
    send_internal(&env, reservation_id, Input::End { code: EXPIRED }, call.context).await
}

/// The state of a refund that a saga has requested.
async fn get_refund(env: Env, call: Call<GetRefund>) -> Answered {
    let GetRefund { refund_id, reservation_id } = call.request;
    json(&refund_answer(env.payments.get(reservation_id).await?.as_ref(), refund_id))
}

/// Each capture is asked of the payment that took it.
async fn are_disputed(env: Env, call: Call<AreDisputed>) -> Answered {
    let mut disputed = false;
    for capture in &call.request.captures {
        let payment = env.payments.get(capture.reservation_id).await?;
        disputed |= payment.is_none_or(|payment| payment.disputed(&capture.provider_ref) > 0);
    }
    json(&Disputed { disputed })
}

pub fn refund_answer(payment: Option<&Payment>, refund_id: Uuid) -> RefundAnswer {
    let Some((payment, refund)) = payment.and_then(|payment| Some((payment, payment.refund(refund_id)?)))
    else {
        return RefundAnswer::Unknown;
    };
    let version = payment.version;
    match refund.status {
        RefundStatus::Requested => RefundAnswer::Requested { version },
        RefundStatus::Completed => RefundAnswer::Completed { version },
        RefundStatus::Failed => RefundAnswer::Failed { code: refund.code.clone(), version },
    }
}

async fn webhook(env: Env, call: Call<Webhook>) -> Answered {
    let body = base64::engine::general_purpose::STANDARD.decode(&call.request.body);
    let body = body.map_err(|_| Rejection::BadWebhook)?;
    objects::verify(&env.webhook_secret, &call.request.signature, &body, env.clock.now().unix_seconds())?;
    let event = objects::parse(&body)?;
    let body = String::from_utf8(body).map_err(|_| Rejection::BadWebhook)?;
    apply(&env, event, body).await?;
    json(&())
}

/// Applies an event of the provider, from a webhook or its list of events; returns once its effect is committed. The same event
/// again changes nothing.
pub async fn apply(env: &Env, event: objects::Event, body: String) -> Result<(), Problem> {
    let reservation = match event.reservation_id {
        Some(reservation) => Some(reservation),
        None => owner(env, &event.about).await?,
    };
    let objects::Event { id, kind, about, payment_id, .. } = event;
    match reservation {
        Some(reservation) => {
            let input = Input::Webhook(Box::new(WebhookEvent { id, kind, body, payment_id, about }));
            send_internal(env, reservation, input, Context::new()).await.map(drop)
        }
        None => store_event(env, store::ProviderEvent { id, kind, body, payment_id: None }).await,
    }
}

/// The reservation of an event whose object does not carry our metadata.
async fn owner(env: &Env, about: &About) -> Result<Option<Uuid>, Problem> {
    let references = references(about);
    if references.is_empty() {
        return Ok(None);
    }
    let reservation = store::reservation_of(&env.pool, &references).await.map_err(read_failure)?;
    let About::Dispute(DisputeView { intent, .. }) = about else { return Ok(reservation) };
    if reservation.is_some() || intent.is_empty() {
        return Ok(reservation);
    }
    // A dispute can overtake the reply that names the provider's payment; the provider has our metadata.
    match tokio::time::timeout(CHARGE_WITHIN, env.provider.owner_of(intent)).await {
        Ok(Answer::Done(owner)) => Ok(owner),
        Ok(Answer::NoSuchObject | Answer::Refused { .. }) => Ok(None),
        Ok(Answer::Unknown(_)) | Err(_) => Err(Rejection::ProviderAway.into()),
    }
}

/// Stores an event that is about no payment of ours.
async fn store_event(env: &Env, event: store::ProviderEvent) -> Result<(), Problem> {
    match env.journal.commit(Change::new(Rows::Event(event))).await {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Failed(failure) => Err(failure.into()),
        other => {
            tracing::error!(?other, "a provider event is only ever stored");
            Err(Problem::internal())
        }
    }
}

/// The provider's ids in an event whose object does not carry our metadata.
fn references(about: &About) -> Vec<String> {
    match about {
        About::Attempt { view, .. } => view.intent.iter().chain(&view.session).cloned().collect(),
        About::Refund { view, .. } => vec![view.reference.clone()],
        About::Dispute(view) => vec![view.intent.clone()],
        About::Other => Vec::new(),
    }
}
