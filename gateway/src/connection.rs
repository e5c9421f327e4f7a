//! The deadlines of a connection: idle time, a request's head that does not end, an answer that the client does not read.
//!
//! hyper's own deadline for a head needs a timer that Poem's server does not set, and hyper has none for writes. So they are
//! enforced at reads and writes: past its deadline a connection returns an error, and hyper drops it.
//! Invariant: a live stream without events is not closed, since none of its bytes waits to be written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::limit::Place;

/// A connection without reads and writes is closed after this: longer than the longest `?wait` (30 s), than the
/// heartbeat of a live seat map (15 s), and than the 60 s after which common proxies close an idle connection.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// From a head's first byte to its last. A head is a few packets; a slower one only occupies a connection.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// While bytes wait to be written, at least [`SENT_MIN`] must be written within each such time: 1 KiB/s. It is this long
/// because the kernel accepts bytes in large chunks, with pauses between them on a slow connection.
const SENDING_MAX: Duration = Duration::from_secs(60);
const SENT_MIN: u64 = 60 * 1024;
/// Between two chunks of one answer that is read from disk; after a longer pause there was nothing to write.
const PAUSE: Duration = Duration::from_millis(100);
/// How HTTP/2 begins (RFC 9113, 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2";
/// Precedes the answer, while the body is still to be read.
const CONTINUE: &[u8] = b"HTTP/1.1 100";

/// What a connection occupies until it ends.
pub enum Held {
    Places {
        _permit: OwnedSemaphorePermit,
        _network: Option<Place>,
    },
    /// Accepted beyond the capacity for a health request; it must end by `until`.
    Health {
        _permit: OwnedSemaphorePermit,
        until: Instant,
    },
}

/// To what the next byte that is read belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was read yet.
    New,
    Head {
        since: Instant,
        end: HeadEnd,
    },
    /// A whole head was read; its body follows.
    Body,
    /// Answered; the next byte begins a head.
    Idle,
    /// HTTP/2 frames. `unanswered`: bytes were read since the last write.
    Http2 {
        unanswered: bool,
    },
}

/// Which deadline has passed; the names are the label values of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Idle,
    Head,
    Unread,
    Health,
}

impl Cut {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "silence",
            Self::Head => "head",
            Self::Unread => "unread",
            Self::Health => "spare",
        }
    }
}

/// A connection whose reads and writes fail past a deadline.
pub struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// The last read or write.
    active: Instant,
    /// The last write could not be completed.
    blocked: bool,
    sending: Option<Sending>,
    /// When everything was written, until the next write.
    drained: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    held: Held,
}

/// How much was written since bytes began to wait.
struct Sending {
    since: Instant,
    sent: u64,
}

impl Connection {
    pub fn new(stream: TcpStream, held: Held) -> Self {
        metrics::gauge!("http_connections").increment(1.0);
        let timer = Box::pin(tokio::time::sleep(IDLE_MAX));
        let (active, phase) = (Instant::now(), Phase::New);
        Self { stream, phase, active, blocked: false, sending: None, drained: None, timer, held }
    }

    /// The next deadline and its kind.
    fn due(&self) -> (Instant, Cut) {
        let mut due = (self.active + IDLE_MAX, Cut::Idle);
        let mut sooner = |at: Instant, cut: Cut| {
            if at < due.0 {
                due = (at, cut);
            }
        };
        if let Phase::Head { since, .. } = self.phase {
            sooner(since + HEAD_MAX, Cut::Head);
        }
        if let Some(sending) = self.sending.as_ref().filter(|_| self.blocked) {
            sooner(sending.since + SENDING_MAX, Cut::Unread);
        }
        if let Held::Health { until, .. } = self.held {
            sooner(until, Cut::Health);
        }
        due
    }

    /// Ready with an error when a deadline has passed. The timer is reset only when it fires or a deadline comes sooner, not
    /// at every read.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let (due, cut) = self.due();
            let now = Instant::now();
            if now >= due {
                if cut == Cut::Unread && self.sending.as_ref().is_some_and(|s| s.sent >= SENT_MIN) {
                    self.sending = Some(Sending { since: now, sent: 0 });
                    continue;
                }
                metrics::counter!("http_connections_cut_total", "why" => cut.name()).increment(1);
                if cut != Cut::Idle {
                    // Drops the bytes in the kernel too, which the client does not read.
                    let _ = self.stream.set_zero_linger();
                }
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            if self.timer.deadline() > due || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let now = Instant::now();
        self.phase = match self.phase {
            Phase::New if bytes.starts_with(&HTTP2[..bytes.len().min(HTTP2.len())]) => {
                Phase::Http2 { unanswered: true }
            }
            // Frames that are never answered are not requests: they do not count as activity.
            Phase::Http2 { unanswered: true } => return,
            Phase::Http2 { unanswered: false } => Phase::Http2 { unanswered: true },
            Phase::New | Phase::Idle => read_head(now, HeadEnd::default(), bytes),
            Phase::Head { since, end } => read_head(since, end, bytes),
            Phase::Body => Phase::Body,
        };
        self.active = now;
    }

    fn note_written(&mut self, first: &[u8], written: usize) {
        self.active = Instant::now();
        self.blocked = false;
        if let Some(sending) = &mut self.sending {
            sending.sent += written as u64;
        }
        self.phase = match self.phase {
            Phase::Body if written > 0 && !first.starts_with(CONTINUE) => Phase::Idle,
            Phase::Http2 { .. } => Phase::Http2 { unanswered: false },
            phase => phase,
        };
    }

    /// Before each write: after a pause the rate is measured from the start.
    fn begin_write(&mut self) {
        if self.drained.take().is_some_and(|at| at.elapsed() > PAUSE) {
            self.sending = None;
        }
    }

    fn wait_to_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.blocked = true;
        self.sending.get_or_insert(Sending { since: Instant::now(), sent: 0 });
        self.poll_due(cx).map(Err)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::gauge!("http_connections").decrement(1.0);
    }
}

fn read_head(since: Instant, mut end: HeadEnd, bytes: &[u8]) -> Phase {
    if end.is_in(bytes) { Phase::Body } else { Phase::Head { since, end } }
}

/// Finds the empty line that ends a head. Empty lines before the head are skipped (RFC 9112, 2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct HeadEnd {
    started: bool,
    line_ended: bool,
}

impl HeadEnd {
    fn is_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' if self.line_ended => return true,
                b'\n' => self.line_ended = self.started,
                _ => *self = Self { started: true, line_ended: false },
            }
        }
        false
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.poll_due(cx).map(Err),
            Poll::Ready(Ok(())) => {
                self.note_read(&buf.filled()[before..]);
                // Further bytes do not extend these deadlines.
                match self.due() {
                    (due, Cut::Head | Cut::Health) if Instant::now() >= due => self.poll_due(cx).map(Err),
                    _ => Poll::Ready(Ok(())),
                }
            }
            failed => failed,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.begin_write();
        let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, bytes) else {
            return self.wait_to_write(cx);
        };
        self.note_written(bytes, *written.as_ref().unwrap_or(&0));
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin_write();
        let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write_vectored(cx, parts) else {
            return self.wait_to_write(cx);
        };
        let first = parts.iter().find(|part| !part.is_empty()).map(|part| &**part).unwrap_or_default();
        self.note_written(first, *written.as_ref().unwrap_or(&0));
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.blocked {
            self.drained.get_or_insert(Instant::now());
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_is_cut_into_pieces() {
        let head = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for at in 0..head.len() {
            let (first, second) = head.split_at(at);
            let mut end = HeadEnd::default();
            assert!(!end.is_in(first) && end.is_in(second), "{at}");
        }
        assert!(HeadEnd::default().is_in(b"GET / HTTP/1.1\nHost: a\n\n"));
        assert!(!HeadEnd::default().is_in(b"\r\n\r\n\n\n"), "empty lines alone are no head");
    }
}
