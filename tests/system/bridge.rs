//! The bridge to RabbitMQ on real servers.

mod journeys;
mod nest;
