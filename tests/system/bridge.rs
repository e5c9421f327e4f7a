//! The bridge to RabbitMQ on real servers.

mod journeys;
mod nest;
mod outbound;
mod outlet;
