//! Orders that hosts of one version begin and hosts of the other end: one for each thing that can be done with an order that
//! both versions know.
//!
//! Every request must succeed. A failure is a finding with the step and both versions; it does not end the run.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Client, Outcome};
use crate::deployment::Showtime;
use crate::load::Account;
use crate::record::{Order, PromiseKind, Recorder};

/// How long a state may take to come while half of the hosts start or stop.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Seats of each order: more than one, so that an exchange can be for fewer.
const SEATS: usize = 2;

/// What the second hosts do with an order of the first ones.
#[derive(Clone, Copy, Debug)]
enum Act {
    Pay,
    CancelUnpaid,
    CancelPaid,
    /// For one seat less, whose money comes back.
    Exchange,
}

const ACTS: [Act; 4] = [Act::Pay, Act::CancelUnpaid, Act::CancelPaid, Act::Exchange];

/// An order that waits for the other hosts.
#[derive(Debug)]
pub struct Begun {
    act: Act,
    id: Uuid,
    /// The hosts that have taken it.
    by: &'static str,
}

/// The customer of all journeys, with a showtime that nobody else buys.
pub struct Journeys {
    pub client: Client,
    pub account: Account,
    pub showtime: Showtime,
    pub recorder: Recorder,
    /// Orders that were ended as they should be.
    pub ended: usize,
    pub findings: Vec<String>,
}

impl Journeys {
    /// Orders once for each act, and pays where the act needs a paid order. `by` names the hosts that run.
    pub async fn begin(&mut self, by: &'static str) -> Vec<Begun> {
        self.account.renew(&self.client).await;
        let mut begun = Vec::new();
        for act in ACTS {
            match self.try_begin(act).await {
                Ok(id) => begun.push(Begun { act, id, by }),
                Err(error) => self.findings.push(format!("{act:?}: an order at {by}: {error:#}")),
            }
        }
        begun
    }

    /// Does with each order what it is for. `by` names the hosts that run.
    pub async fn end(&mut self, begun: Vec<Begun>, by: &'static str) {
        self.account.renew(&self.client).await;
        for order in begun {
            match self.try_end(&order).await {
                Ok(()) => self.ended += 1,
                Err(error) => self
                    .findings
                    .push(format!("{:?} of {} of {} by {by}: {error:#}", order.act, order.id, order.by)),
            }
        }
    }

    async fn try_begin(&self, act: Act) -> Result<Uuid> {
        let id = self.order().await?;
        if matches!(act, Act::CancelPaid | Act::Exchange) {
            self.pay(id).await?;
            self.until(id, "CONFIRMED").await?;
        }
        Ok(id)
    }

    async fn try_end(&self, order: &Begun) -> Result<()> {
        let id = order.id;
        match order.act {
            Act::Pay => {
                self.pay(id).await?;
                self.until(id, "CONFIRMED").await.map(drop)
            }
            Act::CancelUnpaid => {
                self.cancel(id).await?;
                self.until(id, "CANCELLED").await.map(drop)
            }
            Act::CancelPaid => {
                self.cancel(id).await?;
                self.until(id, "REFUNDED").await.map(drop)
            }
            Act::Exchange => self.exchange(id).await,
        }
    }

    async fn order(&self) -> Result<Uuid> {
        let body = json!({"showtimeId": self.showtime.id, "bestAvailable": {"count": SEATS}});
        let (key, sent_at) = (Uuid::new_v4().to_string(), OffsetDateTime::now_utc());
        let token = self.account.token.clone();
        let outcome = self.client.post("/v1/reservations", &token, &key, &body).await;
        let user = self.account.id;
        let answered_at = OffsetDateTime::now_utc();
        let order = Order { user, token, key, body, outcome: outcome.clone(), sent_at, answered_at };
        let id = order.reservation();
        self.recorder.lock().orders.push(order);
        id.with_context(|| format!("the order was answered {outcome:?}"))
    }

    async fn pay(&self, id: Uuid) -> Result<()> {
        let body = json!({"reservationId": id, "paymentMethod": "pm_card_visa"});
        let text = self.post("/v1/payments", &body).await.context("the payment")?;
        self.recorder.promised(PromiseKind::Payment, id, &text);
        Ok(())
    }

    async fn cancel(&self, id: Uuid) -> Result<()> {
        let path = format!("/v1/reservations/{id}/cancel");
        let text =
            self.post(&path, &json!({"reason": "changed my mind"})).await.context("the cancellation")?;
        self.recorder.promised(PromiseKind::Cancellation, id, &text);
        Ok(())
    }

    async fn exchange(&self, id: Uuid) -> Result<()> {
        let path = format!("/v1/reservations/{id}/exchange");
        let body = json!({"bestAvailable": {"count": SEATS - 1}});
        self.post(&path, &body).await.context("the exchange")?;
        let after = self.until(id, "CONFIRMED").await?;
        let seats = after["seats"].as_array().map(Vec::len);
        anyhow::ensure!(seats == Some(SEATS - 1), "after the exchange it is {after}");
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<String> {
        let key = Uuid::new_v4().to_string();
        match self.client.post(path, &self.account.token, &key, body).await {
            Outcome::Done(text) => Ok(text),
            other => anyhow::bail!("it was answered {other:?}"),
        }
    }

    /// Waits until the reservation has this status; returns it.
    async fn until(&self, id: Uuid, status: &str) -> Result<Value> {
        let until = Instant::now() + MAX_WAIT;
        let path = format!("/v1/reservations/{id}");
        let mut last = Value::Null;
        while Instant::now() < until {
            let token = Some(self.account.token.as_str());
            if let Some(answer) = self.client.try_once(Method::GET, &path, token, "", None).await {
                last = answer.json();
                if last["status"] == status {
                    return Ok(last);
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::bail!("it is not {status} after {MAX_WAIT:?} but {last}")
    }
}
