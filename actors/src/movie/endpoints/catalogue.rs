//! Requests about movies and genres.

use std::sync::Arc;

use bus::Failure;
use bus::Problem;
use bus::contract::movie::{
    ChangedMovie, CreateGenre, CreateMovie, DeleteGenre, DeleteMovie, Genre, GetMovie, ListGenres,
    ListMovies, Movie, MovieDeleted, MovieUpdated, OVERLAPS_MAX, Overlap, Rejection, UpdateGenre,
    UpdateMovie,
};
use bus::service::{Answered, Call, Server, json};
use futures::FutureExt;
use uuid::Uuid;

use super::showtime::{LONGEST, cancelled_event, updated_event};
use super::{Decision, FUTURE_SHOWTIMES_MAX, created_event, writing};
use crate::delivery::read_failure;
use crate::movie::Env;
use crate::movie::length;
use crate::movie::model;
use crate::movie::showtime::{self, Removal, Scheduled};
use crate::movie::store::{self, Of, Write};

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| create_genre(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| update_genre(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| delete_genre(env, call).boxed())).await?;
    server.serve_with(env, list_genres).await?;
    server.serve(writing(env, |env, call| create_movie(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| update_movie(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| delete_movie(env, call).boxed())).await?;
    server.serve_with(env, get_movie).await?;
    server.serve_with(env, list_movies).await
}

async fn create_genre(env: &Env, call: &Call<CreateGenre>) -> Result<Decision, Problem> {
    let (now, name) = (env.clock.now(), call.request.name.clone());
    let genre = Genre { id: Uuid::now_v7(), name, version: 1, created_at: now, updated_at: now };
    Decision::new(&genre, Write::Genre(genre.clone()), vec![])
}

async fn update_genre(env: &Env, call: &Call<UpdateGenre>) -> Result<Decision, Problem> {
    let current = env.genre(call.request.id).await?;
    let name = call.request.name.clone().unwrap_or(current.name);
    let genre = Genre { name, version: current.version + 1, updated_at: env.clock.now(), ..current };
    Decision::new(&genre, Write::Genre(genre.clone()), vec![])
}

async fn delete_genre(env: &Env, call: &Call<DeleteGenre>) -> Result<Decision, Problem> {
    Decision::new(&(), Write::GenreDeleted(env.genre(call.request.id).await?), vec![])
}

async fn list_genres(env: Arc<Env>, call: Call<ListGenres>) -> Answered {
    json(&store::list_genres(&env.pool, &call.request.paging).await.map_err(read_failure)?)
}

async fn create_movie(env: &Env, call: &Call<CreateMovie>) -> Result<Decision, Problem> {
    let wanted = call.request.clone();
    let genres = store::genres(&env.pool, &wanted.genre_ids).await.map_err(read_failure)?;
    let movie = model::movie(wanted, &genres, env.clock.now())?;
    let created = created_event(env, &movie, call.caller()?.user_id, &call.context);
    Decision::new(&movie, Write::Movie(movie.clone()), vec![created])
}

async fn update_movie(env: &Env, call: &Call<UpdateMovie>) -> Result<Decision, Problem> {
    let current = env.movie(call.request.id).await?;
    let genre_ids = call.request.genre_ids.as_ref().unwrap_or(&current.genre_ids);
    let genres = store::genres(&env.pool, genre_ids).await.map_err(read_failure)?;
    let movie = model::changed_movie(&current, &call.request, &genres, env.clock.now())?;
    let by = call.caller()?.user_id;
    let event = env.event(&updated(&movie, by), movie.updated_at, &call.context);
    if movie.duration_minutes == current.duration_minutes {
        let answer = ChangedMovie { movie: movie.clone(), overlaps: vec![] };
        return Decision::new(&answer, Write::Movie(movie), vec![event]);
    }
    let future = env.future_showtimes(Of::Movie(movie.id)).await?;
    let (moved, mut overlaps) = env.relengthened(&movie, &future).await?;
    if !overlaps.is_empty() && !call.request.accept_overlaps {
        return Err(Rejection::Overlaps(overlaps).into());
    }
    overlaps.truncate(OVERLAPS_MAX);
    let mut events = vec![event];
    events
        .extend(moved.iter().filter_map(|scheduled| updated_event(env, scheduled, Some(by), &call.context)));
    let future = future.iter().map(|scheduled| scheduled.showtime.id).collect();
    let answer = ChangedMovie { movie: movie.clone(), overlaps };
    Decision::new(&answer, Write::MovieLength(movie, moved, future), events)
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
        age_rating: movie.age_rating,
        versions: movie.versions,
        formats: movie.formats,
        release_date: movie.release_date,
        language: movie.language,
        genres: movie.genres.into_iter().map(|genre| genre.name).collect(),
        poster_url: movie.poster_url,
        trailer_url: movie.trailer_url,
        by,
    }
}

/// Cancels the movie's future showtimes and deletes its drafts, unless seats are held or sold there. A seat that is sold while this is decided is
/// cancelled and refunded, as with any cancelled showtime.
async fn delete_movie(env: &Env, call: &Call<DeleteMovie>) -> Result<Decision, Problem> {
    let current = env.movie(call.request.id).await?;
    let future = env.future_showtimes(Of::Movie(current.id)).await?;
    let claimed = env.claimed(&future, &call.context).await?;
    let sold = model::sold(&future, &claimed, |_, seats| seats.to_vec());
    if !sold.is_empty() {
        return Err(Rejection::ShowtimeSold(sold).into());
    }
    let (now, by) = (env.clock.now(), call.caller()?.user_id);
    let movie = Movie { version: current.version + 1, updated_at: now, ..current };
    let mut cancelled = Vec::with_capacity(future.len());
    for scheduled in &future {
        if let Removal::Cancelled(showtime) = showtime::cancelled(scheduled, now)? {
            cancelled.push(showtime);
        }
    }
    let event = MovieDeleted { movie_id: movie.id, version: movie.version, title: movie.title.clone(), by };
    let mut events = vec![env.event(&event, now, &call.context)];
    events.extend(cancelled.iter().map(|scheduled| cancelled_event(env, scheduled, by, &call.context)));
    Decision::new(&(), Write::MovieDeleted(movie, cancelled), events)
}

async fn get_movie(env: Arc<Env>, call: Call<GetMovie>) -> Answered {
    json(&env.movie(call.request.id).await?)
}

async fn list_movies(env: Arc<Env>, call: Call<ListMovies>) -> Answered {
    json(&store::list_movies(&env.pool, &call.request, env.clock.now()).await.map_err(read_failure)?)
}

impl Env {
    async fn genre(&self, id: Uuid) -> Result<Genre, Problem> {
        let found = store::genres(&self.pool, &[id]).await.map_err(read_failure)?.pop();
        Ok(found.ok_or(Rejection::NoSuchGenre)?)
    }

    async fn movie(&self, id: Uuid) -> Result<Movie, Problem> {
        let found = store::movies(&self.pool, &[id]).await.map_err(read_failure)?.pop();
        Ok(found.ok_or(Rejection::NoSuchMovie)?)
    }

    /// The future showtimes whose end moves with the movie's length, and those that then overlap the next showtime.
    async fn relengthened(
        &self,
        movie: &Movie,
        future: &[Scheduled],
    ) -> Result<(Vec<Scheduled>, Vec<Overlap>), Problem> {
        let each = || future.iter().map(|scheduled| &scheduled.showtime);
        let starts = || each().map(|showtime| showtime.starts_at);
        let neighbours = match starts().min().zip(starts().max()) {
            Some((first, last)) => {
                let mut auditoriums: Vec<Uuid> = each().map(|showtime| showtime.auditorium_id).collect();
                auditoriums.sort_unstable();
                auditoriums.dedup();
                store::neighbours(&self.pool, &auditoriums, first, last.plus(LONGEST))
                    .await
                    .map_err(read_failure)?
            }
            None => vec![],
        };
        let (minutes, cleaning) = (movie.duration_minutes, self.settings.cleaning);
        Ok(length::relengthened(future, neighbours, minutes, cleaning, movie.updated_at))
    }

    /// All future showtimes, or a rejection where they are too many for one change.
    pub(super) async fn future_showtimes(&self, of: Of) -> Result<Vec<Scheduled>, Problem> {
        let found =
            store::future_showtimes(&self.pool, of, FUTURE_SHOWTIMES_MAX + 1).await.map_err(read_failure)?;
        if found.len() > FUTURE_SHOWTIMES_MAX {
            return Err(Rejection::TooManyToCome { most: FUTURE_SHOWTIMES_MAX }.into());
        }
        Ok(found)
    }
}
