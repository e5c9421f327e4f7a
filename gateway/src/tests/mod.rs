//! The gateway seen by its clients, with hosts in the test's own process (`hosts.rs`).
//!
//! Whole journeys on real servers are the workspace's own tests; these show what the gateway decides by itself.

mod caching;
mod challenge;
mod connection;
mod entrypoint;
mod feed;
mod guard;
mod hosts;
mod limits;
mod live;
mod page;
mod prices;
mod site;
mod socket;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::contract::site::SiteFields;
use bus::contract::{Currency, Problem, Request};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use poem::http::Method;
use poem::{Endpoint, Response};
use serde_json::Value;

use crate::app::{Page, Shared, page};
use crate::challenge::Challenge;
use crate::entrypoint::HttpConfig;
use crate::limit::{Bounds, Limiter};
use hosts::{InProcessHosts, Received};

/// The pages that [`crate::start`] adds.
fn pages(shared: &Shared) -> Vec<Page> {
    let parts = Arc::new(crate::Parts::default);
    let ready = crate::health::ready(shared.hosts.clone(), shared.draining.clone(), parts);
    let recorder = PrometheusBuilder::new().build_recorder().handle();
    let metrics =
        crate::health::guarded_metrics(shared.admission.clone(), Some(METRICS_TOKEN.into()), recorder);
    vec![(page("/health/ready"), ready), (page("/metrics"), metrics)]
}

/// A signature that could be the provider's, as far as the gateway can judge.
pub fn signature() -> String {
    format!("t={},v1={}", time::OffsetDateTime::now_utc().unix_timestamp(), "0a".repeat(32))
}

pub const METRICS_TOKEN: &str = "0123456789abcdef";

/// A gateway without a socket.
pub struct Gateway {
    pub shared: Shared,
    hosts: Arc<InProcessHosts>,
    app: Box<dyn poem::endpoint::DynEndpoint<Output = Response>>,
    bounds: Bounds,
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(HttpConfig::default(), Limiter::off())
    }

    pub fn with(config: HttpConfig, limiter: Limiter) -> Self {
        Self::compose(config, limiter, None, Bounds::default())
    }

    pub fn bounded(bounds: Bounds) -> Self {
        Self::compose(HttpConfig::default(), Limiter::off(), None, bounds)
    }

    pub fn challenged(challenge: impl Challenge + 'static) -> Self {
        let challenge = Some(Box::new(challenge) as Box<dyn Challenge>);
        Self::compose(HttpConfig::default(), Limiter::off(), challenge, Bounds::default())
    }

    fn compose(
        config: HttpConfig,
        limiter: Limiter,
        challenge: Option<Box<dyn Challenge>>,
        bounds: Bounds,
    ) -> Self {
        let hosts = Arc::new(InProcessHosts::new());
        let currency = Currency::parse("CHF").unwrap();
        let cinema = SiteFields { currency, ..SiteFields::named("Marquee") };
        let shared =
            Shared::new(hosts.clone(), limiter, challenge, &Default::default(), cinema, &bounds).unwrap();
        let app = Box::new(poem::endpoint::ToDynEndpoint(shared.app(config, pages(&shared))));
        Self { shared, hosts, app, bounds }
    }

    /// The same gateway on a real socket.
    pub fn serve(&self) -> crate::Running {
        let listener = crate::listen::bind(Some(([127, 0, 0, 1], 0).into())).unwrap();
        let pages = pages(&self.shared);
        crate::serve(listener, &self.shared, Default::default(), &self.bounds, pages).unwrap()
    }

    /// From now on the host of `R` answers this.
    pub fn set_answer<R: Request>(&self, json: impl Into<String>) -> &Self {
        self.hosts.answers.lock().unwrap().insert(R::SUBJECT, Ok(json.into()));
        self
    }

    /// From now on the host of `R` rejects requests.
    pub fn set_rejection<R: Request>(&self, problem: Problem) -> &Self {
        self.hosts.answers.lock().unwrap().insert(R::SUBJECT, Err(problem));
        self
    }

    /// From now on hosts take this long to answer.
    pub fn delay_answers(&self, delay: Duration) {
        *self.hosts.delay.lock().unwrap() = delay;
    }

    /// Publishes a change notice.
    pub fn notify(&self, subject: String, payload: impl Into<Bytes>) {
        let _ = self.hosts.notices.send((subject, payload.into()));
    }

    /// From now on no token is valid any more.
    pub fn end_logins(&self) {
        self.hosts.logins_ended.store(true, Ordering::Relaxed);
    }

    /// The connection to NATS was lost for a moment.
    pub fn reconnect(&self) {
        self.hosts.reconnects.send_modify(|n| *n += 1);
    }

    /// From now on exactly these domains have no host.
    pub fn stop_hosts(&self, domains: &[&'static str]) {
        *self.hosts.missing.lock().unwrap() = domains.to_vec();
    }

    /// All requests that hosts have received.
    pub fn received(&self) -> Vec<Received> {
        self.hosts.received.lock().unwrap().clone()
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
