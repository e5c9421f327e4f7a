//! Slows guessing down: after some wrong passwords each further try has to wait longer, by account and by address.
//!
//! A try counts as wrong when it begins, so that a hundred at once gain nothing, and is taken back when it was right.
//! Invariant: nobody is locked out for good: a refused try costs nothing, and the delay has an end.
//! Invariant: an account that does not exist is throttled like one that does.
//! Counts are kept in Redis, which all hosts share; while it is away each process counts for itself (`count.rs`).

mod count;

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bus::contract::auth::Rejection;
use redis::Script;
use redis::aio::ConnectionManager;

use self::count::Counts;
use super::model::secret_hash;
use crate::config::ThrottleSettings;

/// The first delay; each further wrong password doubles it.
const DELAY_FIRST: Duration = Duration::from_secs(1);
/// The longest: some three hundred guesses a day, and no longer than a person would wait before they call.
const DELAY_MAX: Duration = Duration::from_secs(300);
/// Wrong passwords are forgotten after so long without another one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60 * 60);
/// Longest wait for Redis: a login takes longer by itself.
const REDIS_MAX: Duration = Duration::from_millis(100);
/// After a failure Redis is left alone for this long.
const REDIS_REST: Duration = Duration::from_secs(2);

/// KEYS are the counters of a try; ARGV the free tries of each, then first delay, longest delay and memory in ms.
/// Answers the ms to wait (0: go on) and whether nobody was told of this delay yet. The same rule as [`Counts`].
const BEGIN: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first, longest, keep = tonumber(ARGV[#KEYS + 1]), tonumber(ARGV[#KEYS + 2]), ARGV[#KEYS + 3]
local wait, news = 0, 0
for _, key in ipairs(KEYS) do
  local left = (tonumber(redis.call('HGET', key, 'until')) or 0) - now
  if left > 0 then
    wait = math.max(wait, left)
    news = math.max(news, redis.call('HSETNX', key, 'told', 1))
  end
end
if wait > 0 then return {wait, news} end
for i, key in ipairs(KEYS) do
  local over = redis.call('HINCRBY', key, 'wrong', 1) - tonumber(ARGV[i])
  if over > 0 then
    local delay = math.min(first * 2 ^ math.min(over - 1, 30), longest)
    redis.call('HSET', key, 'until', string.format('%d', now + delay))
    redis.call('HDEL', key, 'told')
  end
  redis.call('PEXPIRE', key, keep)
end
return {0, 0}";

/// Takes one try of each key back, unless it is forgotten already.
const TAKE_BACK: &str = "
for _, key in ipairs(KEYS) do
  if (tonumber(redis.call('HGET', key, 'wrong')) or 0) > 0 then redis.call('HINCRBY', key, 'wrong', -1) end
end
return 1";

/// Throttles tries of passwords; `None` settings let everything pass.
pub struct Throttle {
    settings: Option<ThrottleSettings>,
    redis: Option<ConnectionManager>,
    scripts: (Script, Script),
    resting_until: Mutex<Option<Instant>>,
    here: Counts,
}

/// A try that may go on. It counts as wrong unless it is said to be otherwise.
pub struct Try {
    account: String,
    /// The address's counter, where the address is known.
    address: Option<String>,
}

/// A try that has to wait.
#[derive(Debug, PartialEq)]
pub struct Wait {
    pub seconds: u64,
    /// Whether this is the first one that the delay refuses.
    pub is_news: bool,
}

impl From<Wait> for Rejection {
    fn from(wait: Wait) -> Self {
        Self::Throttled(wait.seconds)
    }
}

impl Throttle {
    pub fn new(settings: Option<ThrottleSettings>, redis: Option<ConnectionManager>) -> Self {
        let scripts = (Script::new(BEGIN), Script::new(TAKE_BACK));
        Self { settings, redis, scripts, resting_until: Mutex::default(), here: Counts::default() }
    }

    /// Counts a try of this account's password from this address, or says how long to wait.
    pub async fn begin(&self, email_key: &str, ip: Option<IpAddr>) -> Result<Try, Wait> {
        let tried = Try {
            account: account_key(email_key),
            address: ip.map(|ip| format!("marquee:login:ip:{}", network(ip))),
        };
        let Some(settings) = &self.settings else { return Ok(tried) };
        let mut wanted = vec![(tried.account.clone(), settings.free_tries_account)];
        wanted.extend(tried.address.iter().map(|address| (address.clone(), settings.free_tries_ip)));
        let (wait, is_news) = match self.begin_in_redis(&wanted).await {
            Some(answer) => answer,
            None => self.here.begin(&wanted, Instant::now()),
        };
        if wait.is_zero() {
            return Ok(tried);
        }
        metrics::counter!("auth_throttled_total").increment(1);
        Err(Wait { seconds: wait.as_millis().div_ceil(1000) as u64, is_news })
    }

    /// The password was right: the account's count begins anew. The address only gets its try back, else one good
    /// account would buy any number of guesses at others.
    pub async fn right(&self, tried: Try) {
        self.forget_count(&tried.account).await;
        self.take_back(tried.address.into_iter().collect()).await;
    }

    /// Whether the password was right was never found out.
    pub async fn undecided(&self, tried: Try) {
        self.take_back(tried.address.into_iter().chain([tried.account]).collect()).await;
    }

    async fn begin_in_redis(&self, wanted: &[(String, u32)]) -> Option<(Duration, bool)> {
        let mut call = self.scripts.0.prepare_invoke();
        wanted.iter().for_each(|(key, _)| {
            call.key(key);
        });
        wanted.iter().for_each(|(_, free)| {
            call.arg(*free);
        });
        for time in [DELAY_FIRST, DELAY_MAX, FORGOTTEN_AFTER] {
            call.arg(time.as_millis() as u64);
        }
        let mut redis = self.redis()?;
        let (wait, news): (u64, u8) = self.within(call.invoke_async(&mut redis)).await?;
        Some((Duration::from_millis(wait), news == 1))
    }

    /// The account's count begins anew.
    pub async fn forget(&self, email_key: &str) {
        self.forget_count(&account_key(email_key)).await;
    }

    async fn forget_count(&self, account: &str) {
        if self.settings.is_none() {
            return;
        }
        self.here.forget(account);
        if let Some(mut redis) = self.redis() {
            let forgetting = async { redis::cmd("DEL").arg(account).query_async(&mut redis).await };
            let _: Option<i64> = self.within(forgetting).await;
        }
    }

    async fn take_back(&self, keys: Vec<String>) {
        if self.settings.is_none() || keys.is_empty() {
            return;
        }
        self.here.take_back(&keys);
        if let Some(mut redis) = self.redis() {
            let mut call = self.scripts.1.prepare_invoke();
            keys.iter().for_each(|key| {
                call.key(key);
            });
            let _: Option<i64> = self.within(call.invoke_async(&mut redis)).await;
        }
    }

    fn redis(&self) -> Option<ConnectionManager> {
        let resting = *self.resting_until.lock().unwrap_or_else(|e| e.into_inner());
        self.redis.clone().filter(|_| resting.is_none_or(|until| Instant::now() >= until))
    }

    async fn within<T>(&self, asking: impl Future<Output = redis::RedisResult<T>>) -> Option<T> {
        let why = match tokio::time::timeout(REDIS_MAX, asking).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(why, "logins are counted by this process alone");
        *self.resting_until.lock().unwrap_or_else(|e| e.into_inner()) = Some(Instant::now() + REDIS_REST);
        None
    }
}

/// Mails are people's; what the counter needs of one is only that it is the same.
fn account_key(email_key: &str) -> String {
    format!("marquee:login:account:{}", hex::encode(&secret_hash(email_key)[..16]))
}

/// What counts as one address: of IPv6 the /64 that a single customer has.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle() -> Throttle {
        Throttle::new(Some(ThrottleSettings { free_tries_account: 3, free_tries_ip: 5 }), None)
    }

    #[tokio::test]
    async fn a_right_password_clears_the_account_and_not_the_address() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.begin("ada", Some([10, 0, 0, 1].into())).await.unwrap();
        }
        let tried = throttle.begin("ada", Some([10, 0, 0, 1].into())).await.unwrap();
        assert!(throttle.begin("ada", None).await.is_err(), "ada has to wait");
        throttle.right(tried).await;
        throttle.begin("ada", None).await.unwrap();
        for name in ["bob", "cyd"] {
            throttle.begin(name, Some([10, 0, 0, 1].into())).await.unwrap();
        }
        throttle.begin("dan", Some([10, 0, 0, 1].into())).await.unwrap();
        let wait = throttle.begin("eve", Some([10, 0, 0, 1].into())).await.err().unwrap();
        assert_eq!(wait, Wait { seconds: 1, is_news: true }, "the address has guessed six times");
        throttle.begin("eve", Some([10, 0, 0, 2].into())).await.unwrap();
    }

    #[test]
    fn one_customers_ipv6_addresses_are_one() {
        let of = |ip: &str| network(ip.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
    }
}
