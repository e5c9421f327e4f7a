//! The requests that movie answers: each reads the rows that its rules need, decides, and has the change written.
//!
//! Invariant: a change names the versions of the rows that it rests on; when one of them changed, it is decided again.

mod auditorium;
mod catalogue;
mod draft;
mod media;
mod price;
mod reminder;
mod showtime;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;

use bus::contract::movie::{Movie, MovieCreated};
use bus::contract::reservation::{CLAIMED_SHOWTIMES_MAX, ListClaimed};
use bus::contract::{Request, SeatId};
use bus::event::Outgoing;
use bus::service::{Answered, Ask, Call, Server};
use bus::{Context, Failure, Problem};
use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::Env;
use super::showtime::Scheduled;
use super::store::Write;
use crate::domain;

pub use showtime::updated_event;

/// Future showtimes that one change may touch: a large chain schedules a hundred a week, some weeks ahead. Each is a row
/// and an event of the same transaction.
const FUTURE_SHOWTIMES_MAX: usize = 2_000;

type Decision = domain::Decision<Write>;
type Decided<'a> = BoxFuture<'a, Result<Decision, Problem>>;

pub async fn serve(env: Arc<Env>, mut server: Server) -> Result<Server, Failure> {
    catalogue::serve(&env, &mut server).await?;
    auditorium::serve(&env, &mut server).await?;
    showtime::serve(&env, &mut server).await?;
    draft::serve(&env, &mut server).await?;
    price::serve(&env, &mut server).await?;
    media::serve(&env, &mut server).await?;
    reminder::serve(&env, &mut server).await?;
    site::serve(&env, &mut server).await?;
    Ok(server)
}

/// An endpoint that writes what `decide` returns.
fn writing<R: Request>(
    env: &Arc<Env>,
    decide: for<'a> fn(&'a Env, &'a Call<R>) -> Decided<'a>,
) -> impl Fn(Call<R>) -> BoxFuture<'static, Answered> + Send + Sync + 'static {
    let env = env.clone();
    move |call| {
        let env = env.clone();
        async move { env.change(&call, || decide(&env, &call)).await }.boxed()
    }
}

/// `movie.created`
pub fn created_event(env: &Env, movie: &Movie, by: Uuid, context: &Context) -> Outgoing {
    let event = MovieCreated {
        movie_id: movie.id,
        title: movie.title.clone(),
        genres: movie.genres.iter().map(|genre| genre.name.clone()).collect(),
        created_by: by,
    };
    env.event(&event, movie.created_at, context)
}

/// `showtime.scheduled`; none for a draft.
pub fn scheduled_event(env: &Env, scheduled: &Scheduled, context: &Context) -> Option<Outgoing> {
    let is_published = scheduled.is_published();
    is_published.then(|| env.event(&scheduled.event(), scheduled.showtime.updated_at, context))
}

impl Env {
    /// Which seats of these showtimes are held or sold, as reservation knows. True only until the next sale.
    async fn claimed(
        &self,
        showtimes: &[Scheduled],
        context: &Context,
    ) -> Result<BTreeMap<Uuid, Vec<SeatId>>, Problem> {
        let mut claimed = BTreeMap::new();
        for chunk in showtimes.chunks(CLAIMED_SHOWTIMES_MAX) {
            let showtime_ids = chunk.iter().map(|scheduled| scheduled.showtime.id).collect();
            let answer = self.bus.ask(&ListClaimed { showtime_ids }, &Ask::new(context.clone())).await?;
            claimed.extend(answer.showtimes);
        }
        Ok(claimed)
    }
}
