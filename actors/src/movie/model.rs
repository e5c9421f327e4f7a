//! Movie's types and pure rules: a row after a change, a showtime from a movie, an auditorium and prices, and the sold seats
//! that a new layout would lack.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bus::contract::movie::{
    Auditorium, CreateMovie, CreateShowtime, Genre, Movie, Prices, Rejection, Row, SeatKind, Showtime,
    ShowtimeScheduled, ShowtimeStatus, UpdateAuditorium, UpdateMovie, UpdateShowtime, with_columns,
};
use bus::contract::{SeatId, Timestamp};
use time::macros::format_description;
use time::{Date, Time};
use uuid::Uuid;

/// A showtime with the seats that it froze.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    pub showtime: Showtime,
    pub rows: Vec<Row>,
    /// When the auditorium is clean again; `None` for those from before there was a gap.
    pub free_at: Option<Timestamp>,
    /// Of the auditorium whose seats were frozen.
    pub auditorium_version: i64,
}

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
        version: current.version + 1,
        created_at: current.created_at,
        updated_at: now,
    }
}

/// Makes a showtime, frozen as movie and auditorium are now. Whether the auditorium is free, only the database can decide.
pub fn schedule(
    wanted: CreateShowtime,
    movie: Option<&Movie>,
    auditorium: Option<&Auditorium>,
    cleaning: Duration,
    now: Timestamp,
) -> Result<Scheduled, Rejection> {
    let movie = movie.ok_or(Rejection::UnknownMovie)?;
    let auditorium = auditorium.ok_or(Rejection::UnknownAuditorium)?;
    if wanted.starts_at <= now {
        return Err(Rejection::StartsInThePast);
    }
    check_prices(&auditorium.rows, &wanted.prices)?;
    let ends_at = wanted.starts_at.plus(Duration::from_secs(60 * u64::from(movie.duration_minutes)));
    let showtime = Showtime {
        id: Uuid::now_v7(),
        movie_id: movie.id,
        movie_title: movie.title.clone(),
        auditorium_id: auditorium.id,
        auditorium_name: auditorium.name.clone(),
        time_zone: auditorium.time_zone.clone(),
        starts_at: wanted.starts_at,
        ends_at,
        prices: wanted.prices,
        status: ShowtimeStatus::OnSale,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let (rows, auditorium_version) = (auditorium.rows.clone(), auditorium.version);
    Ok(Scheduled { showtime, rows, free_at: Some(ends_at.plus(cleaning)), auditorium_version })
}

/// The showtime after a change of start or prices. The caller checks whether seats are sold.
pub fn changed_showtime(
    current: &Scheduled,
    change: &UpdateShowtime,
    cleaning: Duration,
    now: Timestamp,
) -> Result<Scheduled, Rejection> {
    match current.showtime.status {
        ShowtimeStatus::Cancelled => return Err(Rejection::ShowtimeCancelled),
        ShowtimeStatus::OnSale if current.showtime.starts_at <= now => {
            return Err(Rejection::ShowtimeStarted);
        }
        ShowtimeStatus::OnSale => {}
    }
    let mut changed = current.next(now);
    if let Some(prices) = &change.prices {
        check_prices(&current.rows, prices)?;
        changed.showtime.prices = prices.clone();
    }
    if let Some(starts_at) = change.starts_at.filter(|at| *at != current.showtime.starts_at) {
        if starts_at <= now {
            return Err(Rejection::StartsInThePast);
        }
        changed.start(starts_at);
        changed.free_at = Some(changed.showtime.ends_at.plus(cleaning));
    }
    Ok(changed)
}

/// The showtime off the programme; `None` where it is already.
pub fn cancelled(current: &Scheduled, now: Timestamp) -> Result<Option<Scheduled>, Rejection> {
    match current.showtime.status {
        ShowtimeStatus::Cancelled => Ok(None),
        // A show that has begun may still break off, and is refunded then.
        ShowtimeStatus::OnSale if current.showtime.ends_at <= now => Err(Rejection::ShowtimeOver),
        ShowtimeStatus::OnSale => {
            let mut cancelled = current.next(now);
            cancelled.showtime.status = ShowtimeStatus::Cancelled;
            Ok(Some(cancelled))
        }
    }
}

/// Every kind of seat that is sold has a price.
fn check_prices(rows: &[Row], prices: &Prices) -> Result<(), Rejection> {
    match kinds_sold(rows).into_iter().find(|kind| !prices.contains_key(kind)) {
        Some(kind) => Err(Rejection::PriceMissing(kind)),
        None => Ok(()),
    }
}

/// The kinds of seat that a layout sells.
pub fn kinds_sold(rows: &[Row]) -> BTreeSet<SeatKind> {
    let kinds = rows.iter().flat_map(|row| &row.seats).map(|seat| seat.kind);
    kinds.filter(|kind| *kind != SeatKind::Gap).collect()
}

/// Which of these claimed seats another layout lacks or has as another kind. A companion's seat is not what a wheelchair's
/// place was sold as, and a loveseat is another price.
pub fn lost_seats(before: &[Row], after: &[Row], claimed: &[SeatId]) -> Vec<SeatId> {
    let (before, after) = (kinds(before), kinds(after));
    claimed.iter().filter(|seat| before.get(*seat) != after.get(*seat)).cloned().collect()
}

fn kinds(rows: &[Row]) -> HashMap<SeatId, SeatKind> {
    let seats = rows
        .iter()
        .flat_map(|row| row.seats.iter().map(|seat| (SeatId::new(&row.label, seat.number), seat.kind)));
    seats.filter(|(_, kind)| *kind != SeatKind::Gap).collect()
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

impl Scheduled {
    /// Until when no other showtime may have the auditorium.
    pub fn busy_until(&self) -> Timestamp {
        self.free_at.unwrap_or(self.showtime.ends_at)
    }

    /// The next version, with nothing changed yet.
    pub fn next(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.showtime.version += 1;
        next.showtime.updated_at = now;
        next
    }

    /// Moves it; it lasts as long as before.
    fn start(&mut self, starts_at: Timestamp) {
        if starts_at == self.showtime.starts_at {
            return;
        }
        let lasts = self.showtime.ends_at.date_time() - self.showtime.starts_at.date_time();
        // None where a longer movie overlaps the next showtime.
        let cleaned =
            (self.busy_until().date_time() - self.showtime.ends_at.date_time()).max(time::Duration::ZERO);
        self.showtime.starts_at = starts_at;
        self.showtime.ends_at = starts_at.plus(lasts.unsigned_abs());
        self.free_at = self.free_at.map(|_| self.showtime.ends_at.plus(cleaned.unsigned_abs()));
    }

    /// The showtime with the auditorium as it is now.
    pub fn refitted(&self, auditorium: &Auditorium, now: Timestamp) -> Self {
        let mut refitted = self.next(now);
        refitted.showtime.auditorium_name = auditorium.name.clone();
        refitted.showtime.time_zone = auditorium.time_zone.clone();
        refitted.rows = auditorium.rows.clone();
        refitted
    }

    /// The showtime with the start and the seats that reservation has kept.
    pub fn taken_back(&self, starts_at: Timestamp, rows: Vec<Row>, now: Timestamp) -> Self {
        let mut back = Self { rows, ..self.next(now) };
        back.start(starts_at);
        back
    }

    /// The event with all that selling its seats needs.
    pub fn event(&self) -> ShowtimeScheduled {
        let showtime = self.showtime.clone();
        ShowtimeScheduled {
            showtime_id: showtime.id,
            version: showtime.version,
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
