//! Rate limits: by address and operation where a route is public, by user where it is not.
//!
//! The count is kept in Redis, so that all gateways share it; while Redis is absent, unreachable or slow each gateway
//! counts on its own. Both counts are GCRA: a minute's whole quota may be used at once and is restored evenly.
//! Invariant: a request waits for the count no longer than [`shared::TIMEOUT`], and a failed count refuses nobody.
//! This protects the deployment, not passwords: the auth host throttles those itself.

mod local;
mod network;
mod shared;

use std::net::IpAddr;
use std::time::Duration;

use bus::contract::Problem;
use poem::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

pub use network::{Networks, Place};

use local::LocalCount;
use shared::SharedCount;

/// How much may be open or in progress at once. `None`: unlimited.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// All connections; fewer where the process may not have so many files open.
    pub connections_max: usize,
    pub connections_per_network_max: Option<usize>,
    /// Live seat maps and event feeds.
    pub streams_per_network_max: Option<usize>,
    /// Webhooks of the provider that are sent to their host at once.
    pub webhooks_in_work_max: Option<usize>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections_per_network_max: None,
            streams_per_network_max: None,
            webhooks_in_work_max: None,
        }
    }
}

/// Open connections: some 20 KiB each with their buffers, so at most 320 MiB under attack.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Which quota a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    Read,
    Write,
    /// Passwords and refresh tokens, each of which costs a slow hash or a row, and tokens that are not valid.
    Login,
    /// New guests, each of whom may hold seats.
    Guest,
    /// Copies of all of a person's data, each of which costs hundreds of requests to hosts.
    Export,
    /// Not counted.
    Free,
}

/// A person needs one, and a few more when the connection breaks.
pub const EXPORTS_A_MINUTE: u32 = 5;

/// Requests a minute, of one user, or of one address and operation.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    pub reads: u32,
    pub writes: u32,
    pub logins: u32,
    pub guests: u32,
}

impl Quotas {
    fn of(&self, rate: Rate) -> Option<u32> {
        match rate {
            Rate::Read => Some(self.reads),
            Rate::Write => Some(self.writes),
            Rate::Login => Some(self.logins),
            Rate::Guest => Some(self.guests),
            Rate::Export => Some(EXPORTS_A_MINUTE),
            Rate::Free => None,
        }
    }
}

/// Whose quota a request counts against.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    Address(IpAddr),
    User(Uuid),
}

/// A client's quota after a request was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    pub limit: u32,
    pub remaining: u32,
    /// Until the whole quota is restored.
    pub reset: Duration,
    /// Set where this request exceeded the quota: the next one is allowed after this time.
    pub retry_after: Option<Duration>,
}

/// Counts requests. `None`: nothing is limited.
pub struct Limiter(Option<Counts>);

struct Counts {
    quotas: Quotas,
    shared: Option<SharedCount>,
    local: LocalCount,
}

impl Limiter {
    /// Without quotas nothing is limited.
    pub fn new(quotas: Option<Quotas>, redis_url: Option<&str>) -> anyhow::Result<Self> {
        let Some(quotas) = quotas else { return Ok(Self(None)) };
        let shared = redis_url.map(SharedCount::new).transpose()?;
        Ok(Self(Some(Counts { local: LocalCount::new(&quotas), quotas, shared })))
    }

    /// Connects to Redis; called before the first request.
    pub async fn warm_up(&self) {
        if let Some(Counts { shared: Some(shared), .. }) = &self.0 {
            shared.warm_up().await;
        }
    }

    #[cfg(test)]
    pub fn off() -> Self {
        Self(None)
    }

    /// Counts one request; `None` where nothing is limited.
    pub async fn count(&self, operation: &str, rate: Rate, client: Client) -> Option<Usage> {
        let counts = self.0.as_ref()?;
        let quota = counts.quotas.of(rate)?;
        let key = key(operation, rate, client);
        let shared = match &counts.shared {
            Some(shared) => shared.count(&key, quota).await,
            None => None,
        };
        Some(shared.unwrap_or_else(|| counts.local.count(rate, key, quota)))
    }
}

impl Usage {
    /// 429 where the request exceeded the quota.
    pub fn check(&self) -> Result<(), Problem> {
        let Some(wait) = self.retry_after else { return Ok(()) };
        let seconds = seconds(wait).max(1);
        let detail = format!("Too many requests: {} a minute are allowed here.", self.limit);
        Err(Problem::new(429, "rate-limited", detail).with_retry_after(seconds))
    }

    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert("ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("ratelimit-reset", HeaderValue::from(seconds(self.reset)));
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000) as u64
}

fn key(operation: &str, rate: Rate, client: Client) -> String {
    match client {
        Client::User(id) => format!("user:{id}:{rate:?}"),
        Client::Address(address) => {
            format!("address:{}:{operation}:{rate:?}", bus::network::customer(address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quota_may_be_used_at_once_and_each_client_and_rate_has_its_own() {
        let quotas = Quotas { reads: 3, writes: 1, logins: 1, guests: 1 };
        let limiter = Limiter::new(Some(quotas), None).unwrap();
        let (ada, bob) = (Client::User(Uuid::from_u128(1)), Client::User(Uuid::from_u128(2)));
        for remaining in [2, 1, 0] {
            let usage = limiter.count("me", Rate::Read, ada).await.unwrap();
            assert_eq!((usage.limit, usage.remaining, usage.retry_after), (3, remaining, None));
            assert!(usage.reset > Duration::ZERO && usage.reset <= Duration::from_secs(60));
        }
        let refused = limiter.count("me", Rate::Read, ada).await.unwrap();
        let problem = refused.check().unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (429, "rate-limited"));
        assert!(
            (1..=20).contains(&problem.retry_after.unwrap()),
            "a request is restored in a third of a minute"
        );
        limiter.count("me", Rate::Read, bob).await.unwrap().check().unwrap();
        limiter.count("me", Rate::Write, ada).await.unwrap().check().unwrap();
        assert!(limiter.count("me", Rate::Free, ada).await.is_none());
        assert!(Limiter::off().count("me", Rate::Read, ada).await.is_none());
    }

    #[test]
    fn addresses_are_counted_by_operation_and_by_customer() {
        let key =
            |operation, address: &str| key(operation, Rate::Read, Client::Address(address.parse().unwrap()));
        assert_ne!(key("listMovies", "192.0.2.1"), key("listGenres", "192.0.2.1"));
        assert_ne!(key("listMovies", "192.0.2.1"), key("listMovies", "192.0.2.2"));
        assert_eq!(key("listMovies", "2001:db8::1"), key("listMovies", "2001:db8::ffff:2"));
    }
}
