//! The faults, how they are injected and how they are removed.
//!
//! Invariant: removing a fault restores its part completely, so that everything that is still broken after the last fault is
//! a fault of the deployment.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster;
use crate::deployment::{self, Deployment};
use crate::disk;
use crate::power;
use crate::process;
use crate::proxy::Mode;

/// A process reads the file of its clock every second.
const CLOCK_READ: Duration = Duration::from_secs(2);

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
    /// the call is done, and then the connection is closed without an answer
    AnswersLost,
    ProviderKilled,
    /// webhooks are withheld until the fault is over, longer than any hold, and sent then
    WebhooksLate,
    /// webhooks are lost: only the provider's list of events has the events
    WebhooksLost,
    WebhooksDoubled,
    WebhooksReordered,
    /// the mail server cannot be reached
    #[value(name = "post-away")]
    MailServerAway,
    LinkSlow,
    LinkDropping,
    LinkOneWay,
    LinkHalfOpen,
    LinkReset,
    /// every process of the machine ends, and the disks of Postgres and NATS lose what was not synced
    PowerLoss,
    PostgresPowerLoss,
    NatsPowerLoss,
    /// kill -9 of the server of NATS that leads the stream EVENTS
    EventsLeaderKilled,
    /// kill -9 of the server of NATS that leads the cluster
    MetaLeaderKilled,
    /// kill -9 of two of three servers of NATS
    NatsMajorityKilled,
    EtcdLeaderKilled,
    EtcdMajorityKilled,
    /// kill -9 of Postgres and Patroni at the primary, until after the fail-over
    PrimaryKilled,
    StandbyKilled,
    /// kill -9 of Postgres alone at the primary
    PostmasterKilled,
    /// SIGSTOP of the server that leads, for 30 s
    EventsLeaderFrozen,
    EtcdLeaderFrozen,
    PrimaryFrozen,
    /// the cable of the server that leads the stream EVENTS is unplugged
    EventsLeaderCut,
    /// the cable of any one server is unplugged
    ServerCut,
    /// the cable of a machine with hosts and a gateway is unplugged
    ApplicationCut,
    /// the primary is cut off from its standby and etcd, and hosts still reach it
    PrimaryPartitioned,
    /// what a leading server sends to the other servers is lost, and it receives everything
    OneWayCut,
    /// SIGTERM and start of every server, then of every host and gateway
    AllRestarted,
}

/// The faults of a lane are injected one after another; two lanes run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Servers and the connections to them.
    Infrastructure,
    /// Processes of Marquee and the provider.
    Processes,
    /// Servers of a cluster (`--cluster`), where nothing else happens meanwhile.
    Cluster,
}

impl Fault {
    /// Whether it is a fault of `--power-loss`, which needs disks of its own.
    pub fn is_power_loss(self) -> bool {
        matches!(self, Fault::PowerLoss | Fault::PostgresPowerLoss | Fault::NatsPowerLoss)
    }

    pub fn lane(self) -> Lane {
        use Fault as F;
        match self {
            F::KillOne | F::KillAll | F::RollingRestart | F::Freeze | F::ClockAhead | F::ClockBehind => {
                Lane::Processes
            }
            F::ProviderSlow | F::ProviderFailing | F::AnswersLost | F::ProviderKilled => Lane::Processes,
            F::WebhooksLate | F::WebhooksLost | F::WebhooksDoubled | F::WebhooksReordered => Lane::Processes,
            F::EventsLeaderKilled
            | F::MetaLeaderKilled
            | F::NatsMajorityKilled
            | F::EtcdLeaderKilled
            | F::EtcdMajorityKilled
            | F::PrimaryKilled
            | F::StandbyKilled
            | F::PostmasterKilled
            | F::EventsLeaderFrozen
            | F::EtcdLeaderFrozen
            | F::PrimaryFrozen
            | F::EventsLeaderCut
            | F::ServerCut
            | F::ApplicationCut
            | F::PrimaryPartitioned
            | F::OneWayCut
            | F::AllRestarted => Lane::Cluster,
            _ => Lane::Infrastructure,
        }
    }

    /// The shortest and the longest duration in seconds; 0 for a fault that takes the time that it needs.
    pub fn seconds(self) -> (u64, u64) {
        use Fault as F;
        match self {
            F::Freeze | F::EventsLeaderFrozen | F::EtcdLeaderFrozen | F::PrimaryFrozen => (30, 30),
            // Longer than the lease of the primary (20 s), so that another server takes its place meanwhile.
            F::PrimaryKilled => (30, 35),
            F::PrimaryPartitioned | F::OneWayCut => (35, 45),
            F::EtcdMajorityKilled | F::ServerCut | F::EventsLeaderCut => (20, 30),
            F::StandbyKilled | F::ApplicationCut => (12, 18),
            F::PostmasterKilled => (3, 6),
            // Longer than the longest hold with its grace period.
            F::WebhooksLate => (28, 32),
            F::KillAll
            | F::NatsKilled
            | F::NatsWiped
            | F::PostgresKilled
            | F::RedisKilled
            | F::ProviderKilled => (1, 3),
            F::ClockAhead | F::ClockBehind => (10, 15),
            F::RollingRestart | F::AllRestarted => (0, 0),
            _ => (3, 9),
        }
    }

    /// Why it cannot be injected on this machine, if it cannot.
    pub fn impossible(self, small_disks: bool) -> Option<&'static str> {
        match self {
            fault if fault.is_power_loss() => Some("needs disks of its own: --power-loss"),
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

/// A fault at one place: `choice` selects one of the parts that it may hit.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    pub fault: Fault,
    pub choice: u64,
    /// The proxy that a network fault hits, where it is not selected by `choice`.
    pub at: Option<&'static str>,
}

impl Injection {
    fn pick<'a, T>(&self, among: &'a [T]) -> &'a T {
        &among[(self.choice % among.len() as u64) as usize]
    }

    /// Injects the fault; returns its place.
    pub async fn begin(&self, deployment: &Deployment) -> Result<String> {
        use Fault as F;
        if self.fault.lane() == Lane::Cluster {
            return cluster::faults::begin(self.fault, self.choice, deployment, deployment.cluster()).await;
        }
        let place = |name: &str| Ok(name.to_owned());
        match self.fault {
            F::KillOne | F::Freeze | F::ClockAhead | F::ClockBehind => self.begin_at_host(deployment).await,
            F::KillAll => {
                for name in deployment.hosts() {
                    deployment.processes[name].lock().await.kill().await?;
                }
                place("every host and gateway")
            }
            F::RollingRestart => rolling_restart(deployment).await,
            F::NatsStopped => at(deployment.nats.lock().await.stop().await, "nats"),
            F::NatsKilled => {
                deployment.nats.lock().await.kill().await;
                place("nats")
            }
            F::NatsFrozen => {
                deployment.nats.lock().await.pause();
                place("nats")
            }
            F::NatsWiped => at(deployment.nats.lock().await.wipe().await, "nats"),
            F::NatsDiskFull => fill(deployment, "nats").await,
            F::PostgresStopped => at(deployment.postgres.lock().await.stop().await, "postgres"),
            F::PostgresKilled => {
                deployment.postgres.lock().await.kill().await;
                place("postgres")
            }
            F::PostgresFrozen => {
                deployment.postgres.lock().await.pause();
                place("postgres")
            }
            F::PostgresDiskFull => fill(deployment, "postgres").await,
            F::RedisStopped => at(deployment.redis.lock().await.stop().await, "redis"),
            F::RedisKilled => {
                deployment.redis.lock().await.kill().await;
                place("redis")
            }
            F::ProviderKilled => {
                deployment.processes["provider"].lock().await.kill().await?;
                place("provider")
            }
            F::PowerLoss | F::PostgresPowerLoss | F::NatsPowerLoss => {
                power::cut(deployment, self.fault).await
            }
            F::LinkSlow
            | F::LinkDropping
            | F::LinkOneWay
            | F::LinkHalfOpen
            | F::LinkReset
            | F::MailServerAway => Ok(self.set_proxies(deployment, self.mode())),
            _ => switch(deployment, &self.switches()).await.map(|()| "provider".to_owned()),
        }
    }

    /// Removes the fault.
    pub async fn end(&self, deployment: &Deployment) -> Result<()> {
        use Fault as F;
        if self.fault.lane() == Lane::Cluster {
            return cluster::faults::end(deployment.cluster()).await;
        }
        match self.fault {
            F::KillOne | F::Freeze | F::ClockAhead | F::ClockBehind => self.end_at_host(deployment).await,
            F::KillAll => {
                for name in deployment.hosts() {
                    deployment.processes[name].lock().await.start()?;
                }
                Ok(())
            }
            F::RollingRestart => Ok(()),
            F::NatsFrozen => {
                deployment.nats.lock().await.resume();
                Ok(())
            }
            F::PostgresFrozen => {
                deployment.postgres.lock().await.resume();
                Ok(())
            }
            F::NatsDiskFull => {
                disk::free(&deployment.folder, "nats")?;
                deployment.nats.lock().await.start_again().await
            }
            F::PostgresDiskFull => {
                disk::free(&deployment.folder, "postgres")?;
                let mut postgres = deployment.postgres.lock().await;
                // It may have ended because the disk was full; a supervisor would start it again.
                postgres.kill().await;
                postgres.start_again().await
            }
            F::NatsStopped | F::NatsKilled | F::NatsWiped => deployment.nats.lock().await.start_again().await,
            F::PostgresStopped | F::PostgresKilled => deployment.postgres.lock().await.start_again().await,
            F::RedisStopped | F::RedisKilled => deployment.redis.lock().await.start_again().await,
            F::ProviderKilled => deployment.processes["provider"].lock().await.start(),
            F::PowerLoss | F::PostgresPowerLoss | F::NatsPowerLoss => {
                power::restore(deployment, self.fault).await
            }
            F::LinkSlow
            | F::LinkDropping
            | F::LinkOneWay
            | F::LinkHalfOpen
            | F::LinkReset
            | F::MailServerAway => {
                self.set_proxies(deployment, Mode::Normal);
                Ok(())
            }
            F::WebhooksLost => {
                // The withheld webhooks are not sent afterwards.
                switch(deployment, &json!({})).await
            }
            _ => {
                switch(deployment, &json!({})).await?;
                flush(deployment).await
            }
        }
    }

    async fn begin_at_host(&self, deployment: &Deployment) -> Result<String> {
        let hosts = deployment.hosts();
        let name = *self.pick(&hosts);
        let mut process = deployment.processes[name].lock().await;
        match self.fault {
            Fault::Freeze => process.freeze(),
            Fault::KillOne => process.kill().await?,
            fault => {
                // The process is started again with a clock that can be changed, which then jumps while it runs.
                process.set_clock(Some("+0"))?;
                process.stop().await?;
                process.start()?;
                drop(process);
                deployment.until_process_ready(name, deployment::READY_WITHIN).await?;
                let mut process = deployment.processes[name].lock().await;
                process.set_clock(Some(if fault == Fault::ClockAhead { "+2h" } else { "-2h" }))?;
            }
        }
        Ok(name.clone())
    }

    async fn end_at_host(&self, deployment: &Deployment) -> Result<()> {
        let hosts = deployment.hosts();
        let mut process = deployment.processes[*self.pick(&hosts)].lock().await;
        match self.fault {
            Fault::Freeze => {
                process.unfreeze();
                Ok(())
            }
            Fault::KillOne => process.start(),
            _ => {
                // The clock jumps back while the process runs; its next start is without the library.
                process.set_clock(Some("+0"))?;
                tokio::time::sleep(CLOCK_READ).await;
                process.set_clock(None)?;
                process.stop().await?;
                process.start()
            }
        }
    }

    fn mode(&self) -> Mode {
        match self.fault {
            Fault::LinkSlow => Mode::Slow(Duration::from_millis(40 + self.choice % 200)),
            Fault::LinkDropping => Mode::Dropping,
            Fault::LinkOneWay => Mode::OneWay,
            Fault::LinkHalfOpen => Mode::HalfOpen,
            _ => Mode::Reset,
        }
    }

    /// Sets the mode of one proxy, or of all proxies to the mail server; returns the place.
    fn set_proxies(&self, deployment: &Deployment, mode: Mode) -> String {
        if self.fault == Fault::MailServerAway {
            deployment
                .proxies
                .iter()
                .filter(|proxy| proxy.name.ends_with(">mail"))
                .for_each(|proxy| proxy.set(mode));
            return "every connection to the mail server".to_owned();
        }
        let proxy = match self.at {
            Some(at) => deployment
                .proxies
                .iter()
                .find(|proxy| proxy.name == at)
                .expect("the deployment has the proxy of a planted bug"),
            None => self.pick(&deployment.proxies),
        };
        proxy.set(mode);
        proxy.name.clone()
    }

    fn switches(&self) -> Value {
        match self.fault {
            Fault::ProviderSlow => json!({"call_delay_ms": 1_500 + self.choice % 3_000}),
            Fault::ProviderFailing => {
                let status = [429, 500, 503][(self.choice % 3) as usize];
                json!({"fail_calls": {"status": status, "next": -1}})
            }
            Fault::AnswersLost => json!({"answer_lost": 10 + self.choice % 20}),
            Fault::WebhooksDoubled => json!({"webhook_duplicate": true}),
            Fault::WebhooksReordered => json!({"webhook_reorder": true}),
            Fault::WebhooksLate | Fault::WebhooksLost => json!({"webhook_drop": true}),
            _ => json!({}),
        }
    }
}

fn at(done: Result<()>, name: &str) -> Result<String> {
    done.map(|()| name.to_owned())
}

async fn fill(deployment: &Deployment, disk: &'static str) -> Result<String> {
    let folder = deployment.folder.clone();
    tokio::task::spawn_blocking(move || disk::fill(&folder, disk)).await??;
    Ok(format!("{disk}'s disk"))
}

/// Stops each process, starts it again and waits until it is ready before the next one, as a deployment tool does.
pub async fn rolling_restart(deployment: &Deployment) -> Result<String> {
    let mut longest = Duration::ZERO;
    for name in deployment.hosts() {
        let mut process = deployment.processes[name].lock().await;
        longest = longest.max(process.stop().await?);
        process.start()?;
        drop(process);
        deployment.until_process_ready(name, deployment::READY_WITHIN).await?;
    }
    Ok(format!("every host and gateway, one by one; the longest stop took {longest:.1?}"))
}

async fn switch(deployment: &Deployment, switches: &Value) -> Result<()> {
    provider(deployment, "switches", switches).await
}

async fn flush(deployment: &Deployment) -> Result<()> {
    provider(deployment, "webhooks/flush", &json!({})).await
}

/// Sends a request to the provider without a proxy; repeats it, since the provider may just be starting.
async fn provider(deployment: &Deployment, path: &str, body: &Value) -> Result<()> {
    let url = format!("http://{}/sandbox/{path}", deployment.provider);
    let until = Instant::now() + deployment::READY_WITHIN;
    loop {
        match deployment.client.http.post(&url).json(body).send().await {
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
