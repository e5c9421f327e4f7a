//! How often somebody may ask: by address and route where a route is public, by user where it is not.
//!
//! The count is kept in Redis, so that all gateways share it; while Redis is absent, away or slow each gateway counts for
//! itself. Both are GCRA: a whole minute's quota may be used at once and comes back evenly.
//! Invariant: a request waits for the count no longer than [`shared::LIMIT`], and a failed count refuses nobody.
//! It guards the house, not passwords: those have their own throttling at the host that checks them.

mod network;
mod own;
mod shared;

use std::net::IpAddr;
use std::time::Duration;

use bus::contract::Problem;
use poem::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::routes::Row;
pub use network::{Networks, Place};
use own::Own;
use shared::Shared;

/// How much may be open or in work at once. `None`: as much as comes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections of all; fewer where the process may not have so many files open.
    pub connections_max: usize,
    pub connections_per_network_max: Option<usize>,
    /// Live seat maps and event feeds.
    pub streams_per_network_max: Option<usize>,
    /// The provider's webhooks at their host.
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

/// What a request costs the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    Read,
    Write,
    /// Passwords and refresh tokens, each of which costs a slow hash or a row, and tokens that are not valid.
    Login,
    /// Counted nowhere.
    Free,
}

/// Requests a minute, of one user, or of one address at one route.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    pub reads: u32,
    pub writes: u32,
    pub logins: u32,
}

impl Quotas {
    fn of(&self, rate: Rate) -> Option<u32> {
        match rate {
            Rate::Read => Some(self.reads),
            Rate::Write => Some(self.writes),
            Rate::Login => Some(self.logins),
            Rate::Free => None,
        }
    }
}

/// Who is counted.
#[derive(Debug, Clone, Copy)]
pub enum Who {
    Address(IpAddr),
    User(Uuid),
}

/// How somebody stands after a request was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    /// Until the whole quota is there again.
    pub reset: Duration,
    /// This request was one too many; the next may come after this.
    pub refused_for: Option<Duration>,
}

/// Counts requests. `None` lets everything pass.
pub struct Limiter(Option<Counting>);

struct Counting {
    quotas: Quotas,
    shared: Option<Shared>,
    own: Own,
}

impl Limiter {
    /// Without quotas nothing is limited.
    pub fn new(quotas: Option<Quotas>, redis_url: Option<&str>) -> anyhow::Result<Self> {
        let Some(quotas) = quotas else { return Ok(Self(None)) };
        let shared = redis_url.map(Shared::new).transpose()?;
        Ok(Self(Some(Counting { own: Own::new(&quotas), quotas, shared })))
    }

    /// Before the first request.
    pub async fn warm_up(&self) {
        if let Some(Counting { shared: Some(shared), .. }) = &self.0 {
            shared.warm_up().await;
        }
    }

    #[cfg(test)]
    pub fn off() -> Self {
        Self(None)
    }

    /// Counts one request; `None` where nothing is limited.
    pub async fn count(&self, row: &Row, rate: Rate, who: Who) -> Option<Standing> {
        let counting = self.0.as_ref()?;
        let quota = counting.quotas.of(rate)?;
        let key = key(row, rate, who);
        let told = match &counting.shared {
            Some(shared) => shared.count(&key, quota).await,
            None => None,
        };
        let standing = told.unwrap_or_else(|| counting.own.count(rate, key, quota));
        if standing.refused_for.is_some() {
            metrics::counter!("rate_limited_total", "route" => row.path).increment(1);
        }
        Some(standing)
    }
}

impl Standing {
    /// 429 where the request was one too many.
    pub fn check(&self) -> Result<(), Problem> {
        let Some(wait) = self.refused_for else { return Ok(()) };
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

fn key(row: &Row, rate: Rate, who: Who) -> String {
    match who {
        Who::User(id) => format!("user:{id}:{rate:?}"),
        Who::Address(address) => {
            format!("address:{}:{}:{rate:?}", bus::network::customer(address), row.operation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROWS;

    #[tokio::test]
    async fn a_quota_may_be_used_at_once_and_each_is_counted_alone() {
        let quotas = Quotas { reads: 3, writes: 1, logins: 1 };
        let limiter = Limiter::new(Some(quotas), None).unwrap();
        let (ada, bob) = (Who::User(Uuid::from_u128(1)), Who::User(Uuid::from_u128(2)));
        for remaining in [2, 1, 0] {
            let standing = limiter.count(&ROWS[0], Rate::Read, ada).await.unwrap();
            assert_eq!((standing.limit, standing.remaining, standing.refused_for), (3, remaining, None));
            assert!(standing.reset > Duration::ZERO && standing.reset <= Duration::from_secs(60));
        }
        let refused = limiter.count(&ROWS[0], Rate::Read, ada).await.unwrap();
        let problem = refused.check().unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (429, "rate-limited"));
        assert!((1..=20).contains(&problem.retry_after.unwrap()), "a third of a minute brings one back");
        limiter.count(&ROWS[0], Rate::Read, bob).await.unwrap().check().unwrap();
        limiter.count(&ROWS[0], Rate::Write, ada).await.unwrap().check().unwrap();
        assert!(limiter.count(&ROWS[0], Rate::Free, ada).await.is_none());
        assert!(Limiter::off().count(&ROWS[0], Rate::Read, ada).await.is_none());
    }

    #[test]
    fn addresses_are_counted_by_route_and_by_customer() {
        let key = |row: &Row, address: &str| key(row, Rate::Read, Who::Address(address.parse().unwrap()));
        assert_ne!(key(&ROWS[0], "192.0.2.1"), key(&ROWS[1], "192.0.2.1"));
        assert_ne!(key(&ROWS[0], "192.0.2.1"), key(&ROWS[0], "192.0.2.2"));
        assert_eq!(key(&ROWS[0], "2001:db8::1"), key(&ROWS[0], "2001:db8::ffff:2"));
    }
}
