//! Disks that lose at a power cut what was not synced: those of Postgres and NATS, one each. They need root.
//!
//! A disk has two layers. The upper file system (ext4) has the server's files; its page cache is that of the machine, and its
//! loop device turns each flush into an fsync of one image file. That file is in the lower file system (ext4), whose page cache
//! is therefore the write cache of the disk, and whose device, a file in a tmpfs, is the medium. A cut shuts both file systems
//! down without writing anything (EXT4_IOC_SHUTDOWN, as the tests of file systems do): what was written and not fsynced is lost
//! in the upper one, what was not flushed to the medium in the lower one. Mounting again replays both journals.
//!
//! Invariant: no mount and no loop device outlives the run. The mounts belong to its own mount namespace, and each loop device
//! is released with its mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use marquee::local::{Folder, Postgres};
use tokio::process::Command;
use tokio::time::Instant;

/// The cluster of Postgres has some 40 MB and its WAL up to 1 GB, of which a round writes a small part; NATS needs little.
const POSTGRES_BYTES: u64 = 1 << 30;
const NATS_BYTES: u64 = 192 << 20;
/// What the lower file system needs for itself: its journal and its tables.
const OVERHEAD_BYTES: u64 = 96 << 20;
/// A killed process releases its files within milliseconds, a loop device its file a little later.
const UNMOUNT_WITHIN: Duration = Duration::from_secs(20);

/// Shuts file systems down in this order, by EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (2). Perl is part of every
/// Debian; this crate forbids the unsafe code that an ioctl needs.
const SHUTDOWN: &str = r#"
use Fcntl;
for my $path (@ARGV) {
    sysopen(my $folder, $path, O_RDONLY) or die "$path: $!\n";
    my $flags = pack("L", 2);
    ioctl($folder, 0x8004587d, $flags) or die "cannot shut $path down: $!\n";
}"#;

/// The disks of one deployment.
#[derive(Debug)]
pub struct Disks {
    /// A tmpfs with the media.
    media: PathBuf,
    pub postgres: Disk,
    pub nats: Disk,
}

/// One disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The file with everything that reached the medium.
    medium: PathBuf,
    /// Where the lower file system is mounted.
    cache: PathBuf,
    /// Where the upper file system is mounted: the server's files.
    data: PathBuf,
}

impl Disks {
    /// Creates both disks. That of NATS is mounted at once, before the server starts; that of Postgres by `adopt`.
    pub async fn create(folder: &Folder) -> Result<Self> {
        let media = folder.join("media")?.path().to_owned();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0700", "tmpfs"]).arg(&media)).await?;
        let disk = |name: &str, data: PathBuf| Disk {
            medium: media.join(name),
            cache: media.join(format!("{name}-cache")),
            data,
        };
        // The lock and the log of a server stay outside, since this program has them open.
        let nats = disk("nats", folder.join("nats")?.join("store")?.path().to_owned());
        let postgres = disk("postgres", folder.join("postgres")?.path().join("data"));
        nats.create(NATS_BYTES).await?;
        Ok(Self { media, postgres, nats })
    }

    /// Moves the new cluster of Postgres to its disk, and starts Postgres there.
    pub async fn adopt(&self, postgres: &mut Postgres) -> Result<()> {
        postgres.stop().await?;
        let disk = &self.postgres;
        let first = disk.data.with_extension("first");
        std::fs::rename(&disk.data, &first)?;
        std::fs::create_dir(&disk.data)?;
        disk.create(POSTGRES_BYTES).await?;
        // With the owner and the permissions of the folder itself.
        run(Command::new("cp").arg("--archive").arg(first.join(".")).arg(&disk.data)).await?;
        std::fs::remove_dir_all(&first)?;
        disk.sync().await?;
        postgres.start_again().await
    }

    /// Cuts the power of these disks at once.
    pub async fn cut(disks: &[&Disk]) -> Result<()> {
        let paths = disks.iter().map(|disk| &disk.cache).chain(disks.iter().map(|disk| &disk.data));
        run(Command::new("perl").args(["-e", SHUTDOWN]).args(paths)).await
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // Detached at once and released with the last process in them, so that the folder of the run can be removed.
        for path in
            [&self.postgres.data, &self.nats.data, &self.postgres.cache, &self.nats.cache, &self.media]
        {
            // Fails for a file system that is not mounted, which is fine.
            let _ = std::process::Command::new("umount").args(["--quiet", "--lazy"]).arg(path).output();
        }
    }
}

impl Disk {
    fn image(&self) -> PathBuf {
        self.cache.join("image")
    }

    async fn create(&self, bytes: u64) -> Result<()> {
        std::fs::create_dir(&self.cache)?;
        make_file_system(&self.medium, bytes + OVERHEAD_BYTES).await?;
        mount(&self.medium, &self.cache).await?;
        make_file_system(&self.image(), bytes).await?;
        mount(&self.image(), &self.data).await?;
        // Postgres wants a folder of its own.
        std::fs::remove_dir(self.data.join("lost+found"))?;
        self.sync().await
    }

    /// Writes everything to the medium.
    pub async fn sync(&self) -> Result<()> {
        run(Command::new("sync").arg("--file-system").arg(&self.data)).await
    }

    /// Ends a cut: both file systems are mounted again from what is on the medium. No process may use them.
    pub async fn restore(&self) -> Result<()> {
        unmount(&self.data).await?;
        unmount(&self.cache).await?;
        mount(&self.medium, &self.cache).await?;
        mount(&self.image(), &self.data).await
    }
}

async fn make_file_system(image: &Path, bytes: u64) -> Result<()> {
    std::fs::File::create(image)?.set_len(bytes)?;
    // Without tables that the kernel writes later, in the background.
    let options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
    run(Command::new("mkfs.ext4").args(options).arg(image)).await
}

async fn mount(image: &Path, at: &Path) -> Result<()> {
    run(Command::new("mount").args(["-t", "ext4", "-o", "loop,noatime"]).arg(image).arg(at)).await
}

async fn unmount(path: &Path) -> Result<()> {
    let until = Instant::now() + UNMOUNT_WITHIN;
    loop {
        match run(Command::new("umount").arg(path)).await {
            Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(50)).await,
            ended => return ended,
        }
    }
}

async fn run(command: &mut Command) -> Result<()> {
    let ended = command.output().await;
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let ended = ended.with_context(|| format!("cannot run {program}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    anyhow::ensure!(ended.status.success(), "{program}: {}", said.trim());
    Ok(())
}
