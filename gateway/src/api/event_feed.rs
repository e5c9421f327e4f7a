//! REST of operations: the events of the house as they happen.
//!
//! No host answers here: the gateway hears the events itself (`feed.rs`).

use std::sync::Arc;

use bus::contract::Problem;
use poem_openapi::OpenApi;

use super::Domain;
use crate::house::House;
use crate::payload::{Caller, Events};
use crate::problem::Refused;

pub struct EventFeed {
    pub house: Arc<House>,
}

#[OpenApi(tag = "Domain::Operation")]
impl EventFeed {
    /// The events as they happen
    ///
    /// Server-sent events. The last 50 come first, then each new one as an `event` that holds `{id, subject, source, time,
    /// correlationId?, data}`; `data` is the event itself, with the e-mail addresses that may be in it. `missed` holds
    /// `{events}`: so many were left out, since the reader was too slow. A comment every 15 seconds keeps the connection. The stream
    /// ends when the token does: come again with a new one, and know by `id` what was there already.
    #[oai(path = "/v1/admin/events", method = "get")]
    async fn watch(&self, caller: Caller) -> Result<Events, Refused> {
        // The guard lets nobody in without one.
        let token = caller.0.token.clone().ok_or_else(Problem::internal)?;
        let place = self.house.stream_place(&caller)?;
        let events = self.house.feed.watch(&self.house, token, place).await?;
        Ok(Events(poem::Body::from_bytes_stream(futures::StreamExt::map(events, Ok::<_, std::io::Error>))))
    }
}
