//! Slows password guessing down: after some wrong passwords each further try has to wait longer. Tries are counted for an
//! account in one network, for an account everywhere (with a far higher limit), and for a client address.
//!
//! Invariant: strangers cannot keep an owner out: their wrong passwords count in their own networks, and tries on a device
//! where the account was used before count for that device alone (OWASP, device cookies), with the limit of a network.
//! A try counts as wrong when it begins, so that a hundred at once gain nothing, and is taken back when it was right.
//! Invariant: no account is locked for good: a refused try does not count, and the delay has an end.
//! Invariant: an address without an account is throttled like one with an account.
//! Counts are kept in Redis, which all hosts share; while it is away, each process counts its own tries (`count.rs`).

mod count;

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bus::contract::auth::Rejection;
use bus::network;
use redis::Script;
use redis::aio::ConnectionManager;
use uuid::Uuid;

use self::count::Counts;
use super::model::secret_hash;
use crate::config::ThrottleSettings;

/// The first delay; each further wrong password doubles it.
const DELAY_FIRST: Duration = Duration::from_secs(1);
/// The longest: some three hundred guesses a day, and no longer than a person waits before calling for help.
const DELAY_MAX: Duration = Duration::from_secs(300);
/// A count expires when no wrong password came for this long.
const COUNT_EXPIRES_AFTER: Duration = Duration::from_secs(60 * 60);
/// Longest wait for Redis: a login takes longer by itself.
const REDIS_MAX: Duration = Duration::from_millis(100);
/// After a failure Redis is left alone for this long.
const REDIS_REST: Duration = Duration::from_secs(2);

/// KEYS are the counters of a try; ARGV the free tries of each, then first delay, longest delay and memory in ms.
/// Returns the ms to wait (0: go on) and whether this is the first refusal of a delay. The same rule as [`Counts`].
const BEGIN: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first, longest, keep = tonumber(ARGV[#KEYS + 1]), tonumber(ARGV[#KEYS + 2]), ARGV[#KEYS + 3]
local wait, first_refusal = 0, 0
for _, key in ipairs(KEYS) do
  local left = (tonumber(redis.call('HGET', key, 'until')) or 0) - now
  if left > 0 then
    wait = math.max(wait, left)
    first_refusal = math.max(first_refusal, redis.call('HSETNX', key, 'refused', 1))
  end
end
if wait > 0 then return {wait, first_refusal} end
for i, key in ipairs(KEYS) do
  local over = redis.call('HINCRBY', key, 'wrong', 1) - tonumber(ARGV[i])
  if over > 0 then
    local delay = math.min(first * 2 ^ math.min(over - 1, 30), longest)
    redis.call('HSET', key, 'until', string.format('%d', now + delay))
    redis.call('HDEL', key, 'refused')
  end
  redis.call('PEXPIRE', key, keep)
end
return {0, 0}";

/// Takes one try of each key back, unless its count has expired.
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
    local: Counts,
}

/// A try that may go on. It counts as wrong until it is taken back.
pub struct Try {
    /// The counter of the account in this network, or of the device: it starts anew after the right password.
    own: String,
    /// The counters of the account everywhere, unless the device is known, and of the client address, where it is known.
    wider: Vec<String>,
}

/// A try that has to wait.
#[derive(Debug, PartialEq)]
pub struct Wait {
    pub seconds: u64,
    /// Whether this is the first try that this delay refuses.
    pub is_first: bool,
}

impl From<Wait> for Rejection {
    fn from(wait: Wait) -> Self {
        Self::Throttled(wait.seconds)
    }
}

/// Redis is optional: where it does not answer now, each host counts alone, and the log has the reason.
fn connect_redis(url: &str) -> anyhow::Result<ConnectionManager> {
    let client = bus::redis::client(url)?;
    let probed = client.clone();
    tokio::spawn(async move {
        if let Some(why) = bus::redis::why_away(&probed).await {
            tracing::warn!(why, "Redis does not answer; this host counts wrong passwords alone");
        }
    });
    Ok(bus::redis::connection(client)?)
}

impl Throttle {
    pub fn new(settings: Option<ThrottleSettings>) -> anyhow::Result<Self> {
        let redis_url = settings.as_ref().and_then(|settings| settings.redis_url.as_deref());
        let redis = redis_url.map(connect_redis).transpose()?;
        let scripts = (Script::new(BEGIN), Script::new(TAKE_BACK));
        Ok(Self { settings, redis, scripts, resting_until: Mutex::default(), local: Counts::default() })
    }

    pub fn is_on(&self) -> bool {
        self.settings.is_some()
    }

    /// Counts a try of this account's password from this address, or returns how long to wait. `device` is one on which
    /// this account was used before.
    pub async fn begin(
        &self,
        email_key: &str,
        device: Option<Uuid>,
        ip: Option<IpAddr>,
    ) -> Result<Try, Wait> {
        let address = ip.map(|ip| format!("marquee:login:ip:{}", network::customer(ip)));
        let everywhere = device.is_none().then(|| account_key(email_key));
        let own = match device {
            Some(device) => format!("marquee:login:device:{}", device.simple()),
            None => own_key(email_key, ip),
        };
        let Some(settings) = &self.settings else {
            return Ok(Try { own, wider: everywhere.into_iter().chain(address).collect() });
        };
        let mut wanted = vec![(own.clone(), settings.free_tries_account)];
        wanted.extend(everywhere.map(|key| (key, settings.free_tries_account_all)));
        wanted.extend(address.map(|key| (key, settings.free_tries_ip)));
        let tried = Try { own, wider: wanted.iter().skip(1).map(|(key, _)| key.clone()).collect() };
        let (wait, is_first) = match self.begin_in_redis(&wanted).await {
            Some(answer) => answer,
            None => self.local.begin(&wanted, Instant::now()),
        };
        if wait.is_zero() {
            return Ok(tried);
        }
        metrics::counter!("auth_throttled_total").increment(1);
        Err(Wait { seconds: wait.as_millis().div_ceil(1000) as u64, is_first })
    }

    /// The password was right: the count of this network or device starts anew. The wider counts only get their try back:
    /// otherwise an attacker with one good account could reset the count of an address, and each login of the owner would
    /// give new guesses to attackers in many networks.
    pub async fn right(&self, tried: Try) {
        self.clear_count(&tried.own).await;
        self.take_back(tried.wider).await;
    }

    /// The password was not verified after all.
    pub async fn undecided(&self, tried: Try) {
        self.take_back(tried.wider.into_iter().chain([tried.own]).collect()).await;
    }

    async fn begin_in_redis(&self, wanted: &[(String, u32)]) -> Option<(Duration, bool)> {
        let mut call = self.scripts.0.prepare_invoke();
        wanted.iter().for_each(|(key, _)| {
            call.key(key);
        });
        wanted.iter().for_each(|(_, free)| {
            call.arg(*free);
        });
        for time in [DELAY_FIRST, DELAY_MAX, COUNT_EXPIRES_AFTER] {
            call.arg(time.as_millis() as u64);
        }
        let mut redis = self.redis()?;
        let (wait, first): (u64, u8) = self.within(call.invoke_async(&mut redis)).await?;
        Some((Duration::from_millis(wait), first == 1))
    }

    /// Clears the account's counts: everywhere, and in this network.
    pub async fn clear(&self, email_key: &str, ip: Option<IpAddr>) {
        self.clear_count(&account_key(email_key)).await;
        self.clear_count(&own_key(email_key, ip)).await;
    }

    async fn clear_count(&self, account: &str) {
        if self.settings.is_none() {
            return;
        }
        self.local.clear(account);
        if let Some(mut redis) = self.redis() {
            let deleting = async { redis::cmd("DEL").arg(account).query_async(&mut redis).await };
            let _: Option<i64> = self.within(deleting).await;
        }
    }

    async fn take_back(&self, keys: Vec<String>) {
        if self.settings.is_none() || keys.is_empty() {
            return;
        }
        self.local.take_back(&keys);
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

/// A hash: Redis gets no e-mail addresses, and the counter needs only that equal addresses have equal keys.
fn account_key(email_key: &str) -> String {
    format!("marquee:login:account:{}", hex::encode(&secret_hash(email_key)[..16]))
}

/// The account in one network.
fn own_key(email_key: &str, ip: Option<IpAddr>) -> String {
    let network = ip.map_or_else(|| "unknown".to_owned(), network::name);
    format!("{}:{network}", account_key(email_key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: [u8; 4] = [10, 0, 0, 1];
    const ELSEWHERE: [u8; 4] = [10, 0, 9, 1];

    fn throttle() -> Throttle {
        let settings = ThrottleSettings {
            free_tries_account: 3,
            free_tries_account_all: 8,
            free_tries_ip: 5,
            redis_url: None,
        };
        Throttle::new(Some(settings)).unwrap()
    }

    async fn begin(throttle: &Throttle, name: &str, ip: [u8; 4]) -> Result<Try, Wait> {
        throttle.begin(name, None, Some(ip.into())).await
    }

    #[tokio::test]
    async fn a_right_password_clears_the_account_in_its_network_and_not_the_address() {
        let throttle = throttle();
        for _ in 0..3 {
            begin(&throttle, "ada", HOME).await.unwrap();
        }
        let tried = begin(&throttle, "ada", HOME).await.unwrap();
        assert!(begin(&throttle, "ada", [10, 0, 0, 7]).await.is_err(), "ada has to wait in this network");
        throttle.right(tried).await;
        begin(&throttle, "ada", [10, 0, 0, 7]).await.unwrap();
        for name in ["bob", "cyd", "dan"] {
            begin(&throttle, name, HOME).await.unwrap();
        }
        let wait = begin(&throttle, "eve", HOME).await.err().unwrap();
        assert_eq!(wait, Wait { seconds: 1, is_first: true }, "the address has guessed six times");
        begin(&throttle, "eve", [10, 0, 0, 2]).await.unwrap();
    }

    #[tokio::test]
    async fn who_guesses_elsewhere_delays_nobody_at_home_until_very_many_networks_do() {
        let throttle = throttle();
        for _ in 0..4 {
            begin(&throttle, "ada", ELSEWHERE).await.unwrap();
        }
        assert!(begin(&throttle, "ada", ELSEWHERE).await.is_err());
        let tried = begin(&throttle, "ada", HOME).await.unwrap();
        throttle.right(tried).await;
        for network in 20..25 {
            begin(&throttle, "ada", [10, 0, network, 1]).await.unwrap();
        }
        assert!(begin(&throttle, "ada", HOME).await.is_err(), "nine wrong ones from six networks");
        let device = Some(Uuid::now_v7());
        let tried = throttle.begin("ada", device, Some(HOME.into())).await.unwrap();
        throttle.right(tried).await;
    }

    #[tokio::test]
    async fn a_known_device_guesses_no_faster_than_a_network() {
        let throttle = throttle();
        let device = Some(Uuid::now_v7());
        for host in 1..5 {
            throttle.begin("ada", device, Some([10, 0, host, 1].into())).await.unwrap();
        }
        assert!(throttle.begin("ada", device, Some([10, 0, 9, 1].into())).await.is_err());
        throttle.begin("ada", None, Some([10, 0, 9, 1].into())).await.unwrap();
    }

    #[test]
    fn one_customers_ipv6_addresses_are_one() {
        let of = |ip: &str| network::customer(ip.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(network::name("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.0/24");
    }
}
