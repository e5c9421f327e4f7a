//! Answers what services ask by `send()` (Nest) or `request()` (golevelup): each pattern of `AMQP_RPC` is a request of the
//! contract, asked over NATS in the name of whoever's token the message carries in its header `authorization`.
//!
//! Invariant: one answer at most for each request, within its time; who asks is what the token proves and nothing in the body.
//! What waits is bounded: above the limit the answer is 503 at once, so that requests never hold up events.

use std::sync::Arc;
use std::time::Duration;

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

use super::classify::Question;
use crate::call::within;
use crate::{APP_ID, Session, envelope};
use bus::contract::movie::ListShowtimes;
use bus::contract::{FieldError, Paging, Problem, Request, Timestamp};
use bus::service::Ask;
use bus::{Bus, Failure, trace};

/// Requests in work at once: with answers of some milliseconds that is thousands a second; each holds its body meanwhile.
const IN_FLIGHT_MAX: usize = 64;
/// Requests whose answers wait to be sent, those included that are refused at once: a broker that takes nothing for a
/// while must not fill this process. Beyond it they go unanswered.
const WAITING_MAX: usize = 1_024;
/// Longest wait at the end for what is in work.
const FINISH: Duration = Duration::from_secs(5);

/// Patterns whose `data` is not yet the request: the adapter makes it that. Every other request is passed on as it is, and
/// its host says what is wrong with it.
const ADAPTERS: [(&str, Adapter); 1] = [(ListShowtimes::SUBJECT, list_showtimes)];

type Adapter = fn(Value) -> Result<Vec<u8>, Problem>;

/// As `GET /v1/showtimes` takes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShowtimesWanted {
    movie_id: Option<Uuid>,
    auditorium_id: Option<Uuid>,
    date: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    page: Option<u32>,
    page_size: Option<u32>,
}

fn list_showtimes(data: Value) -> Result<Vec<u8>, Problem> {
    let wanted: ShowtimesWanted = serde_path_to_error::deserialize(data).map_err(|error| {
        let field = Some(error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
        Problem::invalid(vec![FieldError { field, message: error.inner().to_string() }])
    })?;
    let default = Paging::default();
    let paging = Paging {
        page: wanted.page.unwrap_or(default.page),
        page_size: wanted.page_size.unwrap_or(default.page_size),
    };
    let request = ListShowtimes {
        movie_id: wanted.movie_id,
        auditorium_id: wanted.auditorium_id,
        date: wanted.date,
        from: wanted.from,
        to: wanted.to,
        paging,
    };
    Ok(serde_json::to_vec(&request).expect("contract types are plain data and always serialize"))
}

/// The request's JSON. Without data it is an empty one.
fn request(subject: &str, data: Value) -> Result<Vec<u8>, Problem> {
    let data = match data {
        Value::Null => Value::Object(Map::new()),
        data => data,
    };
    match ADAPTERS.iter().find(|(adapted, _)| *adapted == subject) {
        Some((_, adapt)) => adapt(data),
        None => Ok(data.to_string().into_bytes()),
    }
}

/// Where requests are answered, cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    bus: Bus,
    session: Session,
    in_flight: Semaphore,
    working: TaskTracker,
    /// For replies alone: a reply to an address that the broker does not take closes its channel.
    replies: Mutex<Option<Channel>>,
}

impl Desk {
    pub fn new(bus: Bus, session: Session) -> Self {
        let (in_flight, working) = (Semaphore::new(IN_FLIGHT_MAX), TaskTracker::new());
        Self(Arc::new(Inner { bus, session, in_flight, working, replies: Mutex::default() }))
    }

    /// Answers in a task of its own.
    pub fn take(&self, question: Question) {
        if self.0.working.len() >= WAITING_MAX {
            return count("any", "unanswered");
        }
        let desk = self.clone();
        self.0.working.spawn(async move {
            let (span, context) = trace::enter(
                trace::Kind::Server,
                format_args!("bridge answers {}", question.subject.as_deref().unwrap_or("nothing")),
                question.trace.correlation_id.as_deref(),
                question.trace.traceparent.as_deref(),
            );
            async {
                let body = desk.answer(&question, context).await;
                // Whoever asked hears nothing then, and asks again or gives up.
                if let Err(failure) = desk.reply(&question, &body).await {
                    tracing::warn!(pattern = shown(&question.pattern), %failure, "answer not sent");
                }
            }
            .instrument(span)
            .await;
        });
    }

    async fn answer(&self, question: &Question, context: bus::Context) -> Vec<u8> {
        let Question { subject, style, token, .. } = question;
        let Some(subject) = subject else {
            tracing::debug!(pattern = shown(&question.pattern), "nobody handles this pattern");
            count("nobody", "no-handler");
            return envelope::no_handler(style);
        };
        let answered = match self.0.in_flight.try_acquire() {
            Err(_) => Err(Problem::unavailable("Too many requests are in work. Try again shortly.")),
            Ok(_permit) => {
                let ask = Ask { token: token.clone(), ..Ask::new(context.clone()) };
                match request(subject, question.data.clone()) {
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
                envelope::refusal(style, &problem)
            }
        }
    }

    async fn reply(&self, question: &Question, body: &[u8]) -> Result<(), Failure> {
        let name = |text: &str| ShortString::try_new(text).map_err(Failure::transient);
        let properties = BasicProperties::default()
            .with_headers(FieldTable::default())
            .with_content_type("application/json".into())
            .with_correlation_id(name(&question.correlation_id)?)
            .with_app_id(APP_ID.into())
            .with_delivery_mode(1);
        let (default_exchange, to) = ("".into(), name(&question.reply_to)?);
        let channel = self.replies().await?;
        // Not mandatory: who no longer waits is nobody's loss. Without confirms, so nothing is waited for.
        within(channel.basic_publish(default_exchange, to, BasicPublishOptions::default(), body, properties))
            .await?;
        Ok(())
    }

    async fn replies(&self) -> Result<Channel, Failure> {
        let mut slot = self.0.replies.lock().await;
        if let Some(channel) = slot.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.0.session.channel_aside().await?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    /// Waits for what is in work.
    pub async fn close(&self) {
        self.0.working.close();
        let _ = tokio::time::timeout(FINISH, self.0.working.wait()).await;
    }
}

fn count(subject: &str, became: &'static str) {
    metrics::counter!("amqp_requests_total", "request" => subject.to_owned(), "became" => became)
        .increment(1);
}

/// A name of somebody's choice, for a log line.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(subject: &str, data: Value) -> Value {
        serde_json::from_slice(&request(subject, data).unwrap()).unwrap()
    }

    #[test]
    fn showtimes_are_asked_for_as_over_rest_and_need_no_page() {
        let all = made(ListShowtimes::SUBJECT, Value::Null);
        assert_eq!(all["paging"], json!({"page": 1, "pageSize": 20}));
        let some = made(ListShowtimes::SUBJECT, json!({"date": "2026-05-01", "pageSize": 5}));
        assert_eq!((&some["date"], &some["paging"]["pageSize"]), (&json!("2026-05-01"), &json!(5)));
    }

    #[test]
    fn a_filter_that_does_not_exist_is_refused_and_named() {
        let refused = |data| request(ListShowtimes::SUBJECT, data).unwrap_err();
        let unknown = refused(json!({"movieid": "m1"}));
        assert_eq!(unknown.status, 422);
        assert!(unknown.errors[0].message.contains("movieid"), "{unknown:?}");
        assert_eq!(refused(json!({"movieId": "m1"})).errors[0].field, "movieId");
        assert_eq!(refused(json!([])).status, 422);
    }

    #[test]
    fn every_other_request_is_passed_on_as_it_is() {
        assert_eq!(made("rpc.reservation.get", json!({"id": "r1"})), json!({"id": "r1"}));
        assert_eq!(made("rpc.reservation.get", Value::Null), json!({}));
    }
}
