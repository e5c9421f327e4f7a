//! The folders of servers' files: permanent, or temporary and removed when the process that made it ends.
//!
//! Invariant: a folder has one owner at a time, by a lock that the kernel releases when its process ends in any way.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::guard::until;
use super::secret;

/// Waits until the servers whose logs are in the folder (see `guard`) have ended, then removes it.
const REMOVE: &str = r#"read -r never; for log in "$1"/*/log; do [ -e "$log" ] && flock --timeout 20 "$log" true; done; rm -rf "$1""#;

const LOCK: &str = "lock";

/// The kernel releases the lock of a killed owner within some milliseconds.
const OWNER_MAX_DELAY: Duration = Duration::from_millis(500);

/// A folder for the files of local servers.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Its standard input is closed when the last clone is dropped or this process ends; then it removes the folder.
    remover: Option<Arc<Child>>,
}

impl Folder {
    /// A permanent folder, created when missing.
    pub fn permanent(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let make = || {
            fs::create_dir_all(path)?;
            path.canonicalize()
        };
        let path = make().with_context(|| format!("cannot create the data folder {}", path.display()))?;
        Ok(Self { path, remover: None })
    }

    /// A new folder that is removed when all its clones are dropped or this process has ended (also by `kill -9`), and the
    /// servers in it have ended.
    pub fn temporary() -> Result<Self> {
        let base = std::env::temp_dir();
        let base = if open_to_others(&base) { base } else { PathBuf::from("/tmp") };
        let path = base.join(format!("marquee-{}", Uuid::new_v4().simple()));
        let make = || fs::create_dir(&path).and_then(|()| let_others_pass(&path));
        make().with_context(|| format!("cannot create {}", path.display()))?;
        let path = path.canonicalize()?;
        let remover = Command::new("/bin/sh")
            .args(["-c", REMOVE, "marquee-remover"])
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { path, remover: Some(Arc::new(remover)) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.remover.is_some()
    }

    /// A folder in this one, with the same lifetime.
    pub fn join(&self, name: &str) -> Result<Self> {
        let Self { path, .. } = Self::permanent(self.path.join(name))?;
        Ok(Self { path, remover: self.remover.clone() })
    }

    /// A secret of this folder, created when missing.
    pub(super) fn secret(&self, name: &str) -> Result<String> {
        secret::read_or_create(&self.path.join(name), secret::random)
    }

    /// Whether it is empty, or was used by an earlier start: then we may set its permissions.
    pub(super) fn is_ours(&self) -> bool {
        let is_empty = fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none());
        is_empty || self.path.join(LOCK).exists()
    }

    /// Denies access to other users of the machine. `account` is the user that Postgres runs as, where that is another one: its
    /// group may enter the folder but not list it.
    pub(super) fn close(&self, account: Option<Account>) -> Result<()> {
        let close = || {
            let Some(account) = account else {
                return fs::set_permissions(&self.path, Permissions::from_mode(0o700));
            };
            chown(&self.path, None, Some(account.group))?;
            fs::set_permissions(&self.path, Permissions::from_mode(0o710))
        };
        close().with_context(|| format!("cannot close {} to other users", self.path.display()))
    }

    /// This folder if that user can reach it, else one in /var/lib/marquee, named after this one. A home may be closed to others.
    pub(super) fn reachable_by(&self, account: Account) -> Result<Self> {
        if self.path.ancestors().skip(1).all(|folder| account.may_pass(folder)) {
            return Ok(self.clone());
        }
        let name =
            Uuid::new_v5(&Uuid::NAMESPACE_URL, self.path.as_os_str().as_encoded_bytes()).simple().to_string();
        let elsewhere = Self::permanent("/var/lib/marquee")?;
        let_others_pass(&elsewhere.path)?;
        elsewhere.join(&name[..12])
    }

    /// Locks the folder for this process; fails with a message while another process has the lock.
    pub(super) async fn own(&self) -> Result<Ownership> {
        let path = self.path.join(LOCK);
        let open = || OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut file = open().with_context(|| format!("cannot write {}", path.display()))?;
        if !until(OWNER_MAX_DELAY, || file.try_lock().is_ok()).await {
            let mut owner = String::new();
            file.read_to_string(&mut owner)?;
            bail!(
                "{} is in use by process {}; stop it first, or use another data folder",
                self.path.display(),
                owner.trim()
            );
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Ownership { _lock: file })
    }
}

/// Another user of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub user: u32,
    pub group: u32,
}

impl Account {
    fn may_pass(self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|folder| {
            let of_its_class = match () {
                () if folder.uid() == self.user => 0o100,
                () if folder.gid() == self.group => 0o010,
                () => 0o001,
            };
            folder.mode() & of_its_class != 0
        })
    }
}

/// Held while a folder is in use by this process.
#[derive(Debug)]
pub(super) struct Ownership {
    _lock: File,
}

/// Lets other users enter the folder (Postgres may run as another user) but not list it, whatever the umask is.
fn let_others_pass(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o711))
}

fn open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|folder| folder.mode() & 0o001 != 0)
}
