//! The shell of movie: takes calls, reads what the model needs, journals, answers.
//!
//! No actor of its own kind stands behind a movie: the rows decide, and the endpoints' worker is supervised.
//! Invariant: what was decided names the versions that it rests on; when one moved, it is read and decided again.

mod auditorium;
mod catalogue;
mod media;
pub mod refusal;
mod showtime;

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::contract::movie::{MovieCreated, Rejection};
use bus::contract::reservation::{CLAIMED_SHOWTIMES_MAX, ListClaimed};
use bus::contract::{Request, SeatId};
use bus::event::Outgoing;
use bus::service::{Answered, Ask, Call, Server, json};
use bus::{Bus, Context, Failure, Problem};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::model::Scheduled;
use super::reminder;
use super::store::Write;
use crate::config::MovieSettings;
use crate::delivery::{
    Change, Clock, IdempotencyKey, IdempotencyWrite, Journal, Outcome, Reads, StoredAnswer, request_hash,
};

pub const DOMAIN: &str = "movie";
/// Times that a call is decided anew because somebody else was faster: staff are few.
const TRIES_MAX: usize = 8;
/// Showtimes to come that one change may touch: a large house schedules a hundred a week, some weeks ahead. Each is a row
/// and an event of the same transaction.
pub const TO_COME_MAX: usize = 2_000;

/// What the calls are handled with.
pub struct Desk {
    pub journal: Journal<Write>,
    pub pool: PgPool,
    pub clock: Clock,
    pub bus: Bus,
    pub settings: MovieSettings,
    pub answers: Reads<IdempotencyKey, StoredAnswer>,
}

/// What a call comes to.
pub struct Decision {
    answer: Bytes,
    /// `None` where nothing is left to do.
    write: Option<Write>,
    outbox: Vec<Outgoing>,
    /// A showtime that came in between is one more to go around, not a refusal.
    around_others: bool,
}

impl Decision {
    fn new(answer: &impl Serialize, write: Write, outbox: Vec<Outgoing>) -> Result<Self, Problem> {
        Ok(Self { answer: json(answer)?, write: Some(write), outbox, around_others: false })
    }
}

/// Decides a call by what the database says now.
type Decided<'a> = BoxFuture<'a, Result<Decision, Problem>>;

/// Serves every endpoint of the domain.
pub async fn serve(desk: Arc<Desk>, mut server: Server) -> Result<Server, Failure> {
    catalogue::serve(&desk, &mut server).await?;
    auditorium::serve(&desk, &mut server).await?;
    showtime::serve(&desk, &mut server).await?;
    media::serve(&desk, &mut server).await?;
    server.serve_with(&desk, reminder::upcoming).await?;
    server.serve_with(&desk, reminder::reminded).await?;
    Ok(server)
}

/// An endpoint that writes what `decide` says.
fn writing<R: Request>(
    desk: &Arc<Desk>,
    decide: for<'a> fn(&'a Desk, &'a Call<R>) -> Decided<'a>,
) -> impl Fn(Call<R>) -> BoxFuture<'static, Answered> + Send + Sync + 'static {
    let desk = desk.clone();
    move |call| {
        let desk = desk.clone();
        async move { desk.change(&call, decide).await }.boxed()
    }
}

/// `movie.created`, as it leaves.
pub fn created(movie: &bus::contract::movie::Movie, by: Uuid, context: &Context) -> Outgoing {
    let event = MovieCreated {
        movie_id: movie.id,
        title: movie.title.clone(),
        genres: movie.genres.iter().map(|genre| genre.name.clone()).collect(),
        created_by: by,
    };
    Outgoing::new(DOMAIN, &event, movie.created_at, context)
}

/// `showtime.scheduled`, as it leaves.
pub fn scheduled_event(scheduled: &Scheduled, context: &Context) -> Outgoing {
    Outgoing::new(DOMAIN, &scheduled.event(), scheduled.showtime.created_at, context)
}

impl Desk {
    /// Decides and writes until nothing moved in between. A call sent again with its `Idempotency-Key` gets the first
    /// answer, also where it could not be decided any more.
    async fn change<R: Request>(
        &self,
        call: &Call<R>,
        decide: for<'a> fn(&'a Self, &'a Call<R>) -> Decided<'a>,
    ) -> Answered {
        let hash = request_hash(&call.request)?;
        let user_id = call.caller()?.user_id;
        let key = call.idempotency_key.clone().map(|key| IdempotencyKey { user_id, route: R::SUBJECT, key });
        if let Some(key) = &key
            && let Some(first) = self.answers.get(key.clone()).await?
        {
            return again(first, &hash);
        }
        for _ in 0..TRIES_MAX {
            let Decision { answer, write, outbox, around_others } = decide(self, call).await?;
            let Some(write) = write else { return Ok(answer) };
            let claim =
                |key| IdempotencyWrite::Claim { key, request_hash: hash, response: Some(answer.clone()) };
            let idempotency = key.clone().map(claim);
            match self.journal.commit(Change { idempotency, outbox, ..Change::new(write) }).await {
                Outcome::Committed { .. } => return Ok(answer),
                Outcome::Repeated(first) => return again(first, &hash),
                Outcome::Stale => {}
                Outcome::Rejected(Rejection::AuditoriumTaken(_)) if around_others => {}
                Outcome::Rejected(rejection) => return Err(rejection.into()),
                Outcome::Failed(failure) => {
                    tracing::error!(%failure, request_id = call.context.correlation_id, "movie change not written");
                    return Err(failure.into());
                }
            }
        }
        Err(Problem::unavailable("It is being changed by others all the time. Try again shortly."))
    }

    /// Which seats of these showtimes are held or sold, as reservation knows. True only until the next sale.
    async fn claimed(
        &self,
        showtimes: &[Scheduled],
        context: &Context,
    ) -> Result<BTreeMap<Uuid, Vec<SeatId>>, Problem> {
        let mut claimed = BTreeMap::new();
        for some in showtimes.chunks(CLAIMED_SHOWTIMES_MAX) {
            let showtime_ids = some.iter().map(|scheduled| scheduled.showtime.id).collect();
            let answer = self.bus.ask(&ListClaimed { showtime_ids }, &Ask::new(context.clone())).await?;
            claimed.extend(answer.showtimes);
        }
        Ok(claimed)
    }
}

fn again(first: StoredAnswer, hash: &[u8; 32]) -> Answered {
    if first.request_hash != *hash {
        return Err(Rejection::IdempotencyMismatch.into());
    }
    first.response.ok_or_else(|| {
        // Claim and answer are written together here, so there is always one.
        tracing::error!("idempotency record without an answer");
        Problem::internal()
    })
}

fn unread(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "movie could not read");
    crate::delivery::read_failure(error).into()
}
