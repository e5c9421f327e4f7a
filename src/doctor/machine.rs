//! What this machine limits, and Redis, which only speeds up what works without it.

use anyhow::Context as _;

use super::report::{Check, Report, Verdict};
use crate::descriptors;

/// Open files: of this process, whose limit the hosts have only if they are started the same way.
pub fn check(report: &mut Report) {
    let limit = descriptors::limit();
    let text =
        format!("this process may open {limit} files and connections; {} are enough", descriptors::FEW);
    let verdict = if limit < descriptors::FEW { Verdict::Warn } else { Verdict::Ok };
    let remedy = "raise the hard limit: LimitNOFILE= of systemd, `ulimits: nofile` of Docker, `ulimit -Hn`";
    report.add(Check::new("open-files", verdict, text).remedy(remedy));
}

/// The version of Redis. Its absence is a warning: rate limits are then counted by each process.
pub async fn redis(url: &str) -> anyhow::Result<Check> {
    let client = bus::redis::client(url)?;
    if let Some(why) = bus::redis::why_away(&client).await {
        let text = format!("Redis is not used: {why}; each process counts requests alone");
        return Ok(Check::new("redis", Verdict::Warn, text).remedy("start Redis, or correct REDIS_URL"));
    }
    let mut connection = client.get_multiplexed_async_connection().await?;
    let described: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let version = described.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(Check::ok("redis", format!("Redis {} answers", version.context("it names no version")?.trim())))
}
