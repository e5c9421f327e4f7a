//! Small disks for Postgres and NATS, which can be filled to the last byte. Needs root: they are tmpfs mounts.
//!
//! Invariant: no mount outlives the run: the harness goes on in a mount namespace of its own (`unshare`), which the kernel
//! takes down with the last process in it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use marquee::local::Folder;
use nix::unistd::Uid;

/// Postgres's cluster is some 40 MB, its log up to 256 MB; NATS needs little.
const DISKS: [(&str, &str); 2] = [("postgres", "640m"), ("nats", "192m")];
const BALLAST: &str = "ballast";

/// Whether disks can be made here: root in a container may have a namespace and yet no right to mount.
pub fn is_possible() -> bool {
    let probe = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/tmp"])
        .output();
    Uid::effective().is_root() && probe.is_ok_and(|probe| probe.status.success())
}

/// Starts this program again in a mount namespace of its own; returns only when that fails.
pub fn go_private(flag: &str) -> Result<()> {
    let program = std::env::current_exe()?;
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .exec();
    Err(error).context("cannot make a mount namespace")
}

/// Mounts the disks into the house's folder, before the servers start.
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

/// Writes until nothing more fits.
pub fn fill(folder: &Folder, disk: &str) -> Result<()> {
    let mut file = File::create(ballast(folder, disk))?;
    for size in [1 << 20, 4 << 10, 1] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// Makes room again.
pub fn empty(folder: &Folder, disk: &str) -> Result<()> {
    let path = ballast(folder, disk);
    if Path::new(&path).exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}
