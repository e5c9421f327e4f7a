//! Auth owns accounts with their roles, logins (families of refresh tokens that follow one another), and the audit.
//!
//! Invariant: an e-mail has one account, compared without case.
//! Invariant: a refresh token buys one new pair; whoever presents it again ends the whole family.
//! Invariant: an unknown e-mail and a wrong password get the same answer after the same work.
//! Invariant: what changes a role or a password voids the access tokens of before at every verifier of the house.
//! Invariant: a login that ends by a logout, or by a refresh token used twice, voids its own access tokens likewise.
//! It does not keep access tokens: unless voided they are good until they expire, after 15 minutes.

mod account;
mod actor;
mod founding;
mod hear;
mod model;
mod password;
mod reset;
mod store;
mod throttle;
mod ticket;
pub mod token;
mod upkeep;
mod verify;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bus::contract::Event;
use bus::contract::auth::{
    EmailVerificationRequested, EmailVerified, PasswordChanged, PasswordResetRequested, Role, UserRegistered,
    UserRoleChanged,
};
use futures::FutureExt;
use sqlx::migrate::Migrator;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{AuthSettings, Promotes};
use crate::domain::{Domain, configure};
use crate::host::{DomainBuilder, Host, Stage};
use actor::Desk;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/auth");

pub const DOMAIN: Domain = Domain {
    name: "auth",
    consumer: Some(hear::CONSUMER),
    publishes: &[
        UserRegistered::SUBJECT,
        UserRoleChanged::SUBJECT,
        PasswordResetRequested::SUBJECT,
        PasswordChanged::SUBJECT,
        EmailVerificationRequested::SUBJECT,
        EmailVerified::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("auth", environment, AuthSettings::read, spawn),
};

/// Starts the host; the first SUPER_ADMIN is there before anybody can ask it.
pub async fn spawn(builder: DomainBuilder, settings: AuthSettings) -> anyhow::Result<Host> {
    let signer = token::Signer::from_pem(&settings.jwt_private_key)?
        .issuing_as(&settings.issuer)
        .telling_too(&builder.public_keys);
    // Its own tokens it need not ask itself about.
    builder.verifier.add(signer.keys());
    let (journal, wellness, mut children) = builder.delivery(None);
    let desk = Arc::new(Desk {
        journal,
        pool: builder.database.pool.clone(),
        clock: builder.clock.clone(),
        passwords: password::Passwords::new(),
        signer,
        throttle: throttle::Throttle::new(settings.throttle, builder.redis.clone()),
        login_max: settings.login_max,
        promotes: settings.promotes,
    });
    let serving = desk.clone();
    let (founded, prepared) = watch::channel(false);
    children
        .push(builder.service_once(prepared, move |server| actor::serve(serving.clone(), server).boxed()));
    let forgetting = desk.clone();
    children.push(
        builder.worker(Stage::Intake, "forgetting", move |stop| upkeep::forget(forgetting.clone(), stop)),
    );
    let hearing = desk.clone();
    let hear = Arc::new(move |delivery| hear::hear(&hearing, delivery));
    children.push(builder.consumer(hear::CONSUMER, wellness.clone(), hear));
    let (announcing, bus) = (desk.clone(), builder.bus.clone());
    children.push(builder.worker(Stage::Intake, "announcing", move |stop| {
        upkeep::announce(announcing.clone(), bus.clone(), stop)
    }));
    // Beside the start, since it is the host's journal that writes it.
    let founding = async {
        let made = async {
            if let Some((email, password)) = &settings.super_admin {
                founding::ensure_super_admin(&desk, email, password).await?;
            }
            match settings.is_shared {
                true => founding::refuse_published_passwords(&desk, settings.super_admin.as_ref()).await,
                false => Ok(()),
            }
        };
        let made = made.await;
        founded.send_replace(true);
        made
    };
    let (host, made) = tokio::join!(builder.start(wellness, move || children.clone()), founding);
    let host = host?;
    if let Err(error) = made {
        host.stop().await;
        return Err(error);
    }
    Ok(host)
}

/// An account of the demo cinema.
#[derive(Clone)]
pub struct DemoAccount {
    pub email: &'static str,
    pub password: String,
    pub name: &'static str,
    pub role: Role,
}

/// Without the password.
impl std::fmt::Debug for DemoAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DemoAccount")
            .field("email", &self.email)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// An account that is there, and whether it was made just now.
#[derive(Debug, Clone, Copy)]
pub struct Seeded {
    pub id: Uuid,
    pub is_new: bool,
}

/// Makes the accounts that are missing and tells of all, in order.
pub async fn seed(builder: DomainBuilder, accounts: &[DemoAccount]) -> anyhow::Result<Vec<Seeded>> {
    let (journal, wellness, children) = builder.delivery(None);
    let desk = Desk {
        journal,
        pool: builder.database.pool.clone(),
        clock: builder.clock.clone(),
        passwords: password::Passwords::new(),
        // Nobody logs in here.
        signer: token::Signer::from_pem(&token::generate_pem())?,
        throttle: throttle::Throttle::new(None, None),
        login_max: model::REFRESH,
        promotes: Promotes::Nobody,
    };
    let host = builder.start(wellness, move || children.clone()).await?;
    let making =
        accounts.iter().map(|a| founding::ensure_account(&desk, a.email, &a.password, a.name, a.role));
    let made = futures::future::try_join_all(making).await;
    host.stop().await;
    made
}
