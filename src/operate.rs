//! Commands for messages: dead letters of NATS and, where `AMQP_URL` is set, of RabbitMQ, and the replay of events.

use std::str::FromStr;

use anyhow::Context as _;
use bridge::Settings;
use bridge::dead_letter::{AmqpDeadLetter, AmqpDeadLetters, LISTED_MAX};
use bus::contract::Paging;
use bus::contract::dead_letter::DeadLetter;
use bus::event_replay::{From, Selection, replay};
use bus::{Bus, Context, Problem, dead_letter};
use clap::Subcommand;

use crate::config::{self, MAINTENANCE, OPERATOR};

/// Dead letters on one page of `list`.
const PAGE: u32 = 50;

/// The prefix of the name of a dead letter on RabbitMQ.
const AMQP: &str = "amqp:";

#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// List those of NATS by their sequence, then those of RabbitMQ (`amqp:NAME`) if AMQP_URL is set; oldest first
    List {
        #[arg(long, default_value_t = 1)]
        page: u32,
    },
    /// Show one with its payload, as JSON
    Show {
        /// A sequence, or amqp:NAME
        letter: DeadLetterId,
    },
    /// Have the consumer handle it again, or on RabbitMQ return it to its queue; it is deleted when that succeeds
    Replay {
        /// Sequences and amqp:NAME, or `all`
        #[arg(required = true)]
        letters: Vec<String>,
    },
    /// Delete it without handling it
    Drop {
        /// A sequence, or amqp:NAME
        letter: DeadLetterId,
    },
}

/// Identifies a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterId {
    Nats(u64),
    Amqp(String),
}

impl FromStr for DeadLetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(AMQP) {
            Some(name) if !name.is_empty() => Ok(Self::Amqp(name.to_owned())),
            _ => text.parse().map(Self::Nats).map_err(|_| "neither a sequence nor amqp:<name>".to_owned()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Events {
    /// Publish events of the stream again, under their own ids: a consumer that has handled them changes nothing
    Replay {
        /// A sequence of the stream, or a time such as 2026-01-31T00:00:00Z
        #[arg(long, value_parser = from)]
        from: From,
        /// A subject or filter, such as payment.success or payment.>
        #[arg(long)]
        subject: String,
        /// Only for this consumer; every other one skips them
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

/// A connection as a user of `nats.conf`.
async fn connect(user: &str) -> anyhow::Result<Bus> {
    let mut environment = config::environment();
    let nats = config::nats_among_others(&mut environment, user);
    environment.check()?;
    Bus::connect(nats).await
}

/// RabbitMQ's dead letters, where `AMQP_URL` is set.
async fn amqp() -> anyhow::Result<Option<AmqpDeadLetters>> {
    let mut environment = config::environment();
    if environment.get("AMQP_URL").is_none() {
        return Ok(None);
    }
    let settings = Settings::read(&mut environment);
    environment.check()?;
    Ok(Some(AmqpDeadLetters::open(settings).await.map_err(error)?))
}

async fn amqp_required() -> anyhow::Result<AmqpDeadLetters> {
    amqp().await?.context("dead letters named amqp:… are on RabbitMQ, whose AMQP_URL is not set")
}

pub async fn dead_letters(command: DeadLetters) -> anyhow::Result<()> {
    match command {
        DeadLetters::List { page } => {
            let bus = connect(OPERATOR).await?;
            let page = dead_letter::list(&bus, Paging { page, page_size: PAGE }).await.map_err(error)?;
            for letter in &page.items {
                println!("{}", nats_line(letter));
            }
            println!("{} of {} dead letters", page.items.len(), page.total);
            // After NATS's, so that those are shown even when RabbitMQ is unavailable.
            list_amqp(page.page).await
        }
        DeadLetters::Show { letter: DeadLetterId::Nats(sequence) } => {
            let letter = dead_letter::get(&connect(OPERATOR).await?, sequence).await.map_err(error)?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
            Ok(())
        }
        DeadLetters::Show { letter: DeadLetterId::Amqp(name) } => {
            let letter = amqp_required().await?.get(&name).await.map_err(error)?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
            Ok(())
        }
        DeadLetters::Replay { letters } => replay_all(&letters).await,
        DeadLetters::Drop { letter: DeadLetterId::Nats(sequence) } => {
            dead_letter::remove(&connect(OPERATOR).await?, sequence).await.map_err(error)?;
            println!("{sequence} dropped");
            Ok(())
        }
        DeadLetters::Drop { letter: DeadLetterId::Amqp(name) } => {
            amqp_required().await?.remove(&name).await.map_err(error)?;
            println!("{AMQP}{name} dropped");
            Ok(())
        }
    }
}

async fn list_amqp(page: u32) -> anyhow::Result<()> {
    let Some(letters) = amqp().await? else { return Ok(()) };
    let listing = letters.list().await.map_err(error)?;
    let size = PAGE as usize;
    let shown: Vec<&AmqpDeadLetter> = listing
        .dead_letters
        .iter()
        .skip(size.saturating_mul(page.saturating_sub(1) as usize))
        .take(size)
        .collect();
    for letter in &shown {
        println!("{}", amqp_line(letter));
    }
    println!("{} of {} dead letters on RabbitMQ", shown.len(), listing.total);
    if listing.total > listing.dead_letters.len() as u64 {
        println!(
            "only the first {} are listed; replay or drop some to see the rest (at most {LISTED_MAX})",
            listing.dead_letters.len()
        );
    }
    Ok(())
}

/// Replays one after another; those that fail again stay, and their number is the error.
async fn replay_all(letters: &[String]) -> anyhow::Result<()> {
    let selected = match letters {
        [all] if all == "all" => None,
        names => {
            let names = names.iter().map(|name| name.parse().map_err(|e| anyhow::anyhow!("{name:?} is {e}")));
            Some(names.collect::<anyhow::Result<Vec<DeadLetterId>>>()?)
        }
    };
    let needs =
        |is: fn(&DeadLetterId) -> bool| selected.as_ref().is_none_or(|selected| selected.iter().any(is));
    let bus = match needs(|which| matches!(which, DeadLetterId::Nats(_))) {
        true => Some(connect(OPERATOR).await?),
        false => None,
    };
    let amqp = match (needs(|which| matches!(which, DeadLetterId::Amqp(_))), &selected) {
        (true, Some(_)) => Some(amqp_required().await?),
        (true, None) => amqp().await?,
        (false, _) => None,
    };
    let selected = match selected {
        Some(selected) => selected,
        None => every_dead_letter(bus.as_ref(), amqp.as_ref()).await?,
    };
    let mut failed = 0;
    for which in selected {
        let replayed = match (&which, &bus, &amqp) {
            (DeadLetterId::Nats(sequence), Some(bus), _) => {
                let replayed = dead_letter::replay(bus, *sequence, &Context::new()).await;
                replayed
                    .map(|letter| format!("{sequence} handled: {} by {}", letter.subject, letter.consumer))
            }
            (DeadLetterId::Amqp(name), _, Some(letters)) => letters.replay(name).await.map(|letter| {
                format!("{AMQP}{name} returned: {} to {}", letter.event, letter.queue.unwrap_or_default())
            }),
            _ => continue,
        };
        match (replayed, which) {
            (Ok(done), _) => println!("{done}"),
            (Err(problem), which) => {
                failed += 1;
                println!("{which} {}: {}", problem.code, problem.detail);
            }
        }
    }
    anyhow::ensure!(failed == 0, "{failed} stay");
    Ok(())
}

/// All of them, page by page, before the first is replayed: deleting some would shift the others between pages.
async fn every_dead_letter(
    bus: Option<&Bus>,
    amqp: Option<&AmqpDeadLetters>,
) -> anyhow::Result<Vec<DeadLetterId>> {
    let mut all = Vec::new();
    if let Some(bus) = bus {
        for page in 1.. {
            let paging = Paging { page, page_size: PAGE };
            let letters = dead_letter::list(bus, paging).await.map_err(error)?;
            all.extend(letters.items.iter().map(|letter| DeadLetterId::Nats(letter.sequence)));
            if letters.items.is_empty() || u64::from(page) * u64::from(PAGE) >= letters.total {
                break;
            }
        }
    }
    if let Some(amqp) = amqp {
        let listing = amqp.list().await.map_err(error)?;
        all.extend(listing.dead_letters.into_iter().map(|letter| DeadLetterId::Amqp(letter.name)));
    }
    Ok(all)
}

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nats(sequence) => sequence.fmt(f),
            Self::Amqp(name) => write!(f, "{AMQP}{name}"),
        }
    }
}

pub async fn events(command: Events) -> anyhow::Result<()> {
    let Events::Replay { from, subject, again } = command;
    let bus = connect(MAINTENANCE).await?;
    let selection = Selection { from, subject, only: again };
    let run = (time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).try_into()?;
    let done = replay(&bus, &selection, run).await?;
    println!("{} events published again, up to sequence {}", done.events, done.last_sequence);
    Ok(())
}

fn nats_line(letter: &DeadLetter) -> String {
    let DeadLetter { sequence, subject, consumer, reason, attempts, parked_at, event_id, .. } = letter;
    format!(
        "{sequence:>6}  {parked_at}  {subject} → {consumer}, {attempts} tries, event {event_id}\n        {reason}"
    )
}

fn amqp_line(letter: &AmqpDeadLetter) -> String {
    let AmqpDeadLetter { name, event, queue, reason, retries, parked_at, message_id, .. } = letter;
    let parked_at = parked_at.as_deref().unwrap_or("-");
    let queue = queue.as_deref().unwrap_or("(unknown queue)");
    format!(
        "{AMQP}{name}  {parked_at}  {event} → {queue}, {retries} retries, message {message_id}\n        {reason}"
    )
}

fn error(problem: Problem) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", problem.code, problem.detail)
}
