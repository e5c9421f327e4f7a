//! Requests about posters, trailers and logos: which file belongs to which movie or site, and which files none uses any more.
//!
//! The gateway stores the files: it sends a request here before it stores one and before it deletes one.

use std::sync::Arc;

use bus::contract::media::{
    AttachMedia, BeginMedia, CondemnMedia, Condemned, ForgetMedia, Forgotten, Media, MediaKind,
};
use bus::contract::movie::{Movie, Rejection};
use bus::contract::site::{Site, SiteUpdated, changed_fields};
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
    if media.kind == MediaKind::Logo {
        return attach_logo(env, call, media).await;
    }
    let current = store::movies(&env.pool, &[media.movie_id]).await.map_err(read_failure)?.pop();
    let current = current.ok_or(Rejection::MediaGone)?;
    let (version, updated_at) = (current.version + 1, env.clock.now());
    let movie = match media.kind {
        MediaKind::Poster | MediaKind::Logo => Movie {
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

/// The smaller size: a logo is shown at a finger's height.
async fn attach_logo(env: &Env, call: &Call<AttachMedia>, media: Media) -> Result<Decision, Problem> {
    let stored = call.request.stored.clone();
    let current = env.site(media.movie_id).await?;
    if !current.is_saved() {
        return Err(Rejection::SiteUnsaved.into());
    }
    let (version, updated_at) = (current.version + 1, env.clock.now());
    let before = current.of.clone();
    let mut site = Site { version, updated_at, ..current };
    site.of.theme.logo_url = Some(stored.small_url.clone().unwrap_or_else(|| stored.url.clone()));
    let changed = changed_fields(&before, &site.of);
    let event = SiteUpdated { site: site.clone(), by: call.caller()?.user_id, changed };
    let event = env.event(&event, site.updated_at, &call.context);
    Decision::new(&stored, Write::LogoAttached(media, site), vec![event])
}

async fn condemn(env: Arc<Env>, _: Call<CondemnMedia>) -> Answered {
    env.commit(Change::new(Write::MediaCondemned(env.clock.now()))).await?;
    json(&Condemned { media: store::condemned(&env.pool).await.map_err(read_failure)? })
}

async fn forget(env: Arc<Env>, call: Call<ForgetMedia>) -> Answered {
    env.commit(Change::new(Write::MediaForgotten(call.request.ids))).await?;
    json(&Forgotten {})
}
