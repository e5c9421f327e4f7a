//! Planted bugs, and the run that must find each of them: the test of the checks.
//!
//! The program must be built with the feature `planted`; each process gets its bug by `MARQUEE_PLANTED`. A bug counts as
//! found only when one of its own checks fails. The control is the same program without a bug, where no check may fail.

use std::time::Duration;

use crate::fault::{Fault, Injection};
use crate::load::Behaviour;
use crate::run::RunPlan;
use crate::schedule::ScheduledFault;

/// How long to wait until everything is idle: twice as long as without a bug. With most bugs it never is.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A fault of the run for a bug; these may overlap.
#[derive(Clone, Copy, Debug)]
struct BugFault {
    fault: Fault,
    /// The proxy of a network fault; other faults select their place by the seed.
    at: Option<&'static str>,
    begin_seconds: u64,
    seconds: u64,
}

const fn bug_fault(fault: Fault, begin_seconds: u64, seconds: u64) -> BugFault {
    BugFault { fault, at: None, begin_seconds, seconds }
}

/// A bug, its description, and the checks that find it.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    pub name: &'static str,
    pub what: &'static str,
    /// The checks for this bug, one of which must fail; empty for the control, where no check may fail.
    pub found_by: &'static [&'static str],
    faults: &'static [BugFault],
    only: Option<Behaviour>,
    seconds: u64,
}

/// Postgres does not answer, and then every host is killed: what they had only in memory is lost.
const FROZEN_AND_KILLED: &[BugFault] =
    &[bug_fault(Fault::PostgresFrozen, 4, 9), bug_fault(Fault::KillAll, 9, 1)];

pub const CONTROL: Bug = Bug {
    name: "control",
    what: "no bug: no check may fail",
    found_by: &[],
    faults: &[
        bug_fault(Fault::PostgresFrozen, 4, 6),
        bug_fault(Fault::KillAll, 8, 1),
        bug_fault(Fault::AnswersLost, 1, 14),
    ],
    only: None,
    seconds: 18,
};

pub const BUGS: &[Bug] = &[
    Bug {
        name: "ignore-versions",
        what: "a step of a saga is written whatever version is stored",
        found_by: &["history-is-legal", "captured-is-settled", "ticket-is-paid-once", "fsck-agrees"],
        faults: &[],
        only: Some(Behaviour::ExchangesTwiceAtOnce),
        seconds: 14,
    },
    Bug {
        name: "ack-before-commit",
        what: "events are acknowledged when they arrive",
        found_by: &["events-are-handled", "events-have-mails"],
        faults: &[
            BugFault { at: Some("notification-1>postgres"), ..bug_fault(Fault::LinkDropping, 3, 9) },
            bug_fault(Fault::KillAll, 9, 1),
        ],
        only: Some(Behaviour::Pays),
        seconds: 14,
    },
    Bug {
        name: "confirm-before-commit",
        what: "an order is answered before it is written",
        // Postgres carries out the statement that it had received when its host was killed, so perhaps no order is lost;
        // but a repeated request that overtakes the first one's write gets another answer.
        found_by: &["accepted-exists-once", "same-key-same-bytes"],
        faults: FROZEN_AND_KILLED,
        only: None,
        seconds: 15,
    },
    Bug {
        name: "publish-before-commit",
        what: "events are published before their transaction is committed",
        found_by: &["outbox-is-stream"],
        faults: FROZEN_AND_KILLED,
        only: None,
        seconds: 15,
    },
    Bug {
        name: "claim-without-owner",
        what: "a claim takes a seat even if it is taken",
        found_by: &["seat-sold-once", "holds-disjoint"],
        // Meanwhile no host learns what the other one sells, and both offer the same best seats.
        faults: &[bug_fault(Fault::PostgresFrozen, 3, 2), bug_fault(Fault::PostgresFrozen, 8, 2)],
        only: Some(Behaviour::Forgets),
        seconds: 14,
    },
    Bug {
        name: "no-deadline-sweep",
        what: "holds that have ended are not looked for",
        found_by: &["holds-end"],
        faults: &[],
        only: None,
        seconds: 10,
    },
    Bug {
        name: "pointer-relay",
        what: "the relay continues after the last event that it has published",
        found_by: &["outbox-is-stream"],
        // The events of one host wait in its memory, and later events of the other host move the pointer past them.
        faults: &[
            BugFault { at: Some("reservation-1>nats"), ..bug_fault(Fault::LinkDropping, 8, 33) },
            bug_fault(Fault::KillAll, 40, 1),
        ],
        only: Some(Behaviour::Forgets),
        seconds: 43,
    },
    Bug {
        name: "blind-to-wipes",
        what: "the relay does not notice that NATS has lost everything",
        found_by: &["outbox-is-stream"],
        // The events of the last one to two minutes are published again after every reconnect, so the wipe comes later.
        faults: &[bug_fault(Fault::NatsWiped, 140, 1)],
        only: None,
        seconds: 142,
    },
    Bug {
        name: "refund-without-key",
        what: "each attempt of a refund has a key of its own",
        found_by: &["refunds-once"],
        faults: &[bug_fault(Fault::AnswersLost, 1, 14)],
        only: Some(Behaviour::RefundedInPart),
        seconds: 16,
    },
    Bug {
        name: "forget-keys",
        what: "idempotency keys are not stored",
        found_by: &["same-key-same-bytes"],
        faults: &[],
        only: Some(Behaviour::Forgets),
        seconds: 8,
    },
    Bug {
        name: "mail-without-name",
        what: "each attempt to send a mail has a Message-ID of its own",
        found_by: &["mails-match-events"],
        faults: &[],
        only: Some(Behaviour::Pays),
        seconds: 8,
    },
    Bug {
        name: "exchange-on-another-version",
        what: "an exchange is applied to another version than the one it was planned on",
        found_by: &["captured-is-settled", "ticket-is-paid-once"],
        faults: &[],
        only: Some(Behaviour::ExchangesTwiceAtOnce),
        seconds: 14,
    },
    Bug {
        name: "tickets-never-end",
        what: "the tickets of seats that are exchanged or freed stay valid in the ticket log",
        found_by: &["fsck-agrees"],
        faults: &[],
        only: Some(Behaviour::ExchangesTwiceAtOnce),
        seconds: 8,
    },
    Bug {
        name: "keep-late-money",
        what: "a capture for a reservation that was cancelled meanwhile is not refunded",
        found_by: &["captured-is-settled"],
        faults: &[bug_fault(Fault::WebhooksLate, 1, 10)],
        only: Some(Behaviour::PaysOnPageAndCancels),
        seconds: 12,
    },
    Bug {
        name: "order-token-opens-another",
        what: "the token of a mail's link opens every order",
        found_by: &["links-open-their-order"],
        faults: &[],
        only: Some(Behaviour::Pays),
        seconds: 8,
    },
    Bug {
        name: "skip-a-number",
        what: "a number of receipts is left out after each batch",
        found_by: &["fsck-agrees"],
        faults: &[],
        only: Some(Behaviour::Pays),
        seconds: 8,
    },
];

impl Bug {
    /// The bug of this name, or the control.
    pub fn named(name: &str) -> Option<&'static Self> {
        std::iter::once(&CONTROL).chain(BUGS).find(|bug| bug.name == name)
    }

    /// The bug for the processes; `None` for the control.
    pub fn planted(&self) -> Option<String> {
        (!self.found_by.is_empty()).then(|| self.name.to_owned())
    }

    /// Whether the failed checks are the expected ones.
    pub fn is_found_by(&self, failed: &[&str]) -> bool {
        match self.found_by {
            [] => failed.is_empty(),
            by => by.iter().any(|name| failed.contains(name)),
        }
    }

    /// The run that finds it.
    pub fn plan(&self, seed: u64, customers: usize) -> RunPlan {
        let planned = |bug_fault: &BugFault| {
            let injection = Injection { fault: bug_fault.fault, choice: seed, at: bug_fault.at };
            let begin = Duration::from_secs(bug_fault.begin_seconds);
            vec![ScheduledFault { injection, begin, lasts: Duration::from_secs(bug_fault.seconds) }]
        };
        RunPlan {
            seed,
            load: Duration::from_secs(self.seconds),
            customers,
            lanes: self.faults.iter().map(planned).collect(),
            only: self.only,
            max_wait: MAX_WAIT,
        }
    }
}
