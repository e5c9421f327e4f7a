//! What can go wrong, how it is done, and how it is undone.
//!
//! Invariant: undoing leaves nothing behind: a fault that is over leaves its part as it was before, so that what is still
//! broken after the last one is the house's own doing.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::disk;
use crate::house::{self, House};
use crate::link::Mode;
use crate::process;

/// A process has looked at its clock's file by then (it does so every second).
const CLOCK_SEEN: Duration = Duration::from_secs(2);

/// A kind of fault; the order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Fault {
    /// kill -9 of one host, gateway or the provider, started again when the fault is over
    KillOne,
    /// kill -9 of every host and gateway at once
    KillAll,
    /// SIGTERM and start, one process after another, while orders come in
    RollingRestart,
    /// SIGSTOP of one process for 30 s
    Freeze,
    /// one host's wall clock two hours ahead
    ClockAhead,
    /// one host's wall clock two hours behind
    ClockBehind,
    NatsStopped,
    NatsKilled,
    NatsFrozen,
    /// NATS loses all streams, consumers and messages
    NatsWiped,
    NatsDiskFull,
    PostgresStopped,
    PostgresKilled,
    PostgresFrozen,
    PostgresDiskFull,
    RedisStopped,
    RedisKilled,
    ProviderSlow,
    ProviderFailing,
    /// done and booked, and then the connection is cut instead of an answer
    AnswersLost,
    ProviderKilled,
    /// webhooks are lost until the fault is over, and come then, late beyond any hold
    WebhooksLate,
    /// webhooks do not come, now or later: only the provider's list of events tells
    WebhooksLost,
    WebhooksDoubled,
    WebhooksReordered,
    PostAway,
    LinkSlow,
    LinkDropping,
    LinkOneWay,
    LinkHalfOpen,
    LinkReset,
}

/// Which faults exclude each other in time: one lane does one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Servers and the ways to them.
    Ground,
    /// Processes and the provider.
    People,
}

impl Fault {
    pub fn lane(self) -> Lane {
        use Fault as F;
        match self {
            F::KillOne | F::KillAll | F::RollingRestart | F::Freeze | F::ClockAhead | F::ClockBehind => {
                Lane::People
            }
            F::ProviderSlow | F::ProviderFailing | F::AnswersLost | F::ProviderKilled => Lane::People,
            F::WebhooksLate | F::WebhooksLost | F::WebhooksDoubled | F::WebhooksReordered => Lane::People,
            _ => Lane::Ground,
        }
    }

    /// How long it lasts, in seconds, from the shortest to the longest; what takes its own time has none.
    pub fn seconds(self) -> (u64, u64) {
        use Fault as F;
        match self {
            F::Freeze => (30, 30),
            // Beyond the longest hold and its grace.
            F::WebhooksLate => (28, 32),
            F::KillAll
            | F::NatsKilled
            | F::NatsWiped
            | F::PostgresKilled
            | F::RedisKilled
            | F::ProviderKilled => (1, 3),
            F::ClockAhead | F::ClockBehind => (10, 15),
            F::RollingRestart => (0, 0),
            _ => (3, 9),
        }
    }

    /// Why it cannot be done on this machine, if it cannot.
    pub fn impossible(self, small_disks: bool) -> Option<&'static str> {
        match self {
            Fault::NatsDiskFull | Fault::PostgresDiskFull if !small_disks => {
                Some("needs root, for a tmpfs of its own")
            }
            Fault::ClockAhead | Fault::ClockBehind if !process::can_fake_time() => {
                Some("needs libfaketime (Debian: apt-get install faketime)")
            }
            _ => None,
        }
    }
}

/// One fault at one place: `die` chooses among the parts that it may hit.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    pub fault: Fault,
    pub die: u64,
    /// The link that a fault of links hits, where it is not left to the die.
    pub at: Option<&'static str>,
}

impl Strike {
    fn pick<'a, T>(&self, among: &'a [T]) -> &'a T {
        &among[(self.die % among.len() as u64) as usize]
    }

    /// Begins it; tells where.
    pub async fn begin(&self, house: &House) -> Result<String> {
        use Fault as F;
        let whole = |name: &str| Ok(name.to_owned());
        match self.fault {
            F::KillOne | F::Freeze | F::ClockAhead | F::ClockBehind => self.begin_at_host(house).await,
            F::KillAll => {
                for name in house.hosts() {
                    house.processes[name].lock().await.kill().await?;
                }
                whole("every host and gateway")
            }
            F::RollingRestart => rolling_restart(house).await,
            F::NatsStopped => stopped(house.nats.lock().await.stop().await, "nats"),
            F::NatsKilled => {
                house.nats.lock().await.kill().await;
                whole("nats")
            }
            F::NatsFrozen => {
                house.nats.lock().await.pause();
                whole("nats")
            }
            F::NatsWiped => stopped(house.nats.lock().await.wipe().await, "nats"),
            F::NatsDiskFull => full(house, "nats").await,
            F::PostgresStopped => stopped(house.postgres.lock().await.stop().await, "postgres"),
            F::PostgresKilled => {
                house.postgres.lock().await.kill().await;
                whole("postgres")
            }
            F::PostgresFrozen => {
                house.postgres.lock().await.pause();
                whole("postgres")
            }
            F::PostgresDiskFull => full(house, "postgres").await,
            F::RedisStopped => stopped(house.redis.lock().await.stop().await, "redis"),
            F::RedisKilled => {
                house.redis.lock().await.kill().await;
                whole("redis")
            }
            F::ProviderKilled => {
                house.processes["provider"].lock().await.kill().await?;
                whole("provider")
            }
            F::LinkSlow | F::LinkDropping | F::LinkOneWay | F::LinkHalfOpen | F::LinkReset | F::PostAway => {
                Ok(self.links(house, self.mode()))
            }
            _ => switch(house, &self.switches()).await.map(|()| "provider".to_owned()),
        }
    }

    /// Undoes it.
    pub async fn end(&self, house: &House) -> Result<()> {
        use Fault as F;
        match self.fault {
            F::KillOne | F::Freeze | F::ClockAhead | F::ClockBehind => self.end_at_host(house).await,
            F::KillAll => {
                for name in house.hosts() {
                    house.processes[name].lock().await.start()?;
                }
                Ok(())
            }
            F::RollingRestart => Ok(()),
            F::NatsFrozen => {
                house.nats.lock().await.resume();
                Ok(())
            }
            F::PostgresFrozen => {
                house.postgres.lock().await.resume();
                Ok(())
            }
            F::NatsDiskFull => {
                disk::empty(&house.folder, "nats")?;
                house.nats.lock().await.start_again().await
            }
            F::PostgresDiskFull => {
                disk::empty(&house.folder, "postgres")?;
                let mut postgres = house.postgres.lock().await;
                // It may have ended for want of room; then whoever watches over it starts it, as here.
                postgres.kill().await;
                postgres.start_again().await
            }
            F::NatsStopped | F::NatsKilled | F::NatsWiped => house.nats.lock().await.start_again().await,
            F::PostgresStopped | F::PostgresKilled => house.postgres.lock().await.start_again().await,
            F::RedisStopped | F::RedisKilled => house.redis.lock().await.start_again().await,
            F::ProviderKilled => house.processes["provider"].lock().await.start(),
            F::LinkSlow | F::LinkDropping | F::LinkOneWay | F::LinkHalfOpen | F::LinkReset | F::PostAway => {
                self.links(house, Mode::Well);
                Ok(())
            }
            F::WebhooksLost => {
                // What it holds back is not sent afterwards.
                switch(house, &json!({})).await
            }
            _ => {
                switch(house, &json!({})).await?;
                flush(house).await
            }
        }
    }

    async fn begin_at_host(&self, house: &House) -> Result<String> {
        let hosts = house.hosts();
        let name = *self.pick(&hosts);
        let mut process = house.processes[name].lock().await;
        match self.fault {
            Fault::Freeze => process.freeze(),
            Fault::KillOne => process.kill().await?,
            fault => {
                // Started again under a clock that can be set, which then jumps while it works.
                process.set_clock(Some("+0"))?;
                process.stop().await?;
                process.start()?;
                drop(process);
                house.one_ready(name, house::READY_WITHIN).await?;
                let mut process = house.processes[name].lock().await;
                process.set_clock(Some(if fault == Fault::ClockAhead { "+2h" } else { "-2h" }))?;
            }
        }
        Ok(name.clone())
    }

    async fn end_at_host(&self, house: &House) -> Result<()> {
        let hosts = house.hosts();
        let mut process = house.processes[*self.pick(&hosts)].lock().await;
        match self.fault {
            Fault::Freeze => {
                process.thaw();
                Ok(())
            }
            Fault::KillOne => process.start(),
            _ => {
                // It jumps back, too, while it works; without the library from its next start on.
                process.set_clock(Some("+0"))?;
                tokio::time::sleep(CLOCK_SEEN).await;
                process.set_clock(None)?;
                process.stop().await?;
                process.start()
            }
        }
    }

    fn mode(&self) -> Mode {
        match self.fault {
            Fault::LinkSlow => Mode::Slow(Duration::from_millis(40 + self.die % 200)),
            Fault::LinkDropping => Mode::Dropping,
            Fault::LinkOneWay => Mode::OneWay,
            Fault::LinkHalfOpen => Mode::HalfOpen,
            _ => Mode::Reset,
        }
    }

    /// One link, or all to the mail server.
    fn links(&self, house: &House, mode: Mode) -> String {
        if self.fault == Fault::PostAway {
            house.links.iter().filter(|link| link.name.ends_with(">post")).for_each(|link| link.set(mode));
            return "every way to the mail server".to_owned();
        }
        let link = match self.at {
            Some(at) => {
                house.links.iter().find(|link| link.name == at).expect("a planned link is the house's")
            }
            None => self.pick(&house.links),
        };
        link.set(mode);
        link.name.clone()
    }

    fn switches(&self) -> Value {
        match self.fault {
            Fault::ProviderSlow => json!({"call_delay_ms": 1_500 + self.die % 3_000}),
            Fault::ProviderFailing => {
                let status = [429, 500, 503][(self.die % 3) as usize];
                json!({"fail_calls": {"status": status, "next": -1}})
            }
            Fault::AnswersLost => json!({"answer_lost": 10 + self.die % 20}),
            Fault::WebhooksDoubled => json!({"webhook_duplicate": true}),
            Fault::WebhooksReordered => json!({"webhook_reorder": true}),
            Fault::WebhooksLate | Fault::WebhooksLost => json!({"webhook_drop": true}),
            _ => json!({}),
        }
    }
}

fn stopped(done: Result<()>, name: &str) -> Result<String> {
    done.map(|()| name.to_owned())
}

async fn full(house: &House, disk: &'static str) -> Result<String> {
    let folder = house.folder.clone();
    tokio::task::spawn_blocking(move || disk::fill(&folder, disk)).await??;
    Ok(format!("{disk}'s disk"))
}

/// Each is told to stop, waited for, and started; the next only when it is ready, as a deploy does it.
async fn rolling_restart(house: &House) -> Result<String> {
    let mut longest = Duration::ZERO;
    for name in house.hosts() {
        let mut process = house.processes[name].lock().await;
        longest = longest.max(process.stop().await?);
        process.start()?;
        drop(process);
        house.one_ready(name, house::READY_WITHIN).await?;
    }
    Ok(format!("every host and gateway, one by one; the longest stop took {longest:.1?}"))
}

async fn switch(house: &House, switches: &Value) -> Result<()> {
    provider(house, "switches", switches).await
}

async fn flush(house: &House) -> Result<()> {
    provider(house, "webhooks/flush", &json!({})).await
}

/// Asks the provider past all links; with patience, since it may just be starting.
async fn provider(house: &House, path: &str, body: &Value) -> Result<()> {
    let url = format!("http://{}/sandbox/{path}", house.provider);
    let until = Instant::now() + house::READY_WITHIN;
    loop {
        match house.rest.http.post(&url).json(body).send().await {
            Ok(answer) => {
                answer.error_for_status()?;
                return Ok(());
            }
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
