//! One run: start the deployment, the load and the faults, wait until everything is idle, read the end state and check it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sqlx::Connection;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::check::{self, CheckResult, Observations, Window};
use crate::client::Outcome;
use crate::cluster::Healer;
use crate::crowd::Crowd;
use crate::deployment::{Deployment, DeploymentSpec};
use crate::end_state::{self, EndState};
use crate::fault::Lane;
use crate::guest;
use crate::links;
use crate::load::{Account, Behaviour, Showtimes};
use crate::power::{Figures, Power};
use crate::record::Recorder;
use crate::recovery::until_idle;
use crate::schedule::ScheduledFault;
use crate::staff::{self, Planner};

/// How many accepted orders are repeated with their keys at the end.
const REPEATED_MAX: usize = 40;

/// Poison is parked at once; the time is for a busy machine.
const POISON_MAX: Duration = Duration::from_secs(60);

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct RunPlan {
    pub seed: u64,
    /// How long the customers order.
    pub load: Duration,
    pub customers: usize,
    /// Faults of each lane.
    pub lanes: Vec<Vec<ScheduledFault>>,
    pub only: Option<Behaviour>,
    /// How long to wait until everything is idle: longer than promised, to show how late it was.
    pub max_wait: Duration,
}

/// The result of a run.
pub struct Report {
    pub results: Vec<CheckResult>,
    pub windows: Vec<Window>,
    pub restarts: u32,
    pub figures: Figures,
}

impl Report {
    pub fn failed(&self) -> Vec<&'static str> {
        self.results.iter().filter(|result| !result.findings.is_empty()).map(|result| result.name).collect()
    }
}

/// Runs a plan on a new deployment. `logs` is the folder for the logs of the processes when a check fails.
pub async fn run(spec: &DeploymentSpec, plan: &RunPlan, logs: &Path) -> Result<Report> {
    let begun = Instant::now();
    let deployment = Arc::new(Deployment::start(spec).await?);
    let supervisor = tokio::spawn({
        let deployment = deployment.clone();
        async move { deployment.supervise().await }
    });
    let owner = staff::log_in(&deployment.client).await?;
    let accounts = register_customers(&deployment, plan.customers + 1).await?;
    let planner = Planner::new(deployment.client.clone(), owner);
    if spec.upgrade_from.is_none() {
        planner.create_price_card().await?;
    }
    let first = planner.create_showtime().await?;
    let showtimes: Showtimes = Arc::new(Mutex::new(vec![first]));
    // For the ticket that is bought after the last fault; the customers, who might sell it out, do not get it.
    let reserved = planner.create_showtime().await?;
    println!(
        "  the deployment is ready after {:.0?}: {} processes, {} proxies; {} customers for {:.0?}",
        begun.elapsed(),
        deployment.processes.len(),
        deployment.proxies.len(),
        plan.customers,
        plan.load
    );
    if let Some(power) = &deployment.power {
        power.settle().await?;
    }
    let recorder = Recorder::default();
    let healer = healer(&deployment, plan, &planner, &accounts, &recorder).await?;
    let crowd = Crowd {
        deployment: &deployment,
        plan,
        planner: &planner,
        showtimes: &showtimes,
        recorder: &recorder,
        healer: healer.as_ref(),
    };
    let (windows, upgrade) = match &spec.upgrade_from {
        None => (crowd.run_with_faults(&accounts).await?, None),
        Some(_) => {
            let report = crowd.run_with_upgrade(&spec.program, &accounts).await?;
            (vec![report.window.clone()], Some(report))
        }
    };
    let mut showtimes = showtimes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    showtimes.extend(healer.iter().flat_map(|healer| healer.showtimes().to_vec()));
    let recovery =
        until_idle(&deployment, &accounts[plan.customers], &reserved, &recorder, plan.max_wait).await;
    showtimes.push(reserved);
    let poison = poison(&deployment, plan.max_wait.min(POISON_MAX)).await?;
    repeat_orders(&deployment, &recorder).await;
    let links = links::try_all(&deployment).await;
    let record = recorder.take();
    let guests = guest::try_merged(&deployment, &record).await;
    let fsck = fsck(&deployment, &spec.program).await?;
    let maps = check::seat_maps(&deployment, &showtimes).await?;
    let state = EndState::read(&deployment).await?;
    let cluster = match &healer {
        Some(healer) => Some(deployment.cluster().seen(healer.healings()).await?),
        None => None,
    };
    supervisor.abort();
    let mut restarts = 0;
    for process in deployment.processes.values() {
        restarts += process.lock().await.restarts;
    }
    let seen = Observations {
        state: &state,
        record: &record,
        windows: &windows,
        maps: &maps,
        recovery: &recovery,
        links: &links,
        guests: &guests,
        poison: &poison,
        fsck: &fsck,
        upgrade: upgrade.as_ref(),
        failures: &deployment.client.failures(),
        cluster: cluster.as_ref(),
    };
    let results = check::all(&seen);
    let losses = deployment.power.as_ref().map(Power::losses).unwrap_or_default();
    let figures = Figures::of(&seen, losses);
    let report = Report { results, windows, restarts, figures };
    if !report.failed().is_empty() {
        copy_logs(&deployment, logs)?;
    }
    Ok(report)
}

/// Buys tickets between the faults of a cluster.
async fn healer(
    deployment: &Deployment,
    plan: &RunPlan,
    planner: &Planner,
    accounts: &[Account],
    recorder: &Recorder,
) -> Result<Option<Healer>> {
    if !deployment.has_cluster() {
        return Ok(None);
    }
    let faults = plan.lanes.iter().map(Vec::len).sum();
    let mut showtimes = Vec::new();
    for _ in 0..Healer::showtimes_for(faults) {
        showtimes.push(planner.create_showtime().await?);
    }
    Ok(Some(Healer::new(accounts[plan.customers].clone(), showtimes, recorder.clone())))
}

async fn register_customers(deployment: &Deployment, count: usize) -> Result<Vec<Account>> {
    let mut accounts = Vec::new();
    for number in 0..count {
        accounts.push(staff::register(&deployment.client, number).await?);
    }
    // Only verified addresses get mails about held seats, which the checks read.
    let mut db = sqlx::PgConnection::connect(&deployment.database_url).await?;
    sqlx::query("update auth.users set verified_at = now() where verified_at is null")
        .execute(&mut db)
        .await?;
    Ok(accounts)
}

/// Injects the faults of a lane, one after another; those of a cluster each when the one before is healed.
pub async fn inject_faults(
    deployment: &Deployment,
    lane: &[ScheduledFault],
    begin: Instant,
    healer: Option<&Healer>,
) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    for planned in lane {
        tokio::time::sleep_until(begin + planned.begin).await;
        let (at, began) = (begin.elapsed(), OffsetDateTime::now_utc());
        let name = name(planned.injection.fault);
        let place = planned.injection.begin(deployment).await.map_err(|error| error.context(name.clone()))?;
        println!("  {:6.1} s  {name:<20} {place} ({:.0?})", at.as_secs_f32(), planned.lasts);
        tokio::time::sleep(planned.lasts).await;
        planned
            .injection
            .end(deployment)
            .await
            .map_err(|error| error.context(format!("the end of {name}")))?;
        windows.push(Window { name: name.clone(), begin: began, end: OffsetDateTime::now_utc() });
        if let Some(healer) = healer.filter(|_| planned.injection.fault.lane() == Lane::Cluster)
            && !healer.observe(&name, deployment, deployment.cluster()).await
        {
            println!("           not all copies are there again: no further faults");
            break;
        }
    }
    Ok(windows)
}

/// The name of a fault on the command line.
pub fn name(fault: crate::fault::Fault) -> String {
    use clap::ValueEnum;
    fault.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Publishes poison messages, and waits until they are parked or the time is over; returns their ids.
async fn poison(deployment: &Deployment, max_wait: Duration) -> Result<Vec<String>> {
    let missing_id = uuid::Uuid::now_v7();
    let missing = serde_json::json!({
        "paymentId": missing_id, "reservationId": missing_id, "total": {"amount": 1, "currency": "EUR"},
        "provider": "stripe", "providerRef": "pi_none", "paidAt": "2026-01-01T00:00:00Z"
    });
    let messages = [
        ("payment.success", "{".to_owned()),
        ("payment.success", missing.to_string()),
        ("reservation.created", "[]".to_owned()),
        ("refund.requested", "{\"refundId\": 7}".to_owned()),
    ];
    let jetstream = end_state::nats(deployment).await?;
    let mut ids = Vec::new();
    for (subject, body) in messages {
        let id = uuid::Uuid::now_v7().to_string();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", id.as_str());
        headers.insert("Nats-Msg-Id", id.as_str());
        jetstream.publish_with_headers(subject, headers, body.into()).await?.await?;
        ids.push(id);
    }
    let until = Instant::now() + max_wait;
    let mut dead = jetstream.get_stream("DLQ").await?;
    // Two of the four have two consumers, payment and notification.
    while dead.info().await?.state.messages < 6 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(ids)
}

/// Repeats accepted orders with their keys, now that there are no faults.
async fn repeat_orders(deployment: &Deployment, recorder: &Recorder) {
    let done: Vec<_> = recorder
        .lock()
        .orders
        .iter()
        .filter_map(|order| match &order.outcome {
            Outcome::Done(text) => Some((order.clone(), text.clone())),
            _ => None,
        })
        .collect();
    let every = done.len().div_ceil(REPEATED_MAX).max(1);
    for (order, first) in done.iter().step_by(every) {
        match deployment.client.post("/v1/reservations", &order.token, &order.key, &order.body).await {
            Outcome::Done(second) => recorder.repeated(&order.key, first, &second),
            // In a long run the token has expired.
            Outcome::Refused(401, _) => {}
            other => recorder.repeated(&order.key, first, &format!("{other:?}")),
        }
    }
}

/// The output of `marquee fsck`; empty when it found nothing.
async fn fsck(deployment: &Deployment, program: &Path) -> Result<String> {
    let checked = tokio::process::Command::new(program)
        .arg("fsck")
        .env_clear()
        .env("DATABASE_URL", &deployment.database_url)
        .current_dir(deployment.folder.path())
        .output()
        .await?;
    if checked.status.success() {
        return Ok(String::new());
    }
    Ok([checked.stdout, checked.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}

fn copy_logs(deployment: &Deployment, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(deployment.folder.path().join("work"))?.flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    println!("  the logs of the processes are in {}", folder.display());
    Ok(())
}
