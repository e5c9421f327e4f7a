//! Movie's writes. Staff write a few rows a day, a seed some hundred, so changes are written one after another.
//!
//! Invariant: two showtimes never have one auditorium at one time (`auditorium_is_free`). Invariant: a change of a row
//! names the version that it replaces, and rows that it rests on (an auditorium's future showtimes) are read again under
//! that row's lock; where they changed, the change is decided again.

mod auditorium;
mod catalogue;
mod media;
mod page;
mod price;
mod reminder;
mod showtime;
mod site;
mod timetable;
mod wall;

use bus::contract::Timestamp;
use bus::contract::media::Media;
use bus::contract::movie::{Auditorium, Genre, Movie, PriceCard, Rejection, TicketType};
use bus::contract::reminder::Reminded;
use bus::contract::site::Site;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use super::showtime::Scheduled;
use crate::delivery::{RowError, Rows, WriteError};

pub use auditorium::{auditoriums, list_auditoriums};
pub use catalogue::{genres, list_genres, list_movies, movies};
pub use media::{condemned, media};
pub use price::{list_price_cards, list_ticket_types, pricing};
pub use reminder::upcoming;
pub use showtime::Of;
pub use site::{list_sites, sites};
pub use timetable::{
    busy, find_showtime, future_showtimes, list_planned_showtimes, list_showtimes, neighbours, scheduled,
    scheduled_all,
};

/// Movie's changes. A row of version 1 is new; any other replaces the version before.
#[derive(Debug)]
pub enum Write {
    Genre(Genre),
    GenreDeleted(Genre),
    Movie(Movie),
    /// With those of its future showtimes whose end moves, and the ids of all future ones. A showtime that was scheduled
    /// meanwhile in the same place makes it stale.
    MovieLength(Movie, Vec<Scheduled>, Vec<Uuid>),
    /// With its future showtimes, cancelled. Its drafts are deleted.
    MovieDeleted(Movie, Vec<Scheduled>),
    /// With all of its future showtimes, where it is not new.
    Auditorium(Auditorium, Vec<Scheduled>),
    AuditoriumDeleted(Auditorium),
    Showtimes(Vec<Scheduled>),
    /// A draft, which nobody has seen: its row is deleted.
    DraftDeleted(Scheduled),
    /// New showtimes in free slots. A slot that was taken meanwhile makes it stale: one more to leave out, no rejection.
    Programme(Vec<Scheduled>),
    TicketType(TicketType),
    TicketTypeDeleted(TicketType),
    PriceCard(PriceCard),
    PriceCardDeleted(PriceCard),
    /// In place of the version before.
    Site(Site),
    Reminded(Vec<Reminded>),
    MediaBegun(Media, Timestamp),
    /// With the movie as it is with the file.
    MediaAttached(Media, Movie),
    /// With the site as it is with the logo.
    LogoAttached(Media, Site),
    MediaCondemned(Timestamp),
    MediaForgotten(Vec<Uuid>),
}

type Result<T> = std::result::Result<T, RowError<Rejection>>;

impl Rows for Write {
    type Rejection = Rejection;
    type Written = ();

    fn write<'a>(
        connection: &'a mut PgConnection,
        rows: &'a [&'a Self],
    ) -> BoxFuture<'a, std::result::Result<Vec<()>, WriteError<Rejection>>> {
        async move {
            lock(connection, rows).await?;
            for (index, row) in rows.iter().enumerate() {
                row.write_row(connection).await.map_err(|error| error.at(index))?;
            }
            Ok(vec![(); rows.len()])
        }
        .boxed()
    }
}

/// Two hosts that insert overlapping showtimes would wait for each other until Postgres reports a deadlock, a second
/// later. So they lock the rows of movie and auditorium first, which also keeps those from being deleted.
async fn lock(db: &mut PgConnection, rows: &[&Write]) -> sqlx::Result<()> {
    let (mut movies, mut auditoriums) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Write::Movie(movie) | Write::MovieLength(movie, ..) => movies.push(movie.id),
            Write::MovieDeleted(movie, _) => movies.push(movie.id),
            Write::Auditorium(auditorium, _) | Write::AuditoriumDeleted(auditorium) => {
                auditoriums.push(auditorium.id)
            }
            _ => {}
        }
        if let Write::MovieDeleted(_, showtimes)
        | Write::Auditorium(_, showtimes)
        | Write::MovieLength(_, showtimes, _)
        | Write::Showtimes(showtimes)
        | Write::Programme(showtimes) = row
        {
            movies.extend(showtimes.iter().map(|scheduled| scheduled.showtime.movie_id));
            auditoriums.extend(showtimes.iter().map(|scheduled| scheduled.showtime.auditorium_id));
        }
    }
    if !movies.is_empty() {
        catalogue::lock_movies(db, movies).await?;
    }
    if !auditoriums.is_empty() {
        auditorium::lock_auditoriums(db, auditoriums).await?;
    }
    Ok(())
}

impl Write {
    async fn write_row(&self, db: &mut PgConnection) -> Result<()> {
        let written = match self {
            Self::Genre(genre) => catalogue::put_genre(db, genre).await,
            Self::GenreDeleted(genre) => {
                return catalogue::delete_genre(db, genre).await.map_err(|error| match constraint(&error) {
                    Some("genre_exists") => RowError::Rejected(Rejection::GenreInUse),
                    _ => error,
                });
            }
            Self::Movie(movie) => catalogue::put_movie(db, movie).await,
            Self::MovieLength(movie, showtimes, future) => {
                return change_length(db, movie, showtimes, future)
                    .await
                    .map_err(rejection)
                    .map_err(decide_again);
            }
            Self::MovieDeleted(movie, showtimes) => delete_movie(db, movie, showtimes).await,
            Self::Auditorium(auditorium, showtimes) => change_auditorium(db, auditorium, showtimes).await,
            Self::AuditoriumDeleted(auditorium) => delete_auditorium(db, auditorium).await,
            Self::Showtimes(showtimes) => showtime::put_showtimes(db, showtimes).await,
            Self::DraftDeleted(draft) => showtime::delete_draft(db, draft).await,
            Self::Programme(showtimes) => {
                return showtime::put_showtimes(db, showtimes).await.map_err(rejection).map_err(decide_again);
            }
            Self::TicketType(of) => price::put_ticket_type(db, of).await,
            Self::TicketTypeDeleted(of) => {
                return price::delete_ticket_type(db, of).await.map_err(|error| match constraint(&error) {
                    Some("priced_type_exists" | "accompanied_type_exists") => {
                        RowError::Rejected(Rejection::TicketTypeInUse)
                    }
                    _ => error,
                });
            }
            Self::PriceCard(card) => price::put_price_card(db, card).await,
            Self::PriceCardDeleted(card) => price::delete_price_card(db, card).await,
            Self::Site(site) => site::put_site(db, site).await,
            Self::Reminded(reminded) => reminder::mark(db, reminded).await.map_err(RowError::Sql),
            Self::MediaBegun(media, now) => media::begin(db, media, *now).await,
            Self::MediaAttached(media, movie) => media::attach(db, media, movie).await,
            Self::LogoAttached(media, site) => media::attach_logo(db, media, site).await,
            Self::MediaCondemned(now) => media::condemn(db, *now).await,
            Self::MediaForgotten(ids) => media::forget(db, ids).await,
        };
        written.map_err(rejection)
    }
}

async fn delete_movie(db: &mut PgConnection, movie: &Movie, cancelled: &[Scheduled]) -> Result<()> {
    let read: Vec<Uuid> = cancelled.iter().map(|scheduled| scheduled.showtime.id).collect();
    if showtime::has_other_published_showtimes(db, movie.id, &read).await? {
        return Err(RowError::Stale);
    }
    showtime::put_showtimes(db, cancelled).await?;
    showtime::delete_drafts(db, movie.id).await?;
    catalogue::delete_movie(db, movie).await
}

async fn change_length(
    db: &mut PgConnection,
    movie: &Movie,
    showtimes: &[Scheduled],
    future: &[Uuid],
) -> Result<()> {
    // One that was scheduled meanwhile would keep the old length.
    if showtime::has_other_future_showtimes(db, Of::Movie(movie.id), future).await? {
        return Err(RowError::Stale);
    }
    catalogue::put_movie(db, movie).await?;
    showtime::put_showtimes(db, showtimes).await
}

async fn change_auditorium(
    db: &mut PgConnection,
    auditorium: &Auditorium,
    showtimes: &[Scheduled],
) -> Result<()> {
    let read: Vec<Uuid> = showtimes.iter().map(|scheduled| scheduled.showtime.id).collect();
    // One that was scheduled meanwhile would keep the old seats.
    if auditorium.version > 1
        && showtime::has_other_future_showtimes(db, Of::Auditorium(auditorium.id), &read).await?
    {
        return Err(RowError::Stale);
    }
    auditorium::put_auditorium(db, auditorium).await?;
    showtime::put_showtimes(db, showtimes).await
}

async fn delete_auditorium(db: &mut PgConnection, auditorium: &Auditorium) -> Result<()> {
    if showtime::has_other_future_showtimes(db, Of::Auditorium(auditorium.id), &[]).await? {
        return Err(RowError::Rejected(Rejection::AuditoriumInUse));
    }
    auditorium::delete_auditorium(db, auditorium).await
}

/// Stale unless as many rows were changed as should be: the others have another version by now.
fn expect(changed: u64, wanted: usize) -> Result<()> {
    if changed == wanted as u64 { Ok(()) } else { Err(RowError::Stale) }
}

fn constraint(error: &RowError<Rejection>) -> Option<&str> {
    let RowError::Sql(error) = error else { return None };
    error.as_database_error().and_then(|error| error.constraint())
}

/// An auditorium that was taken meanwhile: the next decision sees it and plans around it.
fn decide_again(error: RowError<Rejection>) -> RowError<Rejection> {
    match error {
        RowError::Rejected(Rejection::AuditoriumTaken(_)) => RowError::Stale,
        error => error,
    }
}

/// A violated constraint with a name is a rejection; any other error is not.
fn rejection(error: RowError<Rejection>) -> RowError<Rejection> {
    RowError::Rejected(match constraint(&error) {
        Some("one_genre") => Rejection::GenreTaken,
        Some("one_auditorium") => Rejection::AuditoriumNameTaken,
        Some("genre_exists") => Rejection::UnknownGenre,
        Some("movie_exists") => Rejection::UnknownMovie,
        Some("auditorium_exists") => Rejection::UnknownAuditorium,
        Some("auditorium_is_free") => Rejection::AuditoriumTaken(None),
        Some("one_site_slug") => Rejection::SiteSlugTaken,
        Some("one_ticket_type_code") => Rejection::TicketTypeTaken,
        // A type that was deleted since the decision: the next one names it.
        Some("priced_type_exists" | "accompanied_type_exists") => return RowError::Stale,
        _ => return error,
    })
}
