//! The bridge to RabbitMQ on real servers.

mod outbound;
mod outlet;
