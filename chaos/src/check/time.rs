//! Time: holds end on time, a rolling restart loses nothing, and the deployment recovers by itself.

use ::time::Duration;

use super::{CheckResult, Observations};
use crate::client::Outcome;

/// How late a hold may end without faults: two sweeps and a commit are two seconds; the rest is for a busy machine.
const LATE_MAX: Duration = Duration::seconds(15);
/// How long after the end of a fault everything must work again.
const HEAL_MAX: Duration = Duration::seconds(60);
/// How long after the last fault everything must be idle.
const REST_MAX: Duration = Duration::seconds(120);

/// A hold ends at its deadline, or after the faults at that time.
pub fn holds_end(seen: &Observations<'_>) -> CheckResult {
    let (mut findings, mut ended, mut latest) = (Vec::new(), 0, Duration::ZERO);
    for reservation in seen.state.reservations.values() {
        let due = reservation.expires_at;
        let first = reservation.steps.iter().find(|step| step.input == "deadline");
        let Some(step) = first else {
            if reservation.status == "PENDING" && due + LATE_MAX < seen.state.read_at {
                findings
                    .push(format!("{} is still held; its hold should have ended at {due}", reservation.id));
            }
            continue;
        };
        // After a confirmation the deadline belongs to a refund.
        if !["cancelled", "ending"].contains(&step.state.as_str()) {
            continue;
        }
        ended += 1;
        let late = step.committed - due;
        let faults =
            seen.windows.iter().filter(|window| window.begin < step.committed && window.end + HEAL_MAX > due);
        let excused_until = faults.map(|window| window.end + HEAL_MAX).max();
        if late > LATE_MAX && excused_until.is_none_or(|until| step.committed > until) {
            findings.push(format!("{} ended {late} after its hold", reservation.id));
        }
        if late < Duration::milliseconds(-50) {
            findings.push(format!("{} ended {} before its hold", reservation.id, -late));
        }
        latest = latest.max(late);
    }
    CheckResult::new("holds-end", format!("{ended} holds ended, the latest {latest:.1} late"), findings)
}

/// Orders that were accepted during a rolling restart exist.
pub fn rolling_restart(seen: &Observations<'_>) -> CheckResult {
    let windows: Vec<_> = seen.windows.iter().filter(|window| window.name == "rolling-restart").collect();
    let during: Vec<_> = seen
        .record
        .orders
        .iter()
        .filter(|order| windows.iter().any(|w| w.begin <= order.answered_at && order.sent_at <= w.end))
        .collect();
    let accepted: Vec<_> = during.iter().filter_map(|order| order.reservation()).collect();
    let lost = accepted.iter().filter(|id| !seen.state.reservations.contains_key(id));
    let findings =
        lost.map(|id| format!("{id} was accepted during a rolling restart and does not exist")).collect();
    let unknown = during.iter().filter(|order| matches!(order.outcome, Outcome::Unknown)).count();
    let evidence = format!(
        "{} restarts, {} orders meanwhile: {} accepted, {unknown} unanswered",
        windows.len(),
        during.len(),
        accepted.len()
    );
    CheckResult::new("rolling-restart", evidence, findings)
}

/// Everything is ready and a ticket can be bought within a minute after the last fault.
pub fn healed(seen: &Observations<'_>) -> CheckResult {
    let recovery = seen.recovery;
    let (mut findings, limit) = (Vec::new(), HEAL_MAX.unsigned_abs());
    match &recovery.ready {
        Ok(took) if *took > limit => findings.push(format!("ready only after {took:.1?}")),
        Ok(_) => {}
        Err(error) => findings.push(error.clone()),
    }
    match &recovery.bought {
        Ok(took) if *took > limit => findings.push(format!("a ticket could be bought only after {took:.1?}")),
        Ok(_) => {}
        Err(error) => findings.push(error.clone()),
    }
    let evidence =
        format!("ready after {:.1?}, a ticket bought after {:.1?}", recovery.ready, recovery.bought);
    CheckResult::new("heals-without-hands", evidence, findings)
}

/// No work is left: payments, refunds, sagas, outboxes, consumers, mails.
pub fn comes_to_rest(seen: &Observations<'_>) -> CheckResult {
    let recovery = seen.recovery;
    let mut findings = recovery.open.clone();
    if findings.is_empty() && recovery.idle > REST_MAX.unsigned_abs() {
        findings.push(format!("it took {:.0?}", recovery.idle));
    }
    CheckResult::new("comes-to-rest", format!("idle {:.1?} after the last fault", recovery.idle), findings)
}

/// Nothing needs the attention of staff.
pub fn no_attention(seen: &Observations<'_>) -> CheckResult {
    let attended = seen.state.reservations.values().filter(|reservation| reservation.attention).count();
    let evidence = format!("{attended} reservations need attention");
    CheckResult::new("no-attention-needed", evidence, seen.state.attention.clone())
}

/// `marquee fsck` finds nothing.
pub fn fsck(seen: &Observations<'_>) -> CheckResult {
    let findings = seen.fsck.lines().map(str::to_owned).collect();
    CheckResult::new("fsck-agrees", "marquee fsck", findings)
}
