//! Time: holds end when they should, a deploy loses nothing, and what was broken heals without hands.

use ::time::Duration;

use super::{Checked, Scene};
use crate::rest::Outcome;

/// How late a hold may end with everything well: two sweeps and a commit are two seconds; the rest is for a machine that has
/// much else to do.
const LATE_MAX: Duration = Duration::seconds(15);
/// How long after the end of a fault everything works again (issue: "all heals without hands in 60 s").
const HEAL_MAX: Duration = Duration::seconds(60);
/// After the last fault every payment has come to an end within this.
const REST_MAX: Duration = Duration::seconds(120);

/// A hold ends at its end; while something is broken, once that is over.
pub fn holds_end(scene: &Scene<'_>) -> Checked {
    let (mut findings, mut ended, mut latest) = (Vec::new(), 0, Duration::ZERO);
    for reservation in scene.truth.reservations.values() {
        let due = reservation.expires_at;
        let first = reservation.steps.iter().find(|step| step.input == "deadline");
        let Some(step) = first else {
            if reservation.status == "PENDING" && due + LATE_MAX < scene.truth.read_at {
                findings.push(format!("{} is still held; its hold ended at {due}", reservation.id));
            }
            continue;
        };
        // After a confirmation the deadline is a refund's.
        if !["cancelled", "ending"].contains(&step.state.as_str()) {
            continue;
        }
        ended += 1;
        let late = step.committed - due;
        let hit = scene
            .windows
            .iter()
            .filter(|window| window.begin < step.committed && window.end + HEAL_MAX > due);
        let excused = hit.map(|window| window.end + HEAL_MAX).max();
        if late > LATE_MAX && excused.is_none_or(|until| step.committed > until) {
            findings.push(format!("{} ended {late} after its hold", reservation.id));
        }
        if late < Duration::milliseconds(-50) {
            findings.push(format!("{} ended {} before its hold", reservation.id, -late));
        }
        latest = latest.max(late);
    }
    Checked::new("holds-end", format!("{ended} holds ended, the latest {latest:.1} late"), findings)
}

/// Orders that were accepted while every process was restarted are there.
pub fn rolling_restart(scene: &Scene<'_>) -> Checked {
    let windows: Vec<_> = scene.windows.iter().filter(|window| window.name == "rolling-restart").collect();
    let during: Vec<_> = scene
        .told
        .orders
        .iter()
        .filter(|order| windows.iter().any(|w| w.begin <= order.told_at && order.asked_at <= w.end))
        .collect();
    let accepted: Vec<_> = during.iter().filter_map(|order| order.reservation()).collect();
    let lost = accepted.iter().filter(|id| !scene.truth.reservations.contains_key(id));
    let findings = lost.map(|id| format!("{id} was accepted during a rolling restart and is lost")).collect();
    let unknown = during.iter().filter(|order| matches!(order.outcome, Outcome::Unknown)).count();
    let evidence = format!(
        "{} restarts, {} orders meanwhile: {} accepted, {unknown} unanswered",
        windows.len(),
        during.len(),
        accepted.len()
    );
    Checked::new("rolling-restart", evidence, findings)
}

/// Everything is ready, and somebody can buy, within a minute of the last fault.
pub fn healed(scene: &Scene<'_>) -> Checked {
    let settled = scene.settled;
    let (mut findings, limit) = (Vec::new(), HEAL_MAX.unsigned_abs());
    match &settled.ready {
        Ok(took) if *took > limit => findings.push(format!("ready only after {took:.1?}")),
        Ok(_) => {}
        Err(error) => findings.push(error.clone()),
    }
    match &settled.bought {
        Ok(took) if *took > limit => findings.push(format!("a ticket could be bought only after {took:.1?}")),
        Ok(_) => {}
        Err(error) => findings.push(error.clone()),
    }
    let evidence = format!("ready after {:.1?}, a ticket bought after {:.1?}", settled.ready, settled.bought);
    Checked::new("heals-without-hands", evidence, findings)
}

/// Nothing is left open: payments, refunds, sagas, outboxes, consumers, mails.
pub fn came_to_rest(scene: &Scene<'_>) -> Checked {
    let settled = scene.settled;
    let mut findings = settled.open.clone();
    if findings.is_empty() && settled.rest > REST_MAX.unsigned_abs() {
        findings.push(format!("it took {:.0?}", settled.rest));
    }
    Checked::new("comes-to-rest", format!("at rest {:.1?} after the last fault", settled.rest), findings)
}

/// Nothing waits for a person.
pub fn nobody_waits(scene: &Scene<'_>) -> Checked {
    let attended = scene.truth.reservations.values().filter(|reservation| reservation.attention).count();
    let evidence = format!("{attended} reservations need a person");
    Checked::new("nobody-waits", evidence, scene.truth.attention.clone())
}

/// The house's own check agrees.
pub fn fsck(scene: &Scene<'_>) -> Checked {
    let findings = scene.fsck.lines().map(str::to_owned).collect();
    Checked::new("fsck-agrees", "marquee fsck", findings)
}
