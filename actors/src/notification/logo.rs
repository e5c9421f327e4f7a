//! The site's logo for tickets and receipts: read from its address, and kept in memory.
//!
//! Invariant: no ticket waits for the logo. While its address does not answer, the last logo that could be read stays; before the
//! first one, tickets have that of the settings. A read is bounded in time and bytes, and follows no redirect.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bus::contract::site::DEFAULT_SITE;
use tokio_util::sync::CancellationToken;

use super::Env;
use super::picture::Picture;
use crate::config::Logo;

/// How soon a changed address is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a read that failed.
const AGAIN: Duration = Duration::from_secs(30);
/// At one address another picture may be stored: that of an uploaded logo has an address of its own.
const REFRESH_EVERY: Duration = Duration::from_secs(60 * 60);
const READ_MAX: Duration = Duration::from_secs(5);
/// An uploaded logo has some ten kilobytes.
const BYTES_MAX: usize = 1024 * 1024;

/// The last logo that could be read.
#[derive(Default)]
pub struct LogoCopy(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    logo: Option<Arc<Logo>>,
    /// Counts the changes.
    number: u64,
}

impl LogoCopy {
    /// The logo, and the number of changes so far.
    pub fn get(&self) -> (Option<Arc<Logo>>, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.logo.clone(), kept.number)
    }

    fn set(&self, logo: Option<Logo>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = match (&kept.logo, &logo) {
            (Some(before), Some(after)) => before.content == after.content,
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            *kept = Kept { logo: logo.map(Arc::new), number: kept.number + 1 };
        }
    }
}

/// Keeps the copy up to date until `stop`.
pub async fn keep(env: Arc<Env>, stop: CancellationToken) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(bus::tls::client_config())
        .user_agent("Marquee")
        .timeout(READ_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("making the HTTP client for the logo")?;
    let mut last: Option<(String, Instant)> = None;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = look.tick() => {}
        }
        let Some(url) = env.logo_address() else {
            env.logo.set(None);
            last = None;
            continue;
        };
        if last.as_ref().is_some_and(|(of, due)| *of == url && Instant::now() < *due) {
            continue;
        }
        let read = tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            read = read(&client, &url) => read,
        };
        let wait = match read {
            Ok(logo) => {
                env.logo.set(Some(logo));
                REFRESH_EVERY
            }
            Err(error) => {
                tracing::warn!(
                    url,
                    error = format!("{error:#}"),
                    "the site's logo cannot be read; trying on"
                );
                AGAIN
            }
        };
        last = Some((url, Instant::now() + wait));
    }
}

impl Env {
    /// The address of the site's logo, where staff have given one.
    fn logo_address(&self) -> Option<String> {
        let site = self.sites.of(DEFAULT_SITE)?;
        let link = site.of.theme.logo_url.as_ref()?;
        Some(super::face::absolute(link, &self.settings.public_url))
    }
}

/// A picture that a PDF can have.
async fn read(client: &reqwest::Client, url: &str) -> anyhow::Result<Logo> {
    let mut answer = client.get(url).send().await?;
    ensure!(answer.status().is_success(), "the answer is {}", answer.status());
    let mut content = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        content.extend_from_slice(&chunk);
        ensure!(content.len() <= BYTES_MAX, "it has more than {BYTES_MAX} bytes");
    }
    let logo = Logo { kind: "image", content };
    // Decoding takes milliseconds.
    tokio::task::spawn_blocking(move || match Picture::of(&logo) {
        Ok(_) => Ok(logo),
        Err(error) => Err(anyhow::anyhow!(error)),
    })
    .await?
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The address of a server that gives each request the next of these answers, and then none.
    async fn serve(answers: Vec<(&'static str, Vec<u8>)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/logo.png", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLocation: /\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            }
        });
        url
    }

    fn png(side: u32) -> Vec<u8> {
        let mut content = std::io::Cursor::new(Vec::new());
        let picture = image::RgbImage::from_pixel(side, side, image::Rgb([200, 0, 0]));
        picture.write_to(&mut content, image::ImageFormat::Png).unwrap();
        content.into_inner()
    }

    #[tokio::test]
    async fn only_a_picture_of_bounded_size_is_taken() {
        let client = reqwest::Client::builder().no_proxy();
        let client = client.tls_backend_preconfigured(bus::tls::client_config());
        let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answers = vec![
            ("200 OK", png(20)),
            ("404 Not Found", png(20)),
            ("302 Found", vec![]),
            ("200 OK", b"no picture".to_vec()),
            ("200 OK", vec![0; BYTES_MAX + 1]),
        ];
        let url = serve(answers).await;
        assert_eq!(read(&client, &url).await.unwrap().content, png(20));
        for what in ["an error", "a redirect", "a text", "a large file", "no server"] {
            assert!(read(&client, &url).await.is_err(), "{what}");
        }
    }

    #[test]
    fn only_another_picture_counts_as_a_change() {
        let copy = LogoCopy::default();
        let logo = |side| Some(Logo { kind: "image", content: png(side) });
        copy.set(None);
        assert_eq!(copy.get().1, 0);
        copy.set(logo(2));
        copy.set(logo(2));
        assert_eq!(copy.get().1, 1);
        copy.set(logo(3));
        copy.set(None);
        assert_eq!((copy.get().0.is_none(), copy.get().1), (true, 3));
    }
}
