//! A failure could not tell yes from no. A rejection, by contrast, is an expected no and lives in the contract.

/// Why a message could not be handled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The same message may succeed later: lost connection, deadlock, a host that is away.
    #[error("transient: {0}")]
    Transient(String),
    /// The same message will fail for ever: unreadable, or it breaks a rule of the code itself.
    #[error("poison: {0}")]
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
