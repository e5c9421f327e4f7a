//! The mail server of the house: takes every mail and keeps who it was for, what it was called, and when it came.
//!
//! Just enough of SMTP (RFC 5321) for a client that sends plain mails; a mail counts from the moment before its 250 leaves.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A ticket's PDF and calendar are some 100 kB.
const MAIL_BYTES_MAX: usize = 4 << 20;

/// A mail that came.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Without its angle brackets.
    pub message_id: String,
    pub to: String,
    pub at: OffsetDateTime,
}

/// The mail server.
#[derive(Clone, Debug)]
pub struct Post {
    pub addr: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
}

impl Post {
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let post = Self { addr: listener.local_addr()?, letters: Arc::default() };
        let served = post.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let post = served.clone();
                tokio::spawn(async move { post.serve(stream).await });
            }
        });
        Ok(post)
    }

    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One connection, to its end; what breaks off is no mail.
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.split();
        let mut read = BufReader::new(read);
        write.write_all(b"220 chaos ESMTP\r\n").await?;
        let (mut line, mut to) = (String::new(), String::new());
        loop {
            line.clear();
            if read.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "RCPT" => {
                    to = between(&line, '<', '>');
                    write.write_all(b"250 ok\r\n").await?;
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let Some(message_id) = mail(&mut read).await? else { return Ok(()) };
                    let letter =
                        Letter { message_id, to: std::mem::take(&mut to), at: OffsetDateTime::now_utc() };
                    self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
                    write.write_all(b"250 taken\r\n").await?;
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => write.write_all(b"250 ok\r\n").await?,
            }
        }
    }
}

/// Reads a mail up to its lone dot; none when it breaks off or is too long.
async fn mail(read: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<String>> {
    let (mut line, mut bytes, mut id, mut in_head) = (Vec::new(), 0, String::new(), true);
    loop {
        line.clear();
        let length = read.read_until(b'\n', &mut line).await?;
        bytes += length;
        if length == 0 || bytes > MAIL_BYTES_MAX {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text == "." {
            return Ok(Some(id));
        }
        in_head &= !text.is_empty();
        if in_head && text.to_ascii_lowercase().starts_with("message-id:") {
            id = between(text, '<', '>');
        }
    }
}

fn between(text: &str, open: char, close: char) -> String {
    let inner = text.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
}
