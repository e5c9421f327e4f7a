//! The gateway from outside, with hosts that are told what to answer.
//!
//! Whole journeys on real servers are the workspace's own tests; here is what the gateway decides by itself.

mod challenge;
mod connection;
mod crowd;
mod feed;
mod front;
mod guard;
mod kept;
mod live;
mod page;
mod socket;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::event_feed::{Happened, WatchEvents};
use bus::contract::{Currency, Problem, Request};
use bus::service::Ask;
use bus::token::Identity;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use metrics_exporter_prometheus::PrometheusBuilder;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, Response};
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::front::Manners;
use crate::house::{Hosts, House};
use crate::limit::{Bounds, Limiter};
use crate::media::MediaRoom;

/// Hosts that answer what they were told, and remember what they were asked.
pub struct Told {
    answers: Mutex<HashMap<&'static str, Result<String, Problem>>>,
    asked: Mutex<Vec<Asked>>,
    thinks: Mutex<Duration>,
    notices: broadcast::Sender<(String, Bytes)>,
    absent: Mutex<Vec<&'static str>>,
    logins_ended: AtomicBool,
    pub connections: watch::Sender<u64>,
}

#[derive(Clone)]
pub struct Asked {
    pub subject: &'static str,
    pub request: Value,
    pub ask: Ask,
}

impl Told {
    pub async fn answer<R: Request>(&self, request: &R, ask: &Ask) -> Result<Bytes, Problem> {
        let request = serde_json::to_value(request).unwrap();
        self.asked.lock().unwrap().push(Asked { subject: R::SUBJECT, request, ask: ask.clone() });
        // Others get their turn, as they would while a real host thinks.
        let thinks = *self.thinks.lock().unwrap();
        tokio::time::sleep(thinks).await;
        let answer = self.answers.lock().unwrap().get(R::SUBJECT).cloned();
        match answer {
            Some(Ok(json)) if json == "panic" => panic!("told to"),
            Some(answer) => answer.map(Bytes::from),
            None => Err(Problem::unavailable("The host is away or slow. Try again shortly.")),
        }
    }

    pub fn notices(&self, subject: String) -> BoxStream<'static, Bytes> {
        let receiver = self.notices.subscribe();
        futures::stream::unfold(receiver, |mut receiver| async move {
            let notice = receiver.recv().await.ok()?;
            Some((notice, receiver))
        })
        .filter_map(move |(on, payload)| std::future::ready((on == subject).then_some(payload)))
        .boxed()
    }

    /// What was told for [`WatchEvents`], then every notice on `events`.
    pub async fn events(&self, _: u64) -> Result<(Vec<Happened>, BoxStream<'static, Happened>), Problem> {
        let heard = self.notices("events".to_owned());
        let last = self.answer(&WatchEvents {}, &Ask::new(bus::Context::new())).await?;
        let heard = heard.map(|notice| serde_json::from_slice(&notice).unwrap());
        Ok((serde_json::from_slice(&last).unwrap(), heard.boxed()))
    }

    pub fn present(&self, expected: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let absent = self.absent.lock().unwrap();
        expected.iter().filter(|domain| !absent.contains(domain)).copied().collect()
    }

    pub fn verify(&self, token: &str) -> Result<Arc<Identity>, Problem> {
        let role = match token {
            _ if self.logins_ended.load(Ordering::Relaxed) => {
                return Err(Problem::unauthorized("token-revoked", "Log in again."));
            }
            "user" => Role::User,
            "admin" => Role::Admin,
            "root" => Role::SuperAdmin,
            "away" => return Err(Problem::unavailable("The auth host is away.")),
            _ => return Err(Problem::unauthorized("token-invalid", "The access token is not valid.")),
        };
        let (email, name) = ("ada@example.org".to_owned(), "Ada".to_owned());
        let (user_id, session_id) = (Uuid::nil(), Uuid::nil());
        let (email_verified, expires_at) = (true, i64::MAX);
        Ok(Arc::new(Identity { user_id, session_id, email, name, role, email_verified, expires_at }))
    }
}

/// What [`crate::start`] adds.
fn pages(house: &Arc<House>) -> Vec<(&'static crate::Row, BoxEndpoint<'static>)> {
    let ready = crate::health::ready(house.clone(), Arc::new(crate::Parts::default));
    let numbers = PrometheusBuilder::new().build_recorder().handle();
    let metrics = crate::health::guarded_metrics(house.clone(), Some(METRICS_TOKEN.into()), numbers);
    vec![(crate::page("/health/ready"), ready), (crate::page("/metrics"), metrics)]
}

/// What may be the provider's, for all that the gateway knows.
pub fn signature() -> String {
    format!("t={},v1={}", time::OffsetDateTime::now_utc().unix_timestamp(), "0a".repeat(32))
}

pub const METRICS_TOKEN: &str = "0123456789abcdef";

/// A gateway without a socket.
pub struct Gateway {
    pub house: Arc<House>,
    told: Arc<Told>,
    app: Box<dyn poem::endpoint::DynEndpoint<Output = Response>>,
    bounds: Bounds,
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(Manners::default(), Limiter::off())
    }

    pub fn with(manners: Manners, limiter: Limiter) -> Self {
        Self::bounded(manners, limiter, Bounds::default())
    }

    pub fn bounded(manners: Manners, limiter: Limiter, bounds: Bounds) -> Self {
        let told = Arc::new(Told {
            answers: Mutex::default(),
            asked: Mutex::default(),
            thinks: Mutex::new(Duration::from_millis(1)),
            notices: broadcast::Sender::new(1_024),
            absent: Mutex::default(),
            logins_ended: AtomicBool::default(),
            connections: watch::Sender::new(0),
        });
        let media = MediaRoom::open(&Default::default()).unwrap();
        let hosts = Hosts::Told(told.clone());
        let house = House::new(hosts, limiter, media, Currency::parse("CHF").unwrap(), &bounds);
        let app = Box::new(poem::endpoint::ToDynEndpoint(crate::app(&house, manners, pages(&house))));
        Self { house, told, app, bounds }
    }

    /// The same over a real socket.
    pub fn serve(&self) -> crate::Running {
        let listener = crate::listen::bind(Some(([127, 0, 0, 1], 0).into())).unwrap();
        let pages = pages(&self.house);
        crate::serve(listener, self.house.clone(), Default::default(), &self.bounds, pages).unwrap()
    }

    /// From now on the host of `R` answers this.
    pub fn tell<R: Request>(&self, json: impl Into<String>) -> &Self {
        self.told.answers.lock().unwrap().insert(R::SUBJECT, Ok(json.into()));
        self
    }

    pub fn refuse<R: Request>(&self, problem: Problem) -> &Self {
        self.told.answers.lock().unwrap().insert(R::SUBJECT, Err(problem));
        self
    }

    /// From now on hosts take so long to answer.
    pub fn think(&self, time: Duration) {
        *self.told.thinks.lock().unwrap() = time;
    }

    pub fn notify(&self, subject: String, payload: impl Into<Bytes>) {
        let _ = self.told.notices.send((subject, payload.into()));
    }

    /// From now on no token is good any more.
    pub fn end_logins(&self) {
        self.told.logins_ended.store(true, Ordering::Relaxed);
    }

    pub fn reconnect(&self) {
        self.told.connections.send_modify(|n| *n += 1);
    }

    /// From now on no host of these domains is there.
    pub fn close(&self, domains: &[&'static str]) {
        *self.told.absent.lock().unwrap() = domains.to_vec();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.told.asked.lock().unwrap().clone()
    }

    pub fn get(&self, path: &str) -> Sending<'_> {
        self.send(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Sending<'_> {
        self.send(Method::POST, path)
    }

    pub fn send(&self, method: Method, path: &str) -> Sending<'_> {
        Sending {
            gateway: self,
            request: poem::Request::builder()
                .method(method)
                .uri(path.parse().unwrap())
                .header("Host", "kino.example"),
            body: None,
        }
    }
}

/// A request being made.
pub struct Sending<'a> {
    gateway: &'a Gateway,
    request: poem::RequestBuilder,
    body: Option<poem::Body>,
}

impl Sending<'_> {
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<poem::Body>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub async fn response(self) -> Response {
        let request = match self.body {
            Some(body) => self.request.body(body),
            None => self.request.finish(),
        };
        self.gateway.app.get_response(request).await
    }

    /// Status, headers and the body as text.
    pub async fn answer(self) -> Answered {
        let mut response = self.response().await;
        let bytes = response.take_body().into_vec().await.unwrap();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answered { status: response.status().as_u16(), body, bytes, response }
    }

    /// Status and code of the problem that must come, with a request id.
    pub async fn problem(self) -> (u16, String) {
        let answer = self.answer().await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.body);
        let problem: Problem = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem.status, answer.status);
        assert_eq!(problem.request_id, answer.header("x-request-id"));
        (answer.status, problem.code)
    }
}

pub struct Answered {
    pub status: u16,
    pub body: String,
    pub bytes: Vec<u8>,
    response: Response,
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

pub fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
