//! Movie's types and pure rules: how a showtime is made of a movie, an auditorium and prices.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::movie::{
    Auditorium, CreateMovie, CreateShowtime, Genre, Movie, Rejection, Row, SeatKind, Showtime,
    ShowtimeScheduled, ShowtimeStatus,
};
use time::macros::format_description;
use time::{Date, Time};
use uuid::Uuid;

/// A showtime with the seats that it froze.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    pub showtime: Showtime,
    pub rows: Vec<Row>,
}

/// Makes a movie of `genres`, which are those that were found.
pub fn movie(wanted: CreateMovie, genres: Vec<Genre>, now: Timestamp) -> Result<Movie, Rejection> {
    let find =
        |id: &Uuid| genres.iter().find(|genre| genre.id == *id).cloned().ok_or(Rejection::UnknownGenre);
    Ok(Movie {
        id: Uuid::now_v7(),
        title: wanted.title,
        synopsis: wanted.synopsis,
        duration_minutes: wanted.duration_minutes,
        rating: wanted.rating,
        release_date: wanted.release_date,
        language: wanted.language,
        // In the order in which they were given.
        genres: wanted.genre_ids.iter().map(find).collect::<Result<_, _>>()?,
        genre_ids: wanted.genre_ids,
        poster_url: None,
        poster_small_url: None,
        trailer_url: None,
        created_at: now,
        updated_at: now,
    })
}

/// Makes a showtime, frozen as movie and auditorium are now. Whether the auditorium is free only the database knows.
pub fn schedule(
    wanted: CreateShowtime,
    movie: Option<&Movie>,
    auditorium: Option<&Auditorium>,
    now: Timestamp,
) -> Result<Scheduled, Rejection> {
    let movie = movie.ok_or(Rejection::UnknownMovie)?;
    let auditorium = auditorium.ok_or(Rejection::UnknownAuditorium)?;
    if wanted.starts_at <= now {
        return Err(Rejection::StartsInThePast);
    }
    let sold = kinds_sold(&auditorium.rows);
    if let Some(kind) = sold.iter().find(|kind| !wanted.prices.contains_key(kind)) {
        return Err(Rejection::PriceMissing(*kind));
    }
    let showtime = Showtime {
        id: Uuid::now_v7(),
        movie_id: movie.id,
        movie_title: movie.title.clone(),
        auditorium_id: auditorium.id,
        auditorium_name: auditorium.name.clone(),
        time_zone: auditorium.time_zone.clone(),
        starts_at: wanted.starts_at,
        ends_at: wanted.starts_at.plus(Duration::from_secs(60 * u64::from(movie.duration_minutes))),
        prices: wanted.prices,
        status: ShowtimeStatus::OnSale,
        created_at: now,
        updated_at: now,
    };
    Ok(Scheduled { showtime, rows: auditorium.rows.clone() })
}

/// The kinds of seat that a layout sells.
pub fn kinds_sold(rows: &[Row]) -> BTreeSet<SeatKind> {
    let kinds = rows.iter().flat_map(|row| &row.seats).map(|seat| seat.kind);
    kinds.filter(|kind| *kind != SeatKind::Gap).collect()
}

impl Scheduled {
    /// What selling its seats needs.
    pub fn event(&self) -> ShowtimeScheduled {
        let showtime = self.showtime.clone();
        ShowtimeScheduled {
            showtime_id: showtime.id,
            movie_id: showtime.movie_id,
            movie_title: showtime.movie_title,
            auditorium_id: showtime.auditorium_id,
            auditorium_name: showtime.auditorium_name,
            time_zone: showtime.time_zone,
            starts_at: showtime.starts_at,
            ends_at: showtime.ends_at,
            rows: self.rows.clone(),
            prices: showtime.prices,
            status: showtime.status,
        }
    }
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

/// The status as the database keeps it: as the contract spells it.
pub fn status_name(status: ShowtimeStatus) -> &'static str {
    match status {
        ShowtimeStatus::OnSale => "ON_SALE",
        ShowtimeStatus::Cancelled => "CANCELLED",
    }
}

pub fn status_named(name: &str) -> Option<ShowtimeStatus> {
    [ShowtimeStatus::OnSale, ShowtimeStatus::Cancelled].into_iter().find(|s| status_name(*s) == name)
}
