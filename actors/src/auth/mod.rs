//! Auth owns accounts with their roles, logins (each a family of refresh tokens that follow one another), and the audit.
//!
//! A user who is erased leaves a tombstone: id and time.
//!
//! Invariant: an e-mail address has one account, compared without case. Guests have none; their orders have their addresses.
//! Invariant: a refresh token is exchanged once for a new pair; using it again ends the whole family.
//! Invariant: an unknown e-mail address and a wrong password get the same answer after the same work.
//! Invariant: a change of a role or a password revokes the earlier access tokens at every verifier of the deployment.
//! Invariant: a login that ends by a logout, or by a refresh token used twice, revokes its own access tokens likewise.
//! It does not store access tokens: unless revoked they are valid until they expire, after 15 minutes.

mod consumer;
mod endpoints;
mod erasure;
mod first_accounts;
mod model;
mod password;
mod store;
mod throttle;
pub mod token;
mod upkeep;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::config::Environment;
use bus::contract::Event;
use bus::contract::auth::{
    EmailVerificationRequested, EmailVerified, PasswordChanged, PasswordResetRequested, Role, UserErased,
    UserRegistered, UserRoleChanged,
};
use bus::token::Verifier;
use futures::FutureExt;
use sqlx::migrate::Migrator;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{AuthSettings, Promotes};
use crate::domain::{Domain, Tools, configure, consume};
use crate::host::{DomainBuilder, Host, Stage};
use password::Passwords;
use store::Write;
use throttle::Throttle;
use token::Signer;

pub use first_accounts::{DEMO_EMAILS, DEMO_PASSWORD};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/auth");

pub const DOMAIN: Domain = Domain {
    name: "auth",
    consumer: Some(consumer::CONSUMER),
    publishes: &[
        UserRegistered::SUBJECT,
        UserRoleChanged::SUBJECT,
        PasswordResetRequested::SUBJECT,
        PasswordChanged::SUBJECT,
        EmailVerificationRequested::SUBJECT,
        EmailVerified::SUBJECT,
        UserErased::SUBJECT,
    ],
    migrations: Some(&MIGRATIONS),
    configure: |environment| configure("auth", environment, read_settings, spawn),
};

fn read_settings(environment: &mut Environment) -> AuthSettings {
    let settings = AuthSettings::read(environment);
    if !settings.jwt_private_key.is_empty() && Signer::from_pem(&settings.jwt_private_key).is_err() {
        let wanted = "must be an Ed25519 key in PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` makes it";
        environment.problem("JWT_PRIVATE_KEY", wanted);
    }
    settings
}

/// What endpoints, consumer and upkeep work with.
struct Env {
    tools: Tools<Write>,
    passwords: Passwords,
    signer: Signer,
    /// Verifies the tokens of orders, which a guest registers by.
    verifier: Verifier,
    throttle: Throttle,
    login_max: Duration,
    promotes: Promotes,
}

impl std::ops::Deref for Env {
    type Target = Tools<Write>;
    fn deref(&self) -> &Tools<Write> {
        &self.tools
    }
}

/// Starts the host. The first SUPER_ADMIN exists before the endpoints answer.
pub async fn spawn(builder: DomainBuilder, settings: AuthSettings) -> anyhow::Result<Host> {
    let signer = Signer::from_pem(&settings.jwt_private_key)?
        .issuing_as(&settings.issuer)
        .with_older_keys(&builder.public_keys);
    // The host's own verifier needs no request to itself.
    builder.verifier.add(signer.keys());
    let (journal, database_up, mut children) = builder.delivery();
    let env = Arc::new(Env {
        tools: Tools::new(&builder, journal),
        passwords: Passwords::new(),
        signer,
        verifier: builder.verifier.clone(),
        throttle: Throttle::new(settings.throttle.clone())?,
        login_max: settings.login_max,
        promotes: settings.promotes,
    });
    let (prepared, when_prepared) = watch::channel(false);
    let (serving, expiring, announcing) = (env.clone(), env.clone(), env.clone());
    let (checking, erasing) = (env.clone(), env.clone());
    let handle = consume(&env, |env, delivery| consumer::handle(env, delivery).boxed());
    children.push(builder.consumer(consumer::CONSUMER, database_up.clone(), handle));
    children.push(
        builder.service_once(when_prepared, move |server| endpoints::serve(serving.clone(), server).boxed()),
    );
    children.push(
        builder.worker(Stage::Intake, "expiry", move |stop| upkeep::delete_expired(expiring.clone(), stop)),
    );
    children.push(
        builder
            .worker(Stage::Intake, "announcements", move |stop| upkeep::announce(announcing.clone(), stop)),
    );
    children.push(
        builder.worker(Stage::Intake, "guests", move |stop| upkeep::delete_guests(checking.clone(), stop)),
    );
    children.push(builder.worker(Stage::Intake, "erasures", move |stop| {
        upkeep::erase(erasing.clone(), settings.retention, stop)
    }));
    // While the tree starts, since the host's journal writes the account.
    let preparing = async {
        let done = prepare(&env, &settings).await;
        prepared.send_replace(true);
        done
    };
    let (host, done) = tokio::join!(builder.start(database_up, move || children.clone()), preparing);
    let host = host?;
    if let Err(error) = done {
        host.stop().await;
        return Err(error);
    }
    Ok(host)
}

async fn prepare(env: &Env, settings: &AuthSettings) -> anyhow::Result<()> {
    if let Some((email, password)) = &settings.super_admin {
        first_accounts::ensure_super_admin(env, email, password).await?;
    }
    match settings.is_shared {
        true => first_accounts::refuse_published_passwords(env, settings.super_admin.as_ref()).await,
        false => Ok(()),
    }
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

/// An account that exists, and whether it was made just now.
#[derive(Debug, Clone, Copy)]
pub struct Seeded {
    pub id: Uuid,
    pub is_new: bool,
}

/// Makes the accounts that are missing and returns all, in order.
pub async fn seed(builder: DomainBuilder, accounts: &[DemoAccount]) -> anyhow::Result<Vec<Seeded>> {
    let (journal, database_up, children) = builder.delivery();
    let env = Env {
        tools: Tools::new(&builder, journal),
        passwords: Passwords::new(),
        // No login happens here.
        signer: Signer::from_pem(&token::generate_pem())?,
        verifier: builder.verifier.clone(),
        throttle: Throttle::new(None)?,
        login_max: model::REFRESH,
        promotes: Promotes::Nobody,
    };
    let host = builder.start(database_up, move || children.clone()).await?;
    let making =
        accounts.iter().map(|a| first_accounts::ensure_account(&env, a.email, &a.password, a.name, a.role));
    let made = futures::future::try_join_all(making).await;
    host.stop().await;
    made
}
