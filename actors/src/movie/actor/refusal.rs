//! Hears that reservation refuses a change: seats were sold after it was asked and before it heard of the change. The
//! showtime takes its former seats and start again, and tells so.
//!
//! Invariant: only the version that was refused is taken back. A later one was, or will be, refused by itself.

use std::sync::Arc;

use bus::consumer::Delivery;
use bus::contract::Event;
use bus::contract::movie::{Rejection, ShowtimeChangeRefused};
use bus::topology::ConsumerSpec;

use super::showtime::updated_event;
use super::{DOMAIN, Desk, TRIES_MAX};
use crate::delivery::{Change, Outcome};
use crate::movie::store::{self, Write};

pub const CONSUMER: ConsumerSpec = ConsumerSpec { name: DOMAIN, subjects: &[ShowtimeChangeRefused::SUBJECT] };

pub fn hear(desk: &Arc<Desk>, delivery: Delivery) {
    let desk = desk.clone();
    tokio::spawn(async move { take_back(&desk, delivery).await });
}

async fn take_back(desk: &Desk, delivery: Delivery) {
    let told: ShowtimeChangeRefused = match delivery.event() {
        Ok(told) => told,
        Err(failure) => return delivery.fail(failure),
    };
    for _ in 0..TRIES_MAX {
        let known = match store::scheduled(&desk.pool, told.showtime_id).await {
            Ok(Some(known)) if known.showtime.version == told.version => known,
            Ok(_) => return delivery.ack(),
            Err(error) => return delivery.retry(error),
        };
        let back = known.taken_back(told.starts_at, told.rows.clone(), desk.clock.now());
        let event = updated_event(&back, None, None, &delivery.context);
        let change = Change { outbox: vec![event], ..Change::new(Write::Showtimes(vec![back])) };
        match desk.journal.commit(change).await {
            Outcome::Committed { .. } => {
                tracing::warn!(showtime = %told.showtime_id, version = told.version, "a change came too late for a sale");
                return delivery.ack();
            }
            Outcome::Stale => {}
            // Its former time went to another showtime in this moment: a person must cancel one of the two.
            Outcome::Rejected(Rejection::AuditoriumTaken(_)) => {
                return delivery
                    .park("the former time of a showtime with sold seats is taken; cancel one of the two");
            }
            Outcome::Failed(failure) => return delivery.fail(failure),
            other => return delivery.park(format!("a showtime is only ever taken back, but: {other:?}")),
        }
    }
    delivery.retry("the showtime keeps changing");
}
