//! A payment provider for development and tests: a server with the subset of Stripe's HTTP API that Marquee uses, so that
//! one adapter serves both and only the base URL differs.
//! Invariants: a change that was answered or sent as a webhook survives `kill -9` (`journal`); a request with the same
//! idempotency key never takes effect twice (`provider`); a payment is captured at most once and never refunded beyond its
//! amount (`rules`, `checkout`, `refunds`). It moves no money, has no customers, and is not for production.

mod cards;
mod checkout;
mod connections;
mod disputes;
mod fault;
mod form;
mod http;
mod journal;
mod model;
mod outcome;
mod page;
mod provider;
mod reads;
mod refunds;
mod rules;
mod store;
mod switches;
mod webhook;
mod words;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use reqwest::redirect::Policy;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use connections::{Connections, CuttableListener};
pub use disputes::Verdict;
use journal::Journal;
use provider::Delivery;
use provider::{Provider, State};
use store::Store;
pub use switches::{FailCalls, Switches};

/// How long a stop waits for running calls.
const STOP_MAX: Duration = Duration::from_secs(2);

/// The sandbox's settings; they contain secrets, so there is no `Debug`.
#[derive(Clone)]
pub struct Config {
    /// Port 0 uses a free one. The switches are served on a loopback address only.
    pub addr: SocketAddr,
    /// The log; only one running sandbox can open it at a time.
    pub log_file: PathBuf,
    /// Where webhooks are sent; without it they wait for `Running::set_webhook_url`.
    pub webhook_url: Option<String>,
    pub webhook_secret: String,
    /// The only key that opens `/v1`, by convention `sk_test_…`.
    pub api_key: String,
    /// The address at which browsers reach the pay page, if not `addr`.
    pub public_url: Option<String>,
}

/// A running sandbox. Dropped without `stop` it ends at once as if killed; the log keeps every answered change.
pub struct Running {
    addr: SocketAddr,
    provider: Arc<Provider>,
    server: Option<JoinHandle<()>>,
}

/// Replays the log, binds, and delivers the webhooks that were not delivered before.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    // Fails if a provider is already installed, which is fine.
    rustls::crypto::ring::default_provider().install_default().ok();
    let (sender, deliveries) = mpsc::unbounded_channel();
    let log_file = config.log_file.clone();
    // Waiting for the file's lock and reading a long log would block the runtime.
    let opened = tokio::task::spawn_blocking(move || {
        let mut store = Store::default();
        let journal = Journal::open(&log_file, |record| drop(store.apply(record)))?;
        anyhow::Ok((store, journal))
    });
    let (store, journal) = opened.await??;
    for event in store.undelivered() {
        sender.send(Delivery::new(event)).context("the webhook queue closed")?;
    }
    let listener = tokio::net::TcpListener::bind(config.addr).await;
    let listener = listener.with_context(|| format!("the sandbox cannot listen on {}", config.addr))?;
    let addr = listener.local_addr()?;
    let public_url = config.public_url.clone().unwrap_or_else(|| local_url(addr));
    let state = State { store, running: Default::default(), journal: Some(journal) };
    let provider =
        Arc::new(Provider::new(state, config, public_url.trim_end_matches('/').to_owned(), sender));

    let client = reqwest::Client::builder()
        .user_agent("Marquee sandbox")
        .no_proxy()
        .redirect(Policy::none())
        .build()?;
    let stop = provider.stop.clone();
    let webhooks = webhook::run(provider.clone(), client, deliveries);
    tokio::spawn(async move { stop.run_until_cancelled(webhooks).await });
    let (stop, sweeper) = (provider.stop.clone(), provider.clone());
    tokio::spawn(async move { stop.run_until_cancelled(sweeper.sweep()).await });

    let connections = Connections::default();
    let http = http::Http {
        provider: provider.clone(),
        connections: connections.clone(),
        on_loopback: addr.ip().is_loopback(),
    };
    let server = poem::Server::new_with_acceptor(CuttableListener { listener, addr, connections });
    let stop = provider.stop.clone();
    let server = tokio::spawn(async move {
        let until = async move { stop.cancelled().await };
        if let Err(error) = server.run_with_graceful_shutdown(http, until, Some(STOP_MAX)).await {
            tracing::error!(%error, "the sandbox's server ended");
        }
    });
    Ok(Running { addr, provider, server: Some(server) })
}

impl Running {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL for the adapter, in place of `https://api.stripe.com`.
    pub fn url(&self) -> String {
        local_url(self.addr)
    }

    /// Sets where webhooks are sent from now on, including those that waited for an address.
    pub fn set_webhook_url(&self, url: impl Into<String>) {
        *lock(&self.provider.webhook_url) = Some(url.into());
        webhook::release(&self.provider, false);
    }

    /// The same as `POST /sandbox/switches`.
    pub fn set_switches(&self, switches: Switches) {
        self.provider.switches.set(switches);
    }

    /// Completes running calls, then closes the log. Webhooks in flight are sent again at the next start.
    pub async fn stop(mut self) {
        self.provider.stop.cancel();
        if let Some(server) = self.server.take()
            && let Err(error) = server.await
        {
            tracing::error!(%error, "the sandbox's server panicked");
        }
        self.provider.halt();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.provider.halt();
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

fn local_url(addr: SocketAddr) -> String {
    let ip = if addr.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { addr.ip() };
    format!("http://{}", SocketAddr::new(ip, addr.port()))
}

/// Locks a mutex. No rule panics in the middle of a change, so the content of a poisoned lock is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
