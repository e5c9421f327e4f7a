//! Changes by REST.
