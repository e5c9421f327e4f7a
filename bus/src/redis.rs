//! A client of Redis for `REDIS_URL`: the one place that reads the address and says whom to trust.

use std::time::Duration;

use anyhow::Context as _;
use redis::{Client, TlsCertificates};

use crate::address::Address;
use crate::tls;

/// How `REDIS_URL` may begin.
pub const SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

/// Longest wait of a look whether Redis is there.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Nothing connects before the first use.
pub fn client(url: &str) -> anyhow::Result<Client> {
    let wrong = "REDIS_URL is not the address of a Redis";
    if url.starts_with("redis+unix://") {
        return Client::open(url).context(wrong);
    }
    let address = Address::parse(url).map_err(|why| anyhow::anyhow!("REDIS_URL {why}"))?;
    let url = address.canonical(&address.host);
    match address.scheme.as_str() {
        "rediss" => {
            let roots = TlsCertificates { client_tls: None, root_cert: Some(tls::all_pem().into_bytes()) };
            Client::build_with_tls(url, roots).context(wrong)
        }
        _ => Client::open(url).context(wrong),
    }
}

/// Connects once, on its own, to learn why nothing comes back: the client that connects again by itself keeps the reason for
/// itself, and what waits for it sees a time-out.
pub async fn why_away(client: &Client) -> Option<String> {
    let connecting = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await
    };
    match tokio::time::timeout(LOOK_MAX, connecting).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(tls::refusal(&error).unwrap_or_else(|| tls::with_causes(&error))),
        Err(_) => Some("no answer in time".to_owned()),
    }
}
