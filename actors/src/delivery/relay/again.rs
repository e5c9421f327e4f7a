//! Publishes again after NATS was connected: the last minutes, the events that NATS has refused, and after a loss of its data
//! the whole archive.

use std::collections::VecDeque;

use anyhow::ensure;
use bus::event::Outgoing;
use bus::topology;
use sqlx::PgConnection;
use time::Date;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{DATABASE_MAX, Progress, Relay};
use crate::delivery::statements::archive::{self as sql, Places};
use crate::delivery::statements::batch::BatchKey;
use crate::delivery::within;

/// The progress of publishing again, in one life of the connections.
#[derive(Default)]
pub struct Again {
    /// When the stream was created: another time than the stored one means that NATS's data was wiped. `None` before the
    /// first sweep.
    stream_created: Option<String>,
    todo: Todo,
}

#[derive(Default)]
enum Todo {
    /// One host of the domain publishes again at a time; while another one does, this one waits: that host may crash meanwhile.
    #[default]
    Undecided,
    Recent,
    /// The stream is a new one. The newest day is published first.
    Archive {
        days: VecDeque<Date>,
        place: (Uuid, i64),
    },
    Done,
}

impl Again {
    pub fn is_begun(&self) -> bool {
        self.stream_created.is_some()
    }

    pub fn has_archive(&self) -> bool {
        matches!(self.todo, Todo::Archive { .. })
    }

    /// Creates the streams and stores their identity.
    pub async fn begin(&mut self, relay: &Relay) -> anyhow::Result<()> {
        topology::ensure_streams(&relay.bus).await?;
        self.stream_created = Some(stream_created(relay).await?);
        Ok(())
    }

    pub async fn ensure_same_stream(&self, relay: &Relay) -> anyhow::Result<()> {
        ensure!(self.stream_created == Some(stream_created(relay).await?), "the stream was replaced");
        Ok(())
    }

    /// After a sweep: decides which events are to be published again, and publishes them at once where they are few.
    pub async fn follow_up(
        &mut self,
        relay: &Relay,
        db: &mut PgConnection,
        progress: &mut Progress,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        if matches!(self.todo, Todo::Undecided) {
            self.decide(relay, db).await?;
        }
        if matches!(self.todo, Todo::Recent) {
            self.publish_recent(relay, db, progress, stop).await?;
            self.finish(relay, db).await?;
        }
        Ok(())
    }

    async fn decide(&mut self, relay: &Relay, db: &mut PgConnection) -> anyhow::Result<()> {
        let domain = relay.database.domain;
        // On an error the lock goes with the connection.
        let lock = "select pg_try_advisory_lock(hashtext('delivery.relay'), hashtext($1))";
        if !within(DATABASE_MAX, sqlx::query_scalar(lock).bind(domain).fetch_one(&mut *db)).await? {
            return Ok(());
        }
        let stored = sqlx::query_scalar("select stream_created_at from relay").fetch_optional(&mut *db);
        let stored: Option<String> = within(DATABASE_MAX, stored).await?;
        let is_same_stream = stored == self.stream_created;
        #[cfg(feature = "planted")]
        let is_same_stream = is_same_stream || (stored.is_some() && bus::config::planted("blind-to-wipes"));
        self.todo = match is_same_stream {
            true => Todo::Recent,
            false => {
                if stored.is_some() {
                    tracing::warn!(domain, "NATS's data was wiped; publishing the whole archive");
                }
                let days = within(DATABASE_MAX, sql::days(db)).await?.into();
                Todo::Archive { days, place: (Uuid::nil(), 0) }
            }
        };
        Ok(())
    }

    async fn publish_recent(
        &self,
        relay: &Relay,
        db: &mut PgConnection,
        progress: &mut Progress,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let refused = within(DATABASE_MAX, sql::refused(db)).await?;
        if !refused.is_empty() {
            relay.publish_page(db, progress, untracked(refused), self).await?;
            let accepted = std::mem::take(&mut progress.accepted);
            within(DATABASE_MAX, sql::delist_refused(db, &accepted)).await?;
        }
        let mut after = Places::new();
        loop {
            ensure!(!stop.is_cancelled(), "stopped while publishing again");
            let page = within(DATABASE_MAX, sql::recent(db, &after)).await?;
            if page.is_empty() {
                return Ok(());
            }
            after.extend(page.iter().map(|batch| (batch.key.journal, batch.key.number)));
            relay.publish_page(db, progress, untracked(page), self).await?;
        }
    }

    pub async fn publish_page_of_archive(
        &mut self,
        relay: &Relay,
        db: &mut PgConnection,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let Todo::Archive { days, place } = &mut self.todo else { return Ok(()) };
        let Some(day) = days.front() else { return self.finish(relay, db).await };
        let page = within(DATABASE_MAX, sql::of_day(db, *day, *place)).await?;
        match page.last() {
            None => {
                days.pop_front();
                *place = (Uuid::nil(), 0);
            }
            Some(last) => {
                *place = (last.key.journal, last.key.number);
                relay.publish_page(db, progress, untracked(page), self).await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self, relay: &Relay, db: &mut PgConnection) -> anyhow::Result<()> {
        if self.has_archive() {
            let store = sqlx::query(
                "insert into relay (stream_created_at) values ($1)
                 on conflict (only_row) do update set stream_created_at = excluded.stream_created_at",
            );
            within(DATABASE_MAX, store.bind(&self.stream_created).execute(&mut *db)).await?;
        }
        let unlock = "select pg_advisory_unlock(hashtext('delivery.relay'), hashtext($1))";
        within(DATABASE_MAX, sqlx::query(unlock).bind(relay.database.domain).execute(&mut *db)).await?;
        self.todo = Todo::Done;
        Ok(())
    }
}

/// Batches whose progress is not followed: they are published already.
fn untracked(page: Vec<sql::Batch>) -> Vec<(Option<BatchKey>, Vec<Outgoing>)> {
    page.into_iter().map(|batch| (None, batch.events)).collect()
}

async fn stream_created(relay: &Relay) -> Result<String, bus::Failure> {
    Ok(topology::events(&relay.bus).await?.cached_info().created.to_string())
}
