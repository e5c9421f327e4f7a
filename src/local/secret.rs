//! Random secrets of a data folder, created once, in files that only their owner can read.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use uuid::Uuid;

/// The secret in this file, created where it does not exist. Of several processes that create it at the same time the first
/// one wins.
pub fn read_or_create(path: &Path, make: impl Fn() -> String) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    // Linked into place when complete, so a process that is killed meanwhile leaves no incomplete secret.
    let new = path.with_extension(Uuid::new_v4().simple().to_string());
    let place = || -> std::io::Result<()> {
        write(&new, &make())?;
        let linked = fs::hard_link(&new, path);
        fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    };
    place().with_context(|| format!("writing {}", path.display()))?;
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file that only its owner can read, whatever the umask is and whatever the permissions of an older file were.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// 192 random bits. The leading letter keeps `nats.conf` from reading it as a number; no character needs escaping in a URL,
/// in SQL or in a configuration file.
pub fn random() -> String {
    format!("p{}", hex::encode(rand::random::<[u8; 24]>()))
}

/// The password of every NATS that this process starts in a temporary folder, so that tests need only its address to
/// connect.
pub fn temporary_password() -> &'static str {
    static PASSWORD: OnceLock<String> = OnceLock::new();
    PASSWORD.get_or_init(random)
}
