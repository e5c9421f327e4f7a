//! `showtime.change_refused`: reservation refuses a change, since seats were sold after movie had asked and before the change
//! was handled. The showtime gets its former seats and start back, in a new version.
//!
//! Invariant: only the version that was refused is taken back. A later one was, or will be, refused by itself.

use bus::Failure;
use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::movie::{Rejection, ShowtimeChangeRefused};
use bus::topology::ConsumerSpec;

use super::Env;
use super::endpoints::updated_event;
use super::store::{self, Write};
use crate::delivery::{Change, read_failure};
use crate::domain::{Handled, until_current};

pub const CONSUMER: ConsumerSpec =
    ConsumerSpec { name: "movie", subjects: &[ShowtimeChangeRefused::SUBJECT] };

pub async fn handle(env: &Env, delivery: &Delivery) -> Result<(), Failure> {
    let refused: ShowtimeChangeRefused = delivery.event()?;
    until_current(|| take_back(env, delivery, &refused)).await
}

async fn take_back(
    env: &Env,
    delivery: &Delivery,
    refused: &ShowtimeChangeRefused,
) -> Result<Option<()>, Failure> {
    let current = store::scheduled(&env.pool, refused.showtime_id).await.map_err(read_failure)?;
    let Some(current) = current.filter(|current| current.showtime.version == refused.version) else {
        return Ok(Some(()));
    };
    let back = current.taken_back(refused.starts_at, refused.rows.clone(), env.clock.now());
    let event = updated_event(env, &back, None, &delivery.context);
    let change = Change { outbox: event.into_iter().collect(), ..Change::new(Write::Showtimes(vec![back])) };
    match env.commit_event(change).await? {
        Handled::Done => {
            let (showtime, version) = (refused.showtime_id, refused.version);
            tracing::warn!(%showtime, version, "a change is taken back, since seats were sold before it");
            Ok(Some(()))
        }
        Handled::Stale => Ok(None),
        // Another showtime was scheduled at the former time just now: a person must cancel one of the two.
        Handled::Rejected(Rejection::AuditoriumTaken(_)) => Err(Failure::poison(
            "the former time of a showtime with sold seats is taken; cancel one of the two",
        )),
        Handled::Rejected(rejection) => Err(Failure::poison(format!("taking back a change: {rejection:?}"))),
    }
}
