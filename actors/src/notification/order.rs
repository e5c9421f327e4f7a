//! The mails of one order together: a cancellation and its refund are one mail, and a cancellation takes the calendar entry
//! of an earlier mail back.
//!
//! Invariant: a refund is in at least one mail. Its own mail is skipped only where the mail about the cancellation has it,
//! or, for a refund that was requested, where the mail about its completion does.

use std::time::Duration;

use bus::contract::Money;
use bus::contract::notification::{NotificationKind as Kind, NotificationStatus as Status};
use uuid::Uuid;

use super::model::{Facts, Sibling, Topic, Verdict};

/// How long a mail about a cancellation waits for its refund, which is requested in the same transaction: events have no
/// order.
const CANCELLATION_WAIT: Duration = Duration::from_secs(2);
/// How long a mail about a requested refund waits for its completion, which takes most providers a second: then there is one
/// mail.
const REFUND_WAIT: Duration = Duration::from_secs(10);
/// A refund that is completed within this time after the mail that announced it needs no other mail.
const AS_ANNOUNCED: Duration = Duration::from_secs(60 * 60);

/// A refund in a mail about a cancellation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refund {
    pub total: Money,
    pub is_completed: bool,
}

/// How long a new mail waits before its first try. `hold_mail_after` is a setting: a customer who has paid by then gets no
/// mail about the hold.
pub fn wait(topic: &Topic, reservation: Option<Uuid>, hold_mail_after: Duration) -> Duration {
    match topic {
        Topic::ReservationCreated { expires_at } => {
            let made_at = reservation.and_then(|id| id.get_timestamp()).map(|at| at.to_unix().0 as i64);
            let holds = made_at.map(|at| (expires_at.unix_seconds() - at).max(0).unsigned_abs());
            // The mail about a short hold leaves while there is time to pay.
            holds.map_or(hold_mail_after, |holds| hold_mail_after.min(Duration::from_secs(holds / 2)))
        }
        Topic::ReservationCancelled { .. } | Topic::ShowtimeCancelled => CANCELLATION_WAIT,
        Topic::RefundRequested { .. } => REFUND_WAIT,
        _ => Duration::ZERO,
    }
}

/// Whether a mail about a refund has news that no other mail of the order has.
pub fn judge(topic: &Topic, subject: &str, facts: &Facts) -> Verdict {
    let of = |kind| facts.siblings.iter().find(|sibling| sibling.kind == kind && sibling.subject == subject);
    let (requested, completed) = (of(Kind::RefundRequested), of(Kind::RefundCompleted));
    match topic {
        Topic::RefundRequested { .. } if completed.is_some() => {
            Verdict::Skip("the money is back; another mail says so")
        }
        Topic::RefundRequested { .. } | Topic::RefundCompleted { .. } => {
            let known_at = requested.or(completed).map(|sibling| sibling.created_at);
            let done_at = completed.map(|sibling| sibling.created_at);
            let is_covered =
                facts.siblings.iter().filter(|sibling| sibling.is_cancellation()).any(|cancellation| {
                    match (cancellation.status, cancellation.sent_at) {
                        // It will name the refund.
                        (Status::Queued, _) => true,
                        (Status::Sent, Some(sent_at)) => {
                            known_at.is_some_and(|at| at <= sent_at)
                                && done_at.is_none_or(|at| at <= sent_at.plus(AS_ANNOUNCED))
                        }
                        _ => false,
                    }
                });
            if is_covered { Verdict::Skip("the mail about the cancellation says it") } else { Verdict::Send }
        }
        _ => Verdict::Send,
    }
}

/// The refunds without a mail of their own, for the mail about a cancellation.
pub fn refunds(facts: &Facts) -> Vec<Refund> {
    let is_sent = |sibling: &&Sibling| sibling.status == Status::Sent;
    let refunds = |kind| facts.siblings.iter().filter(move |sibling| sibling.kind == kind);
    let has_own_mail = |subject: &str| {
        [Kind::RefundRequested, Kind::RefundCompleted]
            .into_iter()
            .flat_map(refunds)
            .filter(is_sent)
            .any(|sibling| sibling.subject == subject)
    };
    let mut found: Vec<(&str, Refund)> = Vec::new();
    for kind in [Kind::RefundCompleted, Kind::RefundRequested] {
        for sibling in refunds(kind) {
            let (Topic::RefundRequested { total } | Topic::RefundCompleted { total }) = sibling.topic else {
                continue;
            };
            let is_found = found.iter().any(|(subject, _)| *subject == sibling.subject);
            if !is_found && !has_own_mail(&sibling.subject) {
                found.push((&sibling.subject, Refund { total, is_completed: kind == Kind::RefundCompleted }));
            }
        }
    }
    found.into_iter().map(|(_, refund)| refund).collect()
}

/// Whether the order had tickets, and so perhaps an entry in a calendar that a cancellation takes out again. The entry may be
/// from the page, so that it does not matter whether the mail was sent.
pub fn has_entry(facts: &Facts) -> bool {
    facts.siblings.iter().any(|sibling| sibling.topic.has_tickets())
}

#[cfg(test)]
mod tests {
    use bus::contract::{Currency, Timestamp};

    use super::*;

    fn at(second: i64) -> Timestamp {
        time::OffsetDateTime::from_unix_timestamp(1_800_000_000 + second).unwrap().into()
    }

    fn sibling(topic: Topic, subject: &str, created: i64, sent: Option<i64>) -> Sibling {
        Sibling {
            kind: topic.kind(),
            subject: subject.to_owned(),
            status: if sent.is_some() { Status::Sent } else { Status::Queued },
            topic,
            created_at: at(created),
            sent_at: sent.map(at),
        }
    }

    fn total() -> Money {
        Money { amount: 1200, currency: Currency::EUR }
    }

    fn requested(created: i64, sent: Option<i64>) -> Sibling {
        sibling(Topic::RefundRequested { total: total() }, "refund", created, sent)
    }

    fn completed(created: i64) -> Sibling {
        sibling(Topic::RefundCompleted { total: total() }, "refund", created, None)
    }

    fn is_sent(topic: &Topic, siblings: &[Sibling]) -> bool {
        let facts = Facts { siblings: siblings.to_vec(), ..Facts::default() };
        judge(topic, "refund", &facts) == Verdict::Send
    }

    #[test]
    fn a_refund_is_in_one_mail() {
        let (asked, done) =
            (Topic::RefundRequested { total: total() }, Topic::RefundCompleted { total: total() });
        let cancelled = |sent| {
            sibling(Topic::ReservationCancelled { by_owner: true, exchanged: false }, "order", 0, sent)
        };
        // Cancelled: the mail about the cancellation has it, whether it waits or was sent.
        assert!(!is_sent(&asked, &[cancelled(None), requested(0, None)]));
        assert!(!is_sent(&asked, &[cancelled(Some(2)), requested(0, None)]));
        assert!(!is_sent(&done, &[cancelled(None), requested(0, None), completed(1)]));
        assert!(!is_sent(&done, &[cancelled(Some(2)), requested(0, None), completed(5)]));
        // It took a day: a customer who waits for money gets a mail.
        assert!(is_sent(&done, &[cancelled(Some(2)), requested(0, None), completed(86_400)]));
        // Staff gave something back after the cancellation.
        assert!(is_sent(&asked, &[cancelled(Some(2)), requested(60, None)]));
        assert!(is_sent(&done, &[cancelled(Some(2)), requested(60, Some(70)), completed(71)]));
        // A part of a confirmed order: one mail where it was quick, two where it was not.
        assert!(!is_sent(&asked, &[requested(0, None), completed(1)]));
        assert!(is_sent(&done, &[requested(0, None), completed(1)]));
        assert!(is_sent(&asked, &[requested(0, None)]));
        // A hold that expired and whose money came after all.
        let expired = sibling(Topic::HoldExpired, "order", 0, Some(1));
        assert!(is_sent(&asked, &[expired.clone(), requested(5, None)]));
        assert!(is_sent(&done, &[expired, requested(5, None), completed(6)]));
    }

    #[test]
    fn a_cancellation_names_the_refunds_without_a_mail_of_their_own() {
        let of = |siblings: &[Sibling]| refunds(&Facts { siblings: siblings.to_vec(), ..Facts::default() });
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[requested(0, None)]), [Refund { total: total(), is_completed: false }]);
        assert_eq!(of(&[requested(0, None), completed(1)]), [Refund { total: total(), is_completed: true }]);
        assert_eq!(of(&[requested(0, Some(1))]), []);
    }

    #[test]
    fn the_mail_about_a_hold_waits_and_that_about_a_short_one_leaves_in_its_middle() {
        let made = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_800_000_000, 0));
        let after = Duration::from_secs(180);
        let wait = |seconds| wait(&Topic::ReservationCreated { expires_at: at(seconds) }, Some(made), after);
        assert_eq!(wait(600), after);
        assert_eq!(wait(60), Duration::from_secs(30));
        assert_eq!(wait(-5), Duration::ZERO);
    }
}
