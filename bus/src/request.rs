//! A request between hosts and the gateway: what travels with it, as it is sent and as it is received.

use std::net::IpAddr;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::context::{CORRELATION_ID, Context, TRACEPARENT};
use crate::contract::{Locale, Problem};

pub const AUTHORIZATION: &str = "Authorization";
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub const DEADLINE: &str = "X-Deadline-Ms";
/// The client's address as the gateway saw it; only the gateway sets it.
pub const CLIENT_IP: &str = "X-Client-Ip";
/// The language of the person whose request caused this one.
pub const LANGUAGE: &str = "Accept-Language";

/// How long a request waits for its answer by default: after that a customer has reloaded the page.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest deadline that a host accepts from a request.
const DEADLINE_MAX: Duration = Duration::from_secs(60);

/// An answer: JSON bytes, or the problem.
pub type Answered = Result<Bytes, Problem>;

/// What is sent with a request.
#[derive(Debug, Clone)]
pub struct Ask {
    pub context: Context,
    /// The caller's own access token, never a host's.
    pub token: Option<String>,
    pub idempotency_key: Option<String>,
    /// The address of the person whose request caused this one, if any.
    pub client_ip: Option<IpAddr>,
    pub timeout: Duration,
    /// The answer is read after every subscription made before has become active, which so receives every change after
    /// the answer. NATS keeps the order of a connection: a request over NATS is handled after the subscription, and a host of this
    /// process is asked once an echo has arrived. During an outage of NATS, when no subscription receives
    /// anything, the host of this process answers.
    pub ordered: bool,
}

impl Ask {
    pub fn new(context: Context) -> Self {
        Self {
            context,
            token: None,
            idempotency_key: None,
            client_ip: None,
            timeout: ASK_TIMEOUT,
            ordered: false,
        }
    }

    pub(crate) fn headers(&self, context: &Context) -> HeaderMap {
        let mut headers = HeaderMap::new();
        context.write(&mut headers);
        headers.insert(DEADLINE, self.timeout.as_millis().to_string().as_str());
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").as_str());
        }
        if let Some(key) = &self.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, key.as_str());
        }
        if let Some(ip) = &self.client_ip {
            headers.insert(CLIENT_IP, ip.to_string().as_str());
        }
        if let Some(locale) = self.context.locale {
            headers.insert(LANGUAGE, locale.as_str());
        }
        headers
    }
}

/// Why a request has no answer.
pub(crate) enum NoAnswer {
    /// No host serves the subject.
    NoHost,
    Failed(String),
}

/// A request as an endpoint receives it, over NATS or within the process.
pub(crate) struct Incoming {
    pub payload: Bytes,
    pub correlation_id: Option<String>,
    pub traceparent: Option<String>,
    pub locale: Option<Locale>,
    pub deadline: Instant,
    pub token: Option<String>,
    pub idempotency_key: Option<String>,
    pub client_ip: Option<IpAddr>,
    pub reply: Reply,
}

/// Where the answer is sent.
pub(crate) enum Reply {
    Nats(Box<async_nats::service::Request>),
    InProcess(oneshot::Sender<Answered>),
}

impl From<async_nats::service::Request> for Incoming {
    fn from(request: async_nats::service::Request) -> Self {
        let headers = request.message.headers.as_ref();
        let text = |name: &str| headers.and_then(|h| h.get(name)).map(|v| v.as_str());
        let left = text(DEADLINE).and_then(|ms| ms.parse().ok()).map_or(ASK_TIMEOUT, Duration::from_millis);
        Self {
            payload: request.message.payload.clone(),
            correlation_id: text(CORRELATION_ID).map(str::to_owned),
            traceparent: text(TRACEPARENT).map(str::to_owned),
            locale: text(LANGUAGE).and_then(Locale::accepted),
            deadline: Instant::now() + left.min(DEADLINE_MAX),
            token: text(AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer ")).map(str::to_owned),
            idempotency_key: text(IDEMPOTENCY_KEY).map(str::to_owned),
            client_ip: text(CLIENT_IP).and_then(|ip| ip.parse().ok()),
            reply: Reply::Nats(Box::new(request)),
        }
    }
}
