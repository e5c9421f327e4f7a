//! The events that auth handles: the creator of a movie becomes an ADMIN, and the audit records events of other domains.
//!
//! Invariant: an event promotes to ADMIN at most, only if it comes from movie (or from the bridge, where
//! `PROMOTE_MOVIE_CREATORS` is set), and never against a later decision about the role.

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::{AuditKind, Role, User};
use bus::contract::movie::{MovieCreated, ShowtimeUpdated};
use bus::contract::reservation::RefundRequested;
use bus::topology::ConsumerSpec;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Env;
use super::endpoints::role_changed;
use super::model;
use super::store::audit::Entry;
use super::store::{Act, access};
use crate::config::Promotes;
use crate::delivery::{Change, read_failure};
use crate::domain::{Handled, unknown_event, until_current};

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: "auth",
    subjects: &[MovieCreated::SUBJECT, RefundRequested::SUBJECT, ShowtimeUpdated::SUBJECT],
};
/// The fields of a showtime that the audit keeps: not its layout.
const PRICE_FIELDS: [&str; 4] = ["showtimeId", "movieId", "prices", "previousPrices"];

pub async fn handle(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    match delivery.subject.as_str() {
        MovieCreated::SUBJECT => env.promote(&delivery.event()?, delivery).await,
        RefundRequested::SUBJECT => env.record(delivery, AuditKind::RefundRequested, fields(delivery)?).await,
        ShowtimeUpdated::SUBJECT => {
            let mut event = fields(delivery)?;
            // Most updates leave the prices as they are.
            if event.get("previousPrices").is_none_or(Value::is_null) {
                return Ok(());
            }
            event.retain(|field, _| field == "by" || PRICE_FIELDS.contains(&field.as_str()));
            env.record(delivery, AuditKind::PricesChanged, event).await
        }
        _ => Err(unknown_event(CONSUMER.name, delivery)),
    }
}

impl Env {
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
        if !model::may_publish_movies(&delivery.source) {
            tracing::warn!(
                source = delivery.source,
                id = delivery.id,
                "movie.created from an unknown source; ignored"
            );
            return Ok(());
        }
        let created_at = delivery.time.ok_or_else(|| Failure::poison("movie.created without a ce-time"))?;
        until_current(|| async {
            let standing = access::standing_of(&self.pool, event.created_by).await.map_err(read_failure)?;
            let Some(standing) = standing.filter(|standing| model::promotes(standing, created_at)) else {
                return Ok(Some(()));
            };
            let user = User { role: Role::Admin, ..standing.user.clone() };
            let details = json!({
                "from": standing.user.role, "to": user.role, "movieId": event.movie_id, "source": delivery.source,
            });
            let entry = self.entry(AuditKind::RoleChanged, None, Some(user.id), None, details);
            let changed = self.event(&role_changed(&user, None), self.clock.now(), &delivery.context);
            let write = Act::Role(standing.to(Role::Admin)).audited(entry);
            match self.commit_event(Change { outbox: vec![changed], ..Change::new(write) }).await? {
                Handled::Done => Ok(Some(())),
                Handled::Stale => Ok(None),
                Handled::Rejected(refused) => Err(Failure::poison(format!("promoting: {refused:?}"))),
            }
        })
        .await
    }

    /// Records an event of another domain in the audit; its field `by` is the actor.
    async fn record(
        &self,
        delivery: &Delivery,
        kind: AuditKind,
        mut event: Map<String, Value>,
    ) -> Result<(), Failure> {
        let actor = event.remove("by").and_then(|by| serde_json::from_value(by).ok());
        let at = delivery.time.unwrap_or_else(|| self.clock.now());
        // A copy of the event gets the same id. Ids of events from outside can be any text.
        let id = delivery
            .id
            .parse()
            .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, delivery.id.as_bytes()));
        let entry = Entry { id, at, kind, actor, user: None, ip: None, details: event.into() };
        match self.commit_event(Change::new(Act::Note.audited(entry))).await? {
            Handled::Done => Ok(()),
            Handled::Stale | Handled::Rejected(_) => {
                Err(Failure::poison("an audit record has no rule to break"))
            }
        }
    }
}

/// The event as JSON, also with fields that this host does not know yet.
fn fields(delivery: &Delivery) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(&delivery.payload).map_err(|e| Failure::poison(format!("not a JSON object: {e}")))
}
