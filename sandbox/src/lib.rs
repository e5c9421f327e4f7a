//! A payment provider for development and tests: a server that speaks the subset of Stripe's HTTP API which
//! Marquee uses, so that one adapter serves both and only the base URL differs.
//! Invariants: what it answered or announced survives `kill -9` (`journal`); the same idempotency key never acts
//! twice (`provider`); a payment is captured at most once and never refunded beyond that (`rules`, `checkout`).
//! It moves no money, knows no customers, and is no part of production.

mod books;
mod cards;
mod checkout;
mod disputes;
mod fault;
mod form;
mod http;
mod journal;
mod model;
mod page;
mod provider;
mod reads;
mod refunds;
mod rules;
mod switches;
mod webhook;
mod wire;

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

use books::Books;
pub use disputes::Verdict;
use journal::Journal;
use provider::{Desk, Provider};
pub use switches::{FailCalls, Switches};
use webhook::Parcel;
use wire::{Gate, Wires};

/// How long a stop waits for calls that are being answered.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What a sandbox needs to know; it holds secrets and is therefore not `Debug`.
#[derive(Clone)]
pub struct Config {
    /// Port 0 takes a free one. The switches are served on a loopback address only.
    pub addr: SocketAddr,
    /// Its books; they belong to one running sandbox at a time.
    pub log_file: PathBuf,
    /// Where events are sent; without one they wait for `Running::set_webhook_url`.
    pub webhook_url: Option<String>,
    pub webhook_secret: String,
    /// The only key that opens `/v1`, by convention `sk_test_…`.
    pub api_key: String,
    /// How browsers reach the pay page, when not under `addr`.
    pub public_url: Option<String>,
}

/// A sandbox at work. Dropped without `stop`, it ends at once as if killed; the log keeps what it told.
pub struct Running {
    addr: SocketAddr,
    provider: Arc<Provider>,
    server: Option<JoinHandle<()>>,
}

/// Replays the log, binds, and delivers what was not delivered before.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    // Fails when somebody else was first, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    let (outbox, parcels) = mpsc::unbounded_channel();
    let log_file = config.log_file.clone();
    // Waiting for the file's lock and reading a long log would hold up the runtime.
    let opened = tokio::task::spawn_blocking(move || {
        let mut books = Books::default();
        let journal = Journal::open(&log_file, |record| drop(books.apply(record)))?;
        anyhow::Ok((books, journal))
    });
    let (books, journal) = opened.await??;
    for event in books.undelivered() {
        outbox.send(Parcel::new(event)).context("the webhook queue closed")?;
    }
    let listener = tokio::net::TcpListener::bind(config.addr).await;
    let listener = listener.with_context(|| format!("the sandbox cannot listen on {}", config.addr))?;
    let addr = listener.local_addr()?;
    let public_url = config.public_url.clone().unwrap_or_else(|| local_url(addr));
    let desk = Desk { books, running: Default::default(), journal: Some(journal) };
    let provider = Arc::new(Provider::new(desk, config, public_url.trim_end_matches('/').to_owned(), outbox));

    let client = reqwest::Client::builder()
        .user_agent("Marquee sandbox")
        .no_proxy()
        .redirect(Policy::none())
        .build()?;
    let stop = provider.stop.clone();
    let courier = webhook::run(provider.clone(), client, parcels);
    tokio::spawn(async move { stop.run_until_cancelled(courier).await });
    let (stop, sweeper) = (provider.stop.clone(), provider.clone());
    tokio::spawn(async move { stop.run_until_cancelled(sweeper.sweep()).await });

    let wires = Wires::default();
    let http =
        http::Http { provider: provider.clone(), wires: wires.clone(), on_loopback: addr.ip().is_loopback() };
    let server = poem::Server::new_with_acceptor(Gate { listener, addr, wires });
    let stop = provider.stop.clone();
    let server = tokio::spawn(async move {
        let until = async move { stop.cancelled().await };
        if let Err(error) = server.run_with_graceful_shutdown(http, until, Some(STOP_PATIENCE)).await {
            tracing::error!(%error, "the sandbox's server ended");
        }
    });
    Ok(Running { addr, provider, server: Some(server) })
}

impl Running {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL for the adapter: what `https://api.stripe.com` is for the real one.
    pub fn url(&self) -> String {
        local_url(self.addr)
    }

    /// Where to send events from now on, those that waited for an address included.
    pub fn set_webhook_url(&self, url: impl Into<String>) {
        *held(&self.provider.webhook_url) = Some(url.into());
        webhook::release(&self.provider, false);
    }

    /// The same as `POST /sandbox/switches`.
    pub fn set_switches(&self, switches: Switches) {
        self.provider.panel.set(switches);
    }

    /// Answers what is being asked, then closes the log. Webhooks on their way are sent again at the next start.
    pub async fn stop(mut self) {
        self.provider.stop.cancel();
        if let Some(server) = self.server.take()
            && let Err(error) = server.await
        {
            tracing::error!(%error, "the sandbox's server ended badly");
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

/// A lock's content; no rule panics half way through a change, so a poisoned lock is still whole.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
