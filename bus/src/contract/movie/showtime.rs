//! Requests about showtimes: scheduling one or many, changing, cancelling, finding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use uuid::Uuid;

use super::showing::{given, is_zero, validate_showing};
use super::{
    FilmVersion, InitialStatus, Prices, SeatKind, Showing, Showtime, ShowtimeScheduled, is_date, is_day,
    is_time, some_change,
};
use crate::contract::site::ShowtimeOverrides;
use crate::contract::{Access, Fields, Page, Paging, Request, Rule, TariffCode, Timestamp};

/// Showtimes that one request may schedule: a hall's programme of a month with six shows a day, and an answer and
/// its events that stay below a few megabytes.
pub const BULK_MAX: usize = 200;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateShowtime {
    pub movie_id: Uuid,
    pub auditorium_id: Uuid,
    pub starts_at: Timestamp,
    /// Plain prices instead of a price card: one for each kind of seat in the auditorium, all of one currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    /// Without it and without `prices`: the card that applies at the start, by the auditorium's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_card_id: Option<Uuid>,
    /// Surcharges of the card, beside those that apply by the movie's length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<TariffCode>,
    /// What it has otherwise than its site: the refund policy, the end of the sale.
    #[serde(default, skip_serializing_if = "ShowtimeOverrides::is_empty")]
    pub overrides: ShowtimeOverrides,
    /// One of the movie's versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub film_version: Option<FilmVersion>,
    /// One of the movie's formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Seats can be bought from then on; from the publication on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_sale_at: Option<Timestamp>,
    /// Advertising and trailers, in minutes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minutes_before_film: u16,
    /// `DRAFT` keeps it from customers until it is published.
    #[serde(default, skip_serializing_if = "InitialStatus::is_on_sale")]
    pub status: InitialStatus,
}

impl Request for CreateShowtime {
    const SUBJECT: &'static str = "rpc.movie.create_showtime";
    const ACCESS: Access = Access::Admin;
    type Answer = Showtime;
    fn validate(&self, fields: &mut Fields) {
        let (version, format) = (self.film_version.as_ref(), self.format.as_ref());
        validate_showing(version, format, Some(self.minutes_before_film), fields);
        validate_pricing(&self.prices, self.price_card_id, &self.surcharges, fields);
        self.overrides.validate(fields, "overrides");
    }
}

impl CreateShowtime {
    /// What it shows and when it is sold.
    pub fn showing(&self) -> Showing {
        Showing {
            film_version: self.film_version.clone(),
            format: self.format.clone(),
            on_sale_at: self.on_sale_at,
            minutes_before_film: self.minutes_before_film,
        }
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
    /// Plain prices from now on: one for each kind of seat, also for those whose price stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    /// The tariff is made anew of this card as it is now, with the surcharges below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_card_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<TariffCode>,
    /// Replaces all that it has otherwise than its site; `{}`: it has everything as its site. Counts for new orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<ShowtimeOverrides>,
    /// One of the movie's versions; `null` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub film_version: Option<Option<FilmVersion>>,
    /// One of the movie's formats; `null` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub format: Option<Option<String>>,
    /// `null`: seats can be bought at once.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub on_sale_at: Option<Option<Timestamp>>,
    /// Moves the end. Refused where the auditorium is not free until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes_before_film: Option<u16>,
}

impl Request for UpdateShowtime {
    const SUBJECT: &'static str = "rpc.movie.update_showtime";
    const ACCESS: Access = Access::Admin;
    type Answer = Showtime;
    fn validate(&self, fields: &mut Fields) {
        let sold = [self.starts_at.is_some(), self.prices.is_some(), self.price_card_id.is_some()];
        let shown = [self.film_version.is_some(), self.format.is_some(), self.on_sale_at.is_some()];
        let others = [self.minutes_before_film.is_some(), self.overrides.is_some()];
        let changes = [sold.contains(&true), shown.contains(&true), others.contains(&true)];
        some_change(&changes, fields);
        let version = self.film_version.as_ref().and_then(Option::as_ref);
        let format = self.format.as_ref().and_then(Option::as_ref);
        validate_showing(version, format, self.minutes_before_film, fields);
        validate_pricing(&self.prices, self.price_card_id, &self.surcharges, fields);
        let has_card = self.surcharges.is_empty() || self.price_card_id.is_some();
        fields.check(has_card, "surcharges", Rule::PricesOrCard);
        if let Some(overrides) = &self.overrides {
            overrides.validate(fields, "overrides");
        }
    }
}

/// Cancels a showtime; every reservation is cancelled and refunded. Repeating it changes nothing. A draft is deleted.
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
    /// Plain prices instead of price cards: one for each kind of seat in the auditorium, all of one currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
    /// Without it and without `prices`: for each showtime the card that applies at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_card_id: Option<Uuid>,
    /// Surcharges of the card, beside those that apply by the movie's length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<TariffCode>,
    /// What each has otherwise than its site: the refund policy, the end of the sale.
    #[serde(default, skip_serializing_if = "ShowtimeOverrides::is_empty")]
    pub overrides: ShowtimeOverrides,
    /// One of the movie's versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub film_version: Option<FilmVersion>,
    /// One of the movie's formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Seats can be bought from then on; from the publication on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_sale_at: Option<Timestamp>,
    /// Advertising and trailers, in minutes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minutes_before_film: u16,
    /// `DRAFT` keeps it from customers until it is published.
    #[serde(default, skip_serializing_if = "InitialStatus::is_on_sale")]
    pub status: InitialStatus,
}

impl Request for CreateShowtimes {
    const SUBJECT: &'static str = "rpc.movie.create_showtimes";
    const ACCESS: Access = Access::Admin;
    type Answer = CreatedShowtimes;
    fn validate(&self, fields: &mut Fields) {
        fields.check(is_date(&self.from), "from", Rule::Date);
        fields.check(is_date(&self.to), "to", Rule::Date);
        let near = |date: &str| ("1900-01-01".."9000-01-01").contains(&date);
        fields.check(near(&self.from) && near(&self.to), "to", Rule::Years { min: 1900, max: 8999 });
        // Dates of one form compare as their texts do.
        fields.check(self.from <= self.to, "to", Rule::NotBefore { other: "from" });
        fields.count(self.times.len(), 1..=24, "times", "times");
        let mut seen = HashSet::new();
        for (index, time) in self.times.iter().enumerate() {
            let field = format!("times[{index}]");
            fields.check(is_time(time), &field, Rule::Time);
            fields.check(seen.insert(time), &field, Rule::Twice);
        }
        if let Some(weekdays) = &self.weekdays {
            let distinct: HashSet<_> = weekdays.iter().collect();
            let each_once = !weekdays.is_empty() && distinct.len() == weekdays.len();
            fields.check(each_once, "weekdays", Rule::Weekdays);
        }
        let (version, format) = (self.film_version.as_ref(), self.format.as_ref());
        validate_showing(version, format, Some(self.minutes_before_film), fields);
        validate_pricing(&self.prices, self.price_card_id, &self.surcharges, fields);
        self.overrides.validate(fields, "overrides");
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

/// Published showtimes by start. Without `date`, `from` and `to`: those that have not begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListShowtimes {
    pub movie_id: Option<Uuid>,
    #[serde(default)]
    pub auditorium_id: Option<Uuid>,
    /// `YYYY-MM-DD` or `today`, in the auditorium's time zone.
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
        fields.check(self.date.as_deref().is_none_or(is_day), "date", Rule::Date);
        let ordered = !matches!((self.from, self.to), (Some(from), Some(to)) if from > to);
        fields.check(ordered, "to", Rule::NotBefore { other: "from" });
    }
}

/// Plain prices, or a card with its surcharges.
fn validate_pricing(
    prices: &Option<Prices>,
    card: Option<Uuid>,
    surcharges: &[TariffCode],
    fields: &mut Fields,
) {
    let distinct: HashSet<_> = surcharges.iter().collect();
    fields.check(distinct.len() == surcharges.len(), "surcharges", Rule::Twice);
    if let Some(prices) = prices {
        fields.check(card.is_none() && surcharges.is_empty(), "prices", Rule::PricesOrCard);
        validate_prices(prices, fields);
    }
}

fn validate_prices(prices: &Prices, fields: &mut Fields) {
    fields.check(!prices.is_empty(), "prices", Rule::PriceMissing { kind: None });
    fields.check(!prices.contains_key(&SeatKind::Gap), "prices.GAP", Rule::Gap);
    let currencies: HashSet<_> = prices.values().map(|p| p.currency).collect();
    fields.check(currencies.len() <= 1, "prices", Rule::OneCurrency);
    for (kind, price) in prices {
        if let Err(rule) = price.currency.check_price(price.amount) {
            fields.check(false, &format!("prices.{}", kind.name()), rule);
        }
    }
}
