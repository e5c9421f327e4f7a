//! Hashes and verifies passwords with argon2id, a few at a time.
//!
//! Invariant: at most as many hashes run as this machine has cores (up to [`RUNNING_MAX`]) and at most [`WAITING_MAX`]
//! wait, so a storm of logins uses a bounded share of memory and never the threads of other work. A request beyond that is
//! refused with 503; one that gives up waiting costs nothing more.
//! A bcrypt hash of an imported account is verified as well, once: after that the account gets an argon2id hash.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use bus::Problem;
use bus::contract::auth::Rejection;
use bus::contract::auth::password::normalized;
use tokio::sync::Semaphore;

/// OWASP's second choice for argon2id: 19 MiB, two passes, one lane; about 25 ms of one core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes at once: each takes 19 MiB while it runs.
const RUNNING_MAX: usize = 4;
/// Hashes that wait for a turn: less than a second's work of two cores.
const WAITING_MAX: usize = 64;

/// The hash that the password of an unknown address is compared with, so that it takes as long as for an account. It is
/// the hash of no password.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bGl2ZXNoZXJlIQ$bm9ib2R5IGtub3dzIGEgcGFzc3dvcmQgZm9yIHRoaXM";

/// The costliest bcrypt that is tried: some two seconds of one core. Anything costlier could stall the pool.
const BCRYPT_COST_MAX: u32 = 15;

/// The result of verifying a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Wrong,
    Right,
    /// Right by a hash of another kind; this one replaces it.
    Outdated {
        hash: String,
    },
}

/// The bounded pool, cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    /// One for each hash that runs or waits.
    places: Arc<Semaphore>,
    /// One for each hash that runs.
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = cores.min(RUNNING_MAX);
        Self {
            places: Arc::new(Semaphore::new(running + WAITING_MAX)),
            turns: Arc::new(Semaphore::new(running)),
        }
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash(&normalized(&password))).await?
    }

    /// Whether the password belongs to the hash `known`; without one it takes as long and the result is wrong.
    pub async fn verify(&self, password: String, known: Option<String>) -> Result<Proof, Problem> {
        self.run(move || verify_any(&password, known.as_deref())).await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let _place = self.places.clone().try_acquire_owned().map_err(|_| {
            metrics::counter!("auth_passwords_refused_total").increment(1);
            Rejection::Busy
        })?;
        let turn = self.turns.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the request, which may give up while it runs.
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "password work failed");
            Problem::internal()
        })
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

pub(super) fn hash(password: &str) -> Result<String, Problem> {
    let hash: argon2::password_hash::Result<PasswordHash> = argon2().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| {
        tracing::error!(%error, "password not hashed");
        Problem::internal()
    })
}

/// Verifies the password in the form that is hashed, then as it was typed, which older hashes are of. Both are done for an
/// address without an account, too.
pub(super) fn verify_any(password: &str, known: Option<&str>) -> Result<Proof, Problem> {
    let plain = normalized(password);
    let proof = verify(&plain, known)?;
    if proof != Proof::Wrong || plain == password {
        return Ok(proof);
    }
    Ok(match verify(password, known)? {
        Proof::Wrong => Proof::Wrong,
        Proof::Right | Proof::Outdated { .. } => Proof::Outdated { hash: hash(&plain)? },
    })
}

pub(super) fn verify(password: &str, known: Option<&str>) -> Result<Proof, Problem> {
    if let Some(known) = known.filter(|known| is_bcrypt(known)) {
        return verify_bcrypt(password, known);
    }
    let stored = PasswordHash::new(known.unwrap_or(DUMMY)).map_err(unreadable)?;
    // The parameters are the stored hash's own.
    let same = argon2().verify_password(password.as_bytes(), &stored).is_ok();
    Ok(if same && known.is_some() { Proof::Right } else { Proof::Wrong })
}

/// `$2a$`, `$2b$` and `$2y$` differ in bugs that no password of ASCII meets.
fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix))
}

fn verify_bcrypt(password: &str, known: &str) -> Result<Proof, Problem> {
    let cost = known.parse::<bcrypt::HashParts>().map_err(unreadable)?.get_cost();
    if cost > BCRYPT_COST_MAX {
        return Err(unreadable(format!("bcrypt cost {cost} is above {BCRYPT_COST_MAX}")));
    }
    // Cut after 72 bytes, as when the hash was made.
    Ok(match bcrypt::verify(password, known).map_err(unreadable)? {
        true => Proof::Outdated { hash: hash(password)? },
        false => Proof::Wrong,
    })
}

fn unreadable(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "stored password hash not readable");
    Problem::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(verify("correct horse", Some(&stored)).unwrap(), Proof::Right);
        assert_eq!(verify("correct horsf", Some(&stored)).unwrap(), Proof::Wrong);
        assert_ne!(stored, hash("correct horse").unwrap(), "each has its own salt");
    }

    #[tokio::test]
    async fn a_password_is_the_same_however_its_letters_are_written_and_older_hashes_are_renewed() {
        let (composed, decomposed) = ("pässwörd-é", "pa\u{308}sswo\u{308}rd-e\u{301}");
        let passwords = Passwords::new();
        let stored = passwords.hash(decomposed.to_owned()).await.unwrap();
        for typed in [composed, decomposed] {
            let proof = passwords.verify(typed.to_owned(), Some(stored.clone())).await.unwrap();
            assert_eq!(proof, Proof::Right, "{typed}");
        }
        // Hashed by an older version, as it was typed.
        let older = hash(decomposed).unwrap();
        let Proof::Outdated { hash } = verify_any(decomposed, Some(&older)).unwrap() else {
            panic!("not proven by a hash of before");
        };
        assert_eq!(verify_any(composed, Some(&hash)).unwrap(), Proof::Right);
        assert_eq!(verify_any("pässwörd-e", Some(&older)).unwrap(), Proof::Wrong);
    }

    #[test]
    fn the_dummy_costs_as_much_as_a_real_hash_and_admits_nobody() {
        let parameters = |phc: &str| {
            let hash = PasswordHash::new(phc).unwrap();
            (hash.algorithm.to_string(), hash.version, hash.params.to_string(), hash.hash.unwrap().len())
        };
        assert_eq!(parameters(DUMMY), parameters(&hash("anything").unwrap()));
        assert_eq!(verify("nobody knows a password for this", None).unwrap(), Proof::Wrong);
    }

    #[test]
    fn an_imported_bcrypt_hash_is_proven_once_and_then_replaced() {
        let imported = bcrypt::hash("correct horse", 4).unwrap();
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let imported = format!("{prefix}{}", &imported[4..]);
            assert_eq!(verify("correct horsf", Some(&imported)).unwrap(), Proof::Wrong);
            let Proof::Outdated { hash } = verify("correct horse", Some(&imported)).unwrap() else {
                panic!("not proven by {imported}");
            };
            assert_eq!(verify("correct horse", Some(&hash)).unwrap(), Proof::Right);
        }
        let endless = imported.replacen("$04$", "$31$", 1);
        assert_eq!(verify("correct horse", Some(&endless)).unwrap_err().status, 500);
    }

    #[tokio::test]
    async fn a_request_beyond_the_queue_is_refused() {
        let passwords = Passwords::new();
        let running = passwords.turns.available_permits();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..running + WAITING_MAX {
            let (passwords, gate) = (passwords.clone(), gate.clone());
            waiting.spawn(async move {
                passwords.run(move || gate.lock().unwrap().recv().unwrap_or_default()).await.unwrap();
            });
        }
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.hash("one too many".into()).await.unwrap_err();
        assert_eq!((refused.status, refused.retry_after), (503, Some(1)));
        drop(release);
        while waiting.join_next().await.is_some() {}
        assert!(passwords.hash("now there is room".into()).await.is_ok());
    }
}
