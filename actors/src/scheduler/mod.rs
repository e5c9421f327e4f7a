//! Scheduler publishes reminders of showtimes that start soon. It stores nothing: movie knows which showtimes had their
//! reminder, and a cron line says when to look.
//!
//! Invariant: one `movie.reminder` for each showtime and start, however many schedulers run or restart: its id is derived
//! from both, so that consumers handle it once. A showtime is marked only after JetStream's ack, so that no reminder is lost
//! in between; and movie lists all showtimes that start soon without a mark, so that none is lost while no scheduler ran.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bus::contract::reminder::{ListUpcoming, MarkReminded, MovieReminder, Reminded, UPCOMING_MAX};
use bus::contract::{Event, Timestamp};
use bus::event::Outgoing;
use bus::service::Ask;
use bus::{Bus, Context};
use futures::FutureExt;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;

use crate::config::SchedulerSettings;
use crate::domain::Domain;
use crate::host::{Host, HostBuilder, Stage};

/// Pages of one round: more showtimes than start within an hour in any chain; the rest comes with the next round.
const PAGES_MAX: usize = 10;
/// JetStream acknowledges within milliseconds.
const ACK_MAX: Duration = Duration::from_secs(5);

pub const DOMAIN: Domain = Domain {
    name: "scheduler",
    consumer: None,
    publishes: &[MovieReminder::SUBJECT],
    migrations: None,
    configure: |environment| {
        let settings = SchedulerSettings::read(environment);
        Box::new(move |bus, _| spawn(HostBuilder::new(bus, "scheduler"), settings).boxed_local())
    },
};

/// Starts the host.
pub async fn spawn(builder: HostBuilder, settings: SchedulerSettings) -> anyhow::Result<Host> {
    // It has no database that could be down.
    let (_, database_up) = tokio::sync::watch::channel(true);
    let bus = builder.bus.clone();
    let announced = bus.clone();
    let children = vec![
        builder.worker(Stage::Intake, "reminders", move |stop| run(bus.clone(), settings.clone(), stop)),
        builder.worker(Stage::Intake, "service", move |stop| {
            let bus = announced.clone();
            async move { Ok(bus::service::announce(bus, DOMAIN.name, stop).await?) }
        }),
    ];
    builder.start(None, database_up, move || children.clone()).await
}

async fn run(bus: Bus, settings: SchedulerSettings, stop: CancellationToken) -> anyhow::Result<()> {
    let mut scheduler = JobScheduler::new().await.context("starting the clock")?;
    // A round that takes longer than a minute is not overtaken by the next.
    let busy = Arc::new(tokio::sync::Mutex::new(()));
    let within = settings.within_minutes;
    let job = Job::new_async(settings.cron.as_str(), move |_, _| {
        let (bus, busy) = (bus.clone(), busy.clone());
        async move {
            if let Ok(_busy) = busy.try_lock()
                && let Err(error) = remind(&bus, within).await
            {
                tracing::warn!(error = format!("{error:#}"), "reminders wait for the next round");
            }
        }
        .boxed()
    });
    scheduler.add(job.context("REMINDER_CRON is not a cron line")?).await?;
    scheduler.start().await?;
    stop.cancelled().await;
    scheduler.shutdown().await?;
    Ok(())
}

/// One round: lists, publishes, marks, until nothing is left.
async fn remind(bus: &Bus, within_minutes: u32) -> anyhow::Result<()> {
    for _ in 0..PAGES_MAX {
        let context = Context::new();
        let ask = Ask::new(context.clone());
        let upcoming = bus.ask(&ListUpcoming { within_minutes }, &ask).await.map_err(failed)?;
        let found = upcoming.showtimes.len();
        if found == 0 {
            return Ok(());
        }
        let reminded = publish(bus, upcoming.showtimes, &context).await?;
        metrics::counter!("reminders_total").increment(reminded.len() as u64);
        tracing::info!(showtimes = reminded.len(), request_id = context.correlation_id, "reminded");
        bus.ask(&MarkReminded { reminded }, &ask).await.map_err(failed)?;
        if found < UPCOMING_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// Publishes the reminders and waits for every ack.
async fn publish(
    bus: &Bus,
    showtimes: Vec<MovieReminder>,
    context: &Context,
) -> anyhow::Result<Vec<Reminded>> {
    let now = Timestamp::wall_clock();
    let mut acks = Vec::with_capacity(showtimes.len());
    for reminder in &showtimes {
        let event =
            Outgoing { id: reminder.event_id(), ..Outgoing::new("scheduler", reminder, now, context) };
        acks.push(event.send(bus).await?);
    }
    for ack in acks {
        tokio::time::timeout(ACK_MAX, ack).await.context("no ack from JetStream")??;
    }
    let reminded = |reminder: &MovieReminder| Reminded {
        showtime_id: reminder.showtime_id,
        starts_at: reminder.starts_at,
    };
    Ok(showtimes.iter().map(reminded).collect())
}

fn failed(problem: bus::Problem) -> anyhow::Error {
    anyhow::anyhow!("{} {}: {}", problem.status, problem.code, problem.detail)
}
