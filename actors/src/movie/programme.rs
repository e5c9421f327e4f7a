//! A programme: the showtimes that a request for many schedules, and those that it skips, with the reason.
//!
//! Times are local times of the auditorium. A time that the clocks skip when they go forward does not exist that day; of one
//! that comes twice when they go back, the first counts.

use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::movie::{
    Auditorium, BULK_MAX, CreateShowtime, CreateShowtimes, Movie, Rejection, SkipReason, SkippedShowtime,
    Weekday,
};
use jiff::tz::TimeZone;
use time::Date;

use super::model::{self, Busy, Scheduled, date_text};
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

fn weekday(date: Date) -> Weekday {
    match date.weekday() {
        time::Weekday::Monday => Weekday::Monday,
        time::Weekday::Tuesday => Weekday::Tuesday,
        time::Weekday::Wednesday => Weekday::Wednesday,
        time::Weekday::Thursday => Weekday::Thursday,
        time::Weekday::Friday => Weekday::Friday,
        time::Weekday::Saturday => Weekday::Saturday,
        time::Weekday::Sunday => Weekday::Sunday,
    }
}

/// The showtimes scheduled in the slots, and the skipped ones; `busy` is when the auditorium is already taken.
pub fn plan(
    wanted: &CreateShowtimes,
    slots: Vec<Slot>,
    movie: Option<&Movie>,
    auditorium: &Auditorium,
    mut busy: Vec<Busy>,
    cleaning: Duration,
    now: Timestamp,
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
        };
        let made = match model::schedule(one, movie, Some(auditorium), cleaning, now) {
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
