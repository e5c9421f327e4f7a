//! A programme: the showtimes that a request for many schedules, and those that it skips, with the reason.
//!
//! Times are local times of the auditorium. A time that the clocks skip when they go forward does not exist that day; of one
//! that comes twice when they go back, the first counts.

use bus::contract::Timestamp;
use bus::contract::movie::{
    BULK_MAX, CreateShowtime, CreateShowtimes, Rejection, SkipReason, SkippedShowtime,
};
use jiff::tz::TimeZone;
use time::Date;

use super::model::{self, Busy, date_text};
use super::showtime::{Basis, Scheduled, schedule};
use super::tariff::weekday;
use crate::zone;

/// One local time on one day, and its instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub date: Date,
    pub time: String,
    /// `None` where the clocks skip it.
    pub at: Option<Timestamp>,
}

/// The time zone by its name.
pub fn time_zone(name: &str) -> Result<TimeZone, Rejection> {
    zone::named(name).ok_or(Rejection::UnknownTimeZone)
}

/// All requested slots, in order.
pub fn slots(wanted: &CreateShowtimes, zone: &TimeZone) -> Result<Vec<Slot>, Rejection> {
    let (Some(from), Some(to)) = (model::date(&wanted.from), model::date(&wanted.to)) else {
        return Err(Rejection::NoDays);
    };
    let mut times = wanted.times.clone();
    times.sort_unstable();
    let mut slots = Vec::new();
    let mut day = Some(from);
    while let Some(date) = day.filter(|date| *date <= to) {
        if wanted.weekdays.as_ref().is_none_or(|days| days.contains(&weekday(date))) {
            slots.extend(times.iter().map(|time| Slot {
                date,
                time: time.clone(),
                at: model::time_of_day(time).and_then(|time| zone::instant(date, time, zone)),
            }));
        }
        if slots.len() > BULK_MAX {
            return Err(Rejection::TooManyShowtimes { most: BULK_MAX });
        }
        day = date.next_day();
    }
    if slots.is_empty() { Err(Rejection::NoDays) } else { Ok(slots) }
}

/// The showtimes scheduled in the slots, each with the tariff of its start, and the skipped ones; `busy` is when the auditorium
/// is already taken.
pub fn plan(
    wanted: &CreateShowtimes,
    slots: Vec<Slot>,
    mut busy: Vec<Busy>,
    basis: &Basis<'_>,
) -> Result<(Vec<Scheduled>, Vec<SkippedShowtime>), Rejection> {
    let (mut scheduled, mut skipped) = (Vec::new(), Vec::new());
    for Slot { date, time, at } in slots {
        let mut skip = |reason, showtime_id| {
            let date = date_text(date);
            skipped.push(SkippedShowtime { date, time: time.clone(), starts_at: at, reason, showtime_id });
        };
        let Some(starts_at) = at else {
            skip(SkipReason::NoSuchTime, None);
            continue;
        };
        let one = CreateShowtime {
            movie_id: wanted.movie_id,
            auditorium_id: wanted.auditorium_id,
            starts_at,
            prices: wanted.prices.clone(),
            price_card_id: wanted.price_card_id,
            surcharges: wanted.surcharges.clone(),
            overrides: wanted.overrides,
            film_version: wanted.film_version.clone(),
            format: wanted.format.clone(),
            on_sale_at: wanted.on_sale_at,
            minutes_before_film: wanted.minutes_before_film,
            status: wanted.status,
        };
        let made = match schedule(one, basis) {
            Ok(made) => made,
            Err(Rejection::StartsInThePast) => {
                skip(SkipReason::InThePast, None);
                continue;
            }
            Err(rejection) => return Err(rejection),
        };
        let until = made.busy_until();
        if let Some(taken) = busy.iter().find(|busy| starts_at < busy.until && busy.from < until) {
            skip(SkipReason::AuditoriumTaken, Some(taken.id));
            continue;
        }
        busy.push(Busy { id: made.showtime.id, from: starts_at, until });
        scheduled.push(made);
    }
    Ok((scheduled, skipped))
}
