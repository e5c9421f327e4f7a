//! REST of operations: the events of the deployment, live.
//!
//! No host answers this: the gateway receives the events itself (`event_feed.rs`).

use std::sync::Arc;

use bus::contract::Problem;
use futures::StreamExt;
use poem_openapi::OpenApi;

use super::{Domain, stream_place};
use crate::event_feed::Feed;
use crate::limit::Networks;
use crate::payload::{Caller, Events};
use crate::problem::Refused;

pub struct EventFeed {
    pub feed: Arc<Feed>,
    pub streams: Arc<Networks>,
}

#[OpenApi(tag = "Domain::Operation")]
impl EventFeed {
    /// The events, live
    ///
    /// Server-sent events. The last 50 come first, then each new one as an `event` that holds `{id, subject, source, time,
    /// correlationId?, data}`; `data` is the event itself, including e-mail addresses. `missed` holds `{events}`: the number
    /// of events that were left out because the client was too slow. A comment every 15 seconds keeps the connection open. The
    /// stream ends when the token does: connect again with a new one, and skip events whose `id` was received before.
    #[oai(path = "/v1/admin/events", method = "get")]
    async fn watch(&self, caller: Caller) -> Result<Events, Refused> {
        // The row requires a role, so the guard has found a token.
        let token = caller.0.token.clone().ok_or_else(Problem::internal)?;
        let place = stream_place(&self.streams, &caller)?;
        let events = self.feed.watch(token, place).await?;
        Ok(Events(poem::Body::from_bytes_stream(events.map(Ok::<_, std::io::Error>))))
    }
}
