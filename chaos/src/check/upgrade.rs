//! The upgrade: orders of each version are continued by the other one, and no request fails meanwhile.

use std::collections::BTreeMap;

use super::{CheckResult, Observations};
use crate::client::Outcome;
use crate::upgrade::UpgradeReport;

/// Refusals that the documents allow: a token has expired, and seats are taken or a hold has ended.
const ALLOWED: [u16; 2] = [401, 409];

/// Every journey ended as it should, every host is new, no POST failed, and no order was refused for another reason than
/// without an upgrade.
pub fn loses_nothing(seen: &Observations<'_>, report: &UpgradeReport) -> CheckResult {
    let window = &report.window;
    let mut findings = report.findings.clone();
    let failed =
        seen.failures.iter().filter(|failure| failure.at >= window.begin && failure.at <= window.end);
    findings.extend(failed.map(|failure| format!("POST {} failed: {}", failure.path, failure.last)));
    let orders = seen.record.orders.iter();
    let meanwhile: Vec<_> =
        orders.filter(|order| window.begin <= order.answered_at && order.sent_at <= window.end).collect();
    let mut refused: BTreeMap<u16, usize> = BTreeMap::new();
    for order in &meanwhile {
        if let Outcome::Refused(status, text) = &order.outcome {
            *refused.entry(*status).or_default() += 1;
            if !ALLOWED.contains(status) {
                findings.push(format!("the order {} was refused: {status} {text}", order.body));
            }
        }
    }
    let accepted = meanwhile.iter().filter(|order| order.reservation().is_some()).count();
    let evidence = format!(
        "{} orders begun by one version and ended by the other; {} orders meanwhile: {accepted} accepted, refused by \
         status: {refused:?}",
        report.journeys,
        meanwhile.len(),
    );
    CheckResult::new("upgrade", evidence, findings)
}
