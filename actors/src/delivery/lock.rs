//! The seat lock: one pipelined call to Redis for a whole batch, so that hosts delay changes that would lose in Postgres
//! anyway. Only an optimisation: without Redis, or when it is slow, everything is granted and Postgres decides.

use std::time::Duration;

use redis::aio::ConnectionManager;
use tokio::time::Instant;
use uuid::Uuid;

/// Longest wait for Redis; a batch commits in a few milliseconds, so waiting longer would cost more than it saves.
const LIMIT: Duration = Duration::from_millis(50);
/// A lock outlives its host by this at most; a commit that takes longer is decided by Postgres.
const TTL_MS: u64 = 5_000;
/// After a failure Redis is not called for this long, so that an outage does not cost every batch the limit.
const REST: Duration = Duration::from_secs(2);

/// Takes all keys of a change or none: KEYS[i] are one change's keys, ARGV[1] the token, ARGV[2] the TTL in ms.
const TAKE: &str = "
for i = 1, #KEYS do
  local owner = redis.call('get', KEYS[i])
  if owner and owner ~= ARGV[1] then return 0 end
end
for i = 1, #KEYS do redis.call('set', KEYS[i], ARGV[1], 'px', ARGV[2]) end
return 1";

/// Frees the keys that the token still owns.
const FREE: &str = "
for i = 1, #KEYS do
  if redis.call('get', KEYS[i]) == ARGV[1] then redis.call('del', KEYS[i]) end
end
return 1";

pub struct SeatLock {
    redis: ConnectionManager,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    resting_until: Option<Instant>,
    taken: Vec<String>,
}

impl SeatLock {
    pub fn new(redis: ConnectionManager) -> Self {
        Self { redis, state: tokio::sync::Mutex::default() }
    }

    /// Whether each change may go now. `token` names the batch; within a batch the in-memory seat maps have decided.
    pub async fn acquire(&self, token: Uuid, wanted: &[Vec<String>]) -> Vec<bool> {
        let all = vec![true; wanted.len()];
        let mut state = self.state.lock().await;
        if wanted.iter().all(Vec::is_empty) || state.resting_until.is_some_and(|until| Instant::now() < until)
        {
            return all;
        }
        let mut pipeline = redis::pipe();
        for keys in wanted.iter().filter(|keys| !keys.is_empty()) {
            pipeline.cmd("EVAL").arg(TAKE).arg(keys.len());
            for key in keys {
                pipeline.arg(redis_key(key));
            }
            pipeline.arg(token.to_string()).arg(TTL_MS);
        }
        match self.ask::<Vec<i64>>(&pipeline).await {
            Some(answers) => {
                let mut answers = answers.into_iter();
                let granted: Vec<bool> =
                    wanted.iter().map(|keys| keys.is_empty() || answers.next().unwrap_or(1) == 1).collect();
                let taken =
                    wanted.iter().zip(&granted).filter(|(_, granted)| **granted).flat_map(|(keys, _)| keys);
                state.taken = taken.map(|key| redis_key(key)).collect();
                let refused = granted.iter().filter(|granted| !**granted).count();
                metrics::counter!("seat_lock_refusals_total").increment(refused as u64);
                granted
            }
            None => {
                state.resting_until = Some(Instant::now() + REST);
                all
            }
        }
    }

    /// After the commit.
    pub async fn release(&self, token: Uuid) {
        let mut state = self.state.lock().await;
        let taken = std::mem::take(&mut state.taken);
        if taken.is_empty() {
            return;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("EVAL").arg(FREE).arg(taken.len());
        for key in taken {
            pipeline.arg(key);
        }
        pipeline.arg(token.to_string());
        if self.ask::<Vec<i64>>(&pipeline).await.is_none() {
            state.resting_until = Some(Instant::now() + REST);
        }
    }

    async fn ask<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Option<T> {
        let mut redis = self.redis.clone();
        match tokio::time::timeout(LIMIT, pipeline.query_async(&mut redis)).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the seat lock failed; Postgres decides alone");
                None
            }
            Err(_) => {
                tracing::warn!("the seat lock took too long; Postgres decides alone");
                None
            }
        }
    }
}

fn redis_key(key: &str) -> String {
    format!("marquee:seat:{key}")
}
