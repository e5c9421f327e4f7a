//! The requests that auth answers. This file has registration and logins; `account` has what users and staff change,
//! `guest` users without an account, `privacy` erasures, `password_reset` forgotten passwords, `verification` proven addresses, `ticket` signed tickets.

mod account;
mod guest;
mod password_reset;
mod privacy;
mod ticket;
mod verification;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bus::contract::Timestamp;
use bus::contract::auth::{
    AuditKind, GetKeys, Login, Logout, LogoutEverywhere, Me, Refresh, RefreshPage, Register, Rejection, Role,
    Session, User, UserRegistered,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use bus::{Context, Failure, Problem};
use serde_json::json;
use uuid::Uuid;

use super::Env;
use super::model::{self, Account, EndReason, Presented, RefreshToken, Secret, Worth};
use super::password::Proof;
use super::store::audit::Entry;
use super::store::{self, Act, Write, Written};
use super::throttle::Try;
use crate::delivery::{Change, read_failure};

pub use account::role_changed;

/// How often the password of a login is verified, when the account changes each time meanwhile.
const LOGIN_TRIES: usize = 3;

pub async fn serve(env: Arc<Env>, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, register).await?;
    server.serve_with(&env, guest::create).await?;
    server.serve_with(&env, login).await?;
    server.serve_with(&env, refresh).await?;
    server.serve_with(&env, refresh_page).await?;
    server.serve_with(&env, logout).await?;
    server.serve_with(&env, logout_everywhere).await?;
    server.serve_with(&env, keys).await?;
    server.serve_with(&env, ticket::sign).await?;
    server.serve_with(&env, me).await?;
    server.serve_with(&env, account::update_me).await?;
    server.serve_with(&env, account::change_password).await?;
    server.serve_with(&env, privacy::erase_me).await?;
    server.serve_with(&env, privacy::erase_user).await?;
    server.serve_with(&env, account::list_users).await?;
    server.serve_with(&env, account::set_role).await?;
    server.serve_with(&env, account::set_disabled).await?;
    server.serve_with(&env, account::list_audit).await?;
    server.serve_with(&env, account::list_revocations).await?;
    server.serve_with(&env, password_reset::forgot_password).await?;
    server.serve_with(&env, password_reset::reset_token).await?;
    server.serve_with(&env, password_reset::reset_password).await?;
    server.serve_with(&env, password_reset::reset_password_page).await?;
    server.serve_with(&env, verification::verify_email).await?;
    server.serve_with(&env, verification::resend).await?;
    server.serve_with(&env, verification::token).await?;
    server.serve_with(&env, verification::address).await?;
    Ok(server)
}

async fn register(env: Arc<Env>, call: Call<Register>) -> Answered {
    if let Some(token) = call.request.order_token.clone() {
        return guest::register(&env, &call, &token).await;
    }
    let Register { email, password, name, .. } = call.request;
    // Only saves the hashing: of two requests at once the constraint rejects one.
    if store::account_of(&env.pool, &model::email_key(&email)).await.map_err(read_failure)?.is_some() {
        return Err(Rejection::EmailTaken.into());
    }
    let account = env.account(email, password, name, Role::User).await?;
    let secret = Secret::new();
    let token = env.first_token(&secret);
    let (user, family) = (account.user.clone(), token.family);
    let registered = registered_event(&env, &user, &call.context);
    let (verification, requested) = env.new_verification(&user, &call.context);
    let act = Act::Account { account, login: Some(token), verification: Some(verification) };
    env.write(act.into(), vec![registered, requested]).await?;
    env.session(user, 0, family, secret, Some(Uuid::now_v7()))
}

async fn login(env: Arc<Env>, call: Call<Login>) -> Answered {
    let (key, ip) = (model::email_key(&call.request.email), call.client_ip);
    let device = env.known_device(&key, call.request.device_token.as_deref()).await?;
    let tried = env.begin_try(&key, device, ip).await?;
    for _ in 0..LOGIN_TRIES {
        let found = match env.prove(&key, &call.request.password).await {
            Ok(found) => found,
            Err(problem) => {
                env.throttle.undecided(tried).await;
                return Err(problem);
            }
        };
        let (account, renewed) = match found {
            Proven::Yes { account, renewed } => (account, renewed),
            Proven::No { account } => {
                let failed = env.entry(AuditKind::LoginFailed, None, account, ip, json!({"email": key}));
                env.write(Act::Note.audited(failed), vec![]).await?;
                return Err(Rejection::Credentials.into());
            }
        };
        if account.user.disabled {
            env.throttle.right(tried).await;
            let (user, details) = (Some(account.user.id), json!({"email": key, "disabled": true}));
            let failed = env.entry(AuditKind::LoginFailed, None, user, ip, details);
            env.write(Act::Note.audited(failed), vec![]).await?;
            return Err(Rejection::Disabled.into());
        }
        let secret = Secret::new();
        let token = env.first_token(&secret);
        let (user, family, proven) = (account.user.id, token.family, account.password_hash);
        let done = env.entry(AuditKind::Login, Some(user), Some(user), ip, json!({"session": family}));
        let login = Act::Login { user, proven, renewed, token }.audited(done);
        if env.write(login, vec![]).await?.is_some() {
            env.throttle.right(tried).await;
            let device = device.unwrap_or_else(Uuid::now_v7);
            return env.session(account.user, account.epoch, family, secret, Some(device));
        }
    }
    Err(Problem::unavailable("The account is being changed. Try again shortly."))
}

async fn refresh(env: Arc<Env>, call: Call<Refresh>) -> Answered {
    renew(&env, &call.request.refresh_token, None).await
}

async fn refresh_page(env: Arc<Env>, call: Call<RefreshPage>) -> Answered {
    renew(&env, &call.request.refresh_token, Some(model::LOST_ANSWER)).await
}

/// `again`: how long after its use a token may be used once more, if no token that it was exchanged for was used.
async fn renew(env: &Env, token: &str, again: Option<Duration>) -> Answered {
    let presented = env.presented(token).await?.ok_or(Rejection::RefreshToken)?;
    let family = presented.token.family;
    let now = env.clock.now();
    match (model::worth(&presented, env.login_max, now)?, again) {
        (Worth::Pair, _) | (Worth::End, Some(_)) => {
            let secret = Secret::new();
            let login_ends = presented.started_at.plus(env.login_max);
            let next = RefreshToken::new(family, &secret, now, login_ends);
            let refreshed = Act::Refresh { spent: presented.token.id, again, next };
            if env.write(refreshed.into(), vec![]).await? == Some(Written::Done) {
                return env.session(presented.user, presented.epoch, family, secret, None);
            }
        }
        (Worth::End, None) => {
            env.write(Act::End { family, reason: EndReason::Reuse }.into(), vec![]).await?;
        }
    }
    metrics::counter!("auth_refresh_reuse_total").increment(1);
    tracing::warn!(%family, user = %presented.user.id, "refresh token used again; its login has ended");
    Err(Rejection::RefreshToken.into())
}

async fn logout(env: Arc<Env>, call: Call<Logout>) -> Answered {
    let caller = call.caller()?.user_id;
    // A token of another account is treated as unknown; an ended login stays ended.
    let presented = env.presented(&call.request.refresh_token).await?.filter(|p| p.user.id == caller);
    if let Some(presented) = presented.filter(|presented| !presented.family_ended) {
        let end = Act::End { family: presented.token.family, reason: EndReason::Logout };
        env.write(end.into(), vec![]).await?;
    }
    json(&())
}

async fn logout_everywhere(env: Arc<Env>, call: Call<LogoutEverywhere>) -> Answered {
    let user = call.caller()?.user_id;
    let ended = env.entry(AuditKind::LogoutEverywhere, Some(user), Some(user), call.client_ip, json!({}));
    env.write(Act::EndAll { user }.audited(ended), vec![]).await?;
    json(&())
}

async fn me(env: Arc<Env>, call: Call<Me>) -> Answered {
    let id = call.caller()?.user_id;
    match store::user_by_id(&env.pool, id).await.map_err(read_failure)? {
        Some(user) => json(&user),
        None => Err(account::no_account()),
    }
}

async fn keys(env: Arc<Env>, _: Call<GetKeys>) -> Answered {
    json(env.signer.keys())
}

/// Whether an address and a password belong together.
enum Proven {
    Yes {
        account: Account,
        /// A hash that replaces the account's outdated one.
        renewed: Option<String>,
    },
    /// With the account, if the address has one.
    No { account: Option<Uuid> },
}

impl Env {
    pub async fn account(
        &self,
        email: String,
        password: String,
        name: String,
        role: Role,
    ) -> Result<Account, Problem> {
        let password_hash = self.passwords.hash(password).await?;
        let (id, created_at) = (Uuid::now_v7(), self.clock.now());
        let user = User { id, email, name, role, email_verified: false, disabled: false, created_at };
        Ok(Account { user, password_hash, epoch: 0 })
    }

    /// The first refresh token of a login that begins now.
    fn first_token(&self, secret: &Secret) -> RefreshToken {
        let now = self.clock.now();
        RefreshToken::new(Uuid::now_v7(), secret, now, now.plus(self.login_max))
    }

    /// The device that a token names, if this account was used on it.
    async fn known_device(&self, email_key: &str, token: Option<&str>) -> Result<Option<Uuid>, Problem> {
        let Some(token) = token else { return Ok(None) };
        let account = store::account_of(&self.pool, email_key).await.map_err(read_failure)?;
        Ok(account.and_then(|account| self.signer.device(token, account.user.id)))
    }

    /// Begins a try of a password, or refuses it where it has to wait. The first refusal of each delay is audited.
    pub async fn begin_try(
        &self,
        email_key: &str,
        device: Option<Uuid>,
        ip: Option<IpAddr>,
    ) -> Result<Try, Problem> {
        let wait = match self.throttle.begin(email_key, device, ip).await {
            Ok(tried) => return Ok(tried),
            Err(wait) => wait,
        };
        if wait.is_first {
            let account = store::account_of(&self.pool, email_key).await.map_err(read_failure)?;
            let details = json!({"email": email_key, "seconds": wait.seconds});
            let user = account.map(|account| account.user.id);
            let entry = self.entry(AuditKind::LoginThrottled, None, user, ip, details);
            self.write(Act::Note.audited(entry), vec![]).await?;
        }
        Err(Rejection::from(wait).into())
    }

    /// Takes as long for an address without an account.
    async fn prove(&self, email_key: &str, password: &str) -> Result<Proven, Problem> {
        let account = store::account_of(&self.pool, email_key).await.map_err(read_failure)?;
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let proof = self.passwords.verify(password.to_owned(), hash).await?;
        Ok(match (account, proof) {
            (Some(account), Proof::Right) => Proven::Yes { account, renewed: None },
            (Some(account), Proof::Outdated { hash }) => Proven::Yes { account, renewed: Some(hash) },
            (account, _) => Proven::No { account: account.map(|account| account.user.id) },
        })
    }

    pub fn entry(
        &self,
        kind: AuditKind,
        actor: Option<Uuid>,
        user: Option<Uuid>,
        ip: Option<IpAddr>,
        details: serde_json::Value,
    ) -> Entry {
        Entry { id: Uuid::now_v7(), at: self.clock.now(), kind, actor, user, ip, details }
    }

    async fn presented(&self, secret: &str) -> Result<Option<Presented>, Problem> {
        Ok(store::presented(&self.pool, &model::secret_hash(secret)).await.map_err(read_failure)?)
    }

    /// Writes a change with its events; `None` where others changed the rows that it rests on.
    async fn write(&self, write: Write, events: Vec<Outgoing>) -> Result<Option<Written>, Problem> {
        self.commit(Change { outbox: events, ..Change::new(write) }).await
    }

    /// `device`: the device of the login, where a password was just verified.
    fn session(
        &self,
        user: User,
        epoch: i64,
        family: Uuid,
        secret: Secret,
        device: Option<Uuid>,
    ) -> Answered {
        let device_token = device.map(|device| self.signer.device_token(user.id, device));
        let claims = model::claims(self.signer.issuer(), &user, epoch, family, Timestamp::wall_clock());
        let access_token = self.signer.sign(&claims).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "access token not signed");
            Problem::internal()
        })?;
        let expires_in = bus::contract::auth::ACCESS_LIFETIME.as_secs();
        json(&Session { user, access_token, refresh_token: secret.text, expires_in, device_token })
    }
}

/// `user.registered`
pub fn registered_event(env: &Env, user: &User, context: &Context) -> Outgoing {
    let event = UserRegistered {
        user_id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
    };
    env.event(&event, user.created_at, context)
}
