//! A REST client of the deployment: it uses both gateways, has a time-out, and repeats a request with the same key.
//!
//! Invariant: an unknown outcome stays unknown: only a 4xx answer without an unanswered attempt before it is a refusal.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;
use time::OffsetDateTime;

/// Longer than a request may take in the deployment (10 s).
const TIMEOUT: Duration = Duration::from_secs(12);
/// Attempts of one request; then its outcome stays unknown.
const ATTEMPTS: u32 = 3;

/// The outcome of a POST after its repeats.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// 2xx, with the body of the answer.
    Done(String),
    Refused(u16, String),
    /// No answer, or one that does not say whether the request was done.
    Unknown,
}

/// An answer of a gateway.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A POST that failed after all its attempts: the last one had no answer or a 5xx.
#[derive(Clone, Debug)]
pub struct Failure {
    pub at: OffsetDateTime,
    pub path: String,
    pub last: String,
}

/// A client of all gateways.
#[derive(Clone, Debug)]
pub struct Client {
    pub gateways: Arc<Vec<SocketAddr>>,
    next: Arc<AtomicUsize>,
    /// The position of a gateway that gets no requests, as behind a load balancer that has taken it out.
    out: Arc<Mutex<Option<usize>>>,
    failures: Arc<Mutex<Vec<Failure>>>,
    pub http: reqwest::Client,
}

impl Client {
    pub fn new(gateways: Vec<SocketAddr>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            // The payment page redirects to a page of the deployment, which is not needed here.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let gateways = Arc::new(gateways);
        Ok(Self { gateways, next: Arc::default(), out: Arc::default(), failures: Arc::default(), http })
    }

    /// Sends no more requests to the gateway at this position; `None`: to all again.
    pub fn take_out(&self, gateway: Option<usize>) {
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) = gateway;
    }

    /// All POSTs that failed so far.
    pub fn failures(&self) -> Vec<Failure> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn next_gateway(&self) -> SocketAddr {
        let out = *self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = self.next.fetch_add(1, Ordering::Relaxed) % self.gateways.len();
        if out == Some(at) {
            at = (at + 1) % self.gateways.len();
        }
        self.gateways[at]
    }

    /// Sends a request once to the next gateway; `None` without an answer.
    pub async fn try_once(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        key: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        self.send_to(self.next_gateway(), method, path, token, key, body).await
    }

    /// Sends a request once to this gateway; `None` without an answer.
    pub async fn send_to(
        &self,
        gateway: SocketAddr,
        method: Method,
        path: &str,
        token: Option<&str>,
        key: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let mut request = self.http.request(method.clone(), format!("http://{gateway}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if method == Method::POST {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some(Answer { status, text: answer.text().await.ok()? })
    }

    /// Sends a POST and repeats it with the same key while its outcome is unknown.
    pub async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Outcome {
        let (mut is_in_doubt, mut last) = (false, None);
        for attempt in 0..ATTEMPTS {
            let answer = self.try_once(Method::POST, path, Some(token), key, Some(body)).await;
            match answer {
                Some(answer) if answer.is_done() => return Outcome::Done(answer.text),
                Some(answer) if is_definite(&answer) && !is_in_doubt => {
                    return Outcome::Refused(answer.status, answer.text);
                }
                // An earlier attempt may still be in progress; this answer is to another one.
                Some(answer) if is_definite(&answer) => return Outcome::Unknown,
                other => (is_in_doubt, last) = (true, other),
            }
            tokio::time::sleep(Duration::from_millis(300 << attempt)).await;
        }
        self.note_failure(path, last);
        Outcome::Unknown
    }

    fn note_failure(&self, path: &str, last: Option<Answer>) {
        let last = match last {
            None => "no answer".to_owned(),
            Some(answer) if answer.status >= 500 => format!("{} {}", answer.status, answer.text),
            // A request that the documents tell to repeat later.
            Some(_) => return,
        };
        let failure = Failure { at: OffsetDateTime::now_utc(), path: path.to_owned(), last };
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    /// Sends a request that must succeed, for the setup; repeats it for some time.
    pub async fn send_until_done(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value> {
        let key = uuid::Uuid::new_v4().to_string();
        let mut last = None;
        for _ in 0..20 {
            let answer = self.try_once(method.clone(), path, token, &key, body.as_ref()).await;
            match answer {
                Some(answer) if answer.is_done() => return Ok(answer.json()),
                Some(answer) if answer.status < 500 && answer.status != 429 && answer.status != 409 => {
                    anyhow::bail!("{method} {path} was answered {} {}", answer.status, answer.text)
                }
                other => last = other,
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(anyhow::anyhow!("{last:?}")).with_context(|| format!("{method} {path} was not answered"))
    }
}

/// Whether a refusal means that nothing was done. A 409 for a running first attempt, 429 and 5xx do not.
fn is_definite(answer: &Answer) -> bool {
    (400..500).contains(&answer.status) && answer.status != 429 && !answer.text.contains("running")
}
