//! What an operator does from the command line with messages: dead letters of NATS and, where `AMQP_URL` is set, of
//! RabbitMQ, and events once more.

use std::str::FromStr;

use anyhow::Context as _;
use bridge::Settings;
use bridge::dead_letter::{AmqpDeadLetter, AmqpDeadLetters, LISTED_MAX};
use bus::contract::Paging;
use bus::contract::dead_letter::DeadLetter;
use bus::event_replay::{From, Selection, replay};
use bus::{Bus, Context, Problem, dead_letter};
use clap::Subcommand;

use crate::config::{self, OPERATOR};

/// AmqpDeadLetters of one page of `list`.
const PAGE: u32 = 50;

/// Begins the name of a letter that is on RabbitMQ.
const AMQP: &str = "amqp:";

#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Those of NATS by their sequence, then those of RabbitMQ (`amqp:NAME`) if AMQP_URL is set; the oldest first
    List {
        #[arg(long, default_value_t = 1)]
        page: u32,
    },
    /// One with its payload, as JSON
    Show {
        /// A sequence, or amqp:NAME
        letter: Which,
    },
    /// Have its consumer handle it again, or on RabbitMQ bring it back to its queue; it goes when that succeeds
    Replay {
        /// Several sequences and amqp:NAME, or `all` of the first page of each
        #[arg(required = true)]
        letters: Vec<String>,
    },
    /// Give it up for good
    Drop {
        /// A sequence, or amqp:NAME
        letter: Which,
    },
}

/// Where a letter is, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Nats(u64),
    Amqp(String),
}

impl FromStr for Which {
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

/// RabbitMQ's dead letters, where `AMQP_URL` says that there is one.
async fn amqp() -> anyhow::Result<Option<AmqpDeadLetters>> {
    let mut environment = config::environment();
    if environment.get("AMQP_URL").is_none() {
        return Ok(None);
    }
    let settings = Settings::read(&mut environment);
    environment.check()?;
    Ok(Some(AmqpDeadLetters::open(settings).await.map_err(told)?))
}

async fn amqp_required() -> anyhow::Result<AmqpDeadLetters> {
    amqp().await?.context("letters named amqp:… are on RabbitMQ, whose AMQP_URL is not set")
}

pub async fn dead_letters(command: DeadLetters) -> anyhow::Result<()> {
    match command {
        DeadLetters::List { page } => {
            let bus = operator().await?;
            let page = dead_letter::list(&bus, Paging { page, page_size: PAGE }).await.map_err(told)?;
            for letter in &page.items {
                println!("{}", line(letter));
            }
            println!("{} of {} dead letters", page.items.len(), page.total);
            // After NATS's, which are told even when RabbitMQ is away.
            list_amqp(page.page).await
        }
        DeadLetters::Show { letter: Which::Nats(sequence) } => {
            let letter = dead_letter::get(&operator().await?, sequence).await.map_err(told)?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
            Ok(())
        }
        DeadLetters::Show { letter: Which::Amqp(name) } => {
            let letter = amqp_required().await?.get(&name).await.map_err(told)?;
            println!("{}", serde_json::to_string_pretty(&letter)?);
            Ok(())
        }
        DeadLetters::Replay { letters } => replay_letters(&letters).await,
        DeadLetters::Drop { letter: Which::Nats(sequence) } => {
            dead_letter::remove(&operator().await?, sequence).await.map_err(told)?;
            println!("{sequence} dropped");
            Ok(())
        }
        DeadLetters::Drop { letter: Which::Amqp(name) } => {
            amqp_required().await?.remove(&name).await.map_err(told)?;
            println!("{AMQP}{name} dropped");
            Ok(())
        }
    }
}

async fn list_amqp(page: u32) -> anyhow::Result<()> {
    let Some(letters) = amqp().await? else { return Ok(()) };
    let listing = letters.list().await.map_err(told)?;
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

/// One after another; those that fail again stay, and are told at the end.
async fn replay_letters(letters: &[String]) -> anyhow::Result<()> {
    let wanted = match letters {
        [all] if all == "all" => None,
        some => {
            let some = some.iter().map(|one| one.parse().map_err(|e| anyhow::anyhow!("{one:?} is {e}")));
            Some(some.collect::<anyhow::Result<Vec<Which>>>()?)
        }
    };
    let needs = |is: fn(&Which) -> bool| wanted.as_ref().is_none_or(|wanted| wanted.iter().any(is));
    let bus = match needs(|which| matches!(which, Which::Nats(_))) {
        true => Some(operator().await?),
        false => None,
    };
    let amqp = match (needs(|which| matches!(which, Which::Amqp(_))), &wanted) {
        (true, Some(_)) => Some(amqp_required().await?),
        (true, None) => amqp().await?,
        (false, _) => None,
    };
    let wanted = match wanted {
        Some(wanted) => wanted,
        None => every_letter(bus.as_ref(), amqp.as_ref()).await?,
    };
    let mut failed = 0;
    for which in wanted {
        let replayed = match (&which, &bus, &amqp) {
            (Which::Nats(sequence), Some(bus), _) => {
                let replayed = dead_letter::replay(bus, *sequence, &Context::new()).await;
                replayed
                    .map(|letter| format!("{sequence} handled: {} by {}", letter.subject, letter.consumer))
            }
            (Which::Amqp(name), _, Some(letters)) => letters.replay(name).await.map(|letter| {
                format!("{AMQP}{name} brought back: {} to {}", letter.event, letter.queue.unwrap_or_default())
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

/// All of them, page by page, before the first is replayed: those that leave would move the others between pages.
async fn every_letter(bus: Option<&Bus>, amqp: Option<&AmqpDeadLetters>) -> anyhow::Result<Vec<Which>> {
    let mut found = Vec::new();
    if let Some(bus) = bus {
        for page in 1.. {
            let paging = Paging { page, page_size: PAGE };
            let letters = dead_letter::list(bus, paging).await.map_err(told)?;
            found.extend(letters.items.iter().map(|letter| Which::Nats(letter.sequence)));
            if letters.items.is_empty() || u64::from(page) * u64::from(PAGE) >= letters.total {
                break;
            }
        }
    }
    if let Some(amqp) = amqp {
        let listing = amqp.list().await.map_err(told)?;
        found.extend(listing.dead_letters.into_iter().map(|letter| Which::Amqp(letter.name)));
    }
    Ok(found)
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nats(sequence) => sequence.fmt(f),
            Self::Amqp(name) => write!(f, "{AMQP}{name}"),
        }
    }
}

pub async fn events(command: Events) -> anyhow::Result<()> {
    let Events::Replay { from, subject, again } = command;
    let bus = operator().await?;
    let mut environment = config::environment();
    let inboxes = match &again {
        Some(_) => {
            let url = config::database_url(&mut environment);
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

fn amqp_line(letter: &AmqpDeadLetter) -> String {
    let AmqpDeadLetter { name, event, queue, reason, retries, parked_at, message_id, .. } = letter;
    let parked_at = parked_at.as_deref().unwrap_or("-");
    let queue = queue.as_deref().unwrap_or("(nobody knows which queue)");
    format!(
        "{AMQP}{name}  {parked_at}  {event} → {queue}, {retries} retries, message {message_id}\n        {reason}"
    )
}

fn told(problem: Problem) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", problem.code, problem.detail)
}
