//! The commands of docs/operations.md, and what each prints in the situation in which a test runs it.

/// A command as it is in the document, and texts that it prints.
pub struct Case {
    pub command: &'static str,
    pub shows: &'static [&'static str],
}

pub const CONTEXT: &str = r#"nats context add marquee --server "$NATS_URL" --user operator --password "$NATS_PASSWORD" --inbox-prefix _INBOX.operator --select"#;

pub const SERVICES: &str = "nats micro ls";
pub const CONSUMERS: &str = "nats consumer report EVENTS";
pub const STREAMS: &str = "nats stream ls";
pub const CONSUMER: &str = "nats consumer info EVENTS notification";
pub const PING: &str = "nats micro ping";
pub const LATENCIES: &str = "nats micro stats reservation";
pub const CONNECTIONS: &str = "nats account report connections";
pub const LIVE_SEATS: &str = "nats sub 'seats.*'";
pub const LIVE_EVENTS: &str = "nats sub 'reservation.*' --headers-only";
pub const LIVE_DEAD_LETTERS: &str = "nats sub 'dlq.>'";
pub const STREAM: &str = "nats stream info EVENTS";
pub const STATISTICS: &str = "nats account report statistics";
pub const DEAD_LETTERS: &str = "marquee dead-letters list";

/// Every event with `$RESERVATION` in its body or its headers.
pub const STORY: &str = r#"nats req '$JS.API.DIRECT.GET.EVENTS' '{"seq": 1, "batch": 30000, "next_by_subj": ">"}' --wait-for-empty 2>&1 |
  awk -v id="$RESERVATION" '/ Received with rtt / {hit = 0} index($0, id) {hit = 1} / Nats-Sequence: / {n = $3}
    / ce-time: / {t = $3} / ce-type: / {e = $3} /^[{]/ && hit {print n, t, e; print}'"#;

/// Hosts run, an order was bought, and nothing waits.
pub const HEALTHY: [Case; 6] = [
    Case { command: STREAMS, shows: &["EVENTS", "DLQ", "never", "Created"] },
    Case {
        command: STREAM,
        shows: &[
            "created 20",
            "Maximum Bytes: 8.0 GiB",
            "Maximum Age: 7d",
            "Discard Policy: Old",
            "First Sequence: 1 ",
        ],
    },
    Case {
        command: "nats stream get EVENTS --last-for payment.success",
        shows: &[
            "on Subject payment.success",
            "ce-type: payment.success",
            "X-Correlation-Id: ",
            "\"reservationId\":",
        ],
    },
    Case {
        command: "nats micro info reservation",
        shows: &[
            "rpc.reservation.create",
            "access: internal",
            "request: {\"$schema\"",
            "Queue Group: reservation",
        ],
    },
    Case { command: STATISTICS, shows: &["Slow Consumers", "Subscriptions"] },
    Case { command: "nats account info", shows: &["User: operator", "System Account: false", "replay.*"] },
];

/// An event could not be read by its consumers.
pub const PARKED: [Case; 4] = [
    Case { command: "nats stream subjects DLQ", shows: &["dlq.payment.success"] },
    Case {
        command: "nats stream get DLQ --last-for 'dlq.>'",
        shows: &[
            "Item: DLQ#",
            "on Subject dlq.payment.success",
            "Marquee-Reason: not a payment.success",
            "Marquee-Attempts: 1",
            "Marquee-Consumer: ",
            "no JSON",
        ],
    },
    Case {
        command: "nats sub --stream DLQ --direct --all --headers-only --wait 1s",
        shows: &["stream: DLQ seq 1 / subject: dlq.payment.success", "Marquee-Consumer: reservation"],
    },
    Case {
        command: DEAD_LETTERS,
        shows: &["payment.success → reservation, 1 tries", "not a payment.success"],
    },
];

/// Commands that tests run one by one.
const SINGLE: [&str; 10] = [
    CONTEXT,
    SERVICES,
    CONSUMERS,
    CONSUMER,
    PING,
    LATENCIES,
    CONNECTIONS,
    LIVE_SEATS,
    LIVE_EVENTS,
    LIVE_DEAD_LETTERS,
];

/// Every command that a test runs.
pub fn all() -> impl Iterator<Item = &'static str> {
    let cases = HEALTHY.iter().chain(&PARKED).map(|case| case.command);
    SINGLE.into_iter().chain([STORY]).chain(cases)
}
