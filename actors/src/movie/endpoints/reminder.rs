//! The scheduler's requests: which showtimes start soon and need a reminder, and which had one.
//!
//! Invariant: a showtime is listed until it is marked with the start that the reminder named. So a scheduler that ends
//! in between loses no reminder, and a showtime that is moved gets another one.

use std::sync::Arc;

use bus::Failure;
use bus::contract::reminder::{ListUpcoming, MarkReminded, Upcoming};
use bus::service::{Answered, Call, Server, json};

use crate::delivery::{Change, read_failure};
use crate::movie::Env;
use crate::movie::store::{self, Write};

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve_with(env, upcoming).await?;
    server.serve_with(env, mark_reminded).await
}

async fn upcoming(env: Arc<Env>, call: Call<ListUpcoming>) -> Answered {
    let showtimes = store::upcoming(&env.pool, call.request.within_minutes).await.map_err(read_failure)?;
    json(&Upcoming { showtimes })
}

async fn mark_reminded(env: Arc<Env>, call: Call<MarkReminded>) -> Answered {
    env.commit(Change::new(Write::Reminded(call.request.reminded))).await?;
    json(&())
}
