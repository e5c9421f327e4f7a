//! The bridge to RabbitMQ on real servers.

mod dead_letters;
mod inbound;
mod rpc;
mod station;
