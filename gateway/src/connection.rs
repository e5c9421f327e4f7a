//! One connection's deadlines: silence, a request's head that does not end, an answer that nobody reads.
//!
//! hyper's own deadline for a head needs a timer that Poem's server does not set, and there is none for writes at all. They
//! are kept here, where bytes move: a connection that is over its deadline reads or writes an error, and hyper drops it.
//! Invariant: a stream that is silent because nothing happens is not cut; nothing of it waits to be written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::limit::Place;

/// A connection on which nothing moves is closed after this: longer than the longest `?wait` (30 s), than the
/// heartbeat of a live seat map (15 s), and than the 60 s after which common proxies give up a connection.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// From a head's first byte to its last. A head is a few packets; what takes longer holds a place and asks nothing.
const HEAD_MAX: Duration = Duration::from_secs(15);
/// While bytes wait to be written, at least [`SENT_LEAST`] must leave within each such time: 1 KiB/s. It is this long since the
/// kernel takes bytes in large pieces, with pauses between them on a slow line.
const SENDING: Duration = Duration::from_secs(60);
const SENT_LEAST: u64 = 60 * 1024;
/// Between two pieces of one answer, read from a disk; a longer pause means that nothing waited.
const PAUSE: Duration = Duration::from_millis(100);
/// How HTTP/2 begins (RFC 9113, 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2";
/// Precedes the answer, and the body is still to come.
const CONTINUE: &[u8] = b"HTTP/1.1 100";

/// What a connection takes up, given back when it ends.
pub enum Held {
    Places {
        _room: OwnedSemaphorePermit,
        _network: Option<Place>,
    },
    /// Let in for a question about health when there was no room; it must end by then.
    Spare {
        _permit: OwnedSemaphorePermit,
        until: Instant,
    },
}

/// What the next byte that is read belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was read yet.
    Fresh,
    Head {
        since: Instant,
        end: HeadEnd,
    },
    /// A whole head was read; what follows is its body.
    Body,
    /// Answered; the next byte begins a head.
    Kept,
    /// Requests in frames. `unanswered`: something was read since the last write.
    Http2 {
        unanswered: bool,
    },
}

/// Which deadline has passed, as its metric names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Silence,
    Head,
    Unread,
    Spare,
}

impl Cut {
    fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Head => "head",
            Self::Unread => "unread",
            Self::Spare => "spare",
        }
    }
}

/// A connection that ends by itself when it is over a deadline.
pub struct Connection {
    stream: TcpStream,
    phase: Phase,
    moved: Instant,
    /// The last write found no room.
    blocked: bool,
    sending: Option<Sending>,
    /// Everything was written, at this time.
    drained: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    held: Held,
}

/// What has left since bytes began to wait.
struct Sending {
    since: Instant,
    sent: u64,
}

impl Connection {
    pub fn new(stream: TcpStream, held: Held) -> Self {
        metrics::gauge!("http_connections").increment(1.0);
        let timer = Box::pin(tokio::time::sleep(SILENCE_MAX));
        let (moved, phase) = (Instant::now(), Phase::Fresh);
        Self { stream, phase, moved, blocked: false, sending: None, drained: None, timer, held }
    }

    /// The next deadline, whatever it is.
    fn due(&self) -> (Instant, Cut) {
        let mut due = (self.moved + SILENCE_MAX, Cut::Silence);
        let mut sooner = |at: Instant, cut: Cut| {
            if at < due.0 {
                due = (at, cut);
            }
        };
        if let Phase::Head { since, .. } = self.phase {
            sooner(since + HEAD_MAX, Cut::Head);
        }
        if let Some(sending) = self.sending.as_ref().filter(|_| self.blocked) {
            sooner(sending.since + SENDING, Cut::Unread);
        }
        if let Held::Spare { until, .. } = self.held {
            sooner(until, Cut::Spare);
        }
        due
    }

    /// Ready with an error when a deadline has passed. The timer is set anew when it fires or a deadline is sooner, not at
    /// every byte.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let (due, cut) = self.due();
            let now = Instant::now();
            if now >= due {
                if cut == Cut::Unread && self.sending.as_ref().is_some_and(|s| s.sent >= SENT_LEAST) {
                    self.sending = Some(Sending { since: now, sent: 0 });
                    continue;
                }
                metrics::counter!("http_connections_cut_total", "why" => cut.name()).increment(1);
                if cut != Cut::Silence {
                    // What nobody reads shall not stay in the kernel either.
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
            Phase::Fresh if bytes.starts_with(&HTTP2[..bytes.len().min(HTTP2.len())]) => {
                Phase::Http2 { unanswered: true }
            }
            // Frames that are never answered are no requests: they do not count as movement.
            Phase::Http2 { unanswered: true } => return,
            Phase::Http2 { unanswered: false } => Phase::Http2 { unanswered: true },
            Phase::Fresh | Phase::Kept => read_head(now, HeadEnd::default(), bytes),
            Phase::Head { since, end } => read_head(since, end, bytes),
            Phase::Body => Phase::Body,
        };
        self.moved = now;
    }

    fn note_written(&mut self, first: &[u8], written: usize) {
        self.moved = Instant::now();
        self.blocked = false;
        if let Some(sending) = &mut self.sending {
            sending.sent += written as u64;
        }
        self.phase = match self.phase {
            Phase::Body if written > 0 && !first.starts_with(CONTINUE) => Phase::Kept,
            Phase::Http2 { .. } => Phase::Http2 { unanswered: false },
            phase => phase,
        };
    }

    /// Before each write: after a pause the rate is measured anew.
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

/// Looks for the empty line that ends a head. Empty lines before it are no part of it (RFC 9112, 2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct HeadEnd {
    begun: bool,
    line_ended: bool,
}

impl HeadEnd {
    fn is_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' if self.line_ended => return true,
                b'\n' => self.line_ended = self.begun,
                _ => *self = Self { begun: true, line_ended: false },
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
                // Bytes that keep coming do not put a deadline off.
                match self.due() {
                    (due, Cut::Head | Cut::Spare) if Instant::now() >= due => self.poll_due(cx).map(Err),
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
