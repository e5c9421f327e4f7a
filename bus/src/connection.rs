//! The connection to NATS: one client for each process, with the process's name, which reconnects for ever.
//!
//! Code that must act after a reconnect (the relay, consumers) watches [`Bus::connections`].

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use crate::address::{self, Address};
use crate::away::Away;
use crate::forbidden::{Forbidden, Note};
use crate::in_process::InProcess;
use crate::streams::Streams;
use crate::{retry, tls};

/// A publish ack takes some milliseconds; after this the message counts as not stored and is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// JetStream API calls (create a stream, a consumer). A refused permission shows as this time-out.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// Unacknowledged publishes of this process; the relay's own window is smaller.
const ACKS_IN_FLIGHT_MAX: usize = 8_192;
/// Messages that may wait in one subscription before the client drops some as a slow consumer.
const SUBSCRIPTION_CAPACITY: usize = 65_536;
/// Longest delay between two attempts to reconnect: a restarted server is reconnected within it.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Schemes of `NATS_URL`.
pub const SCHEMES: [&str; 2] = ["nats://", "tls://"];

/// The settings of the connection to NATS.
#[derive(Clone)]
pub struct Config {
    /// The servers of one cluster.
    pub urls: Vec<String>,
    /// Also names the inbox: what a user in `nats.conf` may subscribe to is `_INBOX.<user>.>`.
    pub user: String,
    pub credentials: Credentials,
    /// Shown by `nats server report connections`.
    pub name: String,
    pub streams: Streams,
}

/// How a connection authenticates.
#[derive(Clone)]
pub enum Credentials {
    Password(String),
    /// The seed of an nkey (`SU…`).
    Nkey(String),
    /// The text of a `.creds` file: a JWT and the seed that it belongs to.
    Creds(String),
}

impl Credentials {
    fn options(&self, user: &str) -> anyhow::Result<ConnectOptions> {
        Ok(match self {
            Self::Password(password) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.clone())
            }
            Self::Nkey(seed) => ConnectOptions::with_nkey(seed.clone()),
            Self::Creds(text) => ConnectOptions::with_credentials(text)
                .map_err(|_| anyhow::anyhow!("NATS_CREDS is no .creds file: it has no JWT and seed"))?,
        })
    }
}

/// A handle to NATS, cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub client: Client,
    pub jetstream: jetstream::Context,
    pub streams: Streams,
    /// The endpoints of this process, which are used without NATS.
    pub in_process: InProcess,
    /// Subjects on which NATS refused to publish.
    pub forbidden: Forbidden,
    connections: watch::Receiver<u64>,
    /// Subjects that no host serves.
    pub(crate) away: Away,
}

impl Bus {
    /// Connects, and waits for a server that is just starting. An error that only a person can correct (a refused login, a
    /// certificate that is not trusted, a server that is not NATS) is returned at once.
    pub async fn connect(config: Config) -> anyhow::Result<Self> {
        let addresses = addresses(&config.urls)?;
        let shown = config.urls.iter().map(|url| address::shown(url)).collect::<Vec<_>>().join(",");
        let (sender, mut connections) = watch::channel(0u64);
        let sender = Arc::new(sender);
        let forbidden = Forbidden::default();
        let options = || {
            let (sender, forbidden) = (sender.clone(), forbidden.clone());
            let options = config
                .credentials
                .options(&config.user)?
                .name(&config.name)
                .tls_client_config(tls::client_config())
                .custom_inbox_prefix(inbox(&config.user))
                .request_timeout(Some(API_TIMEOUT))
                .connection_timeout(Duration::from_secs(2))
                .ping_interval(Duration::from_secs(5))
                .subscription_capacity(SUBSCRIPTION_CAPACITY)
                .max_reconnects(None)
                .reconnect_delay_callback(|tries| {
                    RECONNECT_DELAY_MAX
                        .min(Duration::from_millis(50) * 2u32.saturating_pow(tries.min(10) as u32))
                })
                .event_callback(move |event| {
                    note_event(event, &sender, &forbidden);
                    async {}
                });
            anyhow::Ok(options)
        };
        options()?;
        let connect = async || {
            let options = options()
                .map_err(|error| ConnectError::with_source(ConnectErrorKind::Authentication, error))?;
            options.connect(&addresses).await
        };
        let client = match retry::until_there("NATS", None, connect, |error| refusal(error).is_none()).await {
            Ok(client) => client,
            Err(error) => {
                let why = refusal(&error).unwrap_or_else(|| error.to_string());
                anyhow::bail!("cannot connect to NATS at {shown}: {why}");
            }
        };
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(API_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(ACKS_IN_FLIGHT_MAX)
            .build(client.clone());
        // The event of the first connection arrives a moment later; wait for it, so that it does not count as a reconnect.
        let first = connections.wait_for(|made| *made > 0);
        tokio::time::timeout(Duration::from_secs(2), first)
            .await
            .context("no connection event from NATS")??;
        let (streams, in_process) = (config.streams, InProcess::default());
        Ok(Self { client, jetstream, streams, in_process, forbidden, connections, away: Away::default() })
    }

    /// Changes on every reconnect after this call.
    pub fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        connections
    }

    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Publishes on core NATS, which delivers to current subscribers only and stores nothing. Errors are logged, since the
    /// fact itself is in the database and subscribers reload after a gap.
    pub async fn notify<T: serde::Serialize>(&self, subject: String, notice: &T) {
        match serde_json::to_vec(notice) {
            Ok(payload) => {
                if let Err(error) = self.client.publish(subject, payload.into()).await {
                    tracing::warn!(%error, "notice not published");
                }
            }
            Err(error) => tracing::error!(%error, "notice not serializable"),
        }
    }
}

fn note_event(event: Event, connections: &watch::Sender<u64>, forbidden: &Forbidden) {
    match event {
        Event::Connected => {
            forbidden.clear();
            connections.send_modify(|n| *n += 1);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected => tracing::warn!("disconnected from NATS"),
        Event::SlowConsumer(sid) => {
            metrics::counter!("nats_slow_consumer_total").increment(1);
            tracing::warn!(sid, "messages dropped: a subscription is too slow");
        }
        // A missing permission is reported only here; the caller sees a time-out.
        Event::ServerError(error) => {
            metrics::counter!("nats_server_error_total").increment(1);
            // One line for each subject, not for each message.
            if forbidden.note(&error.to_string()) != Some(Note::Again) {
                tracing::error!(%error, "NATS refused something");
            }
        }
        other => tracing::info!(event = %other, "NATS"),
    }
}

/// The prefix of this user's reply subjects: permissions allow each user only its own.
fn inbox(user: &str) -> String {
    let token: String = user.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    if token.is_empty() { "_INBOX".to_owned() } else { format!("_INBOX.{token}") }
}

fn addresses(urls: &[String]) -> anyhow::Result<Vec<ServerAddr>> {
    let address = |url: &String| {
        let address = Address::parse(url).map_err(|why| anyhow::anyhow!("NATS_URL {why}"))?;
        // The credentials are passed separately; the client ignores those in the address.
        let bare = Address { user: None, password: None, ..address };
        bare.canonical(&bare.host).parse().context("NATS_URL is not the address of a NATS server")
    };
    urls.iter().map(address).collect()
}

/// Why a server refuses the connection for good; `None` if it is unavailable or may accept a later attempt.
fn refusal(error: &ConnectError) -> Option<String> {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            Some("the login is refused (NATS_USER with NATS_PASSWORD, NATS_NKEY or NATS_CREDS)".to_owned())
        }
        ConnectErrorKind::Authentication | ConnectErrorKind::Tls | ConnectErrorKind::ServerParse => {
            Some(tls::refusal(error).unwrap_or_else(|| error.to_string()))
        }
        ConnectErrorKind::Io => tls::refusal(error).or_else(|| speaks_otherwise(error)),
        ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::MaxReconnects => None,
    }
}

/// A server that answers, but not with the protocol of NATS; or that rejects a login for another reason.
fn speaks_otherwise(error: &ConnectError) -> Option<String> {
    let text = error.to_string();
    let source = std::error::Error::source(error);
    let kind = source.and_then(|source| source.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let garbled = matches!(kind, Some(std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData));
    if garbled || (text.contains("expected INFO") && !text.contains("got nothing")) {
        return Some(format!("what answers there is no NATS server ({text})"));
    }
    // "user authentication expired", "account authentication expired": a JWT that ran out.
    text.contains("authentication").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_of_ipv6_and_its_login_is_not_part_of_it() {
        let urls = ["nats://u:a,b@[::1]:4222".to_owned(), "tls://nats.example".to_owned()];
        let found = addresses(&urls).unwrap();
        assert_eq!((found[0].host(), found[0].port(), found[0].tls_required()), ("::1", 4222, false));
        assert!(!found[0].has_user_pass());
        assert_eq!((found[1].host(), found[1].port(), found[1].tls_required()), ("nats.example", 4222, true));
    }

    #[test]
    fn an_error_that_no_waiting_repairs_differs_from_a_server_that_is_away() {
        let io = |error: std::io::Error| ConnectError::with_source(ConnectErrorKind::Io, error);
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let refused = [
            ConnectError::new(ConnectErrorKind::AuthorizationViolation),
            io(std::io::Error::new(std::io::ErrorKind::InvalidData, tls)),
            io(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "invalid server operation: '220 kino ESMTP'",
            )),
        ];
        assert!(refused.iter().all(|error| refusal(error).is_some()), "{refused:?}");
        let away = [
            ConnectError::new(ConnectErrorKind::TimedOut),
            ConnectError::new(ConnectErrorKind::Dns),
            io(std::io::ErrorKind::ConnectionRefused.into()),
            ConnectError::with_source(ConnectErrorKind::Io, "expected INFO, got nothing"),
            ConnectError::with_source(ConnectErrorKind::Io, "broken pipe"),
        ];
        assert!(away.iter().all(|error| refusal(error).is_none()), "{away:?}");
    }
}
