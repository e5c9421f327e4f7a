//! CPU time, memory and open files of this process, under the names that Prometheus's client libraries use.
//!
//! Linux only (it reads `/proc`); elsewhere these metrics have no values.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};

/// Measures now.
pub fn measure() {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let (user, system) = (usage.user_time(), usage.system_time());
        let seconds = (user.tv_sec() + system.tv_sec()) as f64;
        let fraction = (user.tv_usec() + system.tv_usec()) as f64 / 1e6;
        metrics::counter!("process_cpu_seconds_total").absolute((seconds + fraction) as u64);
    }
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident) {
        metrics::gauge!("process_resident_memory_bytes").set(bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(files.count() as f64);
    }
}

/// Bytes, from the line `VmRSS: 12345 kB`.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::resident;

    #[test]
    fn the_resident_memory_is_read_in_bytes() {
        assert_eq!(resident("Name:\tmarquee\nVmRSS:\t    2048 kB\nThreads:\t4\n"), Some(2_097_152.0));
        assert_eq!(resident("Name:\tmarquee\n"), None);
    }
}
