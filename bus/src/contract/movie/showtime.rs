//! Requests about showtimes: scheduling one or many, changing, cancelling, finding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use uuid::Uuid;

use super::{Prices, SeatKind, Showtime, ShowtimeScheduled, is_date, is_time, some_change};
use crate::contract::{Access, Fields, Page, Paging, Request, Timestamp};

/// Showtimes that one request may schedule: a hall's programme of a month with six shows a day, and an answer and
/// its events that stay below a few megabytes.
pub const BULK_MAX: usize = 200;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateShowtime {
    pub movie_id: Uuid,
    pub auditorium_id: Uuid,
    pub starts_at: Timestamp,
    /// A price for each kind of seat in the auditorium, all of one currency.
    pub prices: Prices,
}

impl Request for CreateShowtime {
    const SUBJECT: &'static str = "rpc.movie.create_showtime";
    const ACCESS: Access = Access::Admin;
    type Answer = Showtime;
    fn validate(&self, fields: &mut Fields) {
        validate_prices(&self.prices, fields);
    }
}

/// Absent fields stay unchanged. Prices count for new reservations; the start can be changed only while no seat is held or
/// sold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateShowtime {
    pub id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// A price for each kind of seat, also for those whose price stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
}

impl Request for UpdateShowtime {
    const SUBJECT: &'static str = "rpc.movie.update_showtime";
    const ACCESS: Access = Access::Admin;
    type Answer = Showtime;
    fn validate(&self, fields: &mut Fields) {
        some_change(&[self.starts_at.is_some(), self.prices.is_some()], fields);
        if let Some(prices) = &self.prices {
            validate_prices(prices, fields);
        }
    }
}

/// Cancels a showtime; every reservation is cancelled and refunded. Repeating it changes nothing.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CancelShowtime {
    pub id: Uuid,
}

impl Request for CancelShowtime {
    const SUBJECT: &'static str = "rpc.movie.cancel_showtime";
    const ACCESS: Access = Access::Admin;
    type Answer = ();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A programme: one showtime at each of `times` on each day from `from` to `to`, by the clock on the auditorium's wall.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateShowtimes {
    pub movie_id: Uuid,
    pub auditorium_id: Uuid,
    /// The first day, `YYYY-MM-DD`.
    pub from: String,
    /// The last day.
    pub to: String,
    /// Each `HH:MM`.
    pub times: Vec<String>,
    /// Every day without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekdays: Option<Vec<Weekday>>,
    /// A price for each kind of seat in the auditorium, all of one currency.
    pub prices: Prices,
}

impl Request for CreateShowtimes {
    const SUBJECT: &'static str = "rpc.movie.create_showtimes";
    const ACCESS: Access = Access::Admin;
    type Answer = CreatedShowtimes;
    fn validate(&self, fields: &mut Fields) {
        fields.check(is_date(&self.from), "from", "must be a date such as 2026-05-01");
        fields.check(is_date(&self.to), "to", "must be a date such as 2026-05-01");
        let near = |date: &str| ("1900-01-01".."9000-01-01").contains(&date);
        fields.check(near(&self.from) && near(&self.to), "to", "must lie in the years 1900–8999");
        // Dates of one form compare as their texts do.
        fields.check(self.from <= self.to, "to", "must not be before from");
        fields.check((1..=24).contains(&self.times.len()), "times", "must name 1–24 times");
        let mut seen = HashSet::new();
        for (index, time) in self.times.iter().enumerate() {
            let field = format!("times[{index}]");
            fields.check(is_time(time), &field, "must be a time such as 20:15");
            fields.check(seen.insert(time), &field, "is there twice");
        }
        if let Some(weekdays) = &self.weekdays {
            let distinct: HashSet<_> = weekdays.iter().collect();
            let each_once = !weekdays.is_empty() && distinct.len() == weekdays.len();
            fields.check(each_once, "weekdays", "must name at least one day, and none twice");
        }
        validate_prices(&self.prices, fields);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedShowtimes {
    pub created: Vec<Showtime>,
    pub skipped: Vec<SkippedShowtime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Another showtime has the auditorium then.
    AuditoriumTaken,
    InThePast,
    /// The clocks go forward over it that day.
    NoSuchTime,
}

/// A requested showtime that is not scheduled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkippedShowtime {
    /// By the auditorium's clock.
    pub date: String,
    pub time: String,
    /// Absent where that time does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    pub reason: SkipReason,
    /// The conflicting showtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub showtime_id: Option<Uuid>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetShowtime {
    pub id: Uuid,
}

impl Request for GetShowtime {
    const SUBJECT: &'static str = "rpc.movie.get_showtime";
    const ACCESS: Access = Access::Public;
    type Answer = Showtime;
}

/// The showtime as in `showtime.scheduled`, for a host that missed the event.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescribeShowtime {
    pub id: Uuid,
}

impl Request for DescribeShowtime {
    const SUBJECT: &'static str = "rpc.movie.describe_showtime";
    const ACCESS: Access = Access::Internal;
    type Answer = ShowtimeScheduled;
}

/// Showtimes by start. Without `date`, `from` and `to`: those that have not begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListShowtimes {
    pub movie_id: Option<Uuid>,
    #[serde(default)]
    pub auditorium_id: Option<Uuid>,
    /// `YYYY-MM-DD` in the auditorium's time zone.
    pub date: Option<String>,
    /// Begins then or later.
    pub from: Option<Timestamp>,
    /// Begins then or earlier.
    pub to: Option<Timestamp>,
    pub paging: Paging,
}

impl Request for ListShowtimes {
    const SUBJECT: &'static str = "rpc.movie.list_showtimes";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Showtime>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        fields.check(self.date.as_deref().is_none_or(is_date), "date", "must be a date such as 2026-05-01");
        let ordered = !matches!((self.from, self.to), (Some(from), Some(to)) if from > to);
        fields.check(ordered, "to", "must not be before from");
    }
}

fn validate_prices(prices: &Prices, fields: &mut Fields) {
    fields.check(!prices.is_empty(), "prices", "must price each kind of seat");
    fields.check(!prices.contains_key(&SeatKind::Gap), "prices.GAP", "a gap is not sold");
    let currencies: HashSet<_> = prices.values().map(|p| p.currency).collect();
    fields.check(currencies.len() <= 1, "prices", "must be of one currency");
    for (kind, price) in prices {
        if let Err(message) = price.currency.check_price(price.amount) {
            fields.check(false, &format!("prices.{}", kind.name()), &message);
        }
    }
}
