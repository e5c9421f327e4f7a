//! The bridge to RabbitMQ on real servers.

mod dead_letters;
mod inbound;
mod journeys;
mod nest;
mod outbound;
mod outlet;
mod rpc;
mod station;
