//! A movie's new length: its showtimes to come end when the movie does, and may overlap the next showtime of their
//! auditorium by it.
//!
//! Invariant: a showtime says when its movie ends, also where the next one begins before that. `free_at`, by which the
//! database keeps auditoriums free, then ends where the next showtime begins.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::movie::{Overlap, OverlappingShowtime};
use uuid::Uuid;

use super::model::Scheduled;

/// A showtime of an auditorium, as a neighbour of another.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    pub auditorium_id: Uuid,
    pub showtime: OverlappingShowtime,
}

/// The showtimes whose end moves, and those that overlap by it, soonest first. `neighbours` are all showtimes of the
/// auditoriums that are not cancelled.
pub fn relengthened(
    to_come: &[Scheduled],
    neighbours: Vec<Neighbour>,
    minutes: u16,
    cleaning: Duration,
    now: Timestamp,
) -> (Vec<Scheduled>, Vec<Overlap>) {
    let lasts = Duration::from_secs(60 * u64::from(minutes));
    let ends: HashMap<Uuid, Timestamp> = to_come
        .iter()
        .map(|scheduled| (scheduled.showtime.id, scheduled.showtime.starts_at.plus(lasts)))
        .collect();
    let mut by_start = BTreeMap::new();
    for Neighbour { auditorium_id, mut showtime } in neighbours {
        if let Some(ends_at) = ends.get(&showtime.id) {
            showtime.ends_at = *ends_at;
        }
        by_start.insert((auditorium_id, showtime.starts_at), showtime);
    }
    let (mut changed, mut overlaps) = (Vec::new(), Vec::new());
    for known in to_come {
        let starts_at = known.showtime.starts_at;
        let ends_at = starts_at.plus(lasts);
        if ends_at == known.showtime.ends_at {
            continue;
        }
        let clean_at = ends_at.plus(cleaning);
        let mut longer = known.next(now);
        (longer.showtime.ends_at, longer.free_at) = (ends_at, Some(clean_at));
        let auditorium = known.showtime.auditorium_id;
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
