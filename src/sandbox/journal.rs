//! The sandbox's books on disk: one JSON line per change, appended with `write(2)` before anybody hears of it.
//! Invariant: nothing is answered and no webhook leaves before its line is in the kernel's hands, so a `kill -9`
//! loses nothing that was told. No fsync: this is a sandbox, it promises to outlive its process, not the machine.
//! One thread writes all lines that wait with one call; order in the file is the order of the changes.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::oneshot;

use super::books::Record;
use super::model::Event;

/// One write takes at most about this much, so that the first in line does not wait for the last.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// A predecessor that was killed a moment ago may still hold the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

struct Entry {
    line: Vec<u8>,
    events: Vec<Arc<Event>>,
    written: oneshot::Sender<()>,
}

/// The open log; dropping it lets the writer finish what waits and close the file.
#[derive(Debug)]
pub struct Journal {
    queue: Sender<Entry>,
    writer: JoinHandle<()>,
}

impl Journal {
    /// Opens the log for this process alone and feeds every whole change in it to `replay`; a cut last line,
    /// which nobody was answered for, is removed. `on_written` gets each event once its line is written.
    pub fn open(
        path: &Path,
        mut replay: impl FnMut(&Record),
        on_written: impl Fn(Arc<Event>) + Send + 'static,
    ) -> anyhow::Result<Self> {
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
        let (queue, entries) = channel();
        let writer = std::thread::Builder::new().name("sandbox-log".into());
        let writer = writer.spawn(move || write(file, &entries, on_written))?;
        Ok(Self { queue, writer })
    }

    /// Queues one change; the receiver hears when it is written, or is dropped when it never will be.
    /// Without records it only waits for all that was queued before, which is how reads see only written facts.
    pub fn append(&self, records: &[Record], events: Vec<Arc<Event>>) -> oneshot::Receiver<()> {
        let (written, heard) = oneshot::channel();
        let mut line = Vec::new();
        if !records.is_empty() {
            serde_json::to_writer(&mut line, records).expect("records are plain data");
            line.push(b'\n');
        }
        // A failed send drops `written`, which is what the caller then hears.
        let _ = self.queue.send(Entry { line, events, written });
        heard
    }

    /// Waits until all that was queued is written and the file is closed.
    pub fn close(self) {
        drop(self.queue);
        if self.writer.join().is_err() {
            tracing::error!("the sandbox log's writer panicked");
        }
    }
}

fn lock(file: &File) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => bail!(error),
        }
    }
}

/// Replays the whole lines and answers how many bytes they are.
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
        // A broken line inside is no crash of ours: better stop than go on with books that lack a change.
        let records: Vec<Record> = serde_json::from_slice(&line).with_context(|| format!("line {number}"))?;
        records.iter().for_each(&mut *replay);
        whole += length as u64;
    }
}

fn write(mut file: File, entries: &Receiver<Entry>, on_written: impl Fn(Arc<Event>)) {
    let mut batch = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(first) = entries.recv() {
        bytes.extend_from_slice(&first.line);
        batch.push(first);
        while bytes.len() < BATCH_BYTES_MAX
            && let Ok(next) = entries.try_recv()
        {
            bytes.extend_from_slice(&next.line);
            batch.push(next);
        }
        // After a failed write the file may end in half a line: writing on would corrupt it, so all later calls fail.
        if let Err(error) = file.write_all(&bytes) {
            tracing::error!(%error, "cannot write the sandbox log; the sandbox answers 500 from now on");
            return;
        }
        bytes.clear();
        for entry in batch.drain(..) {
            // A caller that hung up does not wait for this.
            let _ = entry.written.send(());
            entry.events.into_iter().for_each(&on_written);
        }
    }
}
