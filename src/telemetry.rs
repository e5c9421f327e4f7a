//! Logs to standard error, pretty or as JSON lines, and the process's metrics.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Sets up what is once in a process: the TLS provider, logs, metrics.
pub fn install() {
    // Two libraries could otherwise disagree about it at the first connection.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (filter, json) = crate::config::logging(&mut crate::config::environment());
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // An error means that a test has installed its own.
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.try_init() };
    metrics();
}

/// The process's metrics, installed on first use.
pub fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let install =
        || PrometheusBuilder::new().install_recorder().expect("nobody else installs a metrics recorder");
    METRICS.get_or_init(install).clone()
}
