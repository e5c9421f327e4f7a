//! Which showtimes are to be reminded of, and which were: asked by the scheduler, which keeps nothing itself.
//!
//! Invariant: a showtime is upcoming until it is marked with the start that was told, so a scheduler that ends in between
//! loses nothing, and a showtime that is moved is reminded of again.

mod store;

use std::sync::Arc;

use bus::contract::reminder::{ListUpcoming, MarkReminded, Upcoming};
use bus::service::{Answered, Call, json};
use bus::{Failure, Problem};

pub use store::mark;

use super::actor::Desk;
use super::store::Write;
use crate::delivery::{Change, Outcome, read_failure};

pub async fn upcoming(desk: Arc<Desk>, call: Call<ListUpcoming>) -> Answered {
    let showtimes = store::upcoming(&desk.pool, call.request.within_minutes).await.map_err(read_failure)?;
    json(&Upcoming { showtimes })
}

pub async fn reminded(desk: Arc<Desk>, call: Call<MarkReminded>) -> Answered {
    match desk.journal.commit(Change::new(Write::Reminded(call.request.reminded))).await {
        Outcome::Committed { .. } => json(&()),
        Outcome::Failed(failure) => Err(failure.into()),
        other => {
            let failure = Failure::poison(format!("marks are only ever written, but: {other:?}"));
            tracing::error!(%failure, "reminders not marked");
            Err(Problem::internal())
        }
    }
}
