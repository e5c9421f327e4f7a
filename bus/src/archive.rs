//! Pages of a domain's archive, for a consumer whose events the stream has discarded before they were handled.
//!
//! A host reads only its own schema, so it requests the events from the domain that published them, at
//! `archive.<domain>.<consumer>`. The subject names the consumer: NATS lets each host use only its own, and the answer has
//! only events that this consumer handles.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::Date;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::contract::Timestamp;
use crate::event::Outgoing;
use crate::{Bus, Context, Failure};

/// Reading one page takes milliseconds; a day of which little is wanted, seconds.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Bytes of the payloads of one page: with headers and one more event it stays below the `max_payload` of `nats.conf`.
pub const PAGE_BYTES_MAX: usize = 300_000;

/// Which events are requested: those committed in this time, from this place on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageRequest {
    pub since: Timestamp,
    pub until: Timestamp,
    /// `None` for the first page.
    pub from: Option<Place>,
}

/// A place in an archive, whose batches are read by day, journal and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub day: Date,
    pub journal: Uuid,
    pub number: i64,
    /// Events of this batch that an earlier page had.
    pub skip: usize,
}

/// One page, the oldest batches first. It may be empty although more follow.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    pub events: Vec<ArchivedEvent>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Place>,
}

/// An event as it was published.
#[derive(Debug, Serialize, Deserialize)]
pub struct ArchivedEvent {
    pub id: Uuid,
    pub subject: String,
    pub source: String,
    pub time: Timestamp,
    pub context: Context,
    pub payload: Box<RawValue>,
}

impl ArchivedEvent {
    pub fn payload(&self) -> Bytes {
        Bytes::copy_from_slice(self.payload.get().as_bytes())
    }

    /// The headers that it was published with.
    pub fn headers(&self) -> HeaderMap {
        let outgoing = Outgoing {
            id: self.id,
            subject: self.subject.clone(),
            source: self.source.clone(),
            time: self.time,
            payload: Bytes::new(),
            context: self.context.clone(),
        };
        outgoing.headers()
    }
}

impl TryFrom<Outgoing> for ArchivedEvent {
    type Error = serde_json::Error;

    fn try_from(event: Outgoing) -> Result<Self, Self::Error> {
        let Outgoing { id, subject, source, time, payload, context } = event;
        let payload = serde_json::from_slice(&payload)?;
        Ok(Self { id, subject, source, time, context, payload })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Page(Page),
    /// Why there is none at present.
    Unavailable(String),
}

/// Reads a page of events for the consumer of this name.
pub type ReadPage =
    Arc<dyn Fn(String, PageRequest) -> BoxFuture<'static, Result<Page, Failure>> + Send + Sync>;

fn subject(domain: &str, consumer: &str) -> String {
    format!("archive.{domain}.{consumer}")
}

/// Requests one page from any host of the domain.
pub async fn request(
    bus: &Bus,
    domain: &str,
    consumer: &str,
    request: &PageRequest,
) -> Result<Page, Failure> {
    let payload = serde_json::to_vec(request).map_err(Failure::transient)?;
    let sent = async_nats::Request::new().payload(payload.into()).timeout(Some(ANSWER_MAX));
    let answer =
        bus.client.send_request(subject(domain, consumer), sent).await.map_err(Failure::transient)?;
    match serde_json::from_slice(&answer.payload).map_err(Failure::transient)? {
        Answer::Page(page) => Ok(page),
        Answer::Unavailable(why) => Err(Failure::Transient(why)),
    }
}

/// Answers requests for the domain's archive until `stop`, one after another: they are rare, and must not load the database.
pub async fn serve(
    bus: &Bus,
    domain: &'static str,
    stop: CancellationToken,
    read: ReadPage,
) -> Result<(), Failure> {
    let subscribed = bus.client.queue_subscribe(subject(domain, "*"), domain.to_owned()).await;
    let mut requests = subscribed.map_err(Failure::transient)?;
    loop {
        let request = tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            request = requests.next() => request,
        };
        let request = request.ok_or_else(|| Failure::transient("the subscription ended"))?;
        let Some(reply) = request.reply.clone() else { continue };
        let consumer = request.subject.rsplit('.').next().unwrap_or_default().to_owned();
        let read = async {
            read(consumer, serde_json::from_slice(&request.payload).map_err(Failure::poison)?).await
        };
        let answer = match read.await {
            Ok(page) => Answer::Page(page),
            Err(failure) => Answer::Unavailable(failure.to_string()),
        };
        let answer = serde_json::to_vec(&answer).map_err(Failure::transient)?;
        if let Err(error) = bus.client.publish(reply, answer.into()).await {
            tracing::warn!(domain, %error, "a page of the archive was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_the_bytes_of_a_payload() {
        let payload = r#"{"b": 1,  "a": 1.50}"#;
        let event = Outgoing {
            id: Uuid::nil(),
            subject: "user.registered".into(),
            source: "/marquee/auth".into(),
            time: Timestamp::wall_clock(),
            payload: payload.into(),
            context: Context::from_parts(Some("order-1"), None),
        };
        let page = Page { events: vec![event.clone().try_into().unwrap()], next: None };
        let sent = serde_json::to_vec(&Answer::Page(page)).unwrap();
        let Answer::Page(received) = serde_json::from_slice(&sent).unwrap() else { panic!("no page") };
        assert_eq!(received.events[0].payload(), payload.as_bytes());
        assert_eq!(received.events[0].headers(), event.headers());
    }
}
