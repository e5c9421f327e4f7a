//! The count that all gateways share, in Redis: one script, one round trip.
//!
//! Invariant: Redis is asked for at most [`LIMIT`], and after a failure not at all for [`REST`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{RedisResult, Script};

use super::Standing;

/// A round trip takes a fraction of a millisecond; a person would notice what takes longer than this.
pub const LIMIT: Duration = Duration::from_millis(50);
/// A start may wait this long for a connection.
const WARM_UP: Duration = Duration::from_secs(1);
/// So that an outage does not cost every request the limit.
const REST: Duration = Duration::from_secs(2);

/// GCRA by Redis's own clock, so that gateways need not agree on the time. KEYS[1] holds the time, in microseconds, at
/// which the whole quota is there again; ARGV[1] is what one request takes of it, ARGV[2] the quota. Answers with
/// whether it was one too many, how many are left, and the microseconds until the next one and until all.
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

pub struct Shared {
    /// Connects when it is first used; Redis may be away.
    redis: std::sync::OnceLock<Option<ConnectionManager>>,
    client: redis::Client,
    script: Script,
    begun: Instant,
    /// Milliseconds after `begun`.
    resting_until: AtomicU64,
}

impl Shared {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            redis: std::sync::OnceLock::new(),
            client: bus::redis::client(url)?,
            script: Script::new(COUNT),
            begun: Instant::now(),
            resting_until: AtomicU64::new(0),
        })
    }

    /// Connects, so that the first requests are counted together too. Redis may be away: nobody waits long for it.
    pub async fn warm_up(&self) {
        let Some(mut redis) = self.connection() else { return };
        let script = self.script.prepare_invoke();
        match tokio::time::timeout(WARM_UP, script.load_async(&mut redis)).await {
            Ok(Ok(_)) => {}
            // A time-out of the client that connects again and again hides why it does not succeed.
            Ok(Err(_)) | Err(_) => {
                let why = bus::redis::why_away(&self.client).await;
                self.rest(&why.unwrap_or_else(|| "no answer in time".to_owned()));
            }
        }
    }

    /// `None` when Redis could not tell.
    pub async fn count(&self, key: &str, quota: u32) -> Option<Standing> {
        if self.now() < self.resting_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut redis = self.connection()?;
        let mut call = self.script.key(format!("marquee:rate:{key}"));
        call.arg(60_000_000 / u64::from(quota.max(1))).arg(quota);
        let told: Result<RedisResult<(u8, u32, u64, u64)>, _> =
            tokio::time::timeout(LIMIT, call.invoke_async(&mut redis)).await;
        match told {
            Ok(Ok((refused, remaining, wait, reset))) => Some(Standing {
                limit: quota,
                remaining,
                reset: Duration::from_micros(reset),
                refused_for: (refused == 1).then(|| Duration::from_micros(wait)),
            }),
            Ok(Err(error)) => self.rest(&bus::tls::with_causes(&error)),
            Err(_) => self.rest("no answer in time"),
        }
    }

    fn rest(&self, why: &str) -> Option<Standing> {
        let until = self.now() + REST.as_millis() as u64;
        // Many requests fail together; one of them tells.
        if self.resting_until.swap(until, Ordering::Relaxed) + REST.as_millis() as u64 <= until {
            metrics::counter!("rate_limit_outages_total").increment(1);
            tracing::warn!(why, "Redis cannot count; this gateway counts alone for a while");
        }
        None
    }

    fn connection(&self) -> Option<ConnectionManager> {
        let connect = || {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(Duration::from_secs(1)))
                .set_response_timeout(Some(Duration::from_millis(500)));
            ConnectionManager::new_lazy_with_config(self.client.clone(), config)
                .inspect_err(|error| tracing::error!(%error, "no connection to Redis is possible"))
                .ok()
        };
        self.redis.get_or_init(connect).clone()
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}
