//! The process's metrics: the recorder, the buckets and the descriptions.

mod process;

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds: from a read from memory to the longest `?wait`.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Changes of one commit, up to the journal's limit.
const CHANGES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Interval of folding recorded values into the buckets: until then they take memory for every request, scraped or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics, installed on first use.
pub fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS).and_then(|builder| {
        builder.set_buckets_for_metric(Matcher::Full("journal_batch_size".into()), &CHANGES)
    });
    let builder = builder.expect("there are buckets, and they ascend");
    let handle = builder.install_recorder().expect("no other code installs a metrics recorder");
    describe();
    process::measure();
    let folding = handle.clone();
    // A thread, since the first use may be outside of a runtime; folding takes some microseconds.
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                folding.run_upkeep();
                process::measure();
            }
        })
        .expect("a process can start one more thread");
    handle
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    metrics::gauge!("build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    describe_gauge!("build_info", "Always 1; its label is the version that runs.");
    describe_gauge!("consumer_lag", "Events that were not delivered to a consumer yet.");
    describe_gauge!(
        "consumer_in_hand",
        "Events that were delivered to a consumer and not settled yet, over all hosts."
    );
    describe_gauge!(
        "stream_full_percent",
        "Bytes of a stream, of its max_bytes; above 90 it is about to discard events."
    );
    describe_counter!(
        "events_discarded_unhandled_total",
        "Events that the stream discarded before a consumer had handled them all, by consumer."
    );
    describe_counter!(
        "events_refilled_total",
        "Events that were delivered again from the archives in their place, by consumer."
    );
    describe_gauge!("outbox_pending", "Committed events that JetStream has not acknowledged.");
    describe_gauge!("outbox_oldest_seconds", "Age of the oldest of them.");
    describe_gauge!(
        "outbox_days_ahead",
        "Days after today for which the outbox of a domain has partitions, at most 7."
    );
    describe_gauge!("postgres_connections", "Sessions of clients in the whole Postgres server.");
    describe_gauge!(
        "postgres_connections_max",
        "Sessions that Postgres allows to roles without special rights."
    );
    describe_gauge!("payments_attention", "Payments that cannot settle without a person.");
    describe_gauge!("sagas_attention", "Reservations whose refund cannot settle without a person.");
    describe_gauge!("holds_open", "Reservations that hold seats and are not paid.");
    describe_gauge!(
        "deadlines_oldest_seconds",
        "Age of the oldest deadline of a reservation that has passed."
    );
    describe_gauge!("receipts_oldest_seconds", "Age of the oldest receipt that has no number yet.");
    describe_gauge!("mails_queued", "Mails that wait to be sent.");
    describe_gauge!(
        "mails_oldest_seconds",
        "Time since the oldest mail was queued that was tried at least once and still waits."
    );
    describe_gauge!("host_ready", "1 if the host reaches NATS and its database.");
    describe_gauge!("host_degraded", "Reasons for which a host that works is degraded.");
    describe_gauge!("gateway_ready", "The last result of the gateway's /health/ready: 1 is ready.");
    describe_gauge!(
        "gateway_degraded",
        "Parts that the last result of the gateway's /health/ready names as degraded or without a host."
    );
    describe_counter!("mails_total", "Ends of tries to send a mail, by kind and end.");
    describe_counter!("http_requests_total", "REST requests, by method, route and status.");
    describe_counter!("saga_steps_total", "Steps of sagas, by input and by the state that follows.");
    describe_counter!("process_cpu_seconds_total", "CPU time of the process, in whole seconds.");
    describe_gauge!("process_resident_memory_bytes", "Memory of the process.");
    describe_gauge!("process_open_fds", "Open files and connections of the process.");
    describe_gauge!("rpc_in_flight", "Requests that this host works on, by endpoint.");
    describe_gauge!("http_requests_in_flight", "REST requests that this gateway works on.");
    describe_gauge!("database_connections", "Connections of a domain's pool, by what they do.");
    describe_gauge!("dead_letters", "Messages that wait in the stream DLQ for a person.");
    describe_counter!("dead_letters_total", "Messages that were parked.");
    describe_counter!("rate_limited_total", "Requests that were refused with 429, by route.");
    describe_counter!("rate_limit_outages_total", "Times that Redis could not count.");
    describe_gauge!("amqp_connected", "1 while the bridge is connected to RabbitMQ.");
    describe_gauge!("amqp_confirms_pending", "Events published to RabbitMQ without a confirm, by target.");
    describe_counter!("amqp_published_total", "Events that RabbitMQ has confirmed, by target.");
    describe_counter!("amqp_unroutable_total", "Those of them that no queue accepted.");
    describe_counter!("amqp_kept_total", "Times that an event was kept for a service queue.");
    describe_counter!("amqp_reconnects_total", "Connections to RabbitMQ after the first.");
    describe_counter!(
        "amqp_taken_in_total",
        "Events from RabbitMQ that were published to JetStream, by event."
    );
    describe_counter!(
        "amqp_rejected_total",
        "Messages from RabbitMQ that were refused and parked, by reason."
    );
    describe_counter!(
        "amqp_dropped_total",
        "Messages from RabbitMQ that were dropped because they are our own (own) or circulate (hops)."
    );
    describe_counter!("amqp_requests_total", "Requests from RabbitMQ, by outcome.");
    describe_counter!("amqp_retries_total", "Dead letters that were returned to their queue.");
    describe_counter!(
        "amqp_dead_letters_total",
        "Messages that arrived in RabbitMQ's final dead letter queue."
    );
    describe_histogram!("journal_batch_size", "Changes of one commit.");
    describe_histogram!("journal_commit_seconds", "Duration of one commit, with its statements.");
    describe_histogram!("http_request_duration_seconds", "Duration of a REST request, by route and status.");
    describe_histogram!("rpc_duration_seconds", "Duration of a request at its host, by endpoint.");
}
