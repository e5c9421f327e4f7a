//! Auth owns accounts with their roles, and logins: families of refresh tokens that follow one another.
//!
//! Invariant: an e-mail has one account, compared without case.
//! Invariant: a refresh token buys one new pair; whoever presents it again ends the whole family.
//! Invariant: an unknown e-mail and a wrong password get the same answer after the same work.
//! It does not keep access tokens: they are good until they expire, 15 minutes, whatever happens to their login.

mod actor;
mod model;
mod password;
mod store;
pub mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bus::contract::auth::Role;
use futures::FutureExt;
use uuid::Uuid;

use crate::config::AuthSettings;
use crate::host::{Host, Parts};
use actor::Desk;

/// Starts the host; when this returns the first SUPER_ADMIN is there.
pub async fn spawn(parts: Parts, settings: AuthSettings) -> anyhow::Result<Host> {
    let signer = token::Signer::from_pem(&settings.jwt_private_key)?.telling_too(&parts.public_keys);
    // Its own tokens it need not ask itself about.
    parts.verifier.add(signer.keys());
    let (journal, wellness, mut children) = parts.delivery(None);
    let desk = Arc::new(Desk {
        journal,
        pool: parts.database.pool.clone(),
        clock: parts.clock.clone(),
        passwords: password::Passwords::new(),
        signer,
    });
    let serving = desk.clone();
    children.push(parts.service(move |server| actor::serve(serving.clone(), server).boxed()));
    let forgetting = desk.clone();
    children.push(parts.taker("forgetting", move |stop| actor::forget(forgetting.clone(), stop)));
    let host = parts.start(wellness, move || children.clone()).await?;
    if let Some((email, password)) = &settings.super_admin
        && let Err(error) = actor::ensure_super_admin(&desk, email, password).await
    {
        host.stop().await;
        return Err(error);
    }
    Ok(host)
}

/// An account of the demo cinema.
#[derive(Debug)]
pub struct DemoAccount {
    pub email: &'static str,
    pub password: &'static str,
    pub name: &'static str,
    pub role: Role,
}

/// Makes the accounts that are missing and tells the ids of all, in order.
pub async fn seed(parts: Parts, accounts: &[DemoAccount]) -> anyhow::Result<Vec<Uuid>> {
    let (journal, wellness, children) = parts.delivery(None);
    let desk = Desk {
        journal,
        pool: parts.database.pool.clone(),
        clock: parts.clock.clone(),
        passwords: password::Passwords::new(),
        // Nobody logs in here.
        signer: token::Signer::from_pem(&token::generate_pem())?,
    };
    let host = parts.start(wellness, move || children.clone()).await?;
    let making = accounts.iter().map(|a| actor::ensure_account(&desk, a.email, a.password, a.name, a.role));
    let made = futures::future::try_join_all(making).await;
    host.stop().await;
    made
}
