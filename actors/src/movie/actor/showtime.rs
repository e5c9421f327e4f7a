//! Calls about showtimes: scheduling one or many, changing start and prices, cancelling, finding.

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

use super::{DOMAIN, Decision, Desk, scheduled_event, unread, writing};
use crate::movie::model::{self, Scheduled};
use crate::movie::programme;
use crate::movie::store::{self, Write};

/// No showtime with its cleaning lasts longer: a movie at most 1,000 minutes, a gap at most a day.
pub(super) const LONGEST: Duration = Duration::from_secs((1_000 + 24 * 60) * 60);

pub async fn serve(desk: &Arc<Desk>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(desk, |desk, call| create(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| create_many(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| update(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| cancel(desk, call).boxed())).await?;
    server.serve_with(desk, get).await?;
    server.serve_with(desk, describe).await?;
    server.serve_with(desk, list).await
}

async fn create(desk: &Desk, call: &Call<CreateShowtime>) -> Result<Decision, Problem> {
    let wanted = &call.request;
    let movie = store::movies(&desk.pool, &[wanted.movie_id]).await.map_err(unread)?.pop();
    let auditorium = store::auditoriums(&desk.pool, &[wanted.auditorium_id]).await.map_err(unread)?.pop();
    let (cleaning, now) = (desk.settings.cleaning, desk.clock.now());
    let scheduled = model::schedule(wanted.clone(), movie.as_ref(), auditorium.as_ref(), cleaning, now)?;
    let event = scheduled_event(&scheduled, &call.context);
    let showtime = scheduled.showtime.clone();
    Decision::new(&showtime, Write::Showtimes(vec![scheduled]), vec![event])
}

async fn create_many(desk: &Desk, call: &Call<CreateShowtimes>) -> Result<Decision, Problem> {
    let wanted = &call.request;
    let movie = store::movies(&desk.pool, &[wanted.movie_id]).await.map_err(unread)?.pop();
    let auditorium = store::auditoriums(&desk.pool, &[wanted.auditorium_id]).await.map_err(unread)?.pop();
    let auditorium = auditorium.ok_or(Rejection::UnknownAuditorium)?;
    let slots = programme::slots(wanted, &programme::time_zone(&auditorium.time_zone)?)?;
    let cleaning = desk.settings.cleaning;
    let starts = || slots.iter().filter_map(|slot| slot.at);
    let busy = match starts().min().zip(starts().max()) {
        Some((first, last)) => store::busy(&desk.pool, auditorium.id, first, last.plus(LONGEST), cleaning)
            .await
            .map_err(unread)?,
        None => vec![],
    };
    let now = desk.clock.now();
    let (scheduled, skipped) =
        programme::plan(wanted, slots, movie.as_ref(), &auditorium, busy, cleaning, now)?;
    let created = scheduled.iter().map(|scheduled| scheduled.showtime.clone()).collect();
    let told = scheduled.iter().map(|scheduled| scheduled_event(scheduled, &call.context)).collect();
    let answer = CreatedShowtimes { created, skipped };
    Ok(Decision { around_others: true, ..Decision::new(&answer, Write::Showtimes(scheduled), told)? })
}

/// Prices change at any time. The start moves only while nobody has seats; who gets one while this is decided keeps the old
/// start (see `refusal`).
async fn update(desk: &Desk, call: &Call<UpdateShowtime>) -> Result<Decision, Problem> {
    let known = desk.scheduled(call.request.id).await?;
    let changed = model::changed_showtime(&known, &call.request, desk.settings.cleaning, desk.clock.now())?;
    if changed.showtime.starts_at != known.showtime.starts_at {
        let known = std::slice::from_ref(&known);
        let claimed = desk.claimed(known, &call.context).await?;
        let sold = model::sold(known, &claimed, |_, seats| seats.to_vec());
        if !sold.is_empty() {
            return Err(Rejection::ShowtimeSold(sold).into());
        }
    }
    let previous = Some(known.showtime.prices).filter(|prices| *prices != changed.showtime.prices);
    let event = updated_event(&changed, Some(call.caller()?.user_id), previous, &call.context);
    let showtime = changed.showtime.clone();
    Decision::new(&showtime, Write::Showtimes(vec![changed]), vec![event])
}

async fn cancel(desk: &Desk, call: &Call<CancelShowtime>) -> Result<Decision, Problem> {
    let known = desk.scheduled(call.request.id).await?;
    let Some(cancelled) = model::cancelled(&known, desk.clock.now())? else {
        return Ok(Decision { answer: json(&())?, write: None, outbox: vec![], around_others: false });
    };
    let event = cancelled_event(&cancelled, call.caller()?.user_id, &call.context);
    Decision::new(&(), Write::Showtimes(vec![cancelled]), vec![event])
}

async fn get(desk: Arc<Desk>, call: Call<GetShowtime>) -> Answered {
    let showtime = store::find_showtime(&desk.pool, call.request.id).await.map_err(unread)?;
    json(&showtime.ok_or(Rejection::NoSuchShowtime)?)
}

async fn describe(desk: Arc<Desk>, call: Call<DescribeShowtime>) -> Answered {
    json(&desk.scheduled(call.request.id).await?.event())
}

async fn list(desk: Arc<Desk>, call: Call<ListShowtimes>) -> Answered {
    json(&store::list_showtimes(&desk.pool, &call.request).await.map_err(unread)?)
}

impl Desk {
    pub(super) async fn scheduled(&self, id: Uuid) -> Result<Scheduled, Problem> {
        let found = store::scheduled(&self.pool, id).await.map_err(unread)?;
        Ok(found.ok_or(Rejection::NoSuchShowtime)?)
    }
}

/// `showtime.updated`, as it leaves.
pub fn updated_event(
    changed: &Scheduled,
    by: Option<Uuid>,
    previous_prices: Option<Prices>,
    context: &Context,
) -> Outgoing {
    let event = ShowtimeUpdated { showtime: changed.event(), by, previous_prices };
    Outgoing::new(DOMAIN, &event, changed.showtime.updated_at, context)
}

/// `showtime.cancelled`, as it leaves.
pub fn cancelled_event(cancelled: &Scheduled, by: Uuid, context: &Context) -> Outgoing {
    let event = ShowtimeCancelled { showtime: cancelled.event(), by: Some(by) };
    Outgoing::new(DOMAIN, &event, cancelled.showtime.updated_at, context)
}
