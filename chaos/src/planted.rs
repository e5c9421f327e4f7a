//! Bugs that are planted into the house, and the run that must find each: the test of the checks.
//!
//! The program must be built with the feature `planted`; each process is told its bug by `MARQUEE_PLANTED`. A bug counts as
//! found only when a check of its own kind failed. The control is the same program without any bug: there nothing may fail.

use std::time::Duration;

use crate::crowd::Habit;
use crate::fault::{Fault, Strike};
use crate::run::Plan;
use crate::schedule::Planned;

/// How long rest is waited for: twice what a house without a bug takes. Most bugs never let it come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A fault of a run that looks for a bug; any two may overlap.
#[derive(Clone, Copy, Debug)]
struct Blow {
    fault: Fault,
    /// Of a link; the others strike where the seed says.
    at: Option<&'static str>,
    begin_seconds: u64,
    seconds: u64,
}

const fn blow(fault: Fault, begin_seconds: u64, seconds: u64) -> Blow {
    Blow { fault, at: None, begin_seconds, seconds }
}

/// A bug, what it is, and what shows it.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    pub name: &'static str,
    pub what: &'static str,
    /// The checks whose business it is. One of them must fail; none of them, and no other, for the control.
    pub by: &'static [&'static str],
    faults: &'static [Blow],
    only: Option<Habit>,
    seconds: u64,
}

/// Postgres answers nobody, and then every host is killed: what was only in their memory is gone.
const FROZEN_AND_KILLED: &[Blow] = &[blow(Fault::PostgresFrozen, 4, 9), blow(Fault::KillAll, 9, 1)];

pub const CONTROL: Bug = Bug {
    name: "control",
    what: "no bug: nothing may be found",
    by: &[],
    faults: &[blow(Fault::PostgresFrozen, 4, 6), blow(Fault::KillAll, 8, 1), blow(Fault::AnswersLost, 1, 14)],
    only: None,
    seconds: 18,
};

pub const BUGS: [Bug; 13] = [
    Bug {
        name: "ignore-versions",
        what: "a step of a saga is written over whatever version there is",
        by: &["history-is-legal", "captured-is-settled", "ticket-is-paid-once", "fsck-agrees"],
        faults: &[],
        only: Some(Habit::ExchangesTwiceAtOnce),
        seconds: 14,
    },
    Bug {
        name: "ack-before-commit",
        what: "events are acknowledged when they arrive",
        by: &["events-are-handled", "facts-have-mails"],
        faults: &[
            Blow { at: Some("notification-1>postgres"), ..blow(Fault::LinkDropping, 3, 9) },
            blow(Fault::KillAll, 9, 1),
        ],
        only: Some(Habit::Pays),
        seconds: 14,
    },
    Bug {
        name: "confirm-before-commit",
        what: "an order is answered before it is written",
        by: &["accepted-exists-once"],
        faults: FROZEN_AND_KILLED,
        only: None,
        seconds: 15,
    },
    Bug {
        name: "publish-before-commit",
        what: "events leave before the transaction that they tell of",
        by: &["outbox-is-stream"],
        faults: FROZEN_AND_KILLED,
        only: None,
        seconds: 15,
    },
    Bug {
        name: "claim-without-owner",
        what: "a claim takes a seat whoever has it",
        by: &["seat-sold-once", "holds-disjoint"],
        faults: &[],
        only: Some(Habit::Forgets),
        seconds: 14,
    },
    Bug {
        name: "no-deadline-sweep",
        what: "nobody looks for holds that have ended",
        by: &["holds-end"],
        faults: &[],
        only: None,
        seconds: 10,
    },
    Bug {
        name: "pointer-relay",
        what: "the relay goes on from the last event that it published",
        by: &["outbox-is-stream"],
        // What one host ends meanwhile waits in its memory, and the other one's later events move the pointer past it.
        faults: &[
            Blow { at: Some("reservation-1>nats"), ..blow(Fault::LinkDropping, 8, 33) },
            blow(Fault::KillAll, 40, 1),
        ],
        only: Some(Habit::Forgets),
        seconds: 43,
    },
    Bug {
        name: "blind-to-wipes",
        what: "the relay does not notice that NATS has lost everything",
        by: &["outbox-is-stream"],
        // What was published in the last minute is published again after any connect.
        faults: &[blow(Fault::NatsWiped, 70, 1)],
        only: None,
        seconds: 72,
    },
    Bug {
        name: "refund-without-key",
        what: "each try to give money back has a key of its own",
        by: &["refunds-once"],
        faults: &[blow(Fault::AnswersLost, 1, 14)],
        only: Some(Habit::RefundedInPart),
        seconds: 16,
    },
    Bug {
        name: "forget-keys",
        what: "idempotency keys are not kept",
        by: &["same-key-same-bytes"],
        faults: &[],
        only: Some(Habit::Forgets),
        seconds: 8,
    },
    Bug {
        name: "mail-without-name",
        what: "each try to send a mail has a Message-ID of its own",
        by: &["mails-tell-facts"],
        faults: &[],
        only: Some(Habit::Pays),
        seconds: 8,
    },
    Bug {
        name: "exchange-on-another-version",
        what: "an exchange is applied to another version than it was planned on",
        by: &["captured-is-settled", "ticket-is-paid-once"],
        faults: &[],
        only: Some(Habit::ExchangesTwiceAtOnce),
        seconds: 14,
    },
    Bug {
        name: "keep-late-money",
        what: "money for a reservation that was cancelled meanwhile is kept",
        by: &["captured-is-settled"],
        faults: &[blow(Fault::WebhooksLate, 1, 10)],
        only: Some(Habit::PaysOnPageAndCancels),
        seconds: 12,
    },
];

impl Bug {
    /// The bug of this name, or the control.
    pub fn named(name: &str) -> Option<&'static Self> {
        std::iter::once(&CONTROL).chain(&BUGS).find(|bug| bug.name == name)
    }

    /// What the processes are told; nothing for the control.
    pub fn planted(&self) -> Option<String> {
        (!self.by.is_empty()).then(|| self.name.to_owned())
    }

    /// Whether the checks that failed are those that should.
    pub fn is_shown_by(&self, failed: &[&str]) -> bool {
        match self.by {
            [] => failed.is_empty(),
            by => by.iter().any(|name| failed.contains(name)),
        }
    }

    /// The run that finds it.
    pub fn plan(&self, seed: u64, crowd: usize) -> Plan {
        let planned = |blow: &Blow| {
            let strike = Strike { fault: blow.fault, die: seed, at: blow.at };
            let begin = Duration::from_secs(blow.begin_seconds);
            vec![Planned { strike, begin, lasts: Duration::from_secs(blow.seconds) }]
        };
        Plan {
            seed,
            load: Duration::from_secs(self.seconds),
            crowd,
            lanes: self.faults.iter().map(planned).collect(),
            only: self.only,
            patience: PATIENCE,
        }
    }
}
