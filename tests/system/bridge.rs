//! The bridge to RabbitMQ on real servers.

mod dead_letters;
mod inbound;
mod journeys;
mod nest;
mod operator;
mod outbound;
mod outlet;
mod process;
mod rpc;
mod station;
