//! Requests about showtimes: scheduling one or many, changing start and prices, cancelling, finding.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::movie::{
    CancelShowtime, CreateShowtime, CreateShowtimes, CreatedShowtimes, DescribeShowtime, GetShowtime,
    ListShowtimes, Prices, Rejection, ShowtimeCancelled, ShowtimeUpdated, UpdateShowtime,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use bus::{Context, Failure, Problem};
use futures::FutureExt;
use uuid::Uuid;

use super::{Decision, scheduled_event, writing};
use crate::delivery::read_failure;
use crate::movie::Env;
use crate::movie::model::{self, Scheduled};
use crate::movie::programme;
use crate::movie::store::{self, Write};

/// No showtime with its cleaning lasts longer: a movie at most 1,000 minutes, a gap at most a day.
pub(super) const LONGEST: Duration = Duration::from_secs((1_000 + 24 * 60) * 60);

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| create(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| create_many(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| update(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| cancel(env, call).boxed())).await?;
    server.serve_with(env, get).await?;
    server.serve_with(env, describe).await?;
    server.serve_with(env, list).await
}

async fn create(env: &Env, call: &Call<CreateShowtime>) -> Result<Decision, Problem> {
    let wanted = &call.request;
    let movie = store::movies(&env.pool, &[wanted.movie_id]).await.map_err(read_failure)?.pop();
    let auditorium =
        store::auditoriums(&env.pool, &[wanted.auditorium_id]).await.map_err(read_failure)?.pop();
    let (cleaning, now) = (env.settings.cleaning, env.clock.now());
    let scheduled = model::schedule(wanted.clone(), movie.as_ref(), auditorium.as_ref(), cleaning, now)?;
    let event = scheduled_event(env, &scheduled, &call.context);
    let showtime = scheduled.showtime.clone();
    Decision::new(&showtime, Write::Showtimes(vec![scheduled]), vec![event])
}

async fn create_many(env: &Env, call: &Call<CreateShowtimes>) -> Result<Decision, Problem> {
    let wanted = &call.request;
    let movie = store::movies(&env.pool, &[wanted.movie_id]).await.map_err(read_failure)?.pop();
    let auditorium =
        store::auditoriums(&env.pool, &[wanted.auditorium_id]).await.map_err(read_failure)?.pop();
    let auditorium = auditorium.ok_or(Rejection::UnknownAuditorium)?;
    let slots = programme::slots(wanted, &programme::time_zone(&auditorium.time_zone)?)?;
    let cleaning = env.settings.cleaning;
    let starts = || slots.iter().filter_map(|slot| slot.at);
    let busy = match starts().min().zip(starts().max()) {
        Some((first, last)) => store::busy(&env.pool, auditorium.id, first, last.plus(LONGEST), cleaning)
            .await
            .map_err(read_failure)?,
        None => vec![],
    };
    let now = env.clock.now();
    let (scheduled, skipped) =
        programme::plan(wanted, slots, movie.as_ref(), &auditorium, busy, cleaning, now)?;
    let created = scheduled.iter().map(|scheduled| scheduled.showtime.clone()).collect();
    let events = scheduled.iter().map(|scheduled| scheduled_event(env, scheduled, &call.context)).collect();
    let answer = CreatedShowtimes { created, skipped };
    Decision::new(&answer, Write::Programme(scheduled), events)
}

/// Prices change at any time. The start moves only while no seat is held or sold; a seat that is sold while this is decided
/// keeps the old start (see `consumer`).
async fn update(env: &Env, call: &Call<UpdateShowtime>) -> Result<Decision, Problem> {
    let current = env.scheduled(call.request.id).await?;
    let changed = model::changed_showtime(&current, &call.request, env.settings.cleaning, env.clock.now())?;
    if changed.showtime.starts_at != current.showtime.starts_at {
        let current = std::slice::from_ref(&current);
        let claimed = env.claimed(current, &call.context).await?;
        let sold = model::sold(current, &claimed, |_, seats| seats.to_vec());
        if !sold.is_empty() {
            return Err(Rejection::ShowtimeSold(sold).into());
        }
    }
    let previous = Some(current.showtime.prices).filter(|prices| *prices != changed.showtime.prices);
    let event = updated_event(env, &changed, Some(call.caller()?.user_id), previous, &call.context);
    let showtime = changed.showtime.clone();
    Decision::new(&showtime, Write::Showtimes(vec![changed]), vec![event])
}

async fn cancel(env: &Env, call: &Call<CancelShowtime>) -> Result<Decision, Problem> {
    let current = env.scheduled(call.request.id).await?;
    let Some(cancelled) = model::cancelled(&current, env.clock.now())? else {
        return Decision::unchanged(&());
    };
    let event = cancelled_event(env, &cancelled, call.caller()?.user_id, &call.context);
    Decision::new(&(), Write::Showtimes(vec![cancelled]), vec![event])
}

async fn get(env: Arc<Env>, call: Call<GetShowtime>) -> Answered {
    let showtime = store::find_showtime(&env.pool, call.request.id).await.map_err(read_failure)?;
    json(&showtime.ok_or(Rejection::NoSuchShowtime)?)
}

async fn describe(env: Arc<Env>, call: Call<DescribeShowtime>) -> Answered {
    json(&env.scheduled(call.request.id).await?.event())
}

async fn list(env: Arc<Env>, call: Call<ListShowtimes>) -> Answered {
    json(&store::list_showtimes(&env.pool, &call.request).await.map_err(read_failure)?)
}

impl Env {
    pub(super) async fn scheduled(&self, id: Uuid) -> Result<Scheduled, Problem> {
        let found = store::scheduled(&self.pool, id).await.map_err(read_failure)?;
        Ok(found.ok_or(Rejection::NoSuchShowtime)?)
    }
}

/// `showtime.updated`
pub fn updated_event(
    env: &Env,
    changed: &Scheduled,
    by: Option<Uuid>,
    previous_prices: Option<Prices>,
    context: &Context,
) -> Outgoing {
    let event = ShowtimeUpdated { showtime: changed.event(), by, previous_prices };
    env.event(&event, changed.showtime.updated_at, context)
}

/// `showtime.cancelled`
pub fn cancelled_event(env: &Env, cancelled: &Scheduled, by: Uuid, context: &Context) -> Outgoing {
    let event = ShowtimeCancelled { showtime: cancelled.event(), by: Some(by) };
    env.event(&event, cancelled.showtime.updated_at, context)
}
