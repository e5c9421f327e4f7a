//! Dates and times of day by the clock on each auditorium's wall, as a condition of a listing.
//!
//! Postgres gets instants and offsets that were computed by our own rules of time zones (see `zone`), one row for each zone
//! and each span between two changes of its clocks.

use bus::contract::Timestamp;
use bus::contract::movie::TODAY;
use sqlx::{PgPool, Postgres, QueryBuilder};
use std::time::Duration;
use time::{Date, Time};

use super::auditorium::time_zones;
use crate::movie::model;
use crate::zone::{self, Span};

/// A day of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    On(Date),
    /// The current one, by the clock of each auditorium.
    Today,
}

impl Day {
    /// Reads `YYYY-MM-DD` or `today`.
    pub fn read(text: &str) -> Option<Self> {
        if text == TODAY { Some(Self::Today) } else { model::date(text).map(Self::On) }
    }
}

/// When the wanted day or time can be, in each zone that an auditorium is in.
#[derive(Debug, Default)]
pub struct Wall {
    zones: Vec<String>,
    from: Vec<Timestamp>,
    until: Vec<Timestamp>,
    offsets: Vec<i32>,
    time: Option<Time>,
}

impl Wall {
    /// All showtimes that begin on this day.
    pub async fn on(pool: &PgPool, day: Day, now: Timestamp) -> sqlx::Result<Self> {
        Self::new(pool, Some(day), None, now).await
    }

    /// All showtimes on this day, or after `now` where no day is given, that begin at this time of day.
    pub async fn new(
        pool: &PgPool,
        day: Option<Day>,
        time: Option<Time>,
        now: Timestamp,
    ) -> sqlx::Result<Self> {
        let (zones, last) = time_zones(pool).await?;
        let mut wall = Self { time, ..Self::default() };
        for name in zones {
            // A zone that an older version knew and this one does not: mails and tickets take UTC, too.
            let zone = zone::named(&name).unwrap_or(jiff::tz::TimeZone::UTC);
            let date = match day {
                Some(Day::On(date)) => Some(date),
                Some(Day::Today) => zone::day_of(now, &zone),
                None => None,
            };
            let bounds = match (date, last) {
                (Some(date), _) => zone::day_start(date, &zone)
                    .zip(date.next_day().and_then(|next| zone::day_start(next, &zone))),
                (None, Some(last)) => {
                    Some((now, Timestamp::from(last).plus(Duration::from_secs(1)).max(now)))
                }
                (None, None) => None,
            };
            let Some((from, until)) = bounds else { continue };
            let spans = match time {
                Some(_) => zone::spans(from, until, &zone),
                // The bounds alone decide.
                None => vec![Span { from, until, offset_seconds: 0 }],
            };
            for Span { from, until, offset_seconds } in spans {
                wall.zones.push(name.clone());
                wall.from.push(from);
                wall.until.push(until);
                wall.offsets.push(offset_seconds);
            }
        }
        Ok(wall)
    }

    /// The condition on showtime `s` of auditorium `a`. Without any zone nothing fits.
    pub fn push(&self, query: &mut QueryBuilder<Postgres>) {
        let (Some(first), Some(last)) = (self.from.iter().min(), self.until.iter().max()) else {
            query.push("false");
            return;
        };
        let times = |times: &[Timestamp]| times.iter().map(|at| at.date_time()).collect::<Vec<_>>();
        // The outermost bounds are for the index.
        query.push("s.starts_at >= ").push_bind(first.date_time());
        query.push(" and s.starts_at < ").push_bind(last.date_time());
        query.push(" and exists (select from unnest(").push_bind(self.zones.clone());
        query.push("::text[], ").push_bind(times(&self.from));
        query.push("::timestamptz[], ").push_bind(times(&self.until));
        query.push("::timestamptz[], ").push_bind(self.offsets.clone());
        query.push(
            "::int[]) as wall (zone, starts, ends, east)
             where wall.zone = a.time_zone and s.starts_at >= wall.starts and s.starts_at < wall.ends",
        );
        if let Some(time) = self.time {
            query.push(
                " and date_trunc('minute', s.starts_at at time zone 'utc' + wall.east * interval '1 second')::time = ",
            );
            query.push_bind(time);
        }
        query.push(")");
    }
}
