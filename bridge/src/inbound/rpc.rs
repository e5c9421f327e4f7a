//! Answers requests that services send by `send()` (Nest) or `request()` (golevelup): each pattern of `AMQP_RPC` stands for a
//! request of the contract, which is sent over NATS with the access token from the message's header `authorization`.
//!
//! Invariant: at most one reply for each request, within its time; the token alone identifies the caller, nothing in the
//! body does. The number of waiting requests is bounded: above the limit the answer is 503 at once, so that requests never
//! delay events.

use std::sync::Arc;
use std::time::Duration;

use bus::contract::movie::ListShowtimes;
use bus::contract::{Paging, Problem, Request, Timestamp, unreadable};
use bus::service::Ask;
use bus::{Bus, Context, Failure, trace};
use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use super::classify::{RpcRequest, shortened};
use crate::call::with_timeout;
use crate::names::APP_ID;
use crate::{Session, envelope};

/// Requests that are processed at once: with answers within milliseconds that is thousands a second. Each keeps its body in
/// memory.
const IN_FLIGHT_MAX: usize = 64;
/// Requests whose replies are not yet sent, including those answered with 503: a broker that accepts no messages must not
/// fill this process's memory. Beyond this number requests are not answered.
const WAITING_MAX: usize = 1_024;
/// Longest wait for running requests when the bridge stops.
const FINISH: Duration = Duration::from_secs(5);

/// Requests whose `data` needs a conversion. The data of every other request is passed on unchanged and validated by the
/// host.
const ADAPTERS: [(&str, Adapter); 1] = [(ListShowtimes::SUBJECT, list_showtimes)];

type Adapter = fn(Value) -> Result<Vec<u8>, Problem>;

/// The parameters of `GET /v1/showtimes`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShowtimesQuery {
    movie_id: Option<Uuid>,
    auditorium_id: Option<Uuid>,
    date: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    page: Option<u32>,
    page_size: Option<u32>,
}

fn list_showtimes(data: Value) -> Result<Vec<u8>, Problem> {
    let query: ShowtimesQuery = serde_path_to_error::deserialize(data).map_err(|error| {
        Problem::invalid(vec![unreadable(&error.path().to_string(), &error.inner().to_string())])
    })?;
    let default = Paging::default();
    let paging = Paging {
        page: query.page.unwrap_or(default.page),
        page_size: query.page_size.unwrap_or(default.page_size),
    };
    let request = ListShowtimes {
        movie_id: query.movie_id,
        auditorium_id: query.auditorium_id,
        date: query.date,
        from: query.from,
        to: query.to,
        paging,
    };
    Ok(serde_json::to_vec(&request).expect("contract types are plain data and always serialize"))
}

/// The request's JSON; without data an empty object.
fn to_request(subject: &str, data: Value) -> Result<Vec<u8>, Problem> {
    let data = match data {
        Value::Null => Value::Object(Map::new()),
        data => data,
    };
    match ADAPTERS.iter().find(|(adapted, _)| *adapted == subject) {
        Some((_, adapt)) => adapt(data),
        None => Ok(data.to_string().into_bytes()),
    }
}

/// Answers requests; cheap to clone.
#[derive(Clone)]
pub struct RpcServer(Arc<Inner>);

struct Inner {
    bus: Bus,
    session: Session,
    in_flight: Semaphore,
    working: TaskTracker,
    /// Used for replies only: the broker closes the channel over a reply address that it does not accept.
    replies: Mutex<Option<Channel>>,
}

impl RpcServer {
    pub fn new(bus: Bus, session: Session) -> Self {
        let (in_flight, working) = (Semaphore::new(IN_FLIGHT_MAX), TaskTracker::new());
        Self(Arc::new(Inner { bus, session, in_flight, working, replies: Mutex::default() }))
    }

    /// Answers the request in a new task.
    pub fn spawn(&self, request: RpcRequest) {
        if self.0.working.len() >= WAITING_MAX {
            return count("any", "unanswered");
        }
        let server = self.clone();
        self.0.working.spawn(async move {
            let (span, context) = trace::enter(
                trace::Kind::Server,
                format_args!("bridge answers {}", request.subject.as_deref().unwrap_or("nothing")),
                request.trace.correlation_id.as_deref(),
                request.trace.traceparent.as_deref(),
            );
            async {
                let body = server.answer(&request, context).await;
                // The caller then receives no reply; it has a time-out of its own.
                if let Err(failure) = server.reply(&request, &body).await {
                    tracing::warn!(pattern = shortened(&request.pattern), %failure, "reply not sent");
                }
            }
            .instrument(span)
            .await;
        });
    }

    async fn answer(&self, request: &RpcRequest, context: Context) -> Vec<u8> {
        let RpcRequest { subject, style, token, .. } = request;
        let Some(subject) = subject else {
            tracing::debug!(pattern = shortened(&request.pattern), "this pattern has no handler");
            count("nobody", "no-handler");
            return envelope::no_handler(style);
        };
        let answered = match self.0.in_flight.try_acquire() {
            Err(_) => Err(Problem::unavailable("Too many requests at once. Please try again shortly.")),
            Ok(_permit) => {
                let ask = Ask { token: token.clone(), ..Ask::new(context.clone()) };
                match to_request(subject, request.data.clone()) {
                    Ok(body) => self.0.bus.ask_at(subject, Bytes::from(body), &ask).await,
                    Err(problem) => Err(problem),
                }
            }
        };
        match answered {
            Ok(body) => {
                count(subject, "answered");
                envelope::reply(style, &body)
            }
            Err(mut problem) => {
                count(subject, "refused");
                if problem.request_id.is_empty() {
                    problem.request_id = context.correlation_id;
                }
                envelope::error_reply(style, &problem)
            }
        }
    }

    async fn reply(&self, request: &RpcRequest, body: &[u8]) -> Result<(), Failure> {
        let name = |text: &str| ShortString::try_new(text).map_err(Failure::transient);
        let properties = BasicProperties::default()
            .with_headers(FieldTable::default())
            .with_content_type("application/json".into())
            .with_correlation_id(name(&request.correlation_id)?)
            .with_app_id(APP_ID.into())
            .with_delivery_mode(1);
        let (default_exchange, to) = ("".into(), name(&request.reply_to)?);
        let channel = self.replies().await?;
        // Not mandatory, since the caller may have stopped waiting; without confirms, so there is nothing to wait for.
        with_timeout(channel.basic_publish(
            default_exchange,
            to,
            BasicPublishOptions::default(),
            body,
            properties,
        ))
        .await?;
        Ok(())
    }

    async fn replies(&self) -> Result<Channel, Failure> {
        let mut slot = self.0.replies.lock().await;
        if let Some(channel) = slot.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.0.session.secondary_channel().await?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    /// Waits for running requests.
    pub async fn close(&self) {
        self.0.working.close();
        let _ = tokio::time::timeout(FINISH, self.0.working.wait()).await;
    }
}

fn count(subject: &str, became: &'static str) {
    metrics::counter!("amqp_requests_total", "request" => subject.to_owned(), "became" => became)
        .increment(1);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(subject: &str, data: Value) -> Value {
        serde_json::from_slice(&to_request(subject, data).unwrap()).unwrap()
    }

    #[test]
    fn showtimes_take_the_parameters_of_rest_and_need_no_page() {
        let all = converted(ListShowtimes::SUBJECT, Value::Null);
        assert_eq!(all["paging"], json!({"page": 1, "pageSize": 20}));
        let some = converted(ListShowtimes::SUBJECT, json!({"date": "2026-05-01", "pageSize": 5}));
        assert_eq!((&some["date"], &some["paging"]["pageSize"]), (&json!("2026-05-01"), &json!(5)));
    }

    #[test]
    fn an_unknown_filter_is_rejected_and_named() {
        let refused = |data| to_request(ListShowtimes::SUBJECT, data).unwrap_err();
        let unknown = refused(json!({"movieid": "m1"}));
        assert_eq!(unknown.status, 422);
        assert!(unknown.errors[0].message.contains("movieid"), "{unknown:?}");
        assert_eq!(refused(json!({"movieId": "m1"})).errors[0].field, "movieId");
        assert_eq!(refused(json!([])).status, 422);
    }

    #[test]
    fn every_other_request_is_passed_on_unchanged() {
        assert_eq!(converted("rpc.reservation.get", json!({"id": "r1"})), json!({"id": "r1"}));
        assert_eq!(converted("rpc.reservation.get", Value::Null), json!({}));
    }
}
