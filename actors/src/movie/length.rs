//! A movie's new length: its future showtimes end when the movie does, and may then overlap the next showtime of their
//! auditorium.
//!
//! Invariant: a showtime ends when its movie does, also where the next one begins before that. `free_at`, by which the
//! database keeps auditoriums free, is then the start of the next showtime.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::movie::{Overlap, OverlappingShowtime};
use uuid::Uuid;

use super::showtime::Scheduled;

/// A showtime of an auditorium, as a neighbour of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    pub auditorium_id: Uuid,
    pub showtime: OverlappingShowtime,
}

/// The showtimes whose end moves, and the overlaps, soonest first. `neighbours` are all showtimes of the
/// auditoriums that are not cancelled.
pub fn relengthened(
    future: &[Scheduled],
    neighbours: Vec<Neighbour>,
    minutes: u16,
    cleaning: Duration,
    now: Timestamp,
) -> (Vec<Scheduled>, Vec<Overlap>) {
    let end = |scheduled: &Scheduled| {
        let showtime = &scheduled.showtime;
        let lasts = u64::from(showtime.showing.minutes_before_film) + u64::from(minutes);
        showtime.starts_at.plus(Duration::from_secs(60 * lasts))
    };
    let ends: HashMap<Uuid, Timestamp> =
        future.iter().map(|scheduled| (scheduled.showtime.id, end(scheduled))).collect();
    let mut by_start = BTreeMap::new();
    for Neighbour { auditorium_id, mut showtime } in neighbours {
        if let Some(ends_at) = ends.get(&showtime.id) {
            showtime.ends_at = *ends_at;
        }
        by_start.insert((auditorium_id, showtime.starts_at), showtime);
    }
    let (mut changed, mut overlaps) = (Vec::new(), Vec::new());
    for current in future {
        let starts_at = current.showtime.starts_at;
        let ends_at = end(current);
        if ends_at == current.showtime.ends_at {
            continue;
        }
        let clean_at = ends_at.plus(cleaning);
        let mut longer = current.next(now);
        (longer.showtime.ends_at, longer.free_at) = (ends_at, Some(clean_at));
        let auditorium = current.showtime.auditorium_id;
        let after = (auditorium, starts_at.plus(Duration::from_micros(1)))..(auditorium, clean_at);
        if let Some((_, later)) = by_start.range(after).next() {
            longer.free_at = Some(later.starts_at);
            overlaps.push(overlap(&longer, later));
        }
        changed.push(longer);
    }
    overlaps.sort_by_key(|overlap| overlap.earlier.starts_at);
    (changed, overlaps)
}

fn overlap(longer: &Scheduled, later: &OverlappingShowtime) -> Overlap {
    let showtime = longer.showtime.clone();
    Overlap {
        auditorium_id: showtime.auditorium_id,
        auditorium_name: showtime.auditorium_name,
        time_zone: showtime.time_zone,
        earlier: OverlappingShowtime {
            id: showtime.id,
            movie_title: showtime.movie_title,
            starts_at: showtime.starts_at,
            ends_at: showtime.ends_at,
        },
        later: later.clone(),
    }
}
