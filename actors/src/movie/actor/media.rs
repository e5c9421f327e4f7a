//! Calls about posters and trailers: which file belongs to which movie, and which belongs to none any more.
//!
//! The files themselves are the gateway's: it asks here before it stores one and before it deletes one.

use std::sync::Arc;

use bus::contract::media::{
    AttachMedia, BeginMedia, CondemnMedia, Condemned, ForgetMedia, Forgotten, Media, MediaKind,
};
use bus::contract::movie::{Movie, Rejection};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use bus::{Context, Failure, Problem};
use futures::FutureExt;
use uuid::Uuid;

use super::catalogue::updated;
use super::{DOMAIN, Decision, Desk, unread, writing};
use crate::delivery::{Change, Outcome};
use crate::movie::store::{self, Write};

pub async fn serve(desk: &Arc<Desk>, server: &mut Server) -> Result<(), Failure> {
    server.serve(writing(desk, |desk, call| begin(desk, call).boxed())).await?;
    server.serve(writing(desk, |desk, call| attach(desk, call).boxed())).await?;
    server.serve_with(desk, condemn).await?;
    server.serve_with(desk, forget).await
}

async fn begin(desk: &Desk, call: &Call<BeginMedia>) -> Result<Decision, Problem> {
    let media = Media { id: Uuid::now_v7(), movie_id: call.request.movie_id, kind: call.request.kind };
    Decision::new(&media, Write::MediaBegun(media.clone(), desk.clock.now()), vec![])
}

async fn attach(desk: &Desk, call: &Call<AttachMedia>) -> Result<Decision, Problem> {
    let stored = call.request.stored.clone();
    let media = store::media(&desk.pool, call.request.id).await.map_err(unread)?;
    let media = media.ok_or(Rejection::MediaGone)?;
    let known = store::movies(&desk.pool, &[media.movie_id]).await.map_err(unread)?.pop();
    let known = known.ok_or(Rejection::MediaGone)?;
    let (version, updated_at) = (known.version + 1, desk.clock.now());
    let movie = match media.kind {
        MediaKind::Poster => Movie {
            poster_url: Some(stored.url.clone()),
            poster_small_url: stored.small_url.clone(),
            version,
            updated_at,
            ..known
        },
        MediaKind::Trailer => Movie { trailer_url: Some(stored.url.clone()), version, updated_at, ..known },
    };
    let event = updated(&movie, call.caller()?.user_id);
    let event = Outgoing::new(DOMAIN, &event, movie.updated_at, &call.context);
    Decision::new(&stored, Write::MediaAttached(media, movie), vec![event])
}

async fn condemn(desk: Arc<Desk>, call: Call<CondemnMedia>) -> Answered {
    write(&desk, Write::MediaCondemned(desk.clock.now()), &call.context).await?;
    json(&Condemned { media: store::condemned(&desk.pool).await.map_err(unread)? })
}

async fn forget(desk: Arc<Desk>, call: Call<ForgetMedia>) -> Answered {
    write(&desk, Write::MediaForgotten(call.request.ids), &call.context).await?;
    json(&Forgotten {})
}

/// For the sweep, in whose name nobody asks.
async fn write(desk: &Desk, write: Write, context: &Context) -> Result<(), Problem> {
    match desk.journal.commit(Change::new(write)).await {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Failed(failure) => {
            tracing::error!(%failure, request_id = context.correlation_id, "media not written");
            Err(failure.into())
        }
        // None of these changes has a rule, a version or an idempotency key.
        other => {
            tracing::error!(?other, "media change ended unexpectedly");
            Err(Problem::internal())
        }
    }
}
