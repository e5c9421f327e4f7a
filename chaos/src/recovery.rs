//! After the last fault: is everything ready, can a ticket be bought, and does everything become idle, each within its time?
//!
//! Nothing is repaired here: this only observes, and buys one ticket.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::Outcome;
use crate::deployment::{Deployment, Showtime};
use crate::end_state;
use crate::load::Account;
use crate::record::{Order, PromiseKind, Recorder};

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long everything must be idle: work may be between two steps at a single observation.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// How the deployment has recovered; times count from the end of the last fault.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub ready: Result<Duration, String>,
    pub bought: Result<Duration, String>,
    pub idle: Duration,
    /// The work that was left at the end of the waiting time.
    pub open: Vec<String>,
}

/// Queries for unfinished work; each row is a text with a count.
const OPEN: &str = "
    select format('%s reservations are %s', count(*), checkpoint #>> '{state,is}') from reservation.reservations
      where deadline is not null group by checkpoint #>> '{state,is}'
    union all
    select format('%s reservations wait to give a part back', count(*)) from reservation.reservations
      where checkpoint @? '$.parts[*] ? (@.state.is == \"requested\")' having count(*) > 0
    union all
    select format('%s payments are to be looked at, the first at %s', count(*), min(next_check_at)) from payment.payments
      where next_check_at is not null and next_check_at < now() + interval '1 hour' having count(*) > 0
    union all
    select format('%s refunds are on their way', count(*)) from payment.refunds where status = 'REQUESTED' having count(*) > 0
    union all
    select format('%s mails wait: %s', count(*), max(error)) from notification.mails where status = 'QUEUED' having count(*) > 0
    union all
    select format('%s events of %s are not published', count(*), domain) from (
      select 'auth' as domain from auth.unsent
      union all select 'movie' from movie.unsent
      union all select 'reservation' from reservation.unsent
      union all select 'payment' from payment.unsent
      union all select 'notification' from notification.unsent) as unsent group by domain";

/// Waits until everything is idle, at most for `max_wait`; buys a ticket before.
pub async fn until_idle(
    deployment: &Deployment,
    buyer: &Account,
    showtime: &Showtime,
    recorder: &Recorder,
    max_wait: Duration,
) -> Recovery {
    let healed = Instant::now();
    let ready = deployment.until_ready(max_wait).await.map_err(|error| format!("{error:#}"));
    let bought = buy(deployment, buyer, showtime, recorder, healed + max_wait).await;
    let bought = bought.map(|()| healed.elapsed()).map_err(|error| format!("{error:#}"));
    let mut since = None;
    loop {
        let open = match open(deployment).await {
            Ok(open) => open,
            Err(error) => vec![format!("{error:#}")],
        };
        let now = Instant::now();
        if !open.is_empty() {
            since = None;
            if now > healed + max_wait {
                return Recovery { ready, bought, idle: healed.elapsed(), open };
            }
        } else if now - *since.get_or_insert(now) > IDLE_FOR {
            return Recovery { ready, bought, idle: healed.elapsed().saturating_sub(IDLE_FOR), open };
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn open(deployment: &Deployment) -> Result<Vec<String>> {
    let mut db = PgConnection::connect(&deployment.database_url).await?;
    let mut open: Vec<String> = sqlx::query_scalar(OPEN).fetch_all(&mut db).await?;
    db.close().await?;
    let jetstream = end_state::nats(deployment).await?;
    let stream = jetstream.get_stream("EVENTS").await?;
    for name in ["auth", "reservation", "payment", "notification"] {
        let info = stream.consumer_info(name).await?;
        if info.num_pending > 0 || info.num_ack_pending > 0 {
            open.push(format!(
                "{name} has {} events to receive and {} unacknowledged",
                info.num_pending, info.num_ack_pending
            ));
        }
    }
    Ok(open)
}

/// Buys one ticket, trying until it works.
pub async fn buy(
    deployment: &Deployment,
    buyer: &Account,
    showtime: &Showtime,
    recorder: &Recorder,
    until: Instant,
) -> Result<()> {
    let mut buyer = buyer.clone();
    let mut last = String::from("nothing was tried");
    while Instant::now() < until {
        match try_to_buy(deployment, &buyer, showtime, recorder).await {
            Ok(()) => return Ok(()),
            Err(error) => last = format!("{error:#}"),
        }
        buyer.renew(&deployment.client).await;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    anyhow::bail!("no ticket could be bought: {last}")
}

async fn try_to_buy(
    deployment: &Deployment,
    buyer: &Account,
    showtime: &Showtime,
    recorder: &Recorder,
) -> Result<()> {
    let client = &deployment.client;
    let body = json!({"showtimeId": showtime.id, "bestAvailable": {"count": 1}});
    let (key, sent_at) = (Uuid::new_v4().to_string(), time::OffsetDateTime::now_utc());
    let outcome = client.post("/v1/reservations", &buyer.token, &key, &body).await;
    let order = Order {
        user: buyer.id,
        token: buyer.token.clone(),
        key,
        body,
        outcome: outcome.clone(),
        sent_at,
        answered_at: time::OffsetDateTime::now_utc(),
    };
    let reservation = order.reservation();
    recorder.lock().orders.push(order);
    let id = reservation.with_context(|| format!("the outcome of the order is {outcome:?}"))?;
    let body = json!({"reservationId": id, "paymentMethod": "pm_card_visa"});
    match client.post("/v1/payments", &buyer.token, &Uuid::new_v4().to_string(), &body).await {
        Outcome::Done(text) => recorder.promised(PromiseKind::Payment, id, &text),
        other => anyhow::bail!("the outcome of the payment is {other:?}"),
    }
    let path = format!("/v1/reservations/{id}?wait=8");
    let answer = client.try_once(Method::GET, &path, Some(&buyer.token), "", None).await;
    let status = answer.map(|answer| answer.json()["status"].clone());
    anyhow::ensure!(
        status.as_ref().is_some_and(|status| status == "CONFIRMED"),
        "the status after the payment is {status:?}"
    );
    Ok(())
}
