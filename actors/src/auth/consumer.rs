//! The events that auth handles: the creator of a movie becomes an ADMIN, and the audit records events of other domains.
//!
//! Invariant: an event promotes to ADMIN at most, only if it comes from movie (or from the bridge, where
//! `PROMOTE_MOVIE_CREATORS` is set), and never against a later decision about the role.

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::auth::{AuditKind, Role, User, UserErased, UserMerged};
use bus::contract::movie::{MovieCreated, ShowtimeUpdated};
use bus::contract::reservation::{RefundRequested, ReservationReaddressed};
use bus::contract::site::SiteUpdated;
use bus::topology::ConsumerSpec;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Env;
use super::endpoints::role_changed;
use super::model;
use super::store::audit::Entry;
use super::store::{Act, access, erasure};
use crate::config::Promotes;
use crate::delivery::{Change, read_failure};
use crate::domain::{Handled, unknown_event, until_current};

pub const CONSUMER: ConsumerSpec = ConsumerSpec {
    name: "auth",
    subjects: &[
        MovieCreated::SUBJECT,
        RefundRequested::SUBJECT,
        ShowtimeUpdated::SUBJECT,
        SiteUpdated::SUBJECT,
        ReservationReaddressed::SUBJECT,
        UserMerged::SUBJECT,
        UserErased::SUBJECT,
    ],
};
/// The fields of a corrected address that the audit keeps: not the order's lines.
const ADDRESS_FIELDS: [&str; 4] = ["reservationId", "userId", "email", "previousEmail"];
/// The fields of a showtime that the audit keeps: not its layout.
const PRICE_FIELDS: [&str; 5] = ["showtimeId", "movieId", "prices", "tariff", "previousPrices"];
const RULE_FIELDS: [&str; 4] = ["showtimeId", "movieId", "overrides", "previousOverrides"];
/// Of a site the names of the fields that were changed, not their values.
const SITE_FIELDS: [&str; 3] = ["siteId", "version", "changed"];

pub async fn handle(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    match delivery.subject.as_str() {
        MovieCreated::SUBJECT => env.promote(&delivery.event()?, delivery).await,
        RefundRequested::SUBJECT => env.record(delivery, AuditKind::RefundRequested, fields(delivery)?).await,
        ShowtimeUpdated::SUBJECT => {
            let event = fields(delivery)?;
            // Most updates leave prices and rules as they are.
            if has(&event, "previousPrices") {
                let prices = only(event.clone(), &PRICE_FIELDS);
                env.record(delivery, AuditKind::PricesChanged, prices).await?;
            }
            if has(&event, "previousOverrides") {
                env.record(delivery, AuditKind::ShowtimeRulesChanged, only(event, &RULE_FIELDS)).await?;
            }
            Ok(())
        }
        SiteUpdated::SUBJECT => {
            let mut event = fields(delivery)?;
            if let Some(id) = event.remove("id") {
                event.insert("siteId".into(), id);
            }
            env.record(delivery, AuditKind::SiteChanged, only(event, &SITE_FIELDS)).await
        }
        ReservationReaddressed::SUBJECT => {
            let mut event = only(fields(delivery)?, &ADDRESS_FIELDS);
            env.remove_erased(&mut event).await?;
            env.record(delivery, AuditKind::AddressCorrected, event).await
        }
        UserMerged::SUBJECT => {
            let merged: UserMerged = delivery.event()?;
            let mut event = fields(delivery)?;
            env.remove_erased(&mut event).await?;
            env.record_with(delivery, AuditKind::OrdersMerged, event, Act::CheckGuest(merged.guest_id)).await
        }
        UserErased::SUBJECT => env.finish_erasure(delivery).await,
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

    /// A late or repeated event about an erased user is recorded without addresses.
    async fn remove_erased(&self, event: &mut Map<String, Value>) -> Result<(), Failure> {
        let user = event.get("userId").and_then(|id| serde_json::from_value(id.clone()).ok());
        let Some(user) = user else { return Ok(()) };
        if !erasure::erased(&self.pool, &[user]).await.map_err(read_failure)?.is_empty() {
            event.retain(|field, _| field != "email" && field != "previousEmail");
        }
        Ok(())
    }

    /// Records an event of another domain in the audit; its field `by` is the actor.
    async fn record(
        &self,
        delivery: &Delivery,
        kind: AuditKind,
        event: Map<String, Value>,
    ) -> Result<(), Failure> {
        self.record_with(delivery, kind, event, Act::Note).await
    }

    /// The same together with another change.
    async fn record_with(
        &self,
        delivery: &Delivery,
        kind: AuditKind,
        mut event: Map<String, Value>,
        act: Act,
    ) -> Result<(), Failure> {
        let actor = event.remove("by").and_then(|by| serde_json::from_value(by).ok());
        let at = delivery.time.unwrap_or_else(|| self.clock.now());
        // A copy of the event gets the same id. Ids of events from outside can be any text.
        let id = delivery
            .id
            .parse()
            .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, delivery.id.as_bytes()));
        // One event may change prices and rules: each has its own record.
        let id = match kind {
            AuditKind::ShowtimeRulesChanged => Uuid::new_v5(&id, b"rules"),
            _ => id,
        };
        let entry = Entry { id, at, kind, actor, user: None, ip: None, details: event.into() };
        match self.commit_event(Change::new(act.audited(entry))).await? {
            Handled::Done => Ok(()),
            Handled::Stale | Handled::Rejected(_) => {
                Err(Failure::poison("an audit record has no rule to break"))
            }
        }
    }
}

/// Whether an event has a value in a field.
fn has(event: &Map<String, Value>, field: &str) -> bool {
    event.get(field).is_some_and(|value| !value.is_null())
}

/// These fields of an event, and who caused it.
fn only(mut event: Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    event.retain(|field, _| field == "by" || fields.contains(&field.as_str()));
    event
}

/// The event as JSON, also with fields that this host does not know yet.
fn fields(delivery: &Delivery) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(&delivery.payload).map_err(|e| Failure::poison(format!("not a JSON object: {e}")))
}
