//! The count that all gateways share, in Redis: one script, one round trip.
//!
//! Invariant: a request waits for Redis at most [`TIMEOUT`], and after a failure Redis is not used for [`PAUSE`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};

use super::Usage;

/// A round trip takes a fraction of a millisecond; a person would notice what takes longer than this.
pub const TIMEOUT: Duration = Duration::from_millis(50);
/// The start of the gateway waits at most this long for the connection.
const WARM_UP_MAX: Duration = Duration::from_secs(1);
/// So that an outage does not cost every request the time-out.
const PAUSE: Duration = Duration::from_secs(2);

/// GCRA by Redis's clock, so that the clocks of gateways need not agree. KEYS[1] holds the time, in microseconds, at
/// which the whole quota is restored; ARGV[1] is the time that restores one request, ARGV[2] the quota. Returns whether the
/// quota was exceeded, how many requests are left, and the microseconds until the next one and until the whole quota.
const COUNT: &str = "
local time = redis.call('time')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local step, window = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('get', KEYS[1]) or 0), now)
local wait = full + step - now - window
if wait > 0 then return {1, 0, math.ceil(wait), full - now} end
full = full + step
redis.call('set', KEYS[1], string.format('%.0f', full), 'px', math.ceil((full - now) / 1000))
return {0, math.floor((window - (full - now)) / step), 0, full - now}";

pub struct SharedCount {
    /// Connects when it is first used; Redis may be unreachable.
    redis: std::sync::OnceLock<Option<ConnectionManager>>,
    client: redis::Client,
    script: Script,
    created: Instant,
    /// Milliseconds after `created`.
    paused_until: AtomicU64,
}

impl SharedCount {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            redis: std::sync::OnceLock::new(),
            client: bus::redis::client(url)?,
            script: Script::new(COUNT),
            created: Instant::now(),
            paused_until: AtomicU64::new(0),
        })
    }

    /// Connects, so that the first requests are counted in Redis too. Gives up soon where Redis is unreachable.
    pub async fn warm_up(&self) {
        let Some(mut redis) = self.connection() else { return };
        let script = self.script.prepare_invoke();
        match tokio::time::timeout(WARM_UP_MAX, script.load_async(&mut redis)).await {
            Ok(Ok(_)) => {}
            // The client retries until its time-out, which hides the reason.
            Ok(Err(_)) | Err(_) => {
                let why = bus::redis::why_away(&self.client).await;
                self.pause(&why.unwrap_or_else(|| "no answer in time".to_owned()));
            }
        }
    }

    /// `None` when Redis could not count.
    pub async fn count(&self, key: &str, quota: u32) -> Option<Usage> {
        if self.now() < self.paused_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut redis = self.connection()?;
        let mut call = self.script.key(format!("marquee:rate:{key}"));
        call.arg(60_000_000 / u64::from(quota.max(1))).arg(quota);
        let counted: Result<RedisResult<(u8, u32, u64, u64)>, _> =
            tokio::time::timeout(TIMEOUT, call.invoke_async(&mut redis)).await;
        match counted {
            Ok(Ok((refused, remaining, wait, reset))) => Some(Usage {
                limit: quota,
                remaining,
                reset: Duration::from_micros(reset),
                retry_after: (refused == 1).then(|| Duration::from_micros(wait)),
            }),
            Ok(Err(error)) => self.pause(&bus::tls::with_causes(&error)),
            Err(_) => self.pause("no answer in time"),
        }
    }

    fn pause(&self, why: &str) -> Option<Usage> {
        let until = self.now() + PAUSE.as_millis() as u64;
        // Many requests fail together; one of them logs it.
        if self.paused_until.swap(until, Ordering::Relaxed) + PAUSE.as_millis() as u64 <= until {
            metrics::counter!("rate_limit_outages_total").increment(1);
            tracing::warn!(why, "Redis cannot count; this gateway counts on its own for a while");
        }
        None
    }

    fn connection(&self) -> Option<ConnectionManager> {
        let connect = || {
            bus::redis::connection(self.client.clone())
                .inspect_err(|error| tracing::error!(%error, "no connection to Redis is possible"))
                .ok()
        };
        self.redis.get_or_init(connect).clone()
    }

    fn now(&self) -> u64 {
        self.created.elapsed().as_millis() as u64
    }
}
