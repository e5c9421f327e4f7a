//! The composition root: what the `marquee` program and the whole-system tests put together.

pub mod bridge_host;
pub mod cinema;
pub mod command;
pub mod config;
pub mod descriptors;
pub mod doctor;
pub mod document;
pub mod fsck;
pub mod health;
pub mod hosts;
pub mod local;
pub mod operate;
pub mod service_manager;
pub mod signals;
mod startup_summary;
pub mod telemetry;
