//! The limit of open files and connections of this process.
//!
//! Shells and service managers start programs with a soft limit of 256 or 1,024, because of `select`, which Marquee does not
//! use, and a much higher hard limit. Every command raises the soft limit at its start, as nginx, Go and Java do.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More is never needed, and some child processes close every descriptor number up to the limit.
const LIMIT_MAX: u64 = 1 << 20;
/// macOS reports no hard limit and refuses more than this.
const MACOS_MAX: u64 = 10_240;
/// With fewer a gateway refuses connections in a rush.
pub const FEW: u64 = 4_096;

/// Raises the soft limit to the hard one and returns the new soft limit.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    for limit in [hard.min(LIMIT_MAX), hard.min(MACOS_MAX)] {
        if limit > soft && setrlimit(Resource::RLIMIT_NOFILE, limit, hard).is_ok() {
            return limit;
        }
    }
    soft
}

/// The soft limit of this process.
pub fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// Warns where the limit is low; called once logging is set up.
pub fn warn_if_few(limit: u64) {
    if limit < FEW {
        tracing::warn!(
            limit,
            "this process may open few files and connections; raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    }
}
