//! Bugs that are planted into the house, and the run that must find each: the test of the checks.
//!
//! The program must be built with the feature `planted`; each process is told its bug by `MARQUEE_PLANTED`.

use std::time::Duration;

use crate::crowd::Habit;
use crate::fault::{Fault, Strike};
use crate::run::Plan;
use crate::schedule::Planned;

/// A bug, what it is, and what shows it.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    pub name: &'static str,
    pub what: &'static str,
    /// Fault, when it begins and how long it lasts, in seconds.
    faults: &'static [(Fault, u64, u64)],
    only: Option<Habit>,
    seconds: u64,
}

const NOTHING: &[(Fault, u64, u64)] = &[];

pub const BUGS: [Bug; 12] = [
    Bug {
        name: "skip-inbox",
        what: "events are handled without being noted as heard",
        faults: NOTHING,
        only: None,
        seconds: 10,
    },
    Bug {
        name: "ack-before-commit",
        what: "events are acknowledged when they arrive",
        faults: &[(Fault::PostgresFrozen, 4, 9), (Fault::KillAll, 18, 1)],
        only: Some(Habit::Pays),
        seconds: 22,
    },
    Bug {
        name: "confirm-before-commit",
        what: "an order is answered before it is written",
        faults: &[(Fault::PostgresKilled, 5, 4)],
        only: None,
        seconds: 15,
    },
    Bug {
        name: "publish-before-commit",
        what: "events leave before the transaction that they tell of",
        faults: &[(Fault::PostgresKilled, 5, 4)],
        only: None,
        seconds: 15,
    },
    Bug {
        name: "claim-without-owner",
        what: "a claim takes a seat whoever has it",
        faults: NOTHING,
        only: Some(Habit::Forgets),
        seconds: 15,
    },
    Bug {
        name: "no-deadline-sweep",
        what: "nobody looks for holds that have ended",
        faults: NOTHING,
        only: None,
        seconds: 12,
    },
    Bug {
        name: "pointer-relay",
        what: "the relay goes on from the last event that it published",
        faults: &[(Fault::NatsKilled, 4, 4), (Fault::NatsFrozen, 12, 6)],
        only: None,
        seconds: 24,
    },
    Bug {
        name: "blind-to-wipes",
        what: "the relay does not notice that NATS has lost everything",
        faults: &[(Fault::NatsWiped, 6, 1)],
        only: None,
        seconds: 12,
    },
    Bug {
        name: "refund-without-key",
        what: "each try to give money back has a key of its own",
        faults: &[(Fault::AnswersLost, 1, 12)],
        only: Some(Habit::RefundedInPart),
        seconds: 16,
    },
    Bug {
        name: "forget-keys",
        what: "idempotency keys are not kept",
        faults: NOTHING,
        only: Some(Habit::Forgets),
        seconds: 10,
    },
    Bug {
        name: "mail-without-name",
        what: "each try to send a mail has a Message-ID of its own",
        faults: NOTHING,
        only: Some(Habit::Pays),
        seconds: 8,
    },
    Bug {
        name: "keep-late-money",
        what: "money for a reservation that was cancelled meanwhile is kept",
        faults: &[(Fault::WebhooksLate, 1, 12)],
        only: Some(Habit::PaysOnPageAndCancels),
        seconds: 14,
    },
];

impl Bug {
    pub fn named(name: &str) -> Option<&'static Self> {
        BUGS.iter().find(|bug| bug.name == name)
    }

    /// The run that finds it. Rest is waited for only as long as the checks need.
    pub fn plan(&self, seed: u64, crowd: usize) -> Plan {
        let planned = |(fault, begin, lasts): &(Fault, u64, u64)| Planned {
            strike: Strike { fault: *fault, die: seed },
            begin: Duration::from_secs(*begin),
            lasts: Duration::from_secs(*lasts),
        };
        Plan {
            seed,
            load: Duration::from_secs(self.seconds),
            crowd,
            lanes: vec![self.faults.iter().map(planned).collect()],
            only: self.only,
            patience: Duration::from_secs(60),
        }
    }
}
