//! After the last fault: is everything ready, can somebody buy, and does everything come to rest, each within its time?
//!
//! Nobody helps; the only thing done here is to look, and to buy one more ticket.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::crowd::Person;
use crate::house::{Hall, House};
use crate::rest::Outcome;
use crate::story::{Order, Story, What};
use crate::truth;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Everything must have been at rest for so long: what is between two looks is not rest.
const REST_FOR: Duration = Duration::from_secs(3);

/// How the house came to rest; times count from the end of the last fault.
#[derive(Clone, Debug)]
pub struct Settled {
    pub ready: Result<Duration, String>,
    pub bought: Result<Duration, String>,
    pub rest: Duration,
    /// What was still open when patience was over.
    pub open: Vec<String>,
}

/// What is not at rest, each as one text with a count.
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

/// Waits for rest, at most for `patience`; buys a ticket on the way.
pub async fn settle(
    house: &House,
    buyer: &Person,
    hall: &Hall,
    story: &Story,
    patience: Duration,
) -> Settled {
    let healed = Instant::now();
    let ready = house.until_ready(patience).await.map_err(|error| format!("{error:#}"));
    let bought = buy(house, buyer, hall, story, healed + patience).await;
    let bought = bought.map(|()| healed.elapsed()).map_err(|error| format!("{error:#}"));
    let mut since = None;
    loop {
        let open = match open(house).await {
            Ok(open) => open,
            Err(error) => vec![format!("{error:#}")],
        };
        let now = Instant::now();
        if !open.is_empty() {
            since = None;
            if now > healed + patience {
                return Settled { ready, bought, rest: healed.elapsed(), open };
            }
        } else if now - *since.get_or_insert(now) > REST_FOR {
            return Settled { ready, bought, rest: healed.elapsed().saturating_sub(REST_FOR), open };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn open(house: &House) -> Result<Vec<String>> {
    let mut db = PgConnection::connect(&house.database_url).await?;
    let mut open: Vec<String> = sqlx::query_scalar(OPEN).fetch_all(&mut db).await?;
    db.close().await?;
    let jetstream = truth::nats(house).await?;
    let stream = jetstream.get_stream("EVENTS").await?;
    for name in ["auth", "reservation", "payment", "notification"] {
        let info = stream.consumer_info(name).await?;
        if info.num_pending > 0 || info.num_ack_pending > 0 {
            open.push(format!(
                "{name} has {} events to hear and {} in hand",
                info.num_pending, info.num_ack_pending
            ));
        }
    }
    Ok(open)
}

/// Buys one ticket, trying until it works.
async fn buy(house: &House, buyer: &Person, hall: &Hall, story: &Story, until: Instant) -> Result<()> {
    let mut buyer = buyer.clone();
    let mut last = String::from("nothing was tried");
    while Instant::now() < until {
        match try_to_buy(house, &buyer, hall, story).await {
            Ok(()) => return Ok(()),
            Err(error) => last = format!("{error:#}"),
        }
        buyer.renew(&house.rest).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    anyhow::bail!("no ticket could be bought: {last}")
}

async fn try_to_buy(house: &House, buyer: &Person, hall: &Hall, story: &Story) -> Result<()> {
    let rest = &house.rest;
    let body = json!({"showtimeId": hall.showtime, "bestAvailable": {"count": 1}});
    let (key, asked_at) = (Uuid::new_v4().to_string(), time::OffsetDateTime::now_utc());
    let outcome = rest.post("/v1/reservations", &buyer.token, &key, &body).await;
    let order = Order {
        user: buyer.id,
        token: buyer.token.clone(),
        key,
        body,
        outcome: outcome.clone(),
        asked_at,
        told_at: time::OffsetDateTime::now_utc(),
    };
    let reservation = order.reservation();
    story.look().orders.push(order);
    let id = reservation.with_context(|| format!("ordering was answered {outcome:?}"))?;
    let body = json!({"reservationId": id, "paymentMethod": "pm_card_visa"});
    match rest.post("/v1/payments", &buyer.token, &Uuid::new_v4().to_string(), &body).await {
        Outcome::Done(text) => story.promised(What::Payment, id, &text),
        other => anyhow::bail!("paying was answered {other:?}"),
    }
    let path = format!("/v1/reservations/{id}?wait=8");
    let seen = rest.try_once(Method::GET, &path, Some(&buyer.token), "", None).await;
    let seen = seen.map(|answer| answer.json()["status"].clone());
    anyhow::ensure!(seen.as_ref().is_some_and(|status| status == "CONFIRMED"), "after paying it is {seen:?}");
    Ok(())
}
