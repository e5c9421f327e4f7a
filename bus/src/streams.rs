//! The settings of the streams: `NATS_REPLICAS`, `NATS_EVENTS_MAX_BYTES`, `NATS_DLQ_MAX_BYTES`.

use crate::config::Environment;

/// Size and replicas of the streams, which differ between installations.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Replicas of each stream: 1 for a single server, 3 in a cluster.
    pub replicas: usize,
    /// Bytes of `EVENTS`, in each replica.
    pub events_max_bytes: i64,
    /// Bytes of `DLQ`, in each replica.
    pub dlq_max_bytes: i64,
}

impl Default for Streams {
    /// 8 GiB is about ten million events of this contract, over a week of a large chain's sales.
    fn default() -> Self {
        Self { replicas: 1, events_max_bytes: 8 << 30, dlq_max_bytes: 1 << 30 }
    }
}

impl Streams {
    /// `NATS_REPLICAS`, `NATS_EVENTS_MAX_BYTES`, `NATS_DLQ_MAX_BYTES`.
    pub fn read(environment: &mut Environment) -> Self {
        let default = Self::default();
        // At least 32 of the largest messages, at most more than one server's disk.
        let bytes = 16 << 20..=1 << 50;
        Self {
            replicas: environment.number("NATS_REPLICAS", default.replicas, 1..=5),
            events_max_bytes: environment.number(
                "NATS_EVENTS_MAX_BYTES",
                default.events_max_bytes,
                bytes.clone(),
            ),
            dlq_max_bytes: environment.number("NATS_DLQ_MAX_BYTES", default.dlq_max_bytes, bytes),
        }
    }
}
