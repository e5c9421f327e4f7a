//! Small file systems for Postgres and NATS that can be filled to the last byte. They are tmpfs mounts and need root.
//!
//! Invariant: no mount outlives the run. This program runs in its own mount namespace (`unshare`), which the kernel removes
//! with the last process in it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use marquee::local::Folder;
use nix::unistd::Uid;

/// The cluster of Postgres has some 40 MB and its WAL up to 256 MB; NATS needs little.
const DISKS: [(&str, &str); 2] = [("postgres", "640m"), ("nats", "192m")];
const BALLAST: &str = "ballast";

/// Whether this process may mount: root in a container may create a namespace and still have no right to mount.
pub fn is_possible() -> bool {
    let probe = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/tmp"])
        .output();
    Uid::effective().is_root() && probe.is_ok_and(|probe| probe.status.success())
}

/// Replaces this process by the same program in its own mount namespace; returns only when that fails.
pub fn restart_in_namespace(flag: &str) -> Result<()> {
    let program = std::env::current_exe()?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .exec();
    Err(error).context("cannot make a mount namespace")
}

/// Mounts the file systems into the folder of the deployment, before the servers start.
pub fn mount(folder: &Folder) -> Result<()> {
    for (name, size) in DISKS {
        let path = folder.join(name)?.path().to_owned();
        let options = format!("size={size},mode=0755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output()?;
        anyhow::ensure!(mounted.status.success(), "mount: {}", String::from_utf8_lossy(&mounted.stderr));
    }
    Ok(())
}

fn ballast(folder: &Folder, disk: &str) -> PathBuf {
    folder.path().join(disk).join(BALLAST)
}

/// Fills a file system to the last byte.
pub fn fill(folder: &Folder, disk: &str) -> Result<()> {
    let mut file = File::create(ballast(folder, disk))?;
    for size in [1 << 20, 4 << 10, 1] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// Frees the space again.
pub fn free(folder: &Folder, disk: &str) -> Result<()> {
    let path = ballast(folder, disk);
    if Path::new(&path).exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}
