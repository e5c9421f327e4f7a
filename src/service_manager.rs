//! Notices to systemd, for units with `Type=notify`: the unit counts as started when the process is ready, not when it was
//! executed. Outside such a unit (`NOTIFY_SOCKET` is not set) both functions do nothing.

use sd_notify::NotifyState;

/// The process serves. `systemctl start` returns, and units that are ordered after this one start.
pub fn ready() {
    notify(NotifyState::Ready);
}

/// The process was asked to end and finishes its work.
pub fn stopping() {
    notify(NotifyState::Stopping);
}

/// A notice that is lost is no reason to end: systemd then ends the start after its own limit, and its log says so.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd was not notified");
    }
}
