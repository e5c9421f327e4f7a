//! Sends due mails: claims them with the facts that they need, decides whether each is still true, requests what is missing,
//! composes the message, hands it to the mailer, has it marked.
//!
//! Invariant: claiming and marking are one statement each; in between nothing is locked and no transaction is open.
//! Invariant: while the mail server is away no mail's tries are counted: this host pauses, longer each time, and mails wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bus::retry;
use bus::trace::{self, Kind};
use futures::StreamExt;
use lettre::Message;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::bounds::{self, Recipients};
use super::enclosed::{self, Links};
use super::message::{Draft, Enclosed, Words};
use super::model::{self, End, Facts, Mail, Trouble, Verdict, judge};
use super::store::{self, Claimed, Mark};
use super::wording::{self, Writing};
use super::{Env, facts, marker, message, order};
use crate::delivery::is_away;

/// How often an idle sender looks for due mails: those that another host could not send, or whose host was killed. Mails of
/// this host's own events and retries have their own time (see [`NextLook`]).
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// Mails of one claim; with the mailer's own limit of 20 s a mail they are done within a claim's time.
const CLAIM_MAX: usize = 32;
/// Mails in flight at once, each on a connection of its own.
const AT_ONCE: usize = 8;

/// When the sender looks for due mails next.
pub struct NextLook {
    at: std::sync::Mutex<Instant>,
    earlier: Notify,
}

impl NextLook {
    pub fn new() -> Self {
        Self { at: std::sync::Mutex::new(Instant::now()), earlier: Notify::new() }
    }

    /// A mail is due at this time: no later than that.
    pub fn at(&self, due: Instant) {
        let mut at = self.lock();
        if due < *at {
            *at = due;
            self.earlier.notify_one();
        }
    }

    /// Waits for the time, then sets the next one. Before the look, so that a mail that becomes due meanwhile counts.
    async fn wait(&self) {
        loop {
            let at = *self.lock();
            tokio::select! {
                _ = tokio::time::sleep_until(at) => break,
                _ = self.earlier.notified() => {}
            }
        }
        *self.lock() = Instant::now() + IDLE_LOOK;
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.at.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Runs until `stop`. Claimed mails that are not begun by then are given back, and sent ones are marked.
pub async fn run(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    let (ended, marks) = mpsc::unbounded_channel();
    let marking = tokio::spawn(marker::run(env.clone(), marks, stop.clone()));
    send(&env, &stop, ended).await;
    marking.await?;
    Ok(())
}

async fn send(env: &Env, stop: &CancellationToken, ended: mpsc::UnboundedSender<Mark>) {
    let pace = Pace::new(env.settings.mails_per_second);
    let most = CLAIM_MAX.min(env.settings.mails_per_second as usize).max(1);
    let mut pauses = 0u64;
    loop {
        let pausing = async {
            match pauses {
                0 => env.next_look.wait().await,
                pauses => tokio::time::sleep(retry::delay(pauses + 3, pauses)).await,
            }
        };
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = pausing => {}
        }
        while !stop.is_cancelled() {
            let claimed = claim(env, most).await;
            let is_last = claimed.len() < most;
            if claimed.is_empty() {
                break;
            }
            if round(env, claimed, &pace, stop, &ended).await {
                pauses = 0;
            } else {
                pauses += 1;
                tracing::warn!(pauses, "the mail server is away; mails wait");
                break;
            }
            if is_last {
                break;
            }
        }
    }
}

async fn claim(env: &Env, most: usize) -> Vec<Claimed> {
    match store::claim(&env.pool, most, env.settings.claim).await {
        Ok((claimed, next_due)) => {
            if let Some(wait) = next_due {
                env.next_look.at(Instant::now() + wait);
            }
            claimed
        }
        Err(error) => {
            // While the database is away, journal and consumer log it.
            if !is_away(&error) {
                tracing::warn!(%error, "no mails claimed");
            }
            Vec::new()
        }
    }
}

/// Tries every mail of a claim; false when the mail server was found away.
async fn round(
    env: &Env,
    claimed: Vec<Claimed>,
    pace: &Pace,
    stop: &CancellationToken,
    ended: &mpsc::UnboundedSender<Mark>,
) -> bool {
    let recipients = Recipients::of(env, &claimed);
    let links = Links::of(env, &claimed).await;
    let away = AtomicBool::new(false);
    futures::stream::iter(claimed)
        .for_each_concurrent(AT_ONCE, async |Claimed { mail, facts, .. }| {
            if stop.is_cancelled() || away.load(Ordering::Relaxed) {
                let again =
                    End::Again { after: Duration::ZERO, counts: false, error: "not begun".to_owned() };
                mark(ended, mail, again, None);
                return;
            }
            let (end, recipient, reached) = attempt(env, &mail, facts, (&recipients, &links), pace).await;
            if !reached {
                away.store(true, Ordering::Relaxed);
            }
            if let End::Again { after, .. } = &end {
                env.next_look.at(Instant::now() + *after + super::GATHER);
            }
            mark(ended, mail, end, recipient);
        })
        .await;
    !away.load(Ordering::Relaxed)
}

/// One try: how it ended, the recipient, and whether a mail server was reached, if one was needed.
async fn attempt(
    env: &Env,
    mail: &Mail,
    facts: Facts,
    (recipients, links): (&Recipients, &Links),
    pace: &Pace,
) -> (End, Option<String>, bool) {
    let facts = match facts::complete(env, mail, facts).await {
        Ok(Some(facts)) => facts,
        Ok(None) => return (End::Skipped("nobody knows the reservation".to_owned()), None, true),
        Err(trouble) => return (failed(env, mail, trouble), None, true),
    };
    // The address of an order may have been corrected since the mail was queued.
    let of_order = facts.attendee.as_ref().map(|attendee| attendee.reservation.email.clone());
    let recipient = of_order.or_else(|| mail.recipient.clone()).filter(|address| !address.is_empty());
    let now = env.clock.now();
    let verdict = match judge(&mail.topic, &facts, now) {
        Verdict::Send => order::judge(&mail.topic, &mail.subject, &facts),
        skip => skip,
    };
    if let Verdict::Skip(why) = verdict {
        return (End::Skipped(why.to_owned()), recipient, true);
    }
    let Some(to) = recipient.clone() else {
        if facts.attendee.is_some() {
            return (End::Skipped("the order has no address any more".to_owned()), None, true);
        }
        return (End::Failed("the mail has no recipient".to_owned()), None, true);
    };
    match bounds::unproven(env, mail, &facts).await {
        Ok(None) => {}
        Ok(Some(why)) => return (End::Skipped(why.to_owned()), recipient, true),
        Err(trouble) => return (failed(env, mail, trouble), recipient, true),
    }
    let sent = async {
        let enclosed = match enclosed::of(env, mail, &facts, links).await? {
            Ok(enclosed) => enclosed,
            Err(why) => return Ok(End::Skipped(why.to_owned())),
        };
        if (mail.topic.is_bounded(&facts) || mail.repeats_tickets())
            && let Some(why) = recipients.take(&to)
        {
            return Ok(End::Skipped(why));
        }
        let words = wording::of(&Writing {
            topic: &mail.topic,
            facts: &facts,
            enclosed: &enclosed,
            locale: facts.locale(mail),
            public_url: &env.settings.public_url,
            now,
        });
        let message = compose(env, &to, mail, &facts, words, enclosed).await?;
        pace.wait().await;
        let (span, _) = trace::begin(Kind::Client, "send mail", &mail.context);
        env.mailer.deliver(mail, &message).instrument(span).await?;
        Ok(End::Sent)
    };
    match sent.await {
        Ok(end) => (end, recipient, true),
        Err(trouble) => {
            let reached = !matches!(trouble, Trouble::Away(_));
            (failed(env, mail, trouble), recipient, reached)
        }
    }
}

/// On a thread for such work: the tickets of a large order take some milliseconds.
async fn compose(
    env: &Env,
    to: &str,
    mail: &Mail,
    facts: &Facts,
    words: Words,
    enclosed: Enclosed,
) -> Result<Message, Trouble> {
    let face = env.face();
    let (to, mail, facts) = (to.to_owned(), mail.clone(), facts.clone());
    let composed = tokio::task::spawn_blocking(move || {
        let (settings, printer, from, to) = (&face.settings, &face.printer, &face.from, to.as_str());
        message::message(Draft { settings, printer, from, to, mail: &mail, facts: &facts, words, enclosed })
    });
    // A panic would come again with each try.
    composed
        .await
        .unwrap_or_else(|panic| Err(Trouble::Refused(format!("the mail cannot be composed: {panic}"))))
}

fn failed(env: &Env, mail: &Mail, trouble: Trouble) -> End {
    let waited = env.clock.now().date_time() - mail.queued_at.date_time();
    let seed = mail.id.as_u64_pair().1;
    model::after(trouble, mail.attempts, waited.unsigned_abs(), seed)
}

fn mark(ended: &mpsc::UnboundedSender<Mark>, mail: Mail, end: End, recipient: Option<String>) {
    let kind = model::name_of(mail.topic.kind());
    let (id, request_id) = (mail.id, &mail.context.correlation_id);
    let status = match &end {
        End::Sent => "sent",
        End::Skipped(_) => "skipped",
        End::Again { .. } => "put_off",
        End::Failed(_) => "failed",
    };
    metrics::counter!("mails_total", "kind" => kind.clone(), "end" => status).increment(1);
    match &end {
        End::Failed(error) => tracing::error!(%id, kind, error, request_id, "mail given up"),
        End::Again { error, counts: true, .. } => {
            tracing::warn!(%id, kind, error, request_id, "mail deferred");
        }
        End::Skipped(reason) => tracing::info!(%id, kind, reason, request_id, "mail skipped"),
        End::Sent | End::Again { .. } => tracing::info!(%id, kind, status, request_id, "mail"),
    }
    // The marker outlives every sender.
    let _ = ended.send(Mark { id: mail.id, version: mail.version, end, recipient });
}

/// Spaces mails out evenly: a limited number a second, however many wait.
struct Pace {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(mails_per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / mails_per_second.max(1), next: Mutex::new(Instant::now()) }
    }

    async fn wait(&self) {
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            *next = turn + self.gap;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}
