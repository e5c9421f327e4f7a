//! Asking the house by REST, as a moviegoer's program does: any gateway, a time-out, and the same key when asking again.
//!
//! Invariant: what is not known is not guessed: only an answer in the 400s that no unanswered try preceded is a refusal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

/// Longer than a request may take in the house (10 s), shorter than a moviegoer's patience.
const TIMEOUT: Duration = Duration::from_secs(12);
/// Tries of one request whose outcome is not known; then it stays unknown.
const TRIES: u32 = 3;

/// What one POST came to, after its repeats.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// 2xx, with the bytes of the answer.
    Done(String),
    Refused(u16, String),
    /// No answer, or one that promises nothing.
    Unknown,
}

/// One answer.
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

/// The gateways.
#[derive(Clone, Debug)]
pub struct Rest {
    pub gateways: Arc<Vec<SocketAddr>>,
    next: Arc<AtomicUsize>,
    pub http: reqwest::Client,
}

impl Rest {
    pub fn new(gateways: Vec<SocketAddr>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            // The pay page sends its moviegoer back to the shop's own page, which nobody reads here.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { gateways: Arc::new(gateways), next: Arc::default(), http })
    }

    /// One try at the next gateway; no answer is no status.
    pub async fn try_once(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        key: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let gateway = self.gateways[self.next.fetch_add(1, Ordering::Relaxed) % self.gateways.len()];
        self.ask(gateway, method, path, token, key, body).await
    }

    /// One try at this gateway.
    pub async fn ask(
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

    /// A POST as a careful program makes it: again with the same key while its outcome is not known.
    pub async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Outcome {
        let mut doubt = false;
        for tries in 0..TRIES {
            let answer = self.try_once(Method::POST, path, Some(token), key, Some(body)).await;
            match answer {
                Some(answer) if answer.is_done() => return Outcome::Done(answer.text),
                Some(answer) if definite(&answer) && !doubt => {
                    return Outcome::Refused(answer.status, answer.text);
                }
                // The first try may still be under way somewhere; this answer was to another.
                Some(answer) if definite(&answer) => return Outcome::Unknown,
                _ => doubt = true,
            }
            tokio::time::sleep(Duration::from_millis(300 << tries)).await;
        }
        Outcome::Unknown
    }

    /// For what has to work: the owner's own calls while nothing is broken.
    pub async fn must(
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

/// A no that means that nothing was done. 409 with a running first try, 429 and 5xx promise nothing.
fn definite(answer: &Answer) -> bool {
    (400..500).contains(&answer.status) && answer.status != 429 && !answer.text.contains("running")
}
