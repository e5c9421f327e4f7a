//! Notification's types and pure rules: whether a mail is still true when it is sent, and when to try again. Facts and `now`
//! are arguments.

use std::time::Duration;

use bus::contract::movie::{FilmVersion, ShowtimeScheduled, ShowtimeStatus};
use bus::contract::notification::{NotificationKind as Kind, NotificationStatus};
use bus::contract::reservation::{ReservationCreated, ReservationStatus};
use bus::contract::{Line, Locale, Money, SeatId, Timestamp};
use bus::{Context, Problem};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Tries of a mail that the server defers (4xx); with the delays below that is some six hours.
pub const TRIES_MAX: i32 = 12;
/// A mail that reaches no server waits as long as mail servers themselves would (RFC 5321, 4.5.4.1: four to five days).
pub const AWAY_MAX: Duration = Duration::from_secs(4 * 24 * 60 * 60);
const FIRST_DELAY: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);
/// After another host or the mail server was away: it is back soon, or the sender pauses anyway.
const AWAY_DELAY: Duration = Duration::from_secs(2);
/// Quotas are counted by the hour or the day.
const QUOTA_DELAY: Duration = Duration::from_secs(60);

/// A reservation as its newest event describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attendee {
    pub status: ReservationStatus,
    pub reservation: ReservationCreated,
}

/// The part of a showtime that mails mention.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Showtime {
    pub id: Uuid,
    pub version: i64,
    pub movie_title: String,
    pub auditorium_name: String,
    pub time_zone: String,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub cancelled: bool,
    #[serde(default)]
    pub film_version: Option<FilmVersion>,
    #[serde(default)]
    pub format: Option<String>,
    #[serde(default)]
    pub minutes_before_film: u16,
}

impl From<ShowtimeScheduled> for Showtime {
    fn from(scheduled: ShowtimeScheduled) -> Self {
        Self {
            id: scheduled.showtime_id,
            version: scheduled.version,
            movie_title: scheduled.movie_title,
            auditorium_name: scheduled.auditorium_name,
            time_zone: scheduled.time_zone,
            starts_at: scheduled.starts_at,
            ends_at: scheduled.ends_at,
            cancelled: scheduled.status == ShowtimeStatus::Cancelled,
            film_version: scheduled.showing.film_version,
            format: scheduled.showing.format,
            minutes_before_film: scheduled.showing.minutes_before_film,
        }
    }
}

/// What a mail is about, with facts of its event that no projection has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Topic {
    ReservationCreated {
        expires_at: Timestamp,
    },
    ReservationConfirmed,
    ReservationExchanged {
        previous_seats: Vec<SeatId>,
    },
    ReservationUpdated {
        returned_seats: Vec<SeatId>,
        refund: Money,
    },
    HoldExpired,
    PaymentFailed,
    ReservationCancelled {
        /// By the customer, who knows it.
        #[serde(default)]
        by_owner: bool,
        /// Another order has taken its place.
        #[serde(default)]
        exchanged: bool,
    },
    ShowtimeCancelled,
    RefundRequested {
        total: Money,
    },
    RefundCompleted {
        total: Money,
    },
    Reminder {
        starts_at: Timestamp,
    },
    PasswordReset {
        reset_id: Uuid,
        expires_at: Timestamp,
    },
    PasswordChanged {
        changed_at: Timestamp,
    },
    EmailVerification {
        verification_id: Uuid,
        expires_at: Timestamp,
    },
}

impl Topic {
    pub fn kind(&self) -> Kind {
        match self {
            Self::ReservationCreated { .. } => Kind::ReservationCreated,
            Self::ReservationConfirmed => Kind::ReservationConfirmed,
            Self::ReservationExchanged { .. } => Kind::ReservationExchanged,
            Self::ReservationUpdated { .. } => Kind::ReservationUpdated,
            Self::HoldExpired => Kind::HoldExpired,
            Self::PaymentFailed => Kind::PaymentFailed,
            Self::ReservationCancelled { .. } => Kind::ReservationCancelled,
            Self::ShowtimeCancelled => Kind::ShowtimeCancelled,
            Self::RefundRequested { .. } => Kind::RefundRequested,
            Self::RefundCompleted { .. } => Kind::RefundCompleted,
            Self::Reminder { .. } => Kind::Reminder,
            Self::PasswordReset { .. } => Kind::PasswordReset,
            Self::PasswordChanged { .. } => Kind::PasswordChanged,
            Self::EmailVerification { .. } => Kind::EmailVerification,
        }
    }

    /// Whether the tickets are attached.
    pub fn has_tickets(&self) -> bool {
        matches!(
            self,
            Self::ReservationConfirmed | Self::ReservationExchanged { .. } | Self::ReservationUpdated { .. }
        )
    }

    /// Whether it is about unpaid seats: anybody can cause such a mail, to any address.
    pub fn is_of_hold(&self, facts: &Facts) -> bool {
        match self {
            Self::ReservationCreated { .. } | Self::HoldExpired | Self::PaymentFailed => true,
            Self::ReservationCancelled { .. } | Self::ShowtimeCancelled => !facts.was_confirmed(),
            Self::ReservationConfirmed
            | Self::ReservationExchanged { .. }
            | Self::ReservationUpdated { .. }
            | Self::RefundRequested { .. }
            | Self::RefundCompleted { .. }
            | Self::Reminder { .. }
            | Self::PasswordReset { .. }
            | Self::PasswordChanged { .. }
            | Self::EmailVerification { .. } => false,
        }
    }

    /// Whether the number of such mails to one recipient within an hour is limited. The first mail with paid tickets and mails
    /// about refunds are not; [`Mail::repeats_tickets`] is about further mails with tickets. The claim of mails counts the same ones.
    pub fn is_bounded(&self, facts: &Facts) -> bool {
        let account = matches!(
            self,
            Self::PasswordReset { .. } | Self::PasswordChanged { .. } | Self::EmailVerification { .. }
        );
        let is_free = facts.attendee.as_ref().is_some_and(|attendee| attendee.reservation.total.amount == 0);
        account || is_free || self.is_of_hold(facts)
    }
}

/// A mail to be queued. `subject` and the kind of its topic name it: a second one with the same name is not queued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMail {
    pub topic: Topic,
    pub subject: String,
    pub reservation_id: Option<Uuid>,
    /// Of a mail about an account.
    pub user_id: Option<Uuid>,
    pub recipient: Option<String>,
    pub context: Context,
}

/// A mail that this host has claimed.
#[derive(Debug, Clone)]
pub struct Mail {
    pub id: Uuid,
    pub version: i64,
    pub attempts: i32,
    pub resends: i32,
    pub topic: Topic,
    pub subject: String,
    pub reservation_id: Option<Uuid>,
    pub recipient: Option<String>,
    pub context: Context,
    pub queued_at: Timestamp,
}

impl Mail {
    /// Whether it has the tickets once more, since the order was changed. Who has an order can cause such mails, to any address.
    pub fn repeats_tickets(&self) -> bool {
        self.topic.has_tickets() && self.subject.contains('/')
    }
}

/// Another mail of the same order.
#[derive(Debug, Clone)]
pub struct Sibling {
    pub kind: Kind,
    /// As in the mail's own row: with the kind it names the mail.
    pub subject: String,
    pub status: NotificationStatus,
    pub topic: Topic,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
}

impl Sibling {
    pub fn is_cancellation(&self) -> bool {
        matches!(self.kind, Kind::ReservationCancelled | Kind::ShowtimeCancelled)
    }
}

/// The facts about a mail's reservation and showtime.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub attendee: Option<Attendee>,
    pub showtime: Option<Showtime>,
    /// All mails of the reservation, this one among them.
    pub siblings: Vec<Sibling>,
}

impl Facts {
    /// The language of a mail: the order's, else that of the request which caused it.
    pub fn locale(&self, mail: &Mail) -> Locale {
        let of_order = self.attendee.as_ref().map(|attendee| attendee.reservation.locale);
        of_order.or(mail.context.locale).unwrap_or_default()
    }

    /// The ticket of a seat. Orders that were made before orders had lines have none.
    pub fn line(&self, seat: &SeatId) -> Option<&Line> {
        self.attendee.as_ref()?.reservation.lines.iter().find(|line| line.seat == *seat)
    }

    /// Whether the reservation was paid, or taken where it is free, at some time.
    pub fn was_confirmed(&self) -> bool {
        self.siblings.iter().any(|mail| mail.kind == Kind::ReservationConfirmed)
    }
}

/// Whether a mail is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// It is no longer true.
    Skip(&'static str),
}

/// Decides by the facts at the time of sending.
pub fn judge(topic: &Topic, facts: &Facts, now: Timestamp) -> Verdict {
    let status = facts.attendee.as_ref().map(|attendee| attendee.status);
    let confirmed = status == Some(ReservationStatus::Confirmed);
    let starts_at = facts
        .showtime
        .as_ref()
        .map(|showtime| showtime.starts_at)
        .or(facts.attendee.as_ref().map(|attendee| attendee.reservation.starts_at));
    let begun = starts_at.is_some_and(|starts_at| starts_at <= now);
    let over = facts.showtime.as_ref().is_some_and(|showtime| showtime.ends_at <= now);
    let skip = match topic {
        Topic::ReservationCreated { .. } if confirmed => Some("the reservation is already paid"),
        Topic::ReservationCreated { .. } if status != Some(ReservationStatus::Pending) => {
            Some("the hold has ended")
        }
        // Paying may have extended the hold; but a customer who is paying needs no reminder to pay.
        Topic::ReservationCreated { expires_at } if *expires_at <= now => Some("the hold has ended"),
        topic if topic.has_tickets() && !confirmed => Some("the reservation is not confirmed any more"),
        topic if topic.has_tickets() && over => Some("the show is over"),
        // A page that was left, or seats that were given back.
        Topic::ReservationCancelled { by_owner: true, .. } if !facts.was_confirmed() => {
            Some("the customer gave the seats back")
        }
        Topic::HoldExpired | Topic::PaymentFailed if confirmed => Some("the reservation was paid after all"),
        Topic::Reminder { .. } if !confirmed => Some("the reservation is not confirmed any more"),
        Topic::Reminder { .. } if facts.showtime.as_ref().is_some_and(|showtime| showtime.cancelled) => {
            Some("the showtime is cancelled")
        }
        Topic::Reminder { .. } if begun => Some("the show has begun"),
        Topic::Reminder { starts_at: reminded }
            if starts_at.is_some_and(|starts_at| starts_at != *reminded) =>
        {
            Some("the showtime was moved")
        }
        Topic::PasswordReset { expires_at, .. } | Topic::EmailVerification { expires_at, .. }
            if *expires_at <= now =>
        {
            Some("the link has expired")
        }
        _ => None,
    };
    skip.map_or(Verdict::Send, Verdict::Skip)
}

/// Why a mail was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No mail server could be reached, or it refuses us before a recipient is named: not caused by the mail.
    Away(String),
    /// The account may not send more just now: not caused by the mail, and other mails need not wait for it.
    OverQuota(String),
    /// Another host did not answer what the mail needs.
    Unanswered(String),
    /// The server deferred it (4xx).
    Deferred(String),
    /// The server refused it for good (5xx), or it can never be sent.
    Refused(String),
}

impl Trouble {
    /// A request to another host that was not answered.
    pub fn unanswered(problem: &Problem) -> Self {
        Self::Unanswered(format!("{} {}: {}", problem.status, problem.code, problem.detail))
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Sent,
    Skipped(String),
    /// `counts` is false for a try that reached no server: such a mail waits, it does not fail.
    Again {
        after: Duration,
        counts: bool,
        error: String,
    },
    Failed(String),
}

/// How a try that failed ends; `waited` is how long the mail has been queued.
pub fn after(trouble: Trouble, attempts: i32, waited: Duration, seed: u64) -> End {
    match trouble {
        Trouble::Refused(error) => End::Failed(error),
        Trouble::Away(error) | Trouble::Unanswered(error) | Trouble::OverQuota(error)
            if waited >= AWAY_MAX =>
        {
            End::Failed(error)
        }
        Trouble::OverQuota(error) => End::Again { after: QUOTA_DELAY, counts: false, error },
        Trouble::Away(error) | Trouble::Unanswered(error) => {
            End::Again { after: AWAY_DELAY, counts: false, error }
        }
        Trouble::Deferred(error) if attempts >= TRIES_MAX => End::Failed(error),
        Trouble::Deferred(error) => End::Again { after: delay(attempts, seed), counts: true, error },
    }
}

/// The delay after the try with this number, counted from 1: five seconds, three times as long each time, at most an hour;
/// and up to a fifth more by `seed`, so that mails which failed together do not come back together.
pub fn delay(attempts: i32, seed: u64) -> Duration {
    let factor = 3u32.saturating_pow(attempts.saturating_sub(1).clamp(0, 12) as u32);
    let base = FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY);
    let spread = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    base + base.mul_f64(0.2 * spread as f64 / f64::from(u32::MAX))
}

/// The `Message-ID`, without its angle brackets: the same on every retry, another after a resend.
pub fn message_id(mail: Uuid, resends: i32, domain: &str) -> String {
    format!("{}.{resends}@{domain}", mail.simple())
}

/// The name that the contract and the database give to a kind or a status.
pub fn name_of<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("kinds and statuses are written as strings"),
    }
}

pub fn status_named(name: &str) -> Option<NotificationStatus> {
    serde_json::from_value(name.into()).ok()
}
