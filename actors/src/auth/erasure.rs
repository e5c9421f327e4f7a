//! The erasure of users: by themselves, by staff, and of guests some days after their last show; and what follows from it here.
//!
//! Invariant: nobody is erased while an order, a refund or a dispute of theirs is open. Reservation and payment are asked before
//! anything is written; while one of them is away the request is refused and may be sent again.
//! Invariant: the commit that removes the account publishes `user.erased`, which has every domain remove the rest.

use std::net::IpAddr;
use std::time::Duration;

use bus::consumer::Delivery;
use bus::contract::auth::{AuditKind, Rejection, UserErased};
use bus::contract::payment::AreOpen;
use bus::contract::reservation::{ListOrdersOf, ListPastGuests};
use bus::service::Ask;
use bus::{Context, Failure, Problem, dead_letter};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Env;
use super::model::Erasable;
use super::store::Act;
use super::store::erasure::{self as store, Erasure};
use crate::delivery::{Change, Person, erase_traces, read_failure};

/// After the erasures of one page of guests, so that reservation has blanked their orders before there are more.
const NEXT_GUESTS: Duration = Duration::from_secs(2);

/// Why a user is erased, for the audit.
#[derive(Debug, Clone, Copy)]
pub enum Cause<'a> {
    Owner,
    Staff { by: Uuid, reason: &'a str },
    Retention,
}

impl Cause<'_> {
    fn details(self) -> Value {
        match self {
            Self::Owner => json!({"cause": "OWNER"}),
            Self::Staff { reason, .. } => json!({"cause": "STAFF", "reason": reason}),
            Self::Retention => json!({"cause": "RETENTION"}),
        }
    }
}

impl Env {
    /// The user's orders, in pages. Refuses while something of the user is open.
    pub async fn finished_orders(&self, user_id: Uuid, context: &Context) -> Result<Vec<Vec<Uuid>>, Problem> {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = self.bus.ask(&ListOrdersOf { user_id, after }, &Ask::new(context.clone())).await?;
            if page.open || self.are_open(&page.reservation_ids, context).await? {
                return Err(Rejection::ErasureOpen.into());
            }
            pages.push(page.reservation_ids);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(pages),
            }
        }
    }

    async fn are_open(&self, orders: &[Uuid], context: &Context) -> Result<bool, Problem> {
        if orders.is_empty() {
            return Ok(false);
        }
        let request = AreOpen { reservation_ids: orders.to_vec() };
        Ok(self.bus.ask(&request, &Ask::new(context.clone())).await?.open)
    }

    /// Writes the erasure, with an event for each page of orders; `None` where the user has changed since it was read, or the proven password is another one now.
    pub async fn erase(
        &self,
        user: Erasable,
        proven: Option<String>,
        orders: Vec<Vec<Uuid>>,
        (cause, ip): (Cause<'_>, Option<IpAddr>),
        context: &Context,
    ) -> Result<Option<()>, Problem> {
        let (id, at) = (user.id, self.clock.now());
        let actor = match cause {
            Cause::Owner => Some(id),
            Cause::Staff { by, .. } => Some(by),
            Cause::Retention => None,
        };
        let entry = self.entry(AuditKind::UserErased, actor, Some(id), ip, cause.details());
        let event =
            |reservation_ids| self.event(&UserErased { user_id: id, at, reservation_ids }, at, context);
        let outbox = orders.into_iter().map(event).collect();
        let write = Act::Erase(Erasure { user, proven, at }).audited(entry);
        let written = self.commit(Change { outbox, ..Change::new(write) }).await?;
        Ok(written.map(drop))
    }

    /// Erases the guests whose last show began before this time; leaves those for whom something is open to the next time.
    pub async fn erase_past_guests(&self, keep: Duration) -> Result<(), Failure> {
        let (context, mut after) = (Context::new(), None);
        loop {
            let request = ListPastGuests { before: self.clock.now().minus(keep), after };
            let guests = self.bus.ask(&request, &Ask::new(context.clone())).await.map_err(unanswered)?;
            after = guests.user_ids.last().copied();
            if after.is_none() {
                return Ok(());
            }
            let mut erased = 0;
            for id in guests.user_ids {
                let found = store::erasable(&self.pool, id).await.map_err(read_failure)?;
                let Some(guest) = found.filter(|user| user.is_guest) else { continue };
                let orders = match self.finished_orders(id, &context).await {
                    Ok(orders) => orders,
                    Err(problem) if problem.status == 409 => continue,
                    Err(problem) => return Err(unanswered(problem)),
                };
                let done = self.erase(guest, None, orders, (Cause::Retention, None), &context).await;
                erased += usize::from(done.map_err(|problem| Failure::transient(problem.code))?.is_some());
            }
            if erased > 0 {
                tracing::info!(erased, "erased guests whose shows are long over");
                tokio::time::sleep(NEXT_GUESTS).await;
            }
        }
    }

    /// Removes an erased user from auth's archive, and the dead letters about the user and the user's orders.
    pub async fn finish_erasure(&self, delivery: &Delivery) -> Result<(), Failure> {
        let UserErased { user_id, reservation_ids, .. } = delivery.event()?;
        let mut user_ids = store::guests_of(&self.pool, user_id).await.map_err(read_failure)?;
        user_ids.push(user_id);
        let person = Person { user_ids, reservation_ids, ..Person::default() };
        erase_traces(&self.pool, &person).await?;
        let letters = dead_letter::personal(&self.bus).await.map_err(unread)?;
        let is_theirs = |letter: &&dead_letter::Personal| {
            letter.reservation_id.is_some_and(|id| person.reservation_ids.contains(&id))
                || letter.user_ids.contains(&user_id)
        };
        for letter in letters.iter().filter(is_theirs) {
            dead_letter::delete_personal(&self.bus, letter).await.map_err(unread)?;
        }
        Ok(())
    }

    /// Deletes dead letters about users who are erased: they may be parked after the erasure, when a host comes back.
    pub async fn delete_late_dead_letters(&self) -> Result<(), Failure> {
        let letters = dead_letter::personal(&self.bus).await.map_err(unread)?;
        let named: Vec<Uuid> = letters.iter().flat_map(|letter| letter.user_ids.clone()).collect();
        if named.is_empty() {
            return Ok(());
        }
        let erased = store::erased(&self.pool, &named).await.map_err(read_failure)?;
        let is_theirs =
            |letter: &&dead_letter::Personal| letter.user_ids.iter().any(|id| erased.contains(id));
        for letter in letters.iter().filter(is_theirs) {
            dead_letter::delete_personal(&self.bus, letter).await.map_err(unread)?;
        }
        Ok(())
    }
}

pub fn unanswered(problem: Problem) -> Failure {
    Failure::transient(format!("a host has not answered about the orders of a guest: {}", problem.code))
}

fn unread(problem: Problem) -> Failure {
    Failure::transient(format!("the dead letters were not read: {}", problem.code))
}
