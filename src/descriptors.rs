//! How many files and connections this process may have open.
//!
//! Shells and service managers start programs with a soft limit of 256 or 1,024 for the sake of `select`, which nothing here
//! uses, and a hard one far above. Every command raises the soft one at its start, as nginx, Go and Java do.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than this is never needed, and programs that are started from here may close every number up to the limit.
const WANTED: u64 = 1 << 20;
/// macOS says that there is no hard limit and refuses more than this.
const MACOS_MAX: u64 = 10_240;
/// Below this a gateway refuses an evening's rush.
const FEW: u64 = 4_096;

/// Raises the soft limit to the hard one and returns what it is then.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    for wanted in [hard.min(WANTED), hard.min(MACOS_MAX)] {
        if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() {
            return wanted;
        }
    }
    soft
}

/// Warns where the hard limit is small; after the log is set up.
pub fn warn_if_few(limit: u64) {
    if limit < FEW {
        tracing::warn!(
            limit,
            "this process may open few files and connections; raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    }
}
