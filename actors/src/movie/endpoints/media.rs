//! Requests about posters and trailers: which file belongs to which movie, and which files no movie uses any more.
//!
//! The gateway stores the files: it sends a request here before it stores one and before it deletes one.

use std::sync::Arc;

use bus::contract::media::{
    AttachMedia, BeginMedia, CondemnMedia, Condemned, ForgetMedia, Forgotten, Media, MediaKind,
};
use bus::contract::movie::{Movie, Rejection};
use bus::service::{Answered, Call, Server, json};
use bus::{Failure, Problem};
use futures::FutureExt;
use uuid::Uuid;

use super::catalogue::updated;
use super::{Decision, writing};
use crate::delivery::{Change, read_failure};
use crate::movie::Env;
use crate::movie::store::{self, Write};

pub async fn serve(env: &Arc<Env>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(env, |env, call| begin(env, call).boxed())).await?;
    server.serve(writing(env, |env, call| attach(env, call).boxed())).await?;
    server.serve_with(env, condemn).await?;
    server.serve_with(env, forget).await
}

async fn begin(env: &Env, call: &Call<BeginMedia>) -> Result<Decision, Problem> {
    let media = Media { id: Uuid::now_v7(), movie_id: call.request.movie_id, kind: call.request.kind };
    Decision::new(&media, Write::MediaBegun(media.clone(), env.clock.now()), vec![])
}

async fn attach(env: &Env, call: &Call<AttachMedia>) -> Result<Decision, Problem> {
    let stored = call.request.stored.clone();
    let media = store::media(&env.pool, call.request.id).await.map_err(read_failure)?;
    let media = media.ok_or(Rejection::MediaGone)?;
    let current = store::movies(&env.pool, &[media.movie_id]).await.map_err(read_failure)?.pop();
    let current = current.ok_or(Rejection::MediaGone)?;
    let (version, updated_at) = (current.version + 1, env.clock.now());
    let movie = match media.kind {
        MediaKind::Poster => Movie {
            poster_url: Some(stored.url.clone()),
            poster_small_url: stored.small_url.clone(),
            version,
            updated_at,
            ..current
        },
        MediaKind::Trailer => Movie { trailer_url: Some(stored.url.clone()), version, updated_at, ..current },
    };
    let event = updated(&movie, call.caller()?.user_id);
    let event = env.event(&event, movie.updated_at, &call.context);
    Decision::new(&stored, Write::MediaAttached(media, movie), vec![event])
}

async fn condemn(env: Arc<Env>, _: Call<CondemnMedia>) -> Answered {
    env.commit(Change::new(Write::MediaCondemned(env.clock.now()))).await?;
    json(&Condemned { media: store::condemned(&env.pool).await.map_err(read_failure)? })
}

async fn forget(env: Arc<Env>, call: Call<ForgetMedia>) -> Answered {
    env.commit(Change::new(Write::MediaForgotten(call.request.ids))).await?;
    json(&Forgotten {})
}
