//! Movie's contract: movies, genres, auditoriums with their seats, showtimes with their prices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

use super::{Access, Fields, Money, Page, Paging, Problem, Request, Timestamp, events};

/// Bounds of a layout: the largest halls have some 50 rows and 1,000 seats; a seat map stays a small message.
pub const ROWS_MAX: usize = 60;
pub const SEATS_PER_ROW_MAX: usize = 100;
pub const SEATS_MAX: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatKind {
    Standard,
    Wheelchair,
    Companion,
    Loveseat,
    /// No seat: an aisle or a pillar. It keeps its number and is never sold.
    Gap,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    pub number: u16,
    pub kind: SeatKind,
}

/// A row of seats as they stand, from left to right as seen from the seats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub label: String,
    pub seats: Vec<Seat>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Genre {
    pub id: Uuid,
    pub name: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Movie {
    pub id: Uuid,
    pub title: String,
    pub synopsis: String,
    pub duration_minutes: u16,
    pub rating: String,
    /// `YYYY-MM-DD`.
    pub release_date: String,
    pub language: String,
    pub genre_ids: Vec<Uuid>,
    pub genres: Vec<Genre>,
    /// Absolute, or a path from this API's root; so are the next two.
    pub poster_url: Option<String>,
    /// The poster at most 400 pixels wide, for lists.
    pub poster_small_url: Option<String>,
    pub trailer_url: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auditorium {
    pub id: Uuid,
    pub name: String,
    pub time_zone: String,
    pub rows: Vec<Row>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Price of each kind of seat that the auditorium has.
pub type Prices = BTreeMap<SeatKind, Money>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ShowtimeStatus {
    OnSale,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Showtime {
    pub id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub auditorium_id: Uuid,
    pub auditorium_name: String,
    pub time_zone: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub prices: Prices,
    pub status: ShowtimeStatus,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGenre {
    pub name: String,
}

impl Request for CreateGenre {
    const SUBJECT: &'static str = "rpc.movie.create_genre";
    const ACCESS: Access = Access::Admin;
    type Answer = Genre;
    fn validate(&self, fields: &mut Fields) {
        fields.text(&self.name, 1..=100, "name");
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListGenres {
    pub paging: Paging,
}

impl Request for ListGenres {
    const SUBJECT: &'static str = "rpc.movie.list_genres";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Genre>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateMovie {
    pub title: String,
    #[serde(default)]
    pub synopsis: String,
    pub duration_minutes: u16,
    /// Free text up to 20 characters, such as `PG-13`.
    #[serde(default)]
    pub rating: String,
    /// `YYYY-MM-DD`.
    pub release_date: String,
    #[serde(default)]
    pub language: String,
    #[serde(default)]
    pub genre_ids: Vec<Uuid>,
}

impl Request for CreateMovie {
    const SUBJECT: &'static str = "rpc.movie.create_movie";
    const ACCESS: Access = Access::Admin;
    type Answer = Movie;
    fn validate(&self, fields: &mut Fields) {
        fields.text(&self.title, 1..=200, "title");
        fields.text(&self.synopsis, 0..=5_000, "synopsis");
        fields.text(&self.rating, 0..=20, "rating");
        fields.text(&self.language, 0..=20, "language");
        fields.check((1..=1_000).contains(&self.duration_minutes), "durationMinutes", "must be 1–1000");
        fields.check(is_date(&self.release_date), "releaseDate", "must be a date such as 2026-05-01");
        let distinct: HashSet<_> = self.genre_ids.iter().collect();
        fields.check(distinct.len() == self.genre_ids.len(), "genreIds", "must not name a genre twice");
        fields.check(self.genre_ids.len() <= 20, "genreIds", "must name at most 20 genres");
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetMovie {
    pub id: Uuid,
}

impl Request for GetMovie {
    const SUBJECT: &'static str = "rpc.movie.get_movie";
    const ACCESS: Access = Access::Public;
    type Answer = Movie;
}

/// By title. `date` and `showTime` are of one showtime, which without a `date` has not begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListMovies {
    /// Part of the title, without case.
    pub name: Option<String>,
    /// A genre's name or id.
    pub genre: Option<String>,
    /// `YYYY-MM-DD` of a showtime, in the auditorium's time zone.
    pub date: Option<String>,
    /// `HH:MM` of a showtime, in the auditorium's time zone.
    pub show_time: Option<String>,
    pub paging: Paging,
}

impl Request for ListMovies {
    const SUBJECT: &'static str = "rpc.movie.list_movies";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Movie>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
        let short = |v: &Option<String>| v.as_ref().is_none_or(|v| v.chars().count() <= 200);
        fields.check(short(&self.name), "name", "must have at most 200 characters");
        fields.check(short(&self.genre), "genre", "must have at most 200 characters");
        fields.check(self.date.as_deref().is_none_or(is_date), "date", "must be a date such as 2026-05-01");
        fields.check(
            self.show_time.as_deref().is_none_or(is_time),
            "showTime",
            "must be a time such as 20:15",
        );
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateAuditorium {
    pub name: String,
    /// IANA name, such as `Europe/Berlin`.
    pub time_zone: String,
    pub rows: Vec<Row>,
}

impl Request for CreateAuditorium {
    const SUBJECT: &'static str = "rpc.movie.create_auditorium";
    const ACCESS: Access = Access::Admin;
    type Answer = Auditorium;
    fn validate(&self, fields: &mut Fields) {
        fields.text(&self.name, 1..=100, "name");
        fields.check((1..=64).contains(&self.time_zone.len()), "timeZone", "must be an IANA time zone");
        validate_rows(&self.rows, fields);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetAuditorium {
    pub id: Uuid,
}

impl Request for GetAuditorium {
    const SUBJECT: &'static str = "rpc.movie.get_auditorium";
    const ACCESS: Access = Access::Public;
    type Answer = Auditorium;
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListAuditoriums {
    pub paging: Paging,
}

impl Request for ListAuditoriums {
    const SUBJECT: &'static str = "rpc.movie.list_auditoriums";
    const ACCESS: Access = Access::Public;
    type Answer = Page<Auditorium>;
    fn validate(&self, fields: &mut Fields) {
        self.paging.validate(fields);
    }
}

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
        fields.check(!self.prices.is_empty(), "prices", "must price each kind of seat");
        fields.check(!self.prices.contains_key(&SeatKind::Gap), "prices.GAP", "a gap is not sold");
        let currencies: HashSet<_> = self.prices.values().map(|p| p.currency).collect();
        fields.check(currencies.len() <= 1, "prices", "must be of one currency");
        // 50 minor units is the least that Stripe charges in most currencies; the upper bound is a typing guard.
        let fair = self.prices.values().all(|p| (50..=10_000_000).contains(&p.amount));
        fields.check(fair, "prices", "each amount must be 50–10000000 minor units");
    }
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

/// The showtime as `showtime.scheduled` told it, for a host that missed the event.
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

/// By start. Without `date`, `from` and `to`: those that have not begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListShowtimes {
    pub movie_id: Option<Uuid>,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    NoSuchMovie,
    NoSuchAuditorium,
    NoSuchShowtime,
    GenreTaken,
    AuditoriumNameTaken,
    /// A genre id in the body that does not exist.
    UnknownGenre,
    UnknownMovie,
    UnknownAuditorium,
    UnknownTimeZone,
    /// A kind of seat in the auditorium has no price.
    PriceMissing(SeatKind),
    AuditoriumBusy,
    StartsInThePast,
    /// A file that was given up before it was attached, or whose movie is gone.
    MediaGone,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let field = |field: &str, message: &str| {
            let mut fields = Fields::default();
            fields.check(false, field, message);
            fields.into_result().expect_err("one field was reported")
        };
        match rejection {
            Rejection::NoSuchMovie => Problem::not_found("movie"),
            Rejection::NoSuchAuditorium => Problem::not_found("auditorium"),
            Rejection::NoSuchShowtime => Problem::not_found("showtime"),
            Rejection::GenreTaken => {
                Problem::new(409, "genre-taken", "There is already a genre of this name.")
            }
            Rejection::AuditoriumNameTaken => {
                Problem::new(409, "auditorium-taken", "There is already an auditorium of this name.")
            }
            Rejection::UnknownGenre => field("genreIds", "names a genre that does not exist"),
            Rejection::UnknownMovie => field("movieId", "names a movie that does not exist"),
            Rejection::UnknownAuditorium => field("auditoriumId", "names an auditorium that does not exist"),
            Rejection::UnknownTimeZone => {
                field("timeZone", "must be an IANA time zone such as Europe/Berlin")
            }
            Rejection::PriceMissing(kind) => {
                let kind = serde_json::to_value(kind).unwrap_or_default();
                field("prices", &format!("lacks a price for {}", kind.as_str().unwrap_or("a kind of seat")))
            }
            Rejection::AuditoriumBusy => {
                Problem::new(409, "auditorium-busy", "Another showtime has the auditorium at that time.")
            }
            Rejection::MediaGone => Problem::new(
                409,
                "media-gone",
                "The upload took too long, or its movie is gone. Send it again.",
            ),
            Rejection::StartsInThePast => field("startsAt", "must lie in the future"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovieCreated {
    pub movie_id: Uuid,
    pub title: String,
    pub genres: Vec<String>,
    pub created_by: Uuid,
}

/// A showtime with all that selling its seats needs, frozen as it was when it was scheduled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeScheduled {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub auditorium_id: Uuid,
    pub auditorium_name: String,
    pub time_zone: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub rows: Vec<Row>,
    pub prices: Prices,
    pub status: ShowtimeStatus,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowtimeCancelled {
    pub showtime_id: Uuid,
    pub movie_id: Uuid,
    pub movie_title: String,
    pub starts_at: Timestamp,
}

events! {
    MovieCreated => "movie.created",
    ShowtimeScheduled => "showtime.scheduled",
    ShowtimeCancelled => "showtime.cancelled",
}

/// A seat's id: row label and number, such as `C7`.
pub fn seat_id(row: &str, number: u16) -> String {
    format!("{row}{number}")
}

fn validate_rows(rows: &[Row], fields: &mut Fields) {
    fields.check((1..=ROWS_MAX).contains(&rows.len()), "rows", "must have 1–60 rows");
    let mut ids = HashSet::new();
    let mut sold = 0;
    for (index, row) in rows.iter().enumerate() {
        let field = format!("rows[{index}]");
        // Letters only: a label that ends in a digit would make A1+1 and A+11 the same seat.
        let label_ok =
            (1..=3).contains(&row.label.len()) && row.label.bytes().all(|b| b.is_ascii_uppercase());
        fields.check(label_ok, &format!("{field}.label"), "must be 1–3 letters A–Z");
        let sized = (1..=SEATS_PER_ROW_MAX).contains(&row.seats.len());
        fields.check(sized, &format!("{field}.seats"), "must have 1–100 seats");
        for (at, seat) in row.seats.iter().enumerate() {
            let field = format!("{field}.seats[{at}].number");
            fields.check((1..=999).contains(&seat.number), &field, "must be 1–999");
            fields.check(ids.insert(seat_id(&row.label, seat.number)), &field, "is there twice");
            sold += usize::from(seat.kind != SeatKind::Gap);
        }
    }
    fields.check((1..=SEATS_MAX).contains(&sold), "rows", "must have 1–2000 seats beside gaps");
}

pub fn is_date(text: &str) -> bool {
    // Ten characters: without a sign, which the parser would take.
    text.len() == 10
        && time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).is_ok()
}

fn is_time(text: &str) -> bool {
    time::Time::parse(text, time::macros::format_description!("[hour]:[minute]")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, numbers: &[u16]) -> Row {
        let seats = numbers.iter().map(|&number| Seat { number, kind: SeatKind::Standard }).collect();
        Row { label: label.into(), seats }
    }

    fn errors(rows: &[Row]) -> Vec<String> {
        let mut fields = Fields::default();
        validate_rows(rows, &mut fields);
        fields
            .into_result()
            .err()
            .map(|p| p.errors.into_iter().map(|e| e.field).collect())
            .unwrap_or_default()
    }

    #[test]
    fn a_layout_names_every_seat_once() {
        assert_eq!(errors(&[row("A", &[1, 2]), row("B", &[1])]), Vec::<String>::new());
        assert_eq!(errors(&[row("A", &[1, 1])]), ["rows[0].seats[1].number"]);
        assert_eq!(errors(&[row("A1", &[1])]), ["rows[0].label"]);
        assert_eq!(errors(&[]), ["rows", "rows"]);
        assert_eq!(errors(&[row("A", &[0])]), ["rows[0].seats[0].number"]);
    }

    #[test]
    fn a_date_is_of_four_two_and_two_digits() {
        assert!(is_date("2026-05-01"));
        for text in ["", "2026-5-1", "+2026-05-01", "-2026-05-01", "2026-02-30", "2026-05-01T00:00:00Z"] {
            assert!(!is_date(text), "{text}");
        }
    }
}
