//! What auth hears: movies, whose creator becomes an ADMIN, and what the audit keeps of other domains.
//!
//! Invariant: nobody is promoted further than ADMIN, by an event from anybody but movie (or the bridge, where
//! `PROMOTE_MOVIE_CREATORS` is set), or against a later decision about the role.

use std::sync::Arc;

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::{AuditKind, Role, User};
use bus::contract::movie::{MovieCreated, ShowtimeUpdated};
use bus::contract::reservation::RefundRequested;
use bus::event::Outgoing;
use bus::topology::ConsumerSpec;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::account::{DECISIONS_MAX, role_changed};
use super::actor::Desk;
use super::model;
use super::store::audit::Entry;
use super::store::{Act, Write, access};
use crate::config::Promotes;
use crate::delivery::{Change, Outcome, read_failure};

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: "auth",
    subjects: &[MovieCreated::SUBJECT, RefundRequested::SUBJECT, ShowtimeUpdated::SUBJECT],
};
/// What the audit keeps of a showtime: not its layout.
const OF_PRICES: [&str; 4] = ["showtimeId", "movieId", "prices", "previousPrices"];

/// Handles a message in a task of its own; the consumer's `max_ack_pending` bounds how many there are.
pub fn hear(desk: &Arc<Desk>, delivery: Delivery) {
    let desk = desk.clone();
    tokio::spawn(async move {
        match desk.take(&delivery).await {
            Ok(()) => delivery.ack(),
            Err(failure) => delivery.fail(failure),
        }
    });
}

impl Desk {
    async fn take(&self, delivery: &Delivery) -> Result<(), Failure> {
        match delivery.subject.as_str() {
            MovieCreated::SUBJECT => self.promote(&delivery.event()?, delivery).await,
            RefundRequested::SUBJECT => {
                self.note(delivery, AuditKind::RefundRequested, fields(delivery)?).await
            }
            ShowtimeUpdated::SUBJECT => {
                let mut event = fields(delivery)?;
                // Most updates leave the prices as they are.
                if event.get("previousPrices").is_none_or(Value::is_null) {
                    return Ok(());
                }
                event.retain(|field, _| field == "by" || OF_PRICES.contains(&field.as_str()));
                self.note(delivery, AuditKind::PricesChanged, event).await
            }
            other => Err(Failure::poison(format!("auth does not hear {other}"))),
        }
    }

    async fn promote(&self, event: &MovieCreated, delivery: &Delivery) -> Result<(), Failure> {
        if self.promotes == Promotes::Nobody {
            return Ok(());
        }
        if delivery.source == model::BRIDGE_SOURCE && self.promotes != Promotes::MovieAndBridge {
            tracing::info!(
                id = delivery.id,
                "movie.created from RabbitMQ; it promotes nobody without PROMOTE_MOVIE_CREATORS=true"
            );
            return Ok(());
        }
        if !model::may_tell_of_movies(&delivery.source) {
            tracing::warn!(
                source = delivery.source,
                id = delivery.id,
                "movie.created from a stranger; ignored"
            );
            return Ok(());
        }
        let created_at = delivery.time.ok_or_else(|| Failure::poison("movie.created without a ce-time"))?;
        for _ in 0..DECISIONS_MAX {
            let standing = access::standing_of(&self.pool, event.created_by).await.map_err(read_failure)?;
            let Some(standing) = standing.filter(|standing| model::promotes(standing, created_at)) else {
                return Ok(());
            };
            let user = User { role: Role::Admin, ..standing.user.clone() };
            let details = json!({
                "from": standing.user.role, "to": user.role, "movieId": event.movie_id, "source": delivery.source,
            });
            let entry = self.entry(AuditKind::RoleChanged, None, Some(user.id), None, details);
            let said = Outgoing::new("auth", &role_changed(&user, None), self.clock.now(), &delivery.context);
            let write = Act::Role(standing.to(Role::Admin)).audited(entry);
            if self.written(write, vec![said]).await? {
                return Ok(());
            }
        }
        Err(Failure::transient("the account is being changed"))
    }

    /// Keeps an event of another domain in the audit; whoever it says did it is the actor.
    async fn note(
        &self,
        delivery: &Delivery,
        kind: AuditKind,
        mut event: Map<String, Value>,
    ) -> Result<(), Failure> {
        let actor = event.remove("by").and_then(|by| serde_json::from_value(by).ok());
        let at = delivery.time.unwrap_or_else(|| self.clock.now());
        // Ids from outside are any text.
        let id = delivery
            .id
            .parse()
            .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, delivery.id.as_bytes()));
        let entry = Entry { id, at, kind, actor, user: None, ip: None, details: event.into() };
        self.written(Act::Note.audited(entry), vec![]).await.map(|_| ())
    }

    /// Whether the change is in the database; false when what it expects has moved.
    async fn written(&self, write: Write, outbox: Vec<Outgoing>) -> Result<bool, Failure> {
        match self.journal.commit(Change { outbox, ..Change::new(write) }).await {
            Outcome::Committed { .. } => Ok(true),
            Outcome::Stale => Ok(false),
            Outcome::Failed(failure) => Err(failure),
            other => Err(Failure::poison(format!("auth change ended unexpectedly: {other:?}"))),
        }
    }
}

/// An event as it came, with fields that this host may not know yet.
fn fields(delivery: &Delivery) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(&delivery.payload).map_err(|e| Failure::poison(format!("not a JSON object: {e}")))
}
