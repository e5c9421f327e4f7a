//! What is on its way to JetStream, and what of it is to be noted in the table.

use std::collections::{HashMap, HashSet};

use bus::event::Outgoing;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::DATABASE_MAX;
use crate::delivery::{statements as sql, within};

/// How the publishing of one event ended.
pub struct Landing {
    /// Whose acks are noted; `None` for copies of what is noted already.
    pub batch: Option<Uuid>,
    pub event: Uuid,
    pub landed: Landed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    Acked,
    /// NATS is away or slow: the sweep sends it again.
    Lost,
    /// NATS will not have this one; it stays unsent, where an operator sees it.
    Refused,
}

/// A batch some of whose events are in the air.
struct Flying {
    in_the_air: usize,
    unsent: HashSet<Uuid>,
    some_acked: bool,
}

/// What is in the air and what has landed.
#[derive(Default)]
pub struct Flight {
    acks: FuturesUnordered<BoxFuture<'static, Landing>>,
    flying: HashMap<Uuid, Flying>,
    /// Batches that are wholly acknowledged, which is not noted yet.
    done: Vec<Uuid>,
    /// What is left of batches of which only some events were acknowledged.
    partly: Vec<(Uuid, Vec<Uuid>)>,
    acked: u64,
    /// When the oldest of what is to be noted was acknowledged.
    pub since: Option<Instant>,
    pub lost: usize,
    pub refused: usize,
}

impl Flight {
    /// Events that wait for their ack.
    pub fn len(&self) -> usize {
        self.acks.len()
    }

    /// Batches to be noted.
    pub fn to_note(&self) -> usize {
        self.done.len() + self.partly.len()
    }

    /// All of these are about to be published.
    pub fn take_off(&mut self, batch: Option<Uuid>, events: &[Outgoing]) {
        let Some(batch) = batch else { return };
        if events.is_empty() {
            self.done.push(batch);
            self.since.get_or_insert_with(Instant::now);
            return;
        }
        let unsent = events.iter().map(|event| event.id).collect();
        self.flying.insert(batch, Flying { in_the_air: events.len(), unsent, some_acked: false });
    }

    pub fn push(&mut self, ack: impl Future<Output = Landing> + Send + 'static) {
        self.acks.push(Box::pin(ack));
    }

    /// The next landing; never where nothing is in the air.
    pub async fn next(&mut self) -> Landing {
        match self.acks.next().await {
            Some(landing) => landing,
            None => std::future::pending().await,
        }
    }

    pub fn land(&mut self, Landing { batch, event, landed }: Landing) {
        match landed {
            Landed::Acked => self.acked += 1,
            Landed::Lost => self.lost += 1,
            Landed::Refused => self.refused += 1,
        }
        let Some(batch) = batch else { return };
        let Some(flying) = self.flying.get_mut(&batch) else { return };
        flying.in_the_air -= 1;
        if landed == Landed::Acked {
            flying.unsent.remove(&event);
            flying.some_acked = true;
        }
        if flying.in_the_air > 0 {
            return;
        }
        if let Some(flying) = self.flying.remove(&batch)
            && flying.some_acked
        {
            match flying.unsent.is_empty() {
                true => self.done.push(batch),
                false => self.partly.push((batch, flying.unsent.into_iter().collect())),
            }
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Waits for every ack, at most for the time-out of one.
    pub async fn settle(&mut self) {
        while let Some(landing) = self.acks.next().await {
            self.land(landing);
        }
    }

    /// Notes in the table what was acknowledged.
    pub async fn mark(&mut self, db: &mut PgConnection) -> anyhow::Result<()> {
        self.since = None;
        let done = std::mem::take(&mut self.done);
        if !done.is_empty() {
            within(DATABASE_MAX, sql::mark_published(db, &done)).await?;
        }
        for (batch, unsent) in std::mem::take(&mut self.partly) {
            within(DATABASE_MAX, sql::mark_partly(db, batch, &unsent)).await?;
        }
        metrics::counter!("events_published_total").increment(std::mem::take(&mut self.acked));
        Ok(())
    }
}
