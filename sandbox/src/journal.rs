//! The sandbox's log on disk: one JSON line per change, appended with `write(2)` before the change is answered.
//! Invariant: no answer and no webhook is sent before the line is in the page cache, so a `kill -9` loses no change that a
//! client has seen. There is no fsync: the sandbox survives the end of its process, not of the machine.
//! A line is about a kilobyte into the page cache, which takes a few microseconds: less than to wake another thread.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::store::Record;

/// How long the lock of a process that was just killed may still be held.
const LOCK_MAX: Duration = Duration::from_secs(3);

/// The open log; dropping it closes the file.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// The last line; the buffer is reused.
    line: Vec<u8>,
}

impl Journal {
    /// Opens the log for this process alone and passes every complete change in it to `replay`. A truncated last line, whose
    /// change was never answered, is removed.
    pub fn open(path: &Path, mut replay: impl FnMut(&Record)) -> anyhow::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut options = File::options();
        let open = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
        lock(&file).with_context(|| format!("another sandbox uses {}", path.display()))?;
        let whole = read(&file, &mut replay).with_context(|| format!("cannot read {}", path.display()))?;
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, line: Vec::new() })
    }

    /// Writes one change, unless it has no records. After an error the file may end in half a line: another write would
    /// corrupt it.
    pub fn append(&mut self, records: &[Record]) -> std::io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.line.clear();
        serde_json::to_writer(&mut self.line, records)?;
        self.line.push(b'\n');
        self.file.write_all(&self.line)
    }
}

fn lock(file: &File) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_MAX => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => bail!(error),
        }
    }
}

/// Replays the complete lines and returns their size in bytes.
fn read(file: &File, replay: &mut impl FnMut(&Record)) -> anyhow::Result<u64> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let (mut line, mut whole, mut number) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(whole);
        }
        number += 1;
        if line.last() != Some(&b'\n') {
            tracing::warn!(line = number, "the sandbox log ends in the middle of a line, which is removed");
            return Ok(whole);
        }
        // A crash cannot have caused an unreadable line in the middle: fail instead of continuing without that change.
        let records: Vec<Record> = serde_json::from_slice(&line).with_context(|| format!("line {number}"))?;
        records.iter().for_each(&mut *replay);
        whole += length as u64;
    }
}
