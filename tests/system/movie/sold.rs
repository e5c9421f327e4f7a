//! Sold seats.
