//! CPU time and memory of every process of the deployment, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;

/// A named process, measured with its children (Postgres has one for each connection).
#[derive(Debug, Clone)]
pub struct Watched {
    pub name: String,
    pub pid: u32,
}

/// CPU seconds that a process and its living children have used so far, by name.
pub fn cpu_seconds(watched: &[Watched]) -> BTreeMap<String, f64> {
    let children = children();
    let mut used = BTreeMap::new();
    for Watched { name, pid } in watched {
        *used.entry(name.clone()).or_insert(0.0) += family(*pid, &children).into_iter().map(cpu).sum::<f64>();
    }
    used
}

/// Peak resident memory in MiB, by name: the sum over a process and its children, which counts shared pages once a process.
pub fn peak_mib(watched: &[Watched]) -> BTreeMap<String, f64> {
    let children = children();
    let mut peak = BTreeMap::new();
    for Watched { name, pid } in watched {
        let kib: u64 = family(*pid, &children).iter().filter_map(|pid| status_kib(*pid, "VmHWM:")).sum();
        *peak.entry(name.clone()).or_insert(0.0) += kib as f64 / 1024.0;
    }
    peak
}

/// A process and its descendants; of this program only itself, since all others are its descendants.
fn family(pid: u32, children: &BTreeMap<u32, Vec<u32>>) -> Vec<u32> {
    if pid == std::process::id() {
        return vec![pid];
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        family.extend(children.get(pid).into_iter().flatten().copied().collect::<Vec<_>>());
        next += 1;
    }
    family
}

fn children() -> BTreeMap<u32, Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// User and system time, without that of children that have ended.
fn cpu(pid: u32) -> f64 {
    /// Linux reports times in hundredths of a second (`USER_HZ`) on every architecture that we run on.
    const TICKS: f64 = 100.0;
    let Some(fields) = stat(pid) else { return 0.0 };
    fields.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// The fields of `/proc/<pid>/stat` after the name, which may have spaces: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
}
