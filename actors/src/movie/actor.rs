//! The shell of movie: takes calls, reads what the model needs, journals, answers.
//!
//! No actor of its own kind stands behind a movie: the rows decide, and the endpoints' worker is supervised.

use std::sync::Arc;

use bus::contract::Request;
use bus::contract::movie::{
    Auditorium, CreateAuditorium, CreateGenre, CreateMovie, CreateShowtime, DescribeShowtime, Genre,
    GetAuditorium, GetMovie, GetShowtime, ListAuditoriums, ListGenres, ListMovies, ListShowtimes, Movie,
    MovieCreated, Rejection,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use bus::{Context, Failure, Problem};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::media;
use super::model::{self, Scheduled};
use super::store::{self, Write};
use crate::delivery::{
    Change, Clock, IdempotencyKey, IdempotencyWrite, Journal, Outcome, StoredAnswer, request_hash,
};

/// What the calls are handled with.
pub struct Desk {
    pub journal: Journal<Write>,
    pub pool: PgPool,
    pub clock: Clock,
}

/// Serves every endpoint of the domain.
pub async fn serve(desk: Arc<Desk>, mut server: Server) -> Result<Server, Failure> {
    server.serve(with(&desk, create_genre)).await?;
    server.serve(with(&desk, list_genres)).await?;
    server.serve(with(&desk, create_movie)).await?;
    server.serve(with(&desk, get_movie)).await?;
    server.serve(with(&desk, list_movies)).await?;
    server.serve(with(&desk, create_auditorium)).await?;
    server.serve(with(&desk, get_auditorium)).await?;
    server.serve(with(&desk, list_auditoriums)).await?;
    server.serve(with(&desk, create_showtime)).await?;
    server.serve(with(&desk, get_showtime)).await?;
    server.serve(with(&desk, describe_showtime)).await?;
    server.serve(with(&desk, list_showtimes)).await?;
    server.serve(with(&desk, media::begin)).await?;
    server.serve(with(&desk, media::attach)).await?;
    server.serve(with(&desk, media::condemn)).await?;
    server.serve(with(&desk, media::forget)).await?;
    Ok(server)
}

fn with<R: Request, F>(
    desk: &Arc<Desk>,
    handle: impl Fn(Arc<Desk>, Call<R>) -> F + Send + Sync + 'static,
) -> impl Fn(Call<R>) -> F + Send + Sync + 'static {
    let desk = desk.clone();
    move |call| handle(desk.clone(), call)
}

async fn create_genre(desk: Arc<Desk>, call: Call<CreateGenre>) -> Answered {
    let now = desk.clock.now();
    let genre =
        Genre { id: Uuid::now_v7(), name: call.request.name.clone(), created_at: now, updated_at: now };
    desk.create(&call, &genre, Write::Genre(genre.clone()), vec![]).await
}

async fn list_genres(desk: Arc<Desk>, call: Call<ListGenres>) -> Answered {
    json(&store::list_genres(&desk.pool, &call.request.paging).await.map_err(unread)?)
}

async fn create_movie(desk: Arc<Desk>, call: Call<CreateMovie>) -> Answered {
    let wanted = &call.request;
    let genres = store::genres(&desk.pool, &wanted.genre_ids).await.map_err(unread)?;
    let movie = model::movie(wanted.clone(), genres, desk.clock.now())?;
    let created = created(&movie, call.caller()?.user_id, &call.context);
    desk.create(&call, &movie, Write::Movie(movie.clone()), vec![created]).await
}

async fn get_movie(desk: Arc<Desk>, call: Call<GetMovie>) -> Answered {
    match store::movies(&desk.pool, &[call.request.id]).await.map_err(unread)?.first() {
        Some(movie) => json(movie),
        None => Err(Rejection::NoSuchMovie.into()),
    }
}

async fn list_movies(desk: Arc<Desk>, call: Call<ListMovies>) -> Answered {
    json(&store::list_movies(&desk.pool, &call.request).await.map_err(unread)?)
}

async fn create_auditorium(desk: Arc<Desk>, call: Call<CreateAuditorium>) -> Answered {
    let CreateAuditorium { name, time_zone, rows } = call.request.clone();
    if !store::is_time_zone(&desk.pool, &time_zone).await.map_err(unread)? {
        return Err(Rejection::UnknownTimeZone.into());
    }
    let now = desk.clock.now();
    let auditorium =
        Auditorium { id: Uuid::now_v7(), name, time_zone, rows, created_at: now, updated_at: now };
    desk.create(&call, &auditorium, Write::Auditorium(auditorium.clone()), vec![]).await
}

async fn get_auditorium(desk: Arc<Desk>, call: Call<GetAuditorium>) -> Answered {
    match store::auditoriums(&desk.pool, &[call.request.id]).await.map_err(unread)?.first() {
        Some(auditorium) => json(auditorium),
        None => Err(Rejection::NoSuchAuditorium.into()),
    }
}

async fn list_auditoriums(desk: Arc<Desk>, call: Call<ListAuditoriums>) -> Answered {
    json(&store::list_auditoriums(&desk.pool, &call.request.paging).await.map_err(unread)?)
}

async fn create_showtime(desk: Arc<Desk>, call: Call<CreateShowtime>) -> Answered {
    let wanted = &call.request;
    let movie = store::movies(&desk.pool, &[wanted.movie_id]).await.map_err(unread)?.pop();
    let auditorium = store::auditoriums(&desk.pool, &[wanted.auditorium_id]).await.map_err(unread)?.pop();
    let scheduled = model::schedule(wanted.clone(), movie.as_ref(), auditorium.as_ref(), desk.clock.now())?;
    let event = scheduled_event(&scheduled, &call.context);
    let showtime = scheduled.showtime.clone();
    desk.create(&call, &showtime, Write::Showtime(scheduled), vec![event]).await
}

async fn get_showtime(desk: Arc<Desk>, call: Call<GetShowtime>) -> Answered {
    let showtime = store::find_showtime(&desk.pool, call.request.id).await.map_err(unread)?;
    json(&showtime.ok_or(Rejection::NoSuchShowtime)?)
}

async fn describe_showtime(desk: Arc<Desk>, call: Call<DescribeShowtime>) -> Answered {
    let id = call.request.id;
    let showtime = store::find_showtime(&desk.pool, id).await.map_err(unread)?;
    let rows = store::layout_of(&desk.pool, id).await.map_err(unread)?;
    let (showtime, rows) = showtime.zip(rows).ok_or(Rejection::NoSuchShowtime)?;
    json(&Scheduled { showtime, rows }.event())
}

async fn list_showtimes(desk: Arc<Desk>, call: Call<ListShowtimes>) -> Answered {
    json(&store::list_showtimes(&desk.pool, &call.request).await.map_err(unread)?)
}

/// `movie.created`, as it leaves.
pub fn created(movie: &Movie, by: Uuid, context: &Context) -> Outgoing {
    let event = MovieCreated {
        movie_id: movie.id,
        title: movie.title.clone(),
        genres: movie.genres.iter().map(|genre| genre.name.clone()).collect(),
        created_by: by,
    };
    Outgoing::new("movie", &event, movie.created_at, context)
}

/// `showtime.scheduled`, as it leaves.
pub fn scheduled_event(scheduled: &Scheduled, context: &Context) -> Outgoing {
    Outgoing::new("movie", &scheduled.event(), scheduled.showtime.created_at, context)
}

impl Desk {
    /// Writes what a call creates and answers with it; with an `Idempotency-Key` used before, with the first answer.
    async fn create<R: Request>(
        &self,
        call: &Call<R>,
        answer: &impl Serialize,
        write: Write,
        outbox: Vec<Outgoing>,
    ) -> Answered {
        let response = json(answer)?;
        let hash = request_hash(&call.request)?;
        let user_id = call.caller()?.user_id;
        let key = call.idempotency_key.clone();
        let idempotency = key.map(|key| IdempotencyWrite::Claim {
            key: IdempotencyKey { user_id, route: R::SUBJECT, key },
            request_hash: hash,
            response: Some(response.clone()),
        });
        match self.journal.commit(Change { idempotency, outbox, ..Change::new(write) }).await {
            Outcome::Committed { .. } => Ok(response),
            Outcome::Repeated(first) => again(first, &hash),
            Outcome::Rejected(rejection) => Err(rejection.into()),
            Outcome::Failed(failure) => {
                tracing::error!(%failure, request_id = call.context.correlation_id, "movie change not written");
                Err(failure.into())
            }
            // None of these changes has an inbox key or a version.
            other => {
                tracing::error!(?other, "movie change ended unexpectedly");
                Err(Problem::internal())
            }
        }
    }
}

fn again(first: StoredAnswer, hash: &[u8; 32]) -> Answered {
    if first.request_hash != *hash {
        let detail = "This Idempotency-Key was used with another body.";
        return Err(Problem::new(422, "idempotency-mismatch", detail));
    }
    first.response.ok_or_else(|| {
        // Claim and answer are written together here, so there is always one.
        tracing::error!("idempotency record without an answer");
        Problem::internal()
    })
}

pub fn unread(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "movie could not read");
    crate::delivery::read_failure(error).into()
}
