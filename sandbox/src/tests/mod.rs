//! The sandbox over HTTP, as the adapter and a customer's browser use it.
//! `TestSandbox` is a running sandbox with its own log; `Shop` is the server that receives its webhooks.

mod api;
mod disputes;
mod pages;
mod restarts;
mod webhooks;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Request, Response};
use serde_json::Value;
use tokio::sync::watch;

use super::{Config, Running, Switches};

const KEY: &str = "sk_test_sandbox";
const SECRET: &str = "whsec_sandbox";
/// Long enough for a loaded machine and for three retries of a webhook.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A folder that is removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("marquee-sandbox-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn log(&self) -> PathBuf {
        self.0.join("sandbox.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct TestSandbox {
    running: Running,
    client: reqwest::Client,
}

/// A status with its body.
type Reply = (u16, Value);

impl TestSandbox {
    async fn open(folder: &Folder) -> Self {
        Self::with(&folder.log(), None).await
    }

    async fn with(log_file: &Path, webhook_url: Option<String>) -> Self {
        let config = Config {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            log_file: log_file.to_owned(),
            webhook_url,
            webhook_secret: SECRET.into(),
            api_key: KEY.into(),
            public_url: None,
        };
        let running = super::start(config).await.unwrap();
        let redirects = reqwest::redirect::Policy::none();
        let client =
            reqwest::Client::builder().redirect(redirects).no_proxy().timeout(WAIT_MAX).build().unwrap();
        Self { running, client }
    }

    fn request(&self, path: &str, params: &[(&str, &str)], key: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.running.url())).bearer_auth(KEY).form(params);
        if key.is_empty() { request } else { request.header("Idempotency-Key", key) }
    }

    async fn post(&self, path: &str, params: &[(&str, &str)]) -> Reply {
        reply(self.request(path, params, "").send().await.unwrap()).await
    }

    async fn post_once(&self, key: &str, path: &str, params: &[(&str, &str)]) -> (bool, Reply) {
        let response = self.request(path, params, key).send().await.unwrap();
        let replayed = response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
        (replayed, reply(response).await)
    }

    async fn get(&self, path: &str) -> Reply {
        let request = self.client.get(format!("{}{path}", self.running.url())).bearer_auth(KEY);
        reply(request.send().await.unwrap()).await
    }

    async fn charge(&self, token: &str, amount: &str) -> Reply {
        self.post("/v1/payment_intents", &charge_of(token, amount)).await
    }

    async fn paid(&self, amount: &str) -> String {
        let (status, intent) = self.charge("pm_card_visa", amount).await;
        assert_eq!((status, &intent["status"]), (200, &Value::from("succeeded")), "{intent}");
        text(&intent["id"])
    }

    /// Opens a hosted page for EUR 24.00.
    async fn session(&self) -> Value {
        let expires_at = (super::provider::unix_now() + 3600).to_string();
        let (status, session) = self.post("/v1/checkout/sessions", &session_of(&expires_at)).await;
        assert_eq!(status, 200, "{session}");
        session
    }

    async fn count(&self, path: &str) -> usize {
        self.get(path).await.1["data"].as_array().unwrap().len()
    }

    /// Submits a card number on the pay page.
    async fn pay(&self, session: &Value, number: &str) -> reqwest::Response {
        let page = format!("{}/pay/{}", self.running.url(), text(&session["id"]));
        self.client.post(page).form(&[("number", number)]).send().await.unwrap()
    }

    async fn view_page(&self, session: &Value) -> (u16, String) {
        let page = format!("{}/pay/{}", self.running.url(), text(&session["id"]));
        let response = self.client.get(page).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

async fn reply(response: reqwest::Response) -> Reply {
    (response.status().as_u16(), response.json().await.unwrap())
}

fn charge_of<'a>(token: &'a str, amount: &'a str) -> [(&'a str, &'a str); 8] {
    [
        ("amount", amount),
        ("currency", "eur"),
        ("payment_method", token),
        ("confirm", "true"),
        ("metadata[payment_id]", "p-1"),
        ("automatic_payment_methods[enabled]", "true"),
        ("automatic_payment_methods[allow_redirects]", "never"),
        ("error_on_requires_action", "true"),
    ]
}

fn session_of(expires_at: &str) -> [(&str, &str); 11] {
    [
        ("mode", "payment"),
        ("line_items[0][price_data][currency]", "eur"),
        ("line_items[0][price_data][unit_amount]", "1200"),
        ("line_items[0][price_data][product_data][name]", "Seats <C7> & C8"),
        ("line_items[0][quantity]", "2"),
        ("success_url", "http://shop.test/done?session={CHECKOUT_SESSION_ID}"),
        ("cancel_url", "http://shop.test/back"),
        ("expires_at", expires_at),
        ("metadata[payment_id]", "p-1"),
        ("payment_intent_data[metadata][payment_id]", "p-1"),
        ("client_reference_id", "r-1"),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// One webhook as it was received.
#[derive(Clone, Debug)]
struct ReceivedWebhook {
    signature: String,
    raw: String,
}

impl ReceivedWebhook {
    fn event(&self) -> Value {
        serde_json::from_str(&self.raw).unwrap()
    }

    fn kind(&self) -> String {
        text(&self.event()["type"])
    }

    fn id(&self) -> String {
        text(&self.event()["id"])
    }
}

/// A server for webhooks: answers 200, after the statuses of `answer_first`.
#[derive(Clone)]
struct Shop {
    addr: SocketAddr,
    statuses: Arc<Mutex<VecDeque<u16>>>,
    received: watch::Sender<Vec<ReceivedWebhook>>,
}

impl Shop {
    async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shop = Self { addr, statuses: Arc::default(), received: watch::Sender::default() };
        let server = poem::Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
        tokio::spawn(server.run(shop.clone()));
        shop
    }

    fn url(&self) -> String {
        format!("http://{}/v1/payments/webhook", self.addr)
    }

    fn answer_first(&self, statuses: &[u16]) {
        self.statuses.lock().unwrap().extend(statuses);
    }

    /// Waits until this many webhooks were received, and returns them.
    async fn until(&self, count: usize) -> Vec<ReceivedWebhook> {
        let mut received = self.received.subscribe();
        let enough = received.wait_for(|received| received.len() >= count);
        match tokio::time::timeout(WAIT_MAX, enough).await {
            Ok(seen) => seen.unwrap().clone(),
            Err(_) => panic!("only these were received: {:#?}", *self.received.borrow()),
        }
    }

    fn kinds(&self) -> Vec<String> {
        self.received.borrow().iter().map(ReceivedWebhook::kind).collect()
    }
}

impl Endpoint for Shop {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let signature = request.header("stripe-signature").unwrap_or_default().to_owned();
        let raw = request.take_body().into_string().await.unwrap();
        let status = self.statuses.lock().unwrap().pop_front().unwrap_or(200);
        self.received.send_modify(|received| received.push(ReceivedWebhook { signature, raw }));
        Ok(Response::builder().status(StatusCode::from_u16(status).unwrap()).finish())
    }
}

/// Waits until an event's webhook is settled, which is then in the log.
async fn settled(sandbox: &TestSandbox, event_id: &str) {
    let begun = std::time::Instant::now();
    loop {
        let (_, event) = sandbox.get(&format!("/v1/events/{event_id}")).await;
        if event["pending_webhooks"] == 0 {
            return;
        }
        assert!(begun.elapsed() < WAIT_MAX, "still pending: {event}");
        tokio::task::yield_now().await;
    }
}
