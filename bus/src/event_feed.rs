//! The event feed for staff: the last events of the stream, then each event as it is published.
//!
//! The feed uses no consumer, because that would need the right to create consumers: it subscribes to the subjects on core
//! NATS, where an event is published after its commit, and reads the stream by sequence. Invariant: a copy that is replayed
//! for a consumer is not shown. An event that its relay publishes again is shown again, with the same id.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::DirectGetErrorKind;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::contract::event_feed::Happened;
use crate::contract::{Problem, Timestamp};
use crate::event::{CE_ID, CE_SOURCE, CE_TIME};
use crate::event_replay::COPY;
use crate::{Bus, context, topology};

/// Events of the stream requested at once.
const READ_AT_ONCE: usize = 16;

/// Every event from when this returns until the stream is dropped.
pub async fn listen(bus: &Bus) -> Result<BoxStream<'static, Happened>, Problem> {
    let mut all = Vec::new();
    for noun in topology::NOUNS {
        all.push(bus.client.subscribe(format!("{noun}.*")).await.map_err(unavailable)?);
    }
    let events = stream::select_all(all).filter_map(|message| async move {
        let headers = message.headers.unwrap_or_default();
        happened(&message.subject, &headers, &message.payload, Timestamp::wall_clock())
    });
    Ok(events.boxed())
}

/// The last events of the stream, the oldest first.
pub async fn last(bus: &Bus, most: u64) -> Result<Vec<Happened>, Problem> {
    let stream = topology::events(bus).await.map_err(unavailable)?;
    let state = &stream.cached_info().state;
    let first = state.first_sequence.max((state.last_sequence + 1).saturating_sub(most)).max(1);
    let read = stream::iter(first..=state.last_sequence).map(|sequence| {
        let stream = &stream;
        async move {
            match stream.direct_get(sequence).await {
                Ok(message) => Ok(Some(message)),
                // It has expired.
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(unavailable(error)),
            }
        }
    });
    let found: Vec<_> = read.buffered(READ_AT_ONCE).try_collect().await?;
    let events = found.into_iter().flatten().filter_map(|message| {
        happened(&message.subject, &message.headers, &message.payload, Timestamp::from(message.time))
    });
    Ok(events.collect())
}

/// `received` is used as the time of an event without one. `None` for a copy.
fn happened(subject: &str, headers: &HeaderMap, payload: &[u8], received: Timestamp) -> Option<Happened> {
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    let id = header(CE_ID).unwrap_or_default();
    if headers.get(NATS_MESSAGE_ID).is_some_and(|message| message.as_str().contains(COPY)) {
        return None;
    }
    let text = || String::from_utf8_lossy(payload).into_owned().into();
    Some(Happened {
        id,
        subject: subject.to_owned(),
        source: header(CE_SOURCE).unwrap_or_default(),
        time: header(CE_TIME).and_then(|time| serde_json::from_value(time.into()).ok()).unwrap_or(received),
        correlation_id: header(context::CORRELATION_ID),
        data: serde_json::from_slice(payload).unwrap_or_else(|_| text()),
    })
}

fn unavailable(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the events cannot be read");
    Problem::unavailable("The events are not available. Please try again shortly.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(id: &str, message: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CE_ID, id);
        headers.insert(NATS_MESSAGE_ID, message);
        headers
    }

    #[test]
    fn a_replayed_copy_is_not_shown() {
        let now = Timestamp::wall_clock();
        let shown = |message| happened("movie.created", &headers("7", message), b"{}", now);
        assert_eq!(shown("7").map(|event| event.id).as_deref(), Some("7"));
        assert_eq!(shown("7#1764"), None);
    }

    #[test]
    fn a_message_that_is_no_event_is_shown_as_far_as_possible() {
        let now = Timestamp::wall_clock();
        let event = happened("movie.odd", &HeaderMap::new(), b"no JSON", now).unwrap();
        assert_eq!((event.id.as_str(), event.data, event.time), ("", "no JSON".into(), now));
    }
}
