//! Whether few or no seats of a showtime are left, for lists: reservation is asked about all showtimes of a page at once, and
//! its answers are kept for some seconds.
//!
//! Invariant: a list is never refused for it, and waits for it only briefly: without an answer the field is absent. It is a
//! hint for readers; the seat map decides.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bus::Context;
use bus::contract::Timestamp;
use bus::contract::movie::{Availability, Showtime, ShowtimeStatus};
use bus::contract::reservation::{CountFreeSeats, SeatCount};
use bus::service::Ask;
use uuid::Uuid;

use super::Env;

/// As old as a public list may be in a browser.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// The longest wait for reservation: it answers within milliseconds, or is away.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Showtimes in memory: more than the programme of a large chain. Beyond that, outdated ones are forgotten.
const KNOWN_MAX: usize = 10_000;

/// What is known of each showtime, and since when.
#[derive(Debug, Default)]
pub struct Availabilities(Mutex<HashMap<Uuid, Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    at: Timestamp,
    availability: Option<Availability>,
}

impl Availabilities {
    /// Which of these showtimes must be asked about. They count as known from now on, with the old answer, so that the lists of
    /// the same moment do not ask again.
    fn outdated(&self, ids: impl Iterator<Item = Uuid>, now: Timestamp) -> Vec<Uuid> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |entry: &Known| now < entry.at.plus(FRESH_FOR);
        if known.len() > KNOWN_MAX {
            known.retain(|_, entry| is_fresh(entry));
        }
        let outdated: Vec<Uuid> = ids.filter(|id| !known.get(id).is_some_and(is_fresh)).collect();
        for id in &outdated {
            known.entry(*id).or_insert(Known { at: now, availability: None }).at = now;
        }
        outdated
    }

    fn put(&self, ids: &[Uuid], found: impl Fn(&Uuid) -> Option<Availability>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(entry) = known.get_mut(id) {
                entry.availability = found(id);
            }
        }
    }

    fn get(&self, id: Uuid) -> Option<Availability> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).and_then(|entry| entry.availability)
    }
}

/// Few seats are at most a tenth of them.
fn availability(SeatCount { capacity, free }: SeatCount) -> Availability {
    match free {
        0 => Availability::SoldOut,
        _ if free <= capacity.div_ceil(10) => Availability::Few,
        _ => Availability::Free,
    }
}

impl Env {
    /// Fills in the availability of those showtimes that can still be bought.
    pub async fn add_availability(&self, showtimes: &mut [Showtime], now: Timestamp, context: &Context) {
        let is_open =
            |showtime: &Showtime| showtime.status == ShowtimeStatus::OnSale && showtime.starts_at > now;
        let open = showtimes.iter().filter(|showtime| is_open(showtime)).map(|showtime| showtime.id);
        let outdated = self.availabilities.outdated(open, now);
        if !outdated.is_empty() {
            let request = CountFreeSeats { showtime_ids: outdated.clone() };
            let ask = Ask { timeout: WAIT_MAX, ..Ask::new(context.clone()) };
            match self.bus.ask(&request, &ask).await {
                Ok(counts) => {
                    let found = |id: &Uuid| counts.showtimes.get(id).copied().map(availability);
                    self.availabilities.put(&outdated, found);
                }
                Err(problem) => {
                    tracing::debug!(problem = %problem.detail, "no availability in this list");
                    self.availabilities.put(&outdated, |_| None);
                }
            }
        }
        for showtime in showtimes.iter_mut().filter(|showtime| is_open(showtime)) {
            showtime.availability = self.availabilities.get(showtime.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_at_most_a_tenth_and_none_is_sold_out() {
        let of = |capacity, free| availability(SeatCount { capacity, free });
        for (capacity, few) in [(4, 1), (10, 1), (11, 2), (300, 30)] {
            assert_eq!(of(capacity, few), Availability::Few, "{few} of {capacity}");
            assert_eq!(of(capacity, few + 1), Availability::Free, "{few} and one of {capacity}");
            assert_eq!(of(capacity, 0), Availability::SoldOut);
        }
    }

    #[test]
    fn a_showtime_is_asked_about_once_in_five_seconds_and_keeps_its_answer_meanwhile() {
        let known = Availabilities::default();
        let (id, now) = (Uuid::now_v7(), Timestamp::from(time::macros::datetime!(2026-03-07 18:00 UTC)));
        let ids = || [id].into_iter();
        assert_eq!(known.outdated(ids(), now), [id]);
        assert!(known.outdated(ids(), now).is_empty(), "the answer is on its way");
        known.put(&[id], |_| Some(Availability::Few));
        let later = now.plus(FRESH_FOR);
        assert_eq!(known.outdated(ids(), later), [id]);
        assert_eq!(known.get(id), Some(Availability::Few));
        known.put(&[id], |_| None);
        assert_eq!(known.get(id), None);
    }
}
