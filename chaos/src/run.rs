//! One run: build the house, let the crowd in, break things by the schedule, heal, wait for rest, read everything, check.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sqlx::Connection;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::{self, Checked, Scene, Window};
use crate::crowd::{Habit, Halls, Moviegoer, Person};
use crate::house::{Blueprint, House};
use crate::owner;
use crate::rest::Outcome;
use crate::schedule::Planned;
use crate::settle::settle;
use crate::story::Story;
use crate::truth::{self, Truth};

/// Orders whose key is asked for once more at the end.
const ASKED_AGAIN_MAX: usize = 40;

/// It is parked at once; the rest is for a machine that has much else to do.
const POISON_MAX: Duration = Duration::from_secs(60);

/// What to do in one run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub load: Duration,
    pub crowd: usize,
    /// Faults of each lane.
    pub lanes: Vec<Vec<Planned>>,
    pub only: Option<Habit>,
    /// How long to wait for rest; more than the promise, to say how late it was.
    pub patience: Duration,
}

/// What came of it.
pub struct Report {
    pub checked: Vec<Checked>,
    pub windows: Vec<Window>,
    pub revived: u32,
}

impl Report {
    pub fn failed(&self) -> Vec<&'static str> {
        self.checked
            .iter()
            .filter(|checked| !checked.findings.is_empty())
            .map(|checked| checked.name)
            .collect()
    }
}

/// Runs a plan on a house of its own. `logs`: where to keep the processes' logs when a check fails.
pub async fn run(blueprint: &Blueprint, plan: &Plan, logs: &Path) -> Result<Report> {
    let begun = Instant::now();
    let house = Arc::new(House::build(blueprint).await?);
    let keeper = tokio::spawn({
        let house = house.clone();
        async move { house.keep().await }
    });
    let owner = owner::log_in(&house.rest).await?;
    let people = people(&house, plan.crowd + 1).await?;
    let first = owner::open_hall(&house.rest, &owner).await?;
    let halls: Halls = Arc::new(Mutex::new(vec![first]));
    // Where somebody buys after the last fault: the crowd, which would sell it out, does not know it.
    let kept = owner::open_hall(&house.rest, &owner).await?;
    println!(
        "  the house stands after {:.0?}: {} processes, {} links; {} moviegoers for {:.0?}",
        begun.elapsed(),
        house.processes.len(),
        house.links.len(),
        plan.crowd,
        plan.load
    );
    let story = Story::default();
    let windows = crowd_and_faults(&house, plan, &owner, &people, &halls, &story).await?;
    let mut halls = halls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let settled = settle(&house, &people[plan.crowd], &kept, &story, plan.patience).await;
    halls.push(kept);
    let poison = poison(&house, plan.patience.min(POISON_MAX)).await?;
    ask_again(&house, &story).await;
    let fsck = fsck(&house, &blueprint.program).await?;
    let maps = check::seat_maps(&house, &halls).await?;
    let truth = Truth::read(&house).await?;
    keeper.abort();
    let mut revived = 0;
    for process in house.processes.values() {
        revived += process.lock().await.revived;
    }
    let told = story.taken();
    let scene = Scene {
        truth: &truth,
        told: &told,
        windows: &windows,
        maps: &maps,
        settled: &settled,
        poison: &poison,
        fsck: &fsck,
    };
    let checked = check::all(&scene);
    let report = Report { checked, windows, revived };
    if !report.failed().is_empty() {
        keep_logs(&house, logs)?;
    }
    Ok(report)
}

async fn people(house: &House, count: usize) -> Result<Vec<Person>> {
    let mut people = Vec::new();
    for number in 0..count {
        people.push(owner::register(&house.rest, number).await?);
    }
    // Only proven addresses get mails about held seats, which the checks read.
    let mut db = sqlx::PgConnection::connect(&house.database_url).await?;
    sqlx::query("update auth.users set verified_at = now() where verified_at is null")
        .execute(&mut db)
        .await?;
    Ok(people)
}

/// Lets the crowd in, strikes by the schedule, and returns when both are over and everything is mended.
async fn crowd_and_faults(
    house: &Arc<House>,
    plan: &Plan,
    owner: &Person,
    people: &[Person],
    halls: &Halls,
    story: &Story,
) -> Result<Vec<Window>> {
    let (begin, stop) = (Instant::now(), CancellationToken::new());
    let mut crowd = tokio::task::JoinSet::new();
    for (number, person) in people.iter().take(plan.crowd).enumerate() {
        let moviegoer = Moviegoer {
            rest: house.rest.clone(),
            person: person.clone(),
            owner: owner.clone(),
            halls: halls.clone(),
            story: story.clone(),
            random: Moviegoer::random(plan.seed, number),
            only: plan.only,
        };
        crowd.spawn(moviegoer.go_on(stop.clone()));
    }
    crowd.spawn(owner::keep_opening(house.rest.clone(), owner.clone(), halls.clone(), stop.clone()));
    let lanes = plan.lanes.iter().map(|lane| strike(house, lane, begin));
    let struck = futures::future::join_all(lanes).await;
    tokio::time::sleep_until(begin + plan.load).await;
    stop.cancel();
    while crowd.join_next().await.is_some() {}
    let mut windows = Vec::new();
    for lane in struck {
        windows.extend(lane?);
    }
    Ok(windows)
}

/// One lane's faults, one after another.
async fn strike(house: &House, lane: &[Planned], begin: Instant) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    for planned in lane {
        tokio::time::sleep_until(begin + planned.begin).await;
        let (at, began) = (begin.elapsed(), OffsetDateTime::now_utc());
        let name = name(planned.strike.fault);
        let place = planned.strike.begin(house).await.map_err(|error| error.context(name.clone()))?;
        println!("  {:6.1} s  {name:<20} {place} ({:.0?})", at.as_secs_f32(), planned.lasts);
        tokio::time::sleep(planned.lasts).await;
        planned.strike.end(house).await.map_err(|error| error.context(format!("the end of {name}")))?;
        windows.push(Window { name, begin: began, end: OffsetDateTime::now_utc() });
    }
    Ok(windows)
}

/// A fault's name as the command line has it.
pub fn name(fault: crate::fault::Fault) -> String {
    use clap::ValueEnum;
    fault.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Publishes messages that nobody can handle, and waits until they are parked (or not).
async fn poison(house: &House, patience: Duration) -> Result<Vec<String>> {
    let nowhere = uuid::Uuid::now_v7();
    let missing = serde_json::json!({
        "paymentId": nowhere, "reservationId": nowhere, "total": {"amount": 1, "currency": "EUR"},
        "provider": "stripe", "providerRef": "pi_none", "paidAt": "2026-01-01T00:00:00Z"
    });
    let messages = [
        ("payment.success", "{".to_owned()),
        ("payment.success", missing.to_string()),
        ("reservation.created", "[]".to_owned()),
        ("refund.requested", "{\"refundId\": 7}".to_owned()),
    ];
    let jetstream = truth::nats(house).await?;
    let mut ids = Vec::new();
    for (subject, body) in messages {
        let id = uuid::Uuid::now_v7().to_string();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", id.as_str());
        headers.insert("Nats-Msg-Id", id.as_str());
        jetstream.publish_with_headers(subject, headers, body.into()).await?.await?;
        ids.push(id);
    }
    let until = Instant::now() + patience;
    let mut dead = jetstream.get_stream("DLQ").await?;
    // Two of them are heard by payment and notification alike.
    while dead.info().await?.state.messages < 6 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(ids)
}

/// Orders that were answered are asked for once more with their keys, now that nothing is broken.
async fn ask_again(house: &House, story: &Story) {
    let done: Vec<_> = story
        .look()
        .orders
        .iter()
        .filter_map(|order| match &order.outcome {
            Outcome::Done(text) => Some((order.clone(), text.clone())),
            _ => None,
        })
        .collect();
    let every = done.len().div_ceil(ASKED_AGAIN_MAX).max(1);
    for (order, first) in done.iter().step_by(every) {
        match house.rest.post("/v1/reservations", &order.token, &order.key, &order.body).await {
            Outcome::Done(second) => story.repeated(&order.key, first, &second),
            // Its token has run out in a long run.
            Outcome::Refused(401, _) => {}
            other => story.repeated(&order.key, first, &format!("{other:?}")),
        }
    }
}

/// The house's own check; empty when it found nothing.
async fn fsck(house: &House, program: &Path) -> Result<String> {
    let checked = tokio::process::Command::new(program)
        .arg("fsck")
        .env_clear()
        .env("DATABASE_URL", &house.database_url)
        .current_dir(house.folder.path())
        .output()
        .await?;
    if checked.status.success() {
        return Ok(String::new());
    }
    Ok([checked.stdout, checked.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat())
}

fn keep_logs(house: &House, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(house.folder.path().join("work"))?.flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    println!("  the processes' logs are in {}", folder.display());
    Ok(())
}
