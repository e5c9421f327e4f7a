//! What an operator does from the command line with messages: dead letters, and events once more.

use bus::contract::Paging;
use bus::contract::dead_letter::DeadLetter;
use bus::event_replay::{From, Selection, replay};
use bus::{Bus, Context, Problem, dead_letter};
use clap::Subcommand;

use crate::config::{self, OPERATOR};

/// Letters of one page of `list`.
const PAGE: u32 = 50;

#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// The oldest first
    List {
        #[arg(long, default_value_t = 1)]
        page: u32,
    },
    /// One with its payload, as JSON
    Show { sequence: u64 },
    /// Have its consumer handle it again; it goes when that succeeds
    Replay {
        /// Several, or `all` of the first page
        #[arg(required = true)]
        sequences: Vec<String>,
    },
    /// Give it up for good
    Drop { sequence: u64 },
}

#[derive(Debug, Subcommand)]
pub enum Events {
    /// Publish events of the stream again, under their own ids: whoever has handled them changes nothing
    Replay {
        /// A sequence of the stream, or a time such as 2026-01-31T00:00:00Z
        #[arg(long, value_parser = from)]
        from: From,
        /// A subject or filter, such as payment.success or payment.>
        #[arg(long)]
        subject: String,
        /// Let this consumer forget that it has handled them, so that it does so again; nobody else is bothered
        #[arg(long)]
        again: Option<String>,
    },
}

fn from(text: &str) -> Result<From, String> {
    if let Ok(sequence) = text.parse() {
        return Ok(From::Sequence(sequence));
    }
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
        .map(From::Time)
        .map_err(|_| "neither a number nor a time such as 2026-01-31T00:00:00Z".to_owned())
}

async fn operator() -> anyhow::Result<Bus> {
    let mut environment = config::environment();
    let nats = config::nats(&mut environment, OPERATOR);
    environment.check()?;
    Bus::connect(nats).await
}

pub async fn dead_letters(command: DeadLetters) -> anyhow::Result<()> {
    let bus = operator().await?;
    match command {
        DeadLetters::List { page } => {
            let page = dead_letter::list(&bus, Paging { page, page_size: PAGE }).await.map_err(told)?;
            for letter in &page.items {
                println!("{}", line(letter));
            }
            println!("{} of {} dead letters", page.items.len(), page.total);
            Ok(())
        }
        DeadLetters::Show { sequence } => {
            let letter = dead_letter::get(&bus, sequence).await.map_err(told)?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
            Ok(())
        }
        DeadLetters::Replay { sequences } => replay_letters(&bus, &sequences).await,
        DeadLetters::Drop { sequence } => {
            dead_letter::remove(&bus, sequence).await.map_err(told)?;
            println!("{sequence} dropped");
            Ok(())
        }
    }
}

/// One after another; those that fail again stay, and are told at the end.
async fn replay_letters(bus: &Bus, sequences: &[String]) -> anyhow::Result<()> {
    let numbers = match sequences {
        [all] if all == "all" => {
            let page = dead_letter::list(bus, Paging { page: 1, page_size: PAGE }).await.map_err(told)?;
            page.items.iter().map(|letter| letter.sequence).collect()
        }
        numbers => numbers.iter().map(|n| n.parse()).collect::<Result<Vec<u64>, _>>()?,
    };
    let mut failed = 0;
    for sequence in numbers {
        match dead_letter::replay(bus, sequence, &Context::new()).await {
            Ok(letter) => println!("{sequence} handled: {} by {}", letter.subject, letter.consumer),
            Err(problem) => {
                failed += 1;
                println!("{sequence} {}: {}", problem.code, problem.detail);
            }
        }
    }
    anyhow::ensure!(failed == 0, "{failed} stay");
    Ok(())
}

pub async fn events(command: Events) -> anyhow::Result<()> {
    let Events::Replay { from, subject, again } = command;
    let bus = operator().await?;
    let mut environment = config::environment();
    let inboxes = match &again {
        Some(_) => {
            let url = environment.required("DATABASE_URL");
            environment.check()?;
            Some(actors::delivery::Inboxes::open(&url).await?)
        }
        None => None,
    };
    let selection = Selection { from, subject, only: again.clone() };
    let run = (time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).try_into()?;
    let done = replay(&bus, &selection, run, async |ids| {
        if let (Some(inboxes), Some(consumer)) = (&inboxes, &again) {
            inboxes.forget(consumer, ids).await?;
        }
        Ok(())
    })
    .await?;
    println!("{} events published again, up to sequence {}", done.events, done.last_sequence);
    Ok(())
}

fn line(letter: &DeadLetter) -> String {
    let DeadLetter { sequence, subject, consumer, reason, attempts, parked_at, event_id, .. } = letter;
    format!(
        "{sequence:>6}  {parked_at}  {subject} → {consumer}, {attempts} tries, event {event_id}\n        {reason}"
    )
}

fn told(problem: Problem) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", problem.code, problem.detail)
}
