//! Requests about auditoriums. New seats also apply to future showtimes, unless a lost seat is held or sold there.
//!
//! A seat that is sold after reservation was asked and before it handles the change is kept: reservation refuses the change
//! and publishes so (see `consumer`).

use std::sync::Arc;

use bus::Failure;
use bus::Problem;
use bus::contract::movie::{
    Auditorium, CreateAuditorium, DeleteAuditorium, GetAuditorium, ListAuditoriums, Rejection,
    UpdateAuditorium, with_columns,
};
use bus::contract::site::DEFAULT_SITE;
use bus::service::{Answered, Call, Server, json};
use futures::FutureExt;
use uuid::Uuid;

use super::showtime::updated_event;
use super::{Decision, writing};
use crate::delivery::read_failure;
use crate::movie::Env;
use crate::movie::layout::lost_seats;
use crate::movie::model;
use crate::movie::programme;
use crate::movie::showtime::Scheduled;
use crate::movie::store::{self, Of, Write};

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| create(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| update(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| delete(env, call).boxed())).await?;
    server.serve_with(env, get).await?;
    server.serve_with(env, list).await
}

async fn create(env: &Env, call: &Call<CreateAuditorium>) -> Result<Decision, Problem> {
    let CreateAuditorium { name, time_zone, rows } = call.request.clone();
    programme::time_zone(&time_zone)?;
    let now = env.clock.now();
    let auditorium = Auditorium {
        id: Uuid::now_v7(),
        name,
        time_zone,
        rows: with_columns(rows),
        site_id: DEFAULT_SITE,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    Decision::new(&auditorium, Write::Auditorium(auditorium.clone(), vec![]), vec![])
}

async fn update(env: &Env, call: &Call<UpdateAuditorium>) -> Result<Decision, Problem> {
    let change = call.request.clone();
    if let Some(time_zone) = &change.time_zone {
        programme::time_zone(time_zone)?;
    }
    let current = env.auditorium(change.id).await?;
    let future = env.future_showtimes(Of::Auditorium(current.id)).await?;
    let now = env.clock.now();
    let auditorium = model::changed_auditorium(&current, change, now);
    let differ: Vec<Scheduled> =
        future.iter().filter(|scheduled| scheduled.rows != auditorium.rows).cloned().collect();
    let claimed = env.claimed(&differ, &call.context).await?;
    let sold = model::sold(&differ, &claimed, |scheduled, seats| {
        lost_seats(&scheduled.rows, &auditorium.rows, seats)
    });
    if !sold.is_empty() {
        return Err(Rejection::SeatsSold(sold).into());
    }
    let by = Some(call.caller()?.user_id);
    let refitted: Vec<Scheduled> =
        future.iter().map(|scheduled| scheduled.refitted(&auditorium, now)).collect();
    let events =
        refitted.iter().filter_map(|scheduled| updated_event(env, scheduled, by, &call.context)).collect();
    Decision::new(&auditorium, Write::Auditorium(auditorium.clone(), refitted), events)
}

async fn delete(env: &Env, call: &Call<DeleteAuditorium>) -> Result<Decision, Problem> {
    let current = env.auditorium(call.request.id).await?;
    let deleted = Auditorium { version: current.version + 1, updated_at: env.clock.now(), ..current };
    Decision::new(&(), Write::AuditoriumDeleted(deleted), vec![])
}

async fn get(env: Arc<Env>, call: Call<GetAuditorium>) -> Answered {
    json(&env.auditorium(call.request.id).await?)
}

async fn list(env: Arc<Env>, call: Call<ListAuditoriums>) -> Answered {
    json(&store::list_auditoriums(&env.pool, &call.request.paging).await.map_err(read_failure)?)
}

impl Env {
    async fn auditorium(&self, id: Uuid) -> Result<Auditorium, Problem> {
        let found = store::auditoriums(&self.pool, &[id]).await.map_err(read_failure)?.pop();
        Ok(found.ok_or(Rejection::NoSuchAuditorium)?)
    }
}
