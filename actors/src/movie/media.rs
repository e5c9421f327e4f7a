//! Posters and trailers: which file belongs to which movie, and which belongs to none any more.
//!
//! The files themselves are the gateway's: it asks here before it stores one and before it deletes one.

use std::sync::Arc;

use bus::contract::media::{AttachMedia, BeginMedia, CondemnMedia, Condemned, ForgetMedia, Forgotten, Media};
use bus::service::{Answered, Call, json};
use bus::{Context, Problem};
use uuid::Uuid;

use super::actor::{Desk, unread};
use super::store::{self, Write};
use crate::delivery::{Change, Outcome};

pub async fn begin(desk: Arc<Desk>, call: Call<BeginMedia>) -> Answered {
    let media = Media { id: Uuid::now_v7(), movie_id: call.request.movie_id, kind: call.request.kind };
    write(&desk, Write::BeginMedia(media.clone(), desk.clock.now()), &call.context).await?;
    json(&media)
}

pub async fn attach(desk: Arc<Desk>, call: Call<AttachMedia>) -> Answered {
    write(&desk, Write::AttachMedia(call.request.clone(), desk.clock.now()), &call.context).await?;
    json(&call.request.stored)
}

pub async fn condemn(desk: Arc<Desk>, call: Call<CondemnMedia>) -> Answered {
    write(&desk, Write::CondemnMedia(desk.clock.now()), &call.context).await?;
    json(&Condemned { media: store::condemned(&desk.pool).await.map_err(unread)? })
}

pub async fn forget(desk: Arc<Desk>, call: Call<ForgetMedia>) -> Answered {
    write(&desk, Write::ForgetMedia(call.request.ids), &call.context).await?;
    json(&Forgotten {})
}

async fn write(desk: &Desk, write: Write, context: &Context) -> Result<(), Problem> {
    match desk.journal.commit(Change::new(write)).await {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Rejected(rejection) => Err(rejection.into()),
        Outcome::Failed(failure) => {
            tracing::error!(%failure, request_id = context.correlation_id, "media not written");
            Err(failure.into())
        }
        // None of these changes has an inbox key, a version or an idempotency key.
        other => {
            tracing::error!(?other, "media change ended unexpectedly");
            Err(Problem::internal())
        }
    }
}
