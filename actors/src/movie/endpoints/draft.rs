//! Requests about drafts: publishing one or many, and the list of staff, which has them.
//!
//! Invariant: `showtime.scheduled` is committed with the publication. No event of a draft is published before.

use std::sync::Arc;

use bus::contract::movie::{
    ListPlannedShowtimes, PublishShowtime, PublishShowtimes, PublishedShowtimes, Rejection,
    UnpublishedReason, UnpublishedShowtime,
};
use bus::service::{Answered, Call, Server, json};
use bus::{Failure, Problem};
use futures::FutureExt;

use super::{Decision, scheduled_event, writing};
use crate::delivery::read_failure;
use crate::movie::Env;
use crate::movie::showtime::published;
use crate::movie::store::{self, Write};

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| publish(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| publish_many(env, call).boxed())).await?;
    server.serve_with(env, list).await
}

async fn publish(env: &Env, call: &Call<PublishShowtime>) -> Result<Decision, Problem> {
    let current = env.scheduled(call.request.id).await?;
    let published = match published(&current, env.clock.now()) {
        Ok(published) => published,
        Err(UnpublishedReason::AlreadyPublished) => return Decision::unchanged(&current.showtime),
        Err(reason) => return Err(rejection(reason).into()),
    };
    let event = scheduled_event(env, &published, &call.context);
    let showtime = published.showtime.clone();
    Decision::new(&showtime, Write::Showtimes(vec![published]), event.into_iter().collect())
}

fn rejection(reason: UnpublishedReason) -> Rejection {
    match reason {
        UnpublishedReason::NotFound | UnpublishedReason::AlreadyPublished => Rejection::NoSuchShowtime,
        UnpublishedReason::ShowtimeCancelled => Rejection::ShowtimeCancelled,
        UnpublishedReason::ShowtimeStarted => Rejection::ShowtimeStarted,
    }
}

async fn publish_many(env: &Env, call: &Call<PublishShowtimes>) -> Result<Decision, Problem> {
    let found = store::scheduled_all(&env.pool, &call.request.ids).await.map_err(read_failure)?;
    let now = env.clock.now();
    let (mut written, mut skipped) = (Vec::new(), Vec::new());
    for id in &call.request.ids {
        let current = found.iter().find(|scheduled| scheduled.showtime.id == *id);
        match current.ok_or(UnpublishedReason::NotFound).and_then(|current| published(current, now)) {
            Ok(published) => written.push(published),
            Err(reason) => skipped.push(UnpublishedShowtime { id: *id, reason }),
        }
    }
    let published = written.iter().map(|scheduled| scheduled.showtime.clone()).collect();
    let answer = PublishedShowtimes { published, skipped };
    if written.is_empty() {
        return Decision::unchanged(&answer);
    }
    let events = written.iter().filter_map(|scheduled| scheduled_event(env, scheduled, &call.context));
    let events = events.collect();
    Decision::new(&answer, Write::Showtimes(written), events)
}

async fn list(env: Arc<Env>, call: Call<ListPlannedShowtimes>) -> Answered {
    let (now, ListPlannedShowtimes { of, status }) = (env.clock.now(), &call.request);
    let mut found = store::list_planned_showtimes(&env.pool, of, *status, now).await.map_err(read_failure)?;
    env.add_availability(&mut found.items, now, &call.context).await;
    json(&found)
}
