//! The composition root: what the `marquee` program and the whole-system tests put together.

pub mod local;
pub mod sandbox;
