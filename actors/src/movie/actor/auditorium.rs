//! Calls about auditoriums. Changed seats also count for the showtimes to come, unless somebody has them.
//!
//! Who buys a seat after reservation was asked and before it hears of the change is safe: reservation keeps the
//! seats that it sold and says so (see `refusal`).

use std::sync::Arc;

use bus::Failure;
use bus::Problem;
use bus::contract::movie::{
    Auditorium, CreateAuditorium, DeleteAuditorium, GetAuditorium, ListAuditoriums, Rejection,
    UpdateAuditorium, with_columns,
};
use bus::service::{Answered, Call, Server, json};
use futures::FutureExt;
use uuid::Uuid;

use super::showtime::updated_event;
use super::{Decision, Desk, unread, writing};
use crate::movie::model::{self, Scheduled};
use crate::movie::programme;
use crate::movie::store::{self, Of, Write};

pub async fn serve(desk: &Arc<Desk>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(desk, |desk, call| create(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| update(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| delete(desk, call).boxed())).await?;
    server.serve_with(desk, get).await?;
    server.serve_with(desk, list).await
}

async fn create(desk: &Desk, call: &Call<CreateAuditorium>) -> Result<Decision, Problem> {
    let CreateAuditorium { name, time_zone, rows } = call.request.clone();
    programme::time_zone(&time_zone)?;
    let now = desk.clock.now();
    let auditorium = Auditorium {
        id: Uuid::now_v7(),
        name,
        time_zone,
        rows: with_columns(rows),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    Decision::new(&auditorium, Write::Auditorium(auditorium.clone(), vec![]), vec![])
}

async fn update(desk: &Desk, call: &Call<UpdateAuditorium>) -> Result<Decision, Problem> {
    let change = call.request.clone();
    if let Some(time_zone) = &change.time_zone {
        programme::time_zone(time_zone)?;
    }
    let known = desk.auditorium(change.id).await?;
    let to_come = desk.to_come(Of::Auditorium(known.id)).await?;
    let now = desk.clock.now();
    let auditorium = model::changed_auditorium(&known, change, now);
    let differ: Vec<Scheduled> =
        to_come.iter().filter(|scheduled| scheduled.rows != auditorium.rows).cloned().collect();
    let claimed = desk.claimed(&differ, &call.context).await?;
    let sold = model::sold(&differ, &claimed, |scheduled, seats| {
        model::lost_seats(&scheduled.rows, &auditorium.rows, seats)
    });
    if !sold.is_empty() {
        return Err(Rejection::SeatsSold(sold).into());
    }
    let by = Some(call.caller()?.user_id);
    let refitted: Vec<Scheduled> =
        to_come.iter().map(|scheduled| scheduled.refitted(&auditorium, now)).collect();
    let told = refitted.iter().map(|scheduled| updated_event(scheduled, by, None, &call.context)).collect();
    Decision::new(&auditorium, Write::Auditorium(auditorium.clone(), refitted), told)
}

async fn delete(desk: &Desk, call: &Call<DeleteAuditorium>) -> Result<Decision, Problem> {
    let known = desk.auditorium(call.request.id).await?;
    let gone = Auditorium { version: known.version + 1, updated_at: desk.clock.now(), ..known };
    Decision::new(&(), Write::AuditoriumDeleted(gone), vec![])
}

async fn get(desk: Arc<Desk>, call: Call<GetAuditorium>) -> Answered {
    json(&desk.auditorium(call.request.id).await?)
}

async fn list(desk: Arc<Desk>, call: Call<ListAuditoriums>) -> Answered {
    json(&store::list_auditoriums(&desk.pool, &call.request.paging).await.map_err(unread)?)
}

impl Desk {
    async fn auditorium(&self, id: Uuid) -> Result<Auditorium, Problem> {
        let found = store::auditoriums(&self.pool, &[id]).await.map_err(unread)?.pop();
        Ok(found.ok_or(Rejection::NoSuchAuditorium)?)
    }
}
