//! Where servers keep their files: a folder that stays, or a temporary one that goes with the process that made it.
//!
//! Invariant: a folder has one owner at a time, by a lock that the kernel lets go when its process ends in any way.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::guard::until;

/// Waits for the makers of the logs below (see `guard`) to end, then removes the folder.
const REMOVE: &str = r#"read -r never; for log in "$1"/*/log; do [ -e "$log" ] && flock --timeout 20 "$log" true; done; rm -rf "$1""#;

/// A killed owner's lock goes when the kernel has taken it down, which takes a moment.
const OWNER_PATIENCE: Duration = Duration::from_millis(500);

/// A folder for the files of local servers.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Its standard input closes with the last clone, or with this process; then it removes the folder.
    remover: Option<Arc<Child>>,
}

impl Folder {
    /// A folder that stays, made when missing.
    pub fn kept(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let make = || {
            fs::create_dir_all(path)?;
            path.canonicalize()
        };
        let path = make().with_context(|| format!("cannot make the data folder {}", path.display()))?;
        Ok(Self { path, remover: None })
    }

    /// A new folder that is removed when all its clones are dropped or this process has ended, `kill -9` included, and the
    /// servers in it have ended.
    pub fn temporary() -> Result<Self> {
        let base = std::env::temp_dir();
        let base = if open_to_others(&base) { base } else { PathBuf::from("/tmp") };
        let path = base.join(format!("marquee-{}", Uuid::new_v4().simple()));
        let make = || fs::create_dir(&path).and_then(|()| let_others_pass(&path));
        make().with_context(|| format!("cannot make {}", path.display()))?;
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

    /// A folder in this one, which lives as long.
    pub fn join(&self, name: &str) -> Result<Self> {
        let Self { path, .. } = Self::kept(self.path.join(name))?;
        Ok(Self { path, remover: self.remover.clone() })
    }

    /// This folder if another user can reach it, else one outside of, say, a closed home, named after this one.
    pub(super) fn reachable_by_others(&self) -> Result<Self> {
        if self.path.ancestors().skip(1).all(open_to_others) {
            return Ok(self.clone());
        }
        let name =
            Uuid::new_v5(&Uuid::NAMESPACE_URL, self.path.as_os_str().as_encoded_bytes()).simple().to_string();
        let elsewhere = Self::kept("/var/lib/marquee")?;
        let_others_pass(&elsewhere.path)?;
        elsewhere.join(&name[..12])
    }

    /// Takes the folder for this process; fails with a message while another has it.
    pub(super) async fn own(&self) -> Result<Ownership> {
        let path = self.path.join("lock");
        let open = || OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut file = open().with_context(|| format!("cannot write {}", path.display()))?;
        if !until(OWNER_PATIENCE, || file.try_lock().is_ok()).await {
            let mut owner = String::new();
            file.read_to_string(&mut owner)?;
            bail!(
                "{} is in use by process {}; stop it first, or give another data folder",
                self.path.display(),
                owner.trim()
            );
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Ownership { _lock: file })
    }
}

/// Held while a folder is in use by this process.
#[derive(Debug)]
pub(super) struct Ownership {
    _lock: File,
}

/// Into folders whose name they know (Postgres may run as another user), not to look around; whatever the umask is.
fn let_others_pass(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o711))
}

fn open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|folder| folder.mode() & 0o001 != 0)
}
