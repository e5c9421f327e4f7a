//! Creates the client of Redis for `REDIS_URL`, with the address and the trusted roots.

use std::time::Duration;

use anyhow::Context as _;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult, TlsCertificates};

use crate::address::Address;
use crate::tls;

/// How `REDIS_URL` may begin.
pub const SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

/// Time limit of [`why_away`].
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Creates a client, which connects when it is first used.
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

/// A connection that is made when it is first used, and made anew when it is lost.
pub fn connection(client: Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1)))
        .set_response_timeout(Some(Duration::from_millis(500)));
    ConnectionManager::new_lazy_with_config(client, config)
}

/// Connects once to find out why Redis does not answer: the client that reconnects by itself does not report the reason, and
/// its calls only time out.
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
