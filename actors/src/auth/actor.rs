//! The shell of auth: takes calls, has passwords hashed, asks the model, journals, answers. Here are logins; what is
//! done to accounts is in `account.rs`, forgotten passwords in `reset.rs`.
//!
//! No actor of its own kind stands behind an account: the rows decide, and the endpoints' worker is supervised.

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
use sqlx::PgPool;
use uuid::Uuid;

use super::model::{self, Account, EndReason, Presented, RefreshToken, Secret, Worth};
use super::password::{Passwords, Proof};
use super::store::audit::Entry;
use super::store::{self, Act, Refused, Write, Written};
use super::throttle::{Throttle, Try};
use super::token::Signer;
use super::{account, reset, verify};
use crate::config::Promotes;
use crate::delivery::{Change, Clock, Journal, Outcome};

/// A login whose account changes while its password is verified is verified again so often in all.
const LOGIN_TRIES: usize = 3;

/// What the calls are handled with.
pub struct Desk {
    pub journal: Journal<Write>,
    pub pool: PgPool,
    pub clock: Clock,
    pub passwords: Passwords,
    pub signer: Signer,
    pub throttle: Throttle,
    pub login_max: Duration,
    pub promotes: Promotes,
}

/// Serves every endpoint of the domain.
pub async fn serve(desk: Arc<Desk>, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&desk, register).await?;
    server.serve_with(&desk, login).await?;
    server.serve_with(&desk, refresh).await?;
    server.serve_with(&desk, refresh_page).await?;
    server.serve_with(&desk, logout).await?;
    server.serve_with(&desk, logout_everywhere).await?;
    server.serve_with(&desk, keys).await?;
    server.serve_with(&desk, super::ticket::sign).await?;
    server.serve_with(&desk, me).await?;
    server.serve_with(&desk, account::update_me).await?;
    server.serve_with(&desk, account::change_password).await?;
    server.serve_with(&desk, account::list_users).await?;
    server.serve_with(&desk, account::set_role).await?;
    server.serve_with(&desk, account::set_disabled).await?;
    server.serve_with(&desk, account::list_audit).await?;
    server.serve_with(&desk, account::list_revocations).await?;
    server.serve_with(&desk, reset::forgot_password).await?;
    server.serve_with(&desk, reset::reset_token).await?;
    server.serve_with(&desk, reset::reset_password).await?;
    server.serve_with(&desk, verify::verify_email).await?;
    server.serve_with(&desk, verify::resend).await?;
    server.serve_with(&desk, verify::token).await?;
    server.serve_with(&desk, verify::address).await?;
    Ok(server)
}

async fn register(desk: Arc<Desk>, call: Call<Register>) -> Answered {
    let Register { email, password, name } = call.request;
    // Only spares the hashing; two that come together are told apart by the constraint.
    if store::account_of(&desk.pool, &model::email_key(&email)).await.map_err(unread)?.is_some() {
        return Err(Rejection::EmailTaken.into());
    }
    let account = desk.account(email, password, name, Role::User).await?;
    let secret = Secret::new();
    let token = desk.first_token(&secret);
    let (user, family) = (account.user.clone(), token.family);
    let registered = registered(&user, &call.context);
    let (verification, asked) = desk.new_verification(&user, &call.context);
    let act = Act::Account { account, login: Some(token), verification: Some(verification) };
    desk.commit(act.into(), vec![registered, asked]).await?;
    desk.session(user, 0, family, secret, Some(Uuid::now_v7()))
}

async fn login(desk: Arc<Desk>, call: Call<Login>) -> Answered {
    let (key, ip) = (model::email_key(&call.request.email), call.client_ip);
    let device = desk.known_device(&key, call.request.device_token.as_deref()).await?;
    let tried = desk.begin_try(&key, device, ip).await?;
    for _ in 0..LOGIN_TRIES {
        let found = match desk.prove(&key, &call.request.password).await {
            Ok(found) => found,
            Err(problem) => {
                desk.throttle.undecided(tried).await;
                return Err(problem);
            }
        };
        let (account, renewed) = match found {
            Proven::Yes { account, renewed } => (account, renewed),
            Proven::No { known } => {
                let failed = desk.entry(AuditKind::LoginFailed, None, known, ip, json!({"email": key}));
                desk.commit(Act::Note.audited(failed), vec![]).await?;
                return Err(Rejection::Credentials.into());
            }
        };
        if account.user.disabled {
            desk.throttle.right(tried).await;
            let (user, details) = (Some(account.user.id), json!({"email": key, "disabled": true}));
            let failed = desk.entry(AuditKind::LoginFailed, None, user, ip, details);
            desk.commit(Act::Note.audited(failed), vec![]).await?;
            return Err(Rejection::Disabled.into());
        }
        let secret = Secret::new();
        let token = desk.first_token(&secret);
        let (user, family, proven) = (account.user.id, token.family, account.password_hash);
        let done = desk.entry(AuditKind::Login, Some(user), Some(user), ip, json!({"session": family}));
        let login = Act::Login { user, proven, renewed, token }.audited(done);
        if desk.commit(login, vec![]).await?.is_some() {
            desk.throttle.right(tried).await;
            let device = device.unwrap_or_else(Uuid::now_v7);
            return desk.session(account.user, account.epoch, family, secret, Some(device));
        }
    }
    Err(Problem::unavailable("The account is being changed. Try again shortly."))
}

async fn refresh(desk: Arc<Desk>, call: Call<Refresh>) -> Answered {
    renew(&desk, &call.request.refresh_token, None).await
}

async fn refresh_page(desk: Arc<Desk>, call: Call<RefreshPage>) -> Answered {
    renew(&desk, &call.request.refresh_token, Some(model::LOST_ANSWER)).await
}

/// `again`: so long after it was spent the token still buys a pair, if nothing that it bought was used.
async fn renew(desk: &Desk, token: &str, again: Option<Duration>) -> Answered {
    let presented = desk.presented(token).await?.ok_or(Rejection::RefreshToken)?;
    let family = presented.token.family;
    let now = desk.clock.now();
    match (model::worth(&presented, desk.login_max, now)?, again) {
        (Worth::Pair, _) | (Worth::End, Some(_)) => {
            let secret = Secret::new();
            let login_ends = presented.started_at.plus(desk.login_max);
            let next = RefreshToken::new(family, &secret, now, login_ends);
            let refreshed = Act::Refresh { spent: presented.token.id, again, next };
            if desk.commit(refreshed.into(), vec![]).await? == Some(Written::Done) {
                return desk.session(presented.user, presented.epoch, family, secret, None);
            }
        }
        (Worth::End, None) => {
            desk.commit(Act::End { family, reason: EndReason::Reuse }.into(), vec![]).await?;
        }
    }
    metrics::counter!("auth_refresh_reuse_total").increment(1);
    tracing::warn!(%family, user = %presented.user.id, "refresh token used again; its login has ended");
    Err(Rejection::RefreshToken.into())
}

async fn logout(desk: Arc<Desk>, call: Call<Logout>) -> Answered {
    let caller = call.caller()?.user_id;
    // Another's token is as good as an unknown one; a login that is over stays over.
    let presented = desk.presented(&call.request.refresh_token).await?.filter(|p| p.user.id == caller);
    if let Some(presented) = presented.filter(|presented| !presented.family_ended) {
        let end = Act::End { family: presented.token.family, reason: EndReason::Logout };
        desk.commit(end.into(), vec![]).await?;
    }
    json(&())
}

async fn logout_everywhere(desk: Arc<Desk>, call: Call<LogoutEverywhere>) -> Answered {
    let user = call.caller()?.user_id;
    let ended = desk.entry(AuditKind::LogoutEverywhere, Some(user), Some(user), call.client_ip, json!({}));
    desk.commit(Act::EndAll { user }.audited(ended), vec![]).await?;
    json(&())
}

async fn me(desk: Arc<Desk>, call: Call<Me>) -> Answered {
    let id = call.caller()?.user_id;
    match store::user_by_id(&desk.pool, id).await.map_err(unread)? {
        Some(user) => json(&user),
        None => Err(Problem::unauthorized("token-invalid", "The account of this token is gone.")),
    }
}

async fn keys(desk: Arc<Desk>, _: Call<GetKeys>) -> Answered {
    json(desk.signer.keys())
}

/// What a mail and a password prove.
pub enum Proven {
    Yes {
        account: Account,
        /// A hash that is to take the place of the account's.
        renewed: Option<String>,
    },
    /// Of whom the password is not, where that is somebody.
    No { known: Option<Uuid> },
}

impl Desk {
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

    /// The device that a token names, if somebody logged in to this account on it.
    async fn known_device(&self, email_key: &str, token: Option<&str>) -> Result<Option<Uuid>, Problem> {
        let Some(token) = token else { return Ok(None) };
        let account = store::account_of(&self.pool, email_key).await.map_err(unread)?;
        Ok(account.and_then(|account| self.signer.device(token, account.user.id)))
    }

    /// Begins a try of a password; one that has to wait is refused. Of a delay's refusals the first is audited.
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
        if wait.is_news {
            let known = store::account_of(&self.pool, email_key).await.map_err(unread)?;
            let details = json!({"email": email_key, "seconds": wait.seconds});
            let known = known.map(|account| account.user.id);
            let entry = self.entry(AuditKind::LoginThrottled, None, known, ip, details);
            self.commit(Act::Note.audited(entry), vec![]).await?;
        }
        Err(Rejection::from(wait).into())
    }

    /// Takes as long for an account that is not there.
    async fn prove(&self, email_key: &str, password: &str) -> Result<Proven, Problem> {
        let account = store::account_of(&self.pool, email_key).await.map_err(unread)?;
        let known = account.as_ref().map(|account| account.password_hash.clone());
        let proof = self.passwords.verify(password.to_owned(), known).await?;
        Ok(match (account, proof) {
            (Some(account), Proof::Right) => Proven::Yes { account, renewed: None },
            (Some(account), Proof::Outdated { hash }) => Proven::Yes { account, renewed: Some(hash) },
            (account, _) => Proven::No { known: account.map(|account| account.user.id) },
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
        store::presented(&self.pool, &model::secret_hash(secret)).await.map_err(unread)
    }

    /// Writes; `None` when what the change expects has moved meanwhile.
    pub async fn commit(&self, write: Write, outbox: Vec<Outgoing>) -> Result<Option<Written>, Problem> {
        match self.journal.commit(Change { outbox, ..Change::new(write) }).await {
            Outcome::Committed { written, .. } => Ok(Some(written)),
            Outcome::Stale => Ok(None),
            Outcome::Rejected(Refused::EmailTaken) => Err(Rejection::EmailTaken.into()),
            Outcome::Rejected(Refused::LastSuperAdmin) => Err(Rejection::LastSuperAdmin.into()),
            Outcome::Rejected(Refused::ResetToken) => Err(Rejection::ResetToken.into()),
            Outcome::Rejected(Refused::VerificationLimit) => Err(Rejection::VerificationLimit.into()),
            Outcome::Failed(failure) => {
                tracing::error!(%failure, "auth change not written");
                Err(failure.into())
            }
            // None of these changes has an idempotency key; its own asker knows the other rejections.
            other => {
                tracing::error!(?other, "auth change ended unexpectedly");
                Err(Problem::internal())
            }
        }
    }

    /// `device`: the one that the login was made on, after a password.
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

pub fn registered(user: &User, context: &Context) -> Outgoing {
    let event = UserRegistered {
        user_id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
    };
    Outgoing::new("auth", &event, user.created_at, context)
}

pub fn unread(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "auth could not read");
    crate::delivery::read_failure(error).into()
}
