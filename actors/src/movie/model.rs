//! Movie's types and pure rules: a movie and an auditorium after a change, which showtimes have sold seats, and how the database
//! writes dates and statuses. Showtimes themselves are in `showtime`.

use std::collections::BTreeMap;

use bus::contract::movie::{
    AgeRating, Auditorium, CreateMovie, Genre, Movie, Rejection, ShowtimeStatus, UpdateAuditorium,
    UpdateMovie, with_columns,
};
use bus::contract::{SeatId, Timestamp};
use time::macros::format_description;
use time::{Date, Time};
use uuid::Uuid;

use super::showtime::Scheduled;

/// When an auditorium is taken, and by which showtime.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    pub id: Uuid,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Makes a movie of `genres`, which are those that were found.
pub fn movie(wanted: CreateMovie, genres: &[Genre], now: Timestamp) -> Result<Movie, Rejection> {
    let find =
        |id: &Uuid| genres.iter().find(|genre| genre.id == *id).cloned().ok_or(Rejection::UnknownGenre);
    let age_rating = wanted.age_rating;
    Ok(Movie {
        id: Uuid::now_v7(),
        title: wanted.title,
        synopsis: wanted.synopsis,
        duration_minutes: wanted.duration_minutes,
        rating: age_rating.as_ref().map_or(wanted.rating, AgeRating::text),
        minimum_age: age_rating.as_ref().and_then(AgeRating::age),
        age_rating,
        release_date: wanted.release_date,
        language: wanted.language,
        versions: wanted.versions,
        formats: wanted.formats,
        // In the order in which they were given.
        genres: wanted.genre_ids.iter().map(find).collect::<Result<_, _>>()?,
        genre_ids: wanted.genre_ids,
        poster_url: None,
        poster_small_url: None,
        trailer_url: None,
        version: 1,
        created_at: now,
        updated_at: now,
    })
}

/// The movie after a change; `genres` are those of the new ids that were found.
pub fn changed_movie(
    current: &Movie,
    change: &UpdateMovie,
    genres: &[Genre],
    now: Timestamp,
) -> Result<Movie, Rejection> {
    Ok(Movie {
        id: current.id,
        poster_url: current.poster_url.clone(),
        poster_small_url: current.poster_small_url.clone(),
        trailer_url: current.trailer_url.clone(),
        version: current.version + 1,
        created_at: current.created_at,
        ..movie(change.applied_to(current), genres, now)?
    })
}

pub fn changed_auditorium(current: &Auditorium, change: UpdateAuditorium, now: Timestamp) -> Auditorium {
    Auditorium {
        id: current.id,
        name: change.name.unwrap_or_else(|| current.name.clone()),
        time_zone: change.time_zone.unwrap_or_else(|| current.time_zone.clone()),
        rows: change.rows.map_or_else(|| current.rows.clone(), with_columns),
        site_id: current.site_id,
        version: current.version + 1,
        created_at: current.created_at,
        updated_at: now,
    }
}

/// The showtimes with claimed seats, and those seats.
pub fn sold(
    showtimes: &[Scheduled],
    claimed: &BTreeMap<Uuid, Vec<SeatId>>,
    seats: impl Fn(&Scheduled, &[SeatId]) -> Vec<SeatId>,
) -> Vec<(Uuid, Timestamp, Vec<SeatId>)> {
    let each = showtimes.iter().filter_map(|scheduled| {
        let seats = seats(scheduled, claimed.get(&scheduled.showtime.id)?);
        (!seats.is_empty()).then_some((scheduled.showtime.id, scheduled.showtime.starts_at, seats))
    });
    each.collect()
}

/// Reads `YYYY-MM-DD`.
pub fn date(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[year]-[month]-[day]")).ok()
}

/// Reads `HH:MM`.
pub fn time_of_day(text: &str) -> Option<Time> {
    Time::parse(text, format_description!("[hour]:[minute]")).ok()
}

/// Writes `YYYY-MM-DD`.
pub fn date_text(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// The status as the database keeps it, and whether it is a draft. A draft's status is CANCELLED, so that a host of the version
/// before drafts neither sells it nor fails on its row.
pub fn status_columns(status: ShowtimeStatus) -> (&'static str, bool) {
    match status {
        ShowtimeStatus::Draft => ("CANCELLED", true),
        ShowtimeStatus::OnSale => ("ON_SALE", false),
        ShowtimeStatus::Cancelled => ("CANCELLED", false),
    }
}

pub fn status_of_columns(name: &str, is_draft: bool) -> Option<ShowtimeStatus> {
    [ShowtimeStatus::Draft, ShowtimeStatus::OnSale, ShowtimeStatus::Cancelled]
        .into_iter()
        .find(|status| status_columns(*status) == (name, is_draft))
}
