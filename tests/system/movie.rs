//! The movie domain on real servers.
