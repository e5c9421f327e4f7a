//! Processes as `/proc` shows them: parents, descendants and listening sockets.

use std::fs;
use std::process::Command;

/// Process id and parent of all processes.
pub fn parents() -> Vec<(u32, u32)> {
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?))
    });
    stats.collect()
}

/// A process and its descendants.
pub fn descendants(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&of) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| pid));
        next += 1;
    }
    found
}

/// 127.0.0.1 and ::1, as the kernel writes them.
pub const LOOPBACK: [&str; 2] = ["0100007F:", "00000000000000000000000001000000:"];

/// The addresses on which these processes listen by TCP, as the kernel writes them.
pub fn listeners(pids: &[u32]) -> Vec<String> {
    let sockets: Vec<String> = pids
        .iter()
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten())
        .filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_str()?.to_owned()))
        .collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let listening = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // State 0A is LISTEN, the tenth field is the socket.
        let ours = fields.get(3) == Some(&"0A") && sockets.contains(&format!("socket:[{}]", fields.get(9)?));
        ours.then(|| fields[1].to_owned())
    });
    let listening: Vec<String> = listening.collect();
    assert!(!listening.is_empty(), "no listening socket among {sockets:?}");
    listening
}

pub fn signal(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}
