//! Sends what is due: claims mails, judges each, asks what it lacks, composes, hands it to the mailer, marks it.
//!
//! Invariant: claiming and marking are changes of the journal; in between nothing is locked and no transaction is open.
//! Invariant: a mail server that is away costs mails no tries: this host pauses, longer each time, and they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus::Problem;
use bus::contract::SeatId;
use bus::contract::auth::{GetResetToken, GetVerificationToken, SignTickets, Ticket};
use bus::contract::movie::DescribeShowtime;
use bus::contract::reservation::DescribeReservation;
use bus::retry;
use bus::service::Ask;
use bus::trace::{self, Kind};
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::bounds::{self, Recipients};
use super::letter::Enclosed;
use super::model::{self, Attendee, End, Facts, Mail, Topic, Trouble, Verdict, judge};
use super::store::{self, Heard, Write, Written};
use super::{Env, MAX_DELAY, letter, order, wording};
use crate::delivery::{Change, Outcome};

/// How often to look for mails whose turn has come, besides being told of new ones.
const LOOK: Duration = Duration::from_millis(500);
/// Mails of one claim; with the mailer's own limit of 20 s a mail they are done within a claim's time.
const CLAIM_MAX: usize = 32;
/// Mails on their way at once, each on a connection of its own.
const AT_ONCE: usize = 8;
/// What another host is asked for a mail.
pub(super) const ASK_MAX: Duration = Duration::from_secs(5);

/// Runs until `stop`; what is claimed and not begun by then is given back, and what was sent is marked.
pub async fn run(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    // No more at once than are sent while the journal writes, or gives up.
    let marking = TaskTracker::new();
    send(&env, &stop, &marking).await;
    marking.close();
    marking.wait().await;
    Ok(())
}

async fn send(env: &Arc<Env>, stop: &CancellationToken, marking: &TaskTracker) {
    let pace = Pace::new(env.settings.mails_per_second);
    let most = CLAIM_MAX.min(env.settings.mails_per_second as usize).max(1);
    let mut pauses = 0u64;
    loop {
        let pause = if pauses == 0 { LOOK } else { retry::delay(pauses + 3, pauses) };
        tokio::select! {
            _ = stop.cancelled() => return,
            _ = env.wake.notified(), if pauses == 0 => {}
            _ = tokio::time::sleep(pause) => {}
        }
        loop {
            if stop.is_cancelled() {
                return;
            }
            let mails = claim(env, most).await;
            if mails.is_empty() {
                break;
            }
            if round(env, mails, &pace, stop, marking).await {
                pauses = 0;
            } else {
                pauses += 1;
                tracing::warn!(pauses, "the mail server is away; mails wait");
                break;
            }
        }
    }
}

async fn claim(env: &Env, most: usize) -> Vec<Mail> {
    // When the database is away the journal and the consumer tell; mails wait.
    if !store::is_any_due(&env.pool).await.unwrap_or(false) {
        return Vec::new();
    }
    let claim = Write::Claim { most: most as i64, lease: env.settings.claim };
    match env.journal.commit(Change::new(claim)).await {
        Outcome::Committed { written: Written::Claimed(mails), .. } => mails,
        other => {
            tracing::warn!(?other, "no mails claimed");
            Vec::new()
        }
    }
}

/// Tries every mail of a claim; false when the mail server was found away. Each is marked while others are sent.
async fn round(
    env: &Arc<Env>,
    mails: Vec<Mail>,
    pace: &Pace,
    stop: &CancellationToken,
    marking: &TaskTracker,
) -> bool {
    let read = async { Ok((store::facts(&env.pool, &mails).await?, Recipients::of(env, &mails).await?)) };
    let (facts, recipients) = match read.await {
        Ok(read) => read,
        Err::<_, sqlx::Error>(error) => {
            // The claim runs out, and they come again.
            tracing::warn!(%error, "mails could not be read");
            return true;
        }
    };
    let away = AtomicBool::new(false);
    let each = mails.into_iter().map(|mail| {
        let facts = facts.get(&mail.id).cloned().unwrap_or_default();
        (mail, facts)
    });
    futures::stream::iter(each)
        .for_each_concurrent(AT_ONCE, async |(mail, facts)| {
            if stop.is_cancelled() || away.load(Ordering::Relaxed) {
                let again =
                    End::Again { after: Duration::ZERO, counts: false, error: "not begun".to_owned() };
                marking.spawn(settle(env.clone(), mail, again, None));
                return;
            }
            let (end, recipient, reached) = attempt(env, &mail, facts, &recipients, pace).await;
            if !reached {
                away.store(true, Ordering::Relaxed);
            }
            marking.spawn(settle(env.clone(), mail, end, recipient));
        })
        .await;
    !away.load(Ordering::Relaxed)
}

/// One try. Tells the end, the recipient, and whether a mail server was reached as far as one was needed.
async fn attempt(
    env: &Env,
    mail: &Mail,
    facts: Facts,
    recipients: &Recipients,
    pace: &Pace,
) -> (End, Option<String>, bool) {
    let facts = match complete(env, mail, facts).await {
        Ok(Some(facts)) => facts,
        Ok(None) => return (End::Skipped("nobody knows the reservation".to_owned()), None, true),
        Err(trouble) => return (failed(env, mail, trouble), None, true),
    };
    // An order's address may have been put right since the mail was queued, or sent to the wrong one.
    let of_order = facts.attendee.as_ref().map(|attendee| attendee.told.email.clone());
    let recipient = of_order.or_else(|| mail.recipient.clone());
    let now = env.clock.now();
    let verdict = match judge(&mail.topic, &facts, now) {
        Verdict::Send => order::judge(&mail.topic, &mail.subject, &facts),
        skip => skip,
    };
    if let Verdict::Skip(why) = verdict {
        return (End::Skipped(why.to_owned()), recipient, true);
    }
    let Some(to) = recipient.clone() else {
        return (End::Failed("the mail has no recipient".to_owned()), None, true);
    };
    match bounds::unproven(env, mail, &facts).await {
        Ok(None) => {}
        Ok(Some(why)) => return (End::Skipped(why.to_owned()), recipient, true),
        Err(trouble) => return (failed(env, mail, trouble), recipient, true),
    }
    let sent = async {
        let enclosed = match enclose(env, mail, &facts).await? {
            Ok(enclosed) => enclosed,
            Err(why) => return Ok(End::Skipped(why.to_owned())),
        };
        if mail.topic.is_bounded(&facts)
            && let Some(why) = recipients.take(&to)
        {
            return Ok(End::Skipped(why));
        }
        let words = wording::of(&mail.topic, &facts, &enclosed, &env.settings.public_url, now);
        let message = letter::message(env.mailer.from(), &to, mail, &facts, words, enclosed)?;
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

fn failed(env: &Env, mail: &Mail, trouble: Trouble) -> End {
    let waited = env.clock.now().date_time() - mail.queued_at.date_time();
    let seed = mail.id.as_u64_pair().1;
    model::after(trouble, mail.attempts, waited.unsigned_abs(), seed)
}

/// Asks for what no event told yet, and keeps it. `None`: there is no such reservation.
async fn complete(env: &Env, mail: &Mail, mut facts: Facts) -> Result<Option<Facts>, Trouble> {
    let Some(id) = mail.reservation_id else { return Ok(Some(facts)) };
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(mail.context.clone()) };
    if facts.attendee.is_none() {
        let described = match env.bus.ask(&DescribeReservation { id }, &ask).await {
            Ok(described) => described,
            Err(problem) if problem.status == 404 => return Ok(None),
            Err(problem) => return Err(unanswered(&problem)),
        };
        let attendee = Attendee { status: described.status, told: described.reservation };
        let heard = Heard { attendee: Some((attendee.clone(), mail.context.clone())), ..Heard::default() };
        learn(env, heard).await;
        facts.attendee = Some(attendee);
    }
    let showtime = facts.attendee.as_ref().map(|attendee| attendee.told.showtime_id);
    if let (None, Some(id)) = (&facts.showtime, showtime) {
        match env.bus.ask(&DescribeShowtime { id }, &ask).await {
            Ok(told) => {
                let showtime: model::Showtime = told.into();
                learn(env, Heard { showtime: Some(showtime.clone()), ..Heard::default() }).await;
                facts.showtime = Some(showtime);
            }
            // Deleted: the reservation tells enough for a mail about it.
            Err(problem) if problem.status == 404 => {}
            Err(problem) => return Err(unanswered(&problem)),
        }
    }
    Ok(Some(facts))
}

/// Keeping an answer only spares the next mail the question.
async fn learn(env: &Env, heard: Heard) {
    let outcome = env.journal.commit(Change::new(Write::Heard(Box::new(heard)))).await;
    if !matches!(outcome, Outcome::Committed { .. }) {
        tracing::info!(?outcome, "an answer was not kept");
    }
}

/// What only other hosts can give: signed tickets, the link's token. The inner error says why the mail is skipped.
async fn enclose(env: &Env, mail: &Mail, facts: &Facts) -> Result<Result<Enclosed, &'static str>, Trouble> {
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(mail.context.clone()) };
    if let Topic::PasswordReset { reset_id, .. } = &mail.topic {
        return match env.bus.ask(&GetResetToken { reset_id: *reset_id }, &ask).await {
            Ok(reset) => Ok(Ok(Enclosed::Reset { token: reset.token })),
            Err(problem) if problem.status == 404 => Ok(Err("the link was used or has expired")),
            Err(problem) => Err(unanswered(&problem)),
        };
    }
    if let Topic::EmailVerification { verification_id, .. } = &mail.topic {
        let request = GetVerificationToken { verification_id: *verification_id };
        return match env.bus.ask(&request, &ask).await {
            Ok(answer) => Ok(Ok(Enclosed::Verification { token: answer.token })),
            Err(problem) if problem.status == 404 => {
                Ok(Err("the address is proven already, or the link has expired"))
            }
            Err(problem) => Err(unanswered(&problem)),
        };
    }
    let Some(attendee) = facts.attendee.as_ref().filter(|_| mail.topic.has_tickets()) else {
        return Ok(Ok(Enclosed::Nothing));
    };
    let told = &attendee.told;
    let starts_at = facts.showtime.as_ref().map_or(told.starts_at, |showtime| showtime.starts_at);
    let ticket = |seat: &SeatId| Ticket {
        reservation_id: told.reservation_id,
        showtime_id: told.showtime_id,
        seat: seat.clone(),
        starts_at,
    };
    let request = SignTickets { tickets: told.seats.iter().map(ticket).collect() };
    match env.bus.ask(&request, &ask).await {
        Ok(signed) => Ok(Ok(Enclosed::Tickets { tokens: signed.tokens })),
        Err(problem) => Err(unanswered(&problem)),
    }
}

pub(super) fn unanswered(problem: &Problem) -> Trouble {
    Trouble::Unanswered(format!("{} {}: {}", problem.status, problem.code, problem.detail))
}

async fn settle(env: Arc<Env>, mail: Mail, end: End, recipient: Option<String>) {
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
            tracing::warn!(%id, kind, error, request_id, "mail put off");
        }
        End::Skipped(reason) => tracing::info!(%id, kind, reason, request_id, "mail skipped"),
        End::Sent | End::Again { .. } => tracing::info!(%id, kind, status, request_id, "mail"),
    }
    let write = Write::Settle { id: mail.id, version: mail.version, end, recipient };
    match env.journal.commit(Change { max_delay: MAX_DELAY, ..Change::new(write) }).await {
        Outcome::Committed { written: Written::Done, .. } => {}
        Outcome::Committed { written: Written::Lost, .. } => {
            tracing::warn!(%id, kind, "the claim had run out; another host has the mail");
        }
        // The claim runs out and the mail comes again, with the same Message-ID.
        other => tracing::warn!(%id, kind, ?other, "mail not marked"),
    }
}

/// Spaces mails out evenly: so many a second, whatever waits.
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
