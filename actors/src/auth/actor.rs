//! The shell of auth: takes calls, has passwords hashed, asks the model, journals, answers.
//!
//! No actor of its own kind stands behind an account: the rows decide, and the endpoints' worker is supervised.

use std::sync::Arc;

use anyhow::Context as _;
use bus::contract::auth::{
    GetKeys, Login, Logout, Me, Refresh, Register, Rejection, Role, Session, User, UserRegistered,
};
use bus::contract::{Fields, Request, Timestamp};
use bus::event::Outgoing;
use bus::service::{Answered, Call, Server, json};
use bus::{Context, Failure, Problem};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::model::{self, Account, EndReason, Presented, RefreshToken, Secret, Worth};
use super::password::Passwords;
use super::store::{self, Refused, Write, Written};
use super::token::Signer;
use crate::delivery::{Change, Clock, Journal, Outcome};

/// What the calls are handled with.
pub struct Desk {
    pub journal: Journal<Write>,
    pub pool: PgPool,
    pub clock: Clock,
    pub passwords: Passwords,
    pub signer: Signer,
}

/// Serves every endpoint of the domain.
pub async fn serve(desk: Arc<Desk>, mut server: Server) -> Result<Server, Failure> {
    server.serve(with(&desk, register)).await?;
    server.serve(with(&desk, login)).await?;
    server.serve(with(&desk, refresh)).await?;
    server.serve(with(&desk, logout)).await?;
    server.serve(with(&desk, me)).await?;
    server.serve(with(&desk, keys)).await?;
    server.serve(with(&desk, super::ticket::sign)).await?;
    Ok(server)
}

fn with<R: Request, F>(
    desk: &Arc<Desk>,
    handle: impl Fn(Arc<Desk>, Call<R>) -> F + Send + Sync + 'static,
) -> impl Fn(Call<R>) -> F + Send + Sync + 'static {
    let desk = desk.clone();
    move |call| handle(desk.clone(), call)
}

async fn register(desk: Arc<Desk>, call: Call<Register>) -> Answered {
    let Register { email, password, name } = call.request;
    // Only spares the hashing; two that come together are told apart by the constraint.
    if store::account_of(&desk.pool, &model::email_key(&email)).await.map_err(unread)?.is_some() {
        return Err(Rejection::EmailTaken.into());
    }
    let account = desk.account(email, password, name, Role::User).await?;
    let secret = Secret::new();
    let token = RefreshToken::new(Uuid::now_v7(), &secret, desk.clock.now());
    let (user, family) = (account.user.clone(), token.family);
    let registered = registered(&user, &call.context);
    desk.commit(Write::Account { account, login: Some(token) }, vec![registered]).await?;
    desk.session(user, family, secret)
}

async fn login(desk: Arc<Desk>, call: Call<Login>) -> Answered {
    let Login { email, password } = call.request;
    let account = store::account_of(&desk.pool, &model::email_key(&email)).await.map_err(unread)?;
    let known = account.as_ref().map(|account| account.password_hash.clone());
    let proven = desk.passwords.verify(password, known).await?;
    let Some(account) = account.filter(|_| proven) else {
        return Err(Rejection::Credentials.into());
    };
    let secret = Secret::new();
    let token = RefreshToken::new(Uuid::now_v7(), &secret, desk.clock.now());
    let family = token.family;
    desk.commit(Write::Login { user: account.user.id, token }, vec![]).await?;
    desk.session(account.user, family, secret)
}

async fn refresh(desk: Arc<Desk>, call: Call<Refresh>) -> Answered {
    let presented = desk.presented(&call.request.refresh_token).await?.ok_or(Rejection::RefreshToken)?;
    let family = presented.token.family;
    let now = desk.clock.now();
    match model::worth(&presented, now)? {
        Worth::Pair => {
            let secret = Secret::new();
            let next = RefreshToken::new(family, &secret, now);
            match desk.commit(Write::Refresh { spent: presented.token.id, next }, vec![]).await? {
                Written::Done => return desk.session(presented.user, family, secret),
                Written::Over | Written::Forgotten(_) => {}
            }
        }
        Worth::End => {
            desk.commit(Write::End { family, reason: EndReason::Reuse }, vec![]).await?;
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
        let end = Write::End { family: presented.token.family, reason: EndReason::Logout };
        desk.commit(end, vec![]).await?;
    }
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

/// Makes the first SUPER_ADMIN of a new database, once, however many hosts start.
pub async fn ensure_super_admin(desk: &Desk, email: &str, password: &str) -> anyhow::Result<()> {
    if store::super_admin_exists(&desk.pool).await.context("looking for a SUPER_ADMIN")? {
        return Ok(());
    }
    let wanted =
        Register { email: email.to_owned(), password: password.to_owned(), name: "Super Admin".to_owned() };
    let mut fields = Fields::default();
    wanted.validate(&mut fields);
    if let Err(problem) = fields.into_result() {
        let wrong: Vec<String> =
            problem.errors.iter().map(|e| format!("the {} {}", e.field, e.message)).collect();
        anyhow::bail!("SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD: {}", wrong.join("; "));
    }
    let account = desk
        .account(wanted.email, wanted.password, wanted.name, Role::SuperAdmin)
        .await
        .map_err(|problem| anyhow::anyhow!("making the first SUPER_ADMIN: {}", problem.detail))?;
    let registered = registered(&account.user, &Context::new());
    let change = Change { outbox: vec![registered], ..Change::new(Write::FirstSuperAdmin(account)) };
    match desk.journal.commit(change).await {
        Outcome::Committed { .. } => tracing::info!("made the first SUPER_ADMIN"),
        Outcome::Rejected(Refused::SuperAdminExists) => {}
        Outcome::Rejected(Refused::EmailTaken) => {
            anyhow::bail!("SUPER_ADMIN_EMAIL belongs to an account that is not a SUPER_ADMIN; name another")
        }
        other => anyhow::bail!("making the first SUPER_ADMIN: {other:?}"),
    }
    Ok(())
}

/// Makes an account unless its e-mail has one, and tells its id.
pub async fn ensure_account(
    desk: &Desk,
    email: &str,
    password: &str,
    name: &str,
    role: Role,
) -> anyhow::Result<Uuid> {
    let key = model::email_key(email);
    if let Some(account) = store::account_of(&desk.pool, &key).await? {
        return Ok(account.user.id);
    }
    let made = async {
        let account = desk.account(email.to_owned(), password.to_owned(), name.to_owned(), role).await?;
        let (id, registered) = (account.user.id, registered(&account.user, &Context::new()));
        desk.commit(Write::Account { account, login: None }, vec![registered]).await?;
        Ok::<_, Problem>(id)
    };
    match made.await {
        Ok(id) => Ok(id),
        // Somebody was quicker.
        Err(problem) if problem.status == 409 => {
            let account = store::account_of(&desk.pool, &key).await?;
            Ok(account.context("the account that was there is gone")?.user.id)
        }
        Err(problem) => anyhow::bail!("making the account {email}: {}", problem.detail),
    }
}

/// Forgets what has expired, every hour.
pub async fn forget(desk: Arc<Desk>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(60 * 60));
    loop {
        tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = every.tick() => {}
        }
        // In pieces, so that logins get in between.
        while let Outcome::Committed { written: Written::Forgotten(rows @ 1..), .. } =
            desk.journal.commit(Change::new(Write::Forget)).await
        {
            tracing::info!(rows, "forgot expired refresh tokens");
        }
    }
}

impl Desk {
    async fn account(
        &self,
        email: String,
        password: String,
        name: String,
        role: Role,
    ) -> Result<Account, Problem> {
        let password_hash = self.passwords.hash(password).await?;
        let user = User { id: Uuid::now_v7(), email, name, role, created_at: self.clock.now() };
        Ok(Account { user, password_hash })
    }

    async fn presented(&self, secret: &str) -> Result<Option<Presented>, Problem> {
        store::presented(&self.pool, &model::secret_hash(secret)).await.map_err(unread)
    }

    async fn commit(&self, write: Write, outbox: Vec<Outgoing>) -> Result<Written, Problem> {
        match self.journal.commit(Change { outbox, ..Change::new(write) }).await {
            Outcome::Committed { written, .. } => Ok(written),
            Outcome::Rejected(Refused::EmailTaken) => Err(Rejection::EmailTaken.into()),
            Outcome::Failed(failure) => {
                tracing::error!(%failure, "auth change not written");
                Err(failure.into())
            }
            // None of these changes has an inbox key, an idempotency key or a version.
            other => {
                tracing::error!(?other, "auth change ended unexpectedly");
                Err(Problem::internal())
            }
        }
    }

    fn session(&self, user: User, family: Uuid, secret: Secret) -> Answered {
        let claims = model::claims(&user, family, Timestamp::wall_clock());
        let access_token = self.signer.sign(&claims).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "access token not signed");
            Problem::internal()
        })?;
        let expires_in = model::ACCESS.as_secs();
        json(&Session { user, access_token, refresh_token: secret.text, expires_in })
    }
}

fn registered(user: &User, context: &Context) -> Outgoing {
    let event = UserRegistered {
        user_id: user.id,
        email: user.email.clone(),
        name: user.name.clone(),
        role: user.role,
    };
    Outgoing::new("auth", &event, user.created_at, context)
}

fn unread(error: sqlx::Error) -> Problem {
    tracing::warn!(%error, "auth could not read");
    crate::delivery::read_failure(error).into()
}
