//! Logs on standard error, metrics, and spans where a collector is configured.

mod metrics;
mod spans;

use std::io::IsTerminal;

use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

pub use self::metrics::metrics;
pub use spans::Traces;

/// Sets up what exists once in a process: the TLS provider and trusted certificates, logs, metrics, spans.
pub fn install(runtime: &Handle) -> anyhow::Result<Traces> {
    // Otherwise two libraries could each choose one at the first connection.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut environment = crate::config::environment();
    bus::tls::install(&mut environment);
    let (filter, json) = crate::config::logging(&mut environment);
    let (traces, spans) = spans::layer(crate::config::traces(&mut environment), runtime)?;
    let mut logs = fmt::layer().with_writer(std::io::stderr).with_target(false);
    if !std::io::stderr().is_terminal() {
        // No colour codes in files and pipes.
        logs.set_ansi(false);
    }
    let logs = if json {
        // Only the innermost span: each has the request's id, and the outer ones add nothing.
        logs.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        logs.boxed()
    };
    // Fails only where a test has installed its own subscriber.
    let _ = tracing_subscriber::registry().with(spans).with(logs.with_filter(filter)).try_init();
    metrics();
    Ok(traces)
}
