//! The promises, each a named check of the end state against what the outside was told; each says in figures what it looked at.
//!
//! Invariant: a check knows nothing of how the house works inside; it reads rows, events, mails, the provider's books and its
//! own moviegoers' record, and believes none of them alone.

mod delivery;
mod history;
mod mail;
mod money;
mod request;
mod seat;
mod time;

use ::time::OffsetDateTime;

use crate::settle::Settled;
use crate::story::Told;
use crate::truth::Truth;

pub use seat::{SeatMap, seat_maps};

/// Findings that are shown of one check; the rest is counted.
const SHOWN: usize = 6;

/// When something was broken.
#[derive(Clone, Debug)]
pub struct Window {
    pub name: String,
    pub begin: OffsetDateTime,
    pub end: OffsetDateTime,
}

/// All that is known at the end.
pub struct Scene<'a> {
    pub truth: &'a Truth,
    pub told: &'a Told,
    pub windows: &'a [Window],
    pub maps: &'a [SeatMap],
    pub settled: &'a Settled,
    /// Ids of messages that nobody can handle.
    pub poison: &'a [String],
    /// What `marquee fsck` said, if it found something.
    pub fsck: &'a str,
}

/// What one check found.
#[derive(Clone, Debug)]
pub struct Checked {
    pub name: &'static str,
    pub evidence: String,
    pub findings: Vec<String>,
}

impl Checked {
    fn new(name: &'static str, evidence: impl Into<String>, findings: Vec<String>) -> Self {
        Self { name, evidence: evidence.into(), findings }
    }

    pub fn print(&self) {
        let verdict = if self.findings.is_empty() { "ok  " } else { "FAIL" };
        println!("  {verdict} {:<22} {}", self.name, self.evidence);
        for finding in self.findings.iter().take(SHOWN) {
            println!("         {}", finding.chars().take(600).collect::<String>());
        }
        if self.findings.len() > SHOWN {
            println!("         … and {} more", self.findings.len() - SHOWN);
        }
    }
}

/// Every check, in the order of the report.
pub fn all(scene: &Scene<'_>) -> Vec<Checked> {
    vec![
        seat::one_owner(scene),
        seat::holds_disjoint(scene),
        seat::capacity(scene),
        money::settled(scene),
        money::tickets_are_paid(scene),
        money::refunds_once(scene),
        money::ledger(scene),
        request::accepted_exists(scene),
        request::unknown_at_most_once(scene),
        request::refused_never(scene),
        request::same_key_same_bytes(scene),
        request::promises_kept(scene),
        mail::tells_facts(scene),
        mail::facts_are_told(scene),
        history::legal(scene),
        history::told(scene),
        time::holds_end(scene),
        delivery::outbox_is_stream(scene),
        delivery::events_are_handled(scene),
        delivery::poison(scene),
        time::rolling_restart(scene),
        time::healed(scene),
        time::came_to_rest(scene),
        time::nobody_waits(scene),
        time::fsck(scene),
    ]
}
