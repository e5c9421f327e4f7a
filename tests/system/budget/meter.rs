//! A proxy in front of Postgres that counts exchanges: one ReadyForQuery of the server each. It counts them by the domain in
//! the connection's `application_name` and by the statement that was sent last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const SSL_REQUEST: u32 = 80_877_103;
/// Characters of a statement that are kept to recognize it.
const STATEMENT_MAX: usize = 90;

/// Exchanges so far, by domain and statement.
pub type Exchanges = BTreeMap<(String, String), i64>;

/// A proxy in front of Postgres.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<Exchanges>>);

impl Meter {
    /// Listens on a port of its own for what is meant for `port`; returns its own.
    pub async fn start(port: u16) -> (Self, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let meter = Self::default();
        let counting = meter.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(counting.clone().carry(client, port));
            }
        });
        (meter, own)
    }

    pub fn read(&self) -> Exchanges {
        self.0.lock().unwrap().clone()
    }

    async fn carry(self, client: TcpStream, port: u16) -> std::io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", port)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (from_server, mut to_server) = server.into_split();
        let mut startup = first_packet(&mut from_client).await?;
        if startup.get(4..8) == Some(SSL_REQUEST.to_be_bytes().as_slice()) {
            to_client.write_all(b"N").await?;
            startup = first_packet(&mut from_client).await?;
        }
        to_server.write_all(&startup).await?;
        let domain = application_name(&startup);
        let last = Arc::new(Mutex::new(String::new()));
        tokio::spawn(watch_statements(from_client, to_server, last.clone()));
        self.count(from_server, to_client, domain, last).await
    }

    async fn count(
        self,
        mut from_server: OwnedReadHalf,
        mut to_client: OwnedWriteHalf,
        domain: String,
        last: Arc<Mutex<String>>,
    ) -> std::io::Result<()> {
        let (mut read, mut pending) = (vec![0; 64 * 1024], Vec::new());
        loop {
            let n = from_server.read(&mut read).await?;
            if n == 0 {
                return to_client.shutdown().await;
            }
            pending.extend_from_slice(&read[..n]);
            take_messages(&mut pending, |kind, _| {
                if kind == b'Z' {
                    let key = (domain.clone(), last.lock().unwrap().clone());
                    *self.0.lock().unwrap().entry(key).or_default() += 1;
                }
            });
            to_client.write_all(&read[..n]).await?;
        }
    }
}

/// Packets before the first answer have a length and no type.
async fn first_packet(client: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(length as usize, 0);
    client.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// Such as `reservation` of `marquee-reservation`.
fn application_name(startup: &[u8]) -> String {
    let mut texts = startup[8..].split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let name = texts.by_ref().find(|text| text == "application_name").and_then(|_| texts.next());
    name.map_or_else(|| "other".to_owned(), |name| name.trim_start_matches("marquee-").to_owned())
}

/// Passes on what a client sends and notes the text of each statement that it runs.
async fn watch_statements(
    mut from_client: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    last: Arc<Mutex<String>>,
) -> std::io::Result<()> {
    let mut prepared: HashMap<Vec<u8>, String> = HashMap::new();
    let (mut read, mut pending) = (vec![0; 64 * 1024], Vec::new());
    loop {
        let n = from_client.read(&mut read).await?;
        if n == 0 {
            return to_server.shutdown().await;
        }
        pending.extend_from_slice(&read[..n]);
        take_messages(&mut pending, |kind, body| {
            let mut texts = body.split(|byte| *byte == 0);
            let mut text = || texts.next().unwrap_or_default().to_vec();
            let sent = match kind {
                b'Q' => Some(short(&text())),
                b'P' => {
                    let (name, statement) = (text(), short(&text()));
                    prepared.insert(name, statement.clone());
                    Some(format!("prepare {statement}"))
                }
                b'B' => {
                    let (_portal, name) = (text(), text());
                    prepared.get(&name).cloned()
                }
                _ => None,
            };
            if let Some(sent) = sent {
                *last.lock().unwrap() = sent;
            }
        });
        to_server.write_all(&read[..n]).await?;
    }
}

fn short(statement: &[u8]) -> String {
    let text = String::from_utf8_lossy(statement);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(STATEMENT_MAX).collect()
}

/// Hands whole messages on and leaves the begun one.
fn take_messages(pending: &mut Vec<u8>, mut take: impl FnMut(u8, &[u8])) {
    let mut at = 0;
    while let Some(head) = pending.get(at..at + 5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(body) = pending.get(at + 5..at + 1 + length) else { break };
        take(head[0], body);
        at += 1 + length;
    }
    pending.drain(..at);
}
