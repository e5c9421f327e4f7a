//! Whole-system tests, on real servers.

mod local_servers;
