//! The bridge to RabbitMQ on real servers. `system.rs`, `outbound_system.rs` and `nest.rs` have the helpers.

mod bindings;
mod broker_setup;
mod dead_letters;
mod examples;
mod inbound;
mod nest;
mod nest_services;
mod outbound;
mod outbound_system;
mod process;
mod refusals;
mod rpc;
mod system;
