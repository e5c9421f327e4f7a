//! Answers other hosts' requests for this domain's archive, page by page ([`bus::archive`]).
//!
//! Invariant: a consumer gets only events that it handles, as [`crate::DOMAINS`] registers them.

use std::sync::Arc;

use bus::archive::{ArchivedEvent, PAGE_BYTES_MAX, Page, PageRequest, Place, serve};
use bus::{Bus, Failure};
use futures::FutureExt;
use time::{Date, UtcOffset};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::statements::archive::{self as sql, Batch, PAGE};
use super::{read_failure, within};
use crate::delivery::Database;

/// A day of which little is wanted is read whole for one page.
const QUERY_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// Which subjects a consumer handles; `None` for a consumer that is not registered.
pub type SubjectsOf = fn(&str) -> Option<&'static [&'static str]>;

/// The worker of one domain.
pub async fn serve_archive(
    database: Database,
    bus: Bus,
    subjects_of: SubjectsOf,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let domain = database.domain;
    let read = move |consumer: String, request: PageRequest| {
        let database = database.clone();
        async move {
            let subjects = subjects_of(&consumer);
            let subjects = subjects.ok_or_else(|| Failure::poison(format!("{consumer} is no consumer")))?;
            page(&database, request, subjects).await
        }
        .boxed()
    };
    Ok(serve(&bus, domain, stop, Arc::new(read)).await?)
}

/// The oldest wanted events from a place on, of at most one day.
async fn page(database: &Database, request: PageRequest, subjects: &[&str]) -> Result<Page, Failure> {
    let PageRequest { since, until, from } = request;
    let [first_day, last_day] = [since, until].map(|at| at.date_time().to_offset(UtcOffset::UTC).date());
    let mut db = within(QUERY_MAX, database.pool.acquire()).await.map_err(read_failure)?;
    let place = match from {
        Some(place) => place,
        None => {
            let days = within(QUERY_MAX, sql::days(&mut db)).await.map_err(read_failure)?;
            // The newest come first. The journal decides the day by its clock, which may be a little behind or ahead.
            let wanted = |day: &Date| *day >= first_day.previous_day().unwrap_or(first_day);
            match days.into_iter().rfind(wanted) {
                Some(day) => start_of(day),
                None => return Ok(Page { events: Vec::new(), next: None }),
            }
        }
    };
    let reading = sql::of_day_with(&mut db, place, (since, until), subjects);
    let batches = within(QUERY_MAX, reading).await.map_err(read_failure)?;
    let is_last_of_day = batches.len() < PAGE as usize;
    let (events, cut) = cut(batches, place, subjects).map_err(Failure::poison)?;
    // One day more than the time has, for the same reason.
    let next_day = || place.day.next_day().filter(|_| place.day <= last_day);
    let next = match cut {
        Cut::At(place) => Some(place),
        Cut::After(place) if !is_last_of_day => Some(place),
        Cut::After(_) | Cut::Empty => next_day().map(start_of),
    };
    Ok(Page { events, next })
}

fn start_of(day: Date) -> Place {
    Place { day, journal: Uuid::nil(), number: 0, skip: 0 }
}

/// Where a page ends.
enum Cut {
    /// Before this event, since the page is full.
    At(Place),
    /// After the last batch that was read.
    After(Place),
    Empty,
}

/// The wanted events of batches up to the size of a page; the first batch without those that an earlier page had.
fn cut(
    batches: Vec<Batch>,
    from: Place,
    subjects: &[&str],
) -> Result<(Vec<ArchivedEvent>, Cut), serde_json::Error> {
    let (mut events, mut bytes, mut end) = (Vec::new(), 0, Cut::Empty);
    for Batch { key, events: of_batch } in batches {
        let is_first = (key.journal, key.number) == (from.journal, from.number);
        let skip = if is_first { from.skip } else { 0 };
        for (index, event) in of_batch.into_iter().enumerate().skip(skip) {
            if !subjects.contains(&event.subject.as_str()) {
                continue;
            }
            let size = event.payload.len();
            if bytes > 0 && bytes + size > PAGE_BYTES_MAX {
                let place = Place { day: key.day, journal: key.journal, number: key.number, skip: index };
                return Ok((events, Cut::At(place)));
            }
            bytes += size;
            events.push(ArchivedEvent::try_from(event)?);
        }
        end = Cut::After(Place { day: key.day, journal: key.journal, number: key.number + 1, skip: 0 });
    }
    Ok((events, end))
}

#[cfg(test)]
mod tests {
    use bus::Context;
    use bus::contract::Timestamp;
    use bus::event::Outgoing;

    use super::*;
    use crate::delivery::statements::batch::BatchKey;

    fn batch(number: i64, events: &[(&str, usize)]) -> Batch {
        let day = Timestamp::wall_clock().date_time().date();
        let event = |(subject, bytes): &(&str, usize)| Outgoing {
            id: Uuid::now_v7(),
            subject: (*subject).to_owned(),
            source: "/marquee/auth".to_owned(),
            time: Timestamp::wall_clock(),
            payload: format!("\"{}\"", "x".repeat(*bytes)).into(),
            context: Context::new(),
        };
        Batch {
            key: BatchKey { day, journal: Uuid::nil(), number },
            events: events.iter().map(event).collect(),
        }
    }

    #[test]
    fn pages_have_every_wanted_event_once_and_are_bounded() {
        let large = PAGE_BYTES_MAX / 2;
        let batches =
            || vec![batch(1, &[("a", large), ("b", 9), ("a", large), ("a", large)]), batch(2, &[("a", 1)])];
        let mut from = start_of(batches()[0].key.day);
        let mut sizes = Vec::new();
        loop {
            let left = batches().into_iter().filter(|batch| batch.key.number >= from.number).collect();
            let (events, cut) = cut(left, from, &["a"]).unwrap();
            assert!(events.iter().all(|event| event.subject == "a"));
            sizes.push(events.len());
            match cut {
                Cut::At(place) => from = place,
                Cut::After(place) => {
                    assert_eq!(place.number, 3);
                    break;
                }
                Cut::Empty => panic!("no page"),
            }
        }
        assert_eq!(sizes, [1, 1, 2]);
    }
}
