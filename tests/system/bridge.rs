//! The bridge to RabbitMQ on real servers. `system.rs`, `outbound_system.rs` and `nest.rs` have the helpers.

mod broker_setup;
mod dead_letters;
mod inbound;
mod nest;
mod nest_services;
mod outbound;
mod outbound_system;
mod process;
mod rpc;
mod system;
