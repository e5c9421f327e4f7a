//! Calls about movies and genres.

use std::sync::Arc;

use bus::Failure;
use bus::Problem;
use bus::contract::movie::{
    ChangedMovie, CreateGenre, CreateMovie, DeleteGenre, DeleteMovie, Genre, GetMovie, ListGenres,
    ListMovies, Movie, MovieDeleted, MovieUpdated, OVERLAPS_MAX, Overlap, Rejection, UpdateGenre,
    UpdateMovie,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use futures::FutureExt;
use uuid::Uuid;

use super::showtime::{LONGEST, cancelled_event, updated_event};
use super::{DOMAIN, Decision, Desk, TO_COME_MAX, created, unread, writing};
use crate::movie::length;
use crate::movie::model::{self, Scheduled};
use crate::movie::store::{self, Of, Write};

pub async fn serve(desk: &Arc<Desk>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(desk, |desk, call| create_genre(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| update_genre(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| delete_genre(desk, call).boxed())).await?;
    server.serve_with(desk, list_genres).await?;
    server.serve(writing(desk, |desk, call| create_movie(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| update_movie(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| delete_movie(desk, call).boxed())).await?;
    server.serve_with(desk, get_movie).await?;
    server.serve_with(desk, list_movies).await
}

async fn create_genre(desk: &Desk, call: &Call<CreateGenre>) -> Result<Decision, Problem> {
    let (now, name) = (desk.clock.now(), call.request.name.clone());
    let genre = Genre { id: Uuid::now_v7(), name, version: 1, created_at: now, updated_at: now };
    Decision::new(&genre, Write::Genre(genre.clone()), vec![])
}

async fn update_genre(desk: &Desk, call: &Call<UpdateGenre>) -> Result<Decision, Problem> {
    let known = desk.genre(call.request.id).await?;
    let name = call.request.name.clone().unwrap_or(known.name);
    let genre = Genre { name, version: known.version + 1, updated_at: desk.clock.now(), ..known };
    Decision::new(&genre, Write::Genre(genre.clone()), vec![])
}

async fn delete_genre(desk: &Desk, call: &Call<DeleteGenre>) -> Result<Decision, Problem> {
    Decision::new(&(), Write::GenreDeleted(desk.genre(call.request.id).await?), vec![])
}

async fn list_genres(desk: Arc<Desk>, call: Call<ListGenres>) -> Answered {
    json(&store::list_genres(&desk.pool, &call.request.paging).await.map_err(unread)?)
}

async fn create_movie(desk: &Desk, call: &Call<CreateMovie>) -> Result<Decision, Problem> {
    let wanted = call.request.clone();
    let genres = store::genres(&desk.pool, &wanted.genre_ids).await.map_err(unread)?;
    let movie = model::movie(wanted, &genres, desk.clock.now())?;
    let created = created(&movie, call.caller()?.user_id, &call.context);
    Decision::new(&movie, Write::Movie(movie.clone()), vec![created])
}

async fn update_movie(desk: &Desk, call: &Call<UpdateMovie>) -> Result<Decision, Problem> {
    let known = desk.movie(call.request.id).await?;
    let wanted = call.request.genre_ids.as_ref().unwrap_or(&known.genre_ids);
    let genres = store::genres(&desk.pool, wanted).await.map_err(unread)?;
    let movie = model::changed_movie(&known, &call.request, &genres, desk.clock.now())?;
    let by = call.caller()?.user_id;
    let event = Outgoing::new(DOMAIN, &updated(&movie, by), movie.updated_at, &call.context);
    if movie.duration_minutes == known.duration_minutes {
        let answer = ChangedMovie { movie: movie.clone(), overlaps: vec![] };
        return Decision::new(&answer, Write::Movie(movie), vec![event]);
    }
    let to_come = desk.to_come(Of::Movie(movie.id)).await?;
    let (longer, mut overlaps) = desk.relengthened(&movie, &to_come).await?;
    if !overlaps.is_empty() && !call.request.accept_overlaps {
        return Err(Rejection::Overlaps(overlaps).into());
    }
    overlaps.truncate(OVERLAPS_MAX);
    let mut outbox = vec![event];
    outbox.extend(longer.iter().map(|scheduled| updated_event(scheduled, Some(by), None, &call.context)));
    let to_come = to_come.iter().map(|scheduled| scheduled.showtime.id).collect();
    let answer = ChangedMovie { movie: movie.clone(), overlaps };
    let write = Write::MovieLength(movie, longer, to_come);
    Ok(Decision { around_others: true, ..Decision::new(&answer, write, outbox)? })
}

pub(super) fn updated(movie: &Movie, by: Uuid) -> MovieUpdated {
    let movie = movie.clone();
    MovieUpdated {
        movie_id: movie.id,
        version: movie.version,
        title: movie.title,
        synopsis: movie.synopsis,
        duration_minutes: movie.duration_minutes,
        rating: movie.rating,
        release_date: movie.release_date,
        language: movie.language,
        genres: movie.genres.into_iter().map(|genre| genre.name).collect(),
        poster_url: movie.poster_url,
        trailer_url: movie.trailer_url,
        by,
    }
}

/// Its showtimes to come go with it, where nobody has seats. Who gets one while this is decided is cancelled and paid back,
/// as with any cancelled showtime.
async fn delete_movie(desk: &Desk, call: &Call<DeleteMovie>) -> Result<Decision, Problem> {
    let known = desk.movie(call.request.id).await?;
    let to_come = desk.to_come(Of::Movie(known.id)).await?;
    let claimed = desk.claimed(&to_come, &call.context).await?;
    let sold = model::sold(&to_come, &claimed, |_, seats| seats.to_vec());
    if !sold.is_empty() {
        return Err(Rejection::ShowtimeSold(sold).into());
    }
    let (now, by) = (desk.clock.now(), call.caller()?.user_id);
    let movie = Movie { version: known.version + 1, updated_at: now, ..known };
    let mut cancelled = Vec::with_capacity(to_come.len());
    for scheduled in &to_come {
        cancelled.extend(model::cancelled(scheduled, now)?);
    }
    let event = MovieDeleted { movie_id: movie.id, version: movie.version, title: movie.title.clone(), by };
    let mut outbox = vec![Outgoing::new(DOMAIN, &event, now, &call.context)];
    outbox.extend(cancelled.iter().map(|scheduled| cancelled_event(scheduled, by, &call.context)));
    Decision::new(&(), Write::MovieDeleted(movie, cancelled), outbox)
}

async fn get_movie(desk: Arc<Desk>, call: Call<GetMovie>) -> Answered {
    json(&desk.movie(call.request.id).await?)
}

async fn list_movies(desk: Arc<Desk>, call: Call<ListMovies>) -> Answered {
    json(&store::list_movies(&desk.pool, &call.request, desk.clock.now()).await.map_err(unread)?)
}

impl Desk {
    async fn genre(&self, id: Uuid) -> Result<Genre, Problem> {
        let found = store::genres(&self.pool, &[id]).await.map_err(unread)?.pop();
        Ok(found.ok_or(Rejection::NoSuchGenre)?)
    }

    async fn movie(&self, id: Uuid) -> Result<Movie, Problem> {
        let found = store::movies(&self.pool, &[id]).await.map_err(unread)?.pop();
        Ok(found.ok_or(Rejection::NoSuchMovie)?)
    }

    /// The showtimes whose end moves with the movie's length, and those that overlap by it.
    async fn relengthened(
        &self,
        movie: &Movie,
        to_come: &[Scheduled],
    ) -> Result<(Vec<Scheduled>, Vec<Overlap>), Problem> {
        let each = || to_come.iter().map(|scheduled| &scheduled.showtime);
        let starts = || each().map(|showtime| showtime.starts_at);
        let neighbours = match starts().min().zip(starts().max()) {
            Some((first, last)) => {
                let mut auditoriums: Vec<Uuid> = each().map(|showtime| showtime.auditorium_id).collect();
                auditoriums.sort_unstable();
                auditoriums.dedup();
                store::neighbours(&self.pool, &auditoriums, first, last.plus(LONGEST))
                    .await
                    .map_err(unread)?
            }
            None => vec![],
        };
        let (minutes, cleaning) = (movie.duration_minutes, self.settings.cleaning);
        Ok(length::relengthened(to_come, neighbours, minutes, cleaning, movie.updated_at))
    }

    /// All showtimes to come, or a refusal where they are too many for one change.
    pub(super) async fn to_come(&self, of: Of) -> Result<Vec<Scheduled>, Problem> {
        let found = store::to_come(&self.pool, of, TO_COME_MAX + 1).await.map_err(unread)?;
        if found.len() > TO_COME_MAX {
            return Err(Rejection::TooManyToCome { most: TO_COME_MAX }.into());
        }
        Ok(found)
    }
}
