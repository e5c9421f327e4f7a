//! The promises, each a named check that compares the end state with the answers that the customers got. Each check prints
//! how much it has compared.
//!
//! Invariant: a check does not use the code of the deployment. It compares rows, events, mails, the records of the provider
//! and the record of the customers with each other, and trusts none of them alone.

mod cluster;
mod delivery;
mod guest;
mod history;
mod mail;
mod money;
mod request;
mod seat;
mod time;
mod upgrade;

use ::time::OffsetDateTime;

use crate::client::Failure;
use crate::cluster::Seen;
use crate::end_state::EndState;
use crate::guest::GuestTry;
use crate::links::LinkTry;
use crate::record::Record;
use crate::recovery::Recovery;
use crate::upgrade::UpgradeReport;

pub use seat::{SeatMap, seat_maps};

/// How many findings of a check are printed; the others are counted.
const SHOWN: usize = 6;

/// The time of a fault.
#[derive(Clone, Debug)]
pub struct Window {
    pub name: String,
    pub begin: OffsetDateTime,
    pub end: OffsetDateTime,
}

/// Everything that the checks compare.
pub struct Observations<'a> {
    pub state: &'a EndState,
    pub record: &'a Record,
    pub windows: &'a [Window],
    pub maps: &'a [SeatMap],
    pub recovery: &'a Recovery,
    pub links: &'a [LinkTry],
    pub guests: &'a [GuestTry],
    /// The ids of the poison messages.
    pub poison: &'a [String],
    /// The output of `marquee fsck`, if it found something.
    pub fsck: &'a str,
    /// Of a run that upgrades the deployment.
    pub upgrade: Option<&'a UpgradeReport>,
    pub failures: &'a [Failure],
    /// In a run with `--cluster`.
    pub cluster: Option<&'a Seen>,
}

/// The result of a check.
#[derive(Clone, Debug)]
pub struct CheckResult {
    pub name: &'static str,
    pub evidence: String,
    pub findings: Vec<String>,
}

impl CheckResult {
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
pub fn all(seen: &Observations<'_>) -> Vec<CheckResult> {
    let of_upgrade = seen.upgrade.map(|report| upgrade::loses_nothing(seen, report));
    let mut checks = vec![
        seat::one_owner(seen),
        seat::holds_disjoint(seen),
        seat::capacity(seen),
        money::settled(seen),
        money::tickets_are_paid(seen),
        money::refunds_once(seen),
        money::ledger(seen),
        request::accepted_exists(seen),
        request::unknown_at_most_once(seen),
        request::refused_never(seen),
        request::same_key_same_bytes(seen),
        request::promises_kept(seen),
        request::links_open_their_order(seen),
        guest::merged_once(seen),
        guest::tokens_of_merged(seen),
        guest::corrected(seen),
        mail::match_events(seen),
        mail::events_have_mails(seen),
        history::legal(seen),
        history::published(seen),
        time::holds_end(seen),
        delivery::outbox_is_stream(seen),
        delivery::events_are_handled(seen),
        delivery::poison(seen),
        time::rolling_restart(seen),
        time::healed(seen),
        time::comes_to_rest(seen),
        time::no_attention(seen),
        time::fsck(seen),
    ];
    checks.extend(of_upgrade);
    checks.extend(seen.cluster.map(cluster::all).unwrap_or_default());
    checks
}
