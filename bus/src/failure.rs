//! A failure: a message or request could not be processed. A rejection, by contrast, is an expected answer and is part of the
//! contract.

/// Why a message could not be processed. `Display` is the reason alone, as an operator reads it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The same message may succeed later: a lost connection, a deadlock, a host that is not available.
    #[error("{0}")]
    Transient(String),
    /// The same message will always fail: it is unreadable, or it violates a rule of the code itself.
    #[error("{0}")]
    Poison(String),
}

impl Failure {
    pub fn transient(why: impl std::fmt::Display) -> Self {
        Self::Transient(why.to_string())
    }
    pub fn poison(why: impl std::fmt::Display) -> Self {
        Self::Poison(why.to_string())
    }
}
