//! Requests about showtimes: scheduling one or many, changing start and prices, cancelling, finding.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::movie::{
    CancelShowtime, CreateShowtime, CreateShowtimes, CreatedShowtimes, DescribeShowtime, GetShowtime,
    ListShowtimes, Rejection, Showtime, ShowtimeCancelled, ShowtimeUpdated, UpdateShowtime,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use bus::{Context, Failure, Problem};
use futures::FutureExt;
use uuid::Uuid;

use super::{Decision, scheduled_event, writing};
use crate::delivery::read_failure;
use crate::movie::Env;
use crate::movie::model;
use crate::movie::programme;
use crate::movie::showtime::{self, Basis, Removal, Scheduled};
use crate::movie::store::{self, Write};
use crate::movie::tariff::Pricing;

/// No showtime with its cleaning lasts longer: a movie at most 1,000 minutes, the time before it at most 90, a gap at most a day.
pub(super) const LONGEST: Duration = Duration::from_secs((1_000 + 90 + 24 * 60) * 60);

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
    let basis = Basis {
        movie: movie.as_ref(),
        auditorium: auditorium.as_ref(),
        pricing: &env.pricing_unless(wanted.prices.is_some()).await?,
        cleaning: env.settings.cleaning,
        now: env.clock.now(),
    };
    let scheduled = showtime::schedule(wanted.clone(), &basis)?;
    let event = scheduled_event(env, &scheduled, &call.context);
    let mut showtime = scheduled.showtime.clone();
    env.show_sales_end(std::slice::from_mut(&mut showtime)).await?;
    Decision::new(&showtime, Write::Showtimes(vec![scheduled]), event.into_iter().collect())
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
    let basis = Basis {
        movie: movie.as_ref(),
        auditorium: Some(&auditorium),
        pricing: &env.pricing_unless(wanted.prices.is_some()).await?,
        cleaning,
        now: env.clock.now(),
    };
    let (scheduled, skipped) = programme::plan(wanted, slots, busy, &basis)?;
    let mut created: Vec<_> = scheduled.iter().map(|scheduled| scheduled.showtime.clone()).collect();
    env.show_sales_end(&mut created).await?;
    let events =
        scheduled.iter().filter_map(|scheduled| scheduled_event(env, scheduled, &call.context)).collect();
    let answer = CreatedShowtimes { created, skipped };
    Decision::new(&answer, Write::Programme(scheduled), events)
}

/// Prices change at any time. The start moves only while no seat is held or sold; a seat that is sold while this is decided
/// keeps the old start (see `consumer`).
async fn update(env: &Env, call: &Call<UpdateShowtime>) -> Result<Decision, Problem> {
    let current = env.scheduled(call.request.id).await?;
    let (change, cleaning) = (&call.request, env.settings.cleaning);
    let pricing = env.pricing_unless(change.price_card_id.is_none()).await?;
    let movie = match showtime::needs_movie(change) {
        true => store::movies(&env.pool, &[current.showtime.movie_id]).await.map_err(read_failure)?.pop(),
        false => None,
    };
    let changed = showtime::changed(&current, change, movie.as_ref(), &pricing, cleaning, env.clock.now())?;
    if changed.showtime.starts_at != current.showtime.starts_at {
        let current = std::slice::from_ref(&current);
        let claimed = env.claimed(current, &call.context).await?;
        let sold = model::sold(current, &claimed, |_, seats| seats.to_vec());
        if !sold.is_empty() {
            return Err(Rejection::ShowtimeSold(sold).into());
        }
    }
    // A tariff may change the prices of other types than the one that is shown.
    let repriced = current.showtime.prices != changed.showtime.prices || current.tariff != changed.tariff;
    let (before, after) = (current.showtime.overrides, changed.showtime.overrides);
    let event = ShowtimeUpdated {
        by: Some(call.caller()?.user_id),
        previous_prices: repriced.then_some(current.showtime.prices),
        previous_overrides: (before != after).then_some(before),
        showtime: changed.event(),
    };
    let event = changed.is_published().then(|| env.event(&event, changed.showtime.updated_at, &call.context));
    let mut showtime = changed.showtime.clone();
    env.show_sales_end(std::slice::from_mut(&mut showtime)).await?;
    Decision::new(&showtime, Write::Showtimes(vec![changed]), event.into_iter().collect())
}

async fn cancel(env: &Env, call: &Call<CancelShowtime>) -> Result<Decision, Problem> {
    let current = env.scheduled(call.request.id).await?;
    let cancelled = match showtime::cancelled(&current, env.clock.now())? {
        Removal::Nothing => return Decision::unchanged(&()),
        Removal::Deleted => return Decision::new(&(), Write::DraftDeleted(current), vec![]),
        Removal::Cancelled(cancelled) => cancelled,
    };
    let event = cancelled_event(env, &cancelled, call.caller()?.user_id, &call.context);
    Decision::new(&(), Write::Showtimes(vec![cancelled]), vec![event])
}

async fn get(env: Arc<Env>, call: Call<GetShowtime>) -> Answered {
    let showtime = store::find_showtime(&env.pool, call.request.id).await.map_err(read_failure)?;
    json(&showtime.ok_or(Rejection::NoSuchShowtime)?)
}

/// Other hosts get only published showtimes: they know no drafts.
async fn describe(env: Arc<Env>, call: Call<DescribeShowtime>) -> Answered {
    let found = env.scheduled(call.request.id).await?;
    if !found.is_published() {
        return Err(Rejection::NoSuchShowtime.into());
    }
    json(&found.event())
}

async fn list(env: Arc<Env>, call: Call<ListShowtimes>) -> Answered {
    let now = env.clock.now();
    let mut found = store::list_showtimes(&env.pool, &call.request, now).await.map_err(read_failure)?;
    env.add_availability(&mut found.items, now, &call.context).await;
    json(&found)
}

impl Env {
    pub(super) async fn scheduled(&self, id: Uuid) -> Result<Scheduled, Problem> {
        let found = store::scheduled(&self.pool, id).await.map_err(read_failure)?;
        Ok(found.ok_or(Rejection::NoSuchShowtime)?)
    }

    /// Adds when their sales on the web end, in the answer to a change: what is read has it already.
    async fn show_sales_end(&self, showtimes: &mut [Showtime]) -> Result<(), Problem> {
        let Some(site) = showtimes.first().map(|showtime| showtime.site_id) else { return Ok(()) };
        let site = self.site(site).await?;
        for showtime in showtimes {
            showtime.sales_end_at =
                showtime.overrides.sales_end_at(site.of.sales_cutoffs, showtime.starts_at);
        }
        Ok(())
    }

    /// The cards and types that a tariff is made of; none where the showtime gets no tariff.
    async fn pricing_unless(&self, plain: bool) -> Result<Pricing, Problem> {
        if plain {
            return Ok(Pricing::default());
        }
        self.pricing().await
    }
}

/// `showtime.updated` where prices and rules are as before; none for a draft.
pub fn updated_event(
    env: &Env,
    changed: &Scheduled,
    by: Option<Uuid>,
    context: &Context,
) -> Option<Outgoing> {
    changed.is_published().then(|| {
        let showtime = changed.event();
        let event = ShowtimeUpdated { showtime, by, previous_prices: None, previous_overrides: None };
        env.event(&event, changed.showtime.updated_at, context)
    })
}

/// `showtime.cancelled`
pub fn cancelled_event(env: &Env, cancelled: &Scheduled, by: Uuid, context: &Context) -> Outgoing {
    let event = ShowtimeCancelled { showtime: cancelled.event(), by: Some(by) };
    env.event(&event, cancelled.showtime.updated_at, context)
}
