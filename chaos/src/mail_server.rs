//! The mail server of the deployment: it accepts every mail and records its recipient, its Message-ID, its time and the link to its
//! order.
//!
//! Just enough of SMTP (RFC 5321) for a client that sends plain mails. A mail is recorded before its 250 is sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

/// The PDF and the calendar entry of a ticket have some 100 kB.
const MAIL_BYTES_MAX: usize = 4 << 20;
/// The texts of a mail come before what is attached to it.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A mail that was accepted.
#[derive(Clone, Debug)]
pub struct ReceivedMail {
    /// Without its angle brackets.
    pub message_id: String,
    pub to: String,
    pub at: OffsetDateTime,
    pub link: Option<OrderLink>,
}

/// The link of a mail, which opens its order without a login.
#[derive(Clone, Debug)]
pub struct OrderLink {
    pub order: Uuid,
    pub token: String,
}

/// The mail server.
#[derive(Clone, Debug)]
pub struct MailServer {
    pub addr: SocketAddr,
    mails: Arc<Mutex<Vec<ReceivedMail>>>,
}

impl MailServer {
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self { addr: listener.local_addr()?, mails: Arc::default() };
        let served = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = served.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        Ok(server)
    }

    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves one connection. An interrupted mail is not recorded.
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
                    let Some((message_id, text)) = read_mail(&mut read).await? else { return Ok(()) };
                    let mail = ReceivedMail {
                        message_id,
                        link: link_in(&text),
                        to: std::mem::take(&mut to),
                        at: OffsetDateTime::now_utc(),
                    };
                    self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
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

/// Reads a mail up to the line with a single dot and returns its Message-ID and the beginning of its text; `None` if it is
/// interrupted or too long.
async fn read_mail(read: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<(String, String)>> {
    let mut kept = String::new();
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
            return Ok(Some((id, kept)));
        }
        if kept.len() < TEXT_BYTES_MAX {
            kept.push_str(text);
            kept.push('\n');
        }
        in_head &= !text.is_empty();
        if in_head && text.to_ascii_lowercase().starts_with("message-id:") {
            id = between(text, '<', '>');
        }
    }
}

/// The first link to an order in a text that may be encoded as quoted-printable (RFC 2045, 6.7).
fn link_in(text: &str) -> Option<OrderLink> {
    let text = text.replace("=\n", "").replace("=3D", "=");
    let (before, after) = text.split_once("#token=")?;
    let order = before.rsplit_once("/reservations/")?.1.parse().ok()?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let token: String = after.chars().take_while(|c| is_token(*c)).collect();
    Some(OrderLink { order, token })
}

fn between(text: &str, open: char, close: char) -> String {
    let inner = text.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_of_a_mail_is_found_over_soft_line_breaks() {
        let id = "0199e2c4-51f0-7b1a-8c44-0d8a5be2f702";
        let text = format!("Open https://kino.example/reservations/{id}#to=\nken=3Dab.c_-=\nd9 or call us.");
        let link = link_in(&text).expect("a link");
        assert_eq!((link.order.to_string().as_str(), link.token.as_str()), (id, "ab.c_-d9"));
        assert!(link_in("no link").is_none());
    }
}
