//! One keep-alive HTTP/1.1 connection, with little overhead: the load generator shares the cores with what it measures.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection and the token of its user.
pub struct Client {
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
    token: Option<String>,
}

/// An HTTP answer.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }

    /// The answer's JSON; an error with the body where the status is another one.
    pub fn expect(&self, status: u16) -> anyhow::Result<Value> {
        let body = String::from_utf8_lossy(&self.body);
        anyhow::ensure!(self.status.as_u16() == status, "{} instead of {status}: {body}", self.status);
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }
}

impl Client {
    pub async fn connect(addr: SocketAddr, token: Option<String>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.context("the gateway does not listen")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: addr.to_string(), token: token.map(|token| format!("Bearer {token}")) })
    }

    pub fn set_token(&mut self, token: &str) {
        self.token = Some(format!("Bearer {token}"));
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None, Bytes::new()).await
    }

    pub async fn post(&mut self, path: &str, key: Option<&str>, body: &Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, key, body.to_string().into()).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.sender.ready().await.context("the gateway closed the connection")?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        Ok(Answer { status, body: response.into_body().collect().await?.to_bytes() })
    }
}
