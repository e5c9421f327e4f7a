//! What a process tells of itself: logs on standard error, metrics, and spans where somebody wants them.

mod numbers;
mod spans;

use std::io::IsTerminal;

use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

pub use numbers::metrics;
pub use spans::Traces;

/// Sets up what is once in a process: the TLS provider, whom to trust, logs, metrics, spans.
pub fn install(runtime: &Handle) -> anyhow::Result<Traces> {
    // Two libraries could otherwise disagree about it at the first connection.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut environment = crate::config::environment();
    bus::tls::install(&mut environment);
    let (filter, json) = crate::config::logging(&mut environment);
    let (traces, spans) = spans::layer(crate::config::traces(&mut environment), runtime)?;
    let mut logs = fmt::layer().with_writer(std::io::stderr).with_target(false);
    if !std::io::stderr().is_terminal() {
        // Colours are for eyes; in a file they are noise.
        logs.set_ansi(false);
    }
    let logs = if json {
        // One span is enough: each has the request's id, and none lies within another that says more.
        logs.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        logs.boxed()
    };
    // An error means that a test has installed its own.
    let _ = tracing_subscriber::registry().with(spans).with(logs.with_filter(filter)).try_init();
    metrics();
    Ok(traces)
}
