//! Forgotten passwords: the token of a mailed link sets a new password, once, within half an hour.
//!
//! The token is derived from the reset's id with a key that no database has, so that neither a row nor an event reveals it;
//! the sender of the mail requests it. Using it proves the address. An account whose address was not proven before now
//! belongs to the reader of its mail: its logins end, its name is the address's, its holds are released
//! (`user.email_verified`).
//! Invariant: neither the answer to *forgot* nor its time shows whether the address has an account.

use std::sync::Arc;
use std::time::Duration;

use bus::Problem;
use bus::contract::auth::{
    AuditKind, ForgotPassword, GetResetToken, PasswordResetRequested, Rejection, ResetPassword,
    ResetPasswordPage, ResetToken, User, password,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::Env;
use crate::auth::model::{self, RefreshToken, Secret, secret_hash};
use crate::auth::store::link::{LinkKind, NewLink};
use crate::auth::store::{self, Act, Refused, Write, Written, access};
use crate::delivery::{Change, Outcome, read_failure};

/// When *forgot* is answered: after ten times of what it takes, so that its time does not show whether there is an account.
const FORGOT_TAKES: Duration = Duration::from_millis(250);

pub async fn forgot_password(env: Arc<Env>, call: Call<ForgotPassword>) -> Answered {
    let answer_at = Instant::now() + FORGOT_TAKES;
    let key = model::email_key(&call.request.email);
    let account = store::account_of(&env.pool, &key).await.map_err(read_failure)?;
    let (write, outbox) = match account {
        Some(account) if !account.user.disabled => env.new_reset(&account.user, &call),
        // An empty change, so that an outage answers alike for every address.
        Some(_) | None => (Act::Note.into(), vec![]),
    };
    let written = match env.journal.commit(Change { outbox, ..Change::new(write) }).await {
        Outcome::Committed { .. } | Outcome::Rejected(Refused::ResetLimit) => json(&()),
        Outcome::Failed(failure) => Err(failure.into()),
        other => {
            tracing::error!(?other, "password reset ended unexpectedly");
            Err(Problem::internal())
        }
    };
    tokio::time::sleep_until(answer_at).await;
    written
}

pub async fn reset_token(env: Arc<Env>, call: Call<GetResetToken>) -> Answered {
    let token = env.signer.reset_token(call.request.reset_id);
    let hash = secret_hash(&token);
    // After a change of the key the token is another, which is not accepted.
    match access::is_open(&env.pool, call.request.reset_id, &hash).await.map_err(read_failure)? {
        true => json(&ResetToken { token }),
        false => Err(Problem::not_found("password reset")),
    }
}

pub async fn reset_password(env: Arc<Env>, call: Call<ResetPassword>) -> Answered {
    let ResetPassword { token, password } = call.request.clone();
    reset(&env, &call, token, password, None).await?;
    json(&())
}

/// The same, with a login in the same transaction.
pub async fn reset_password_page(env: Arc<Env>, call: Call<ResetPasswordPage>) -> Answered {
    let ResetPasswordPage { token, password } = call.request.clone();
    let secret = Secret::new();
    let login = env.first_token(&secret);
    let family = login.family;
    let (user, epoch) = reset(&env, &call, token, password, Some(login)).await?;
    env.session(user, epoch, family, secret, Some(Uuid::now_v7()))
}

/// Returns the account as it is then, with the epoch of its logins. A disabled account has no open reset.
async fn reset<R>(
    env: &Env,
    call: &Call<R>,
    token: String,
    password: String,
    login: Option<RefreshToken>,
) -> Result<(User, i64), Problem> {
    // Only saves the hashing; the write decides.
    let open = access::open_reset(&env.pool, &secret_hash(&token)).await.map_err(read_failure)?;
    let (reset, mut user) = open.ok_or(Rejection::ResetToken)?;
    password::check_is_not_address(&password, &user.email, "password")?;
    let password_hash = env.passwords.hash(password).await?;
    let by = Some(user.id);
    let entry = env.entry(AuditKind::PasswordReset, by, by, call.client_ip, json!({"reset": reset}));
    let mut events = vec![env.password_changed(&user, true, &call.context)];
    // The address was never proven; the reader of its mail proves it, and gets the account.
    let takes_over = (!user.email_verified).then(|| model::name_of_address(&user.email));
    let mut entries = vec![entry];
    if takes_over.is_some() {
        events.push(env.verified(&user, true, &call.context));
        let details = json!({"takenOver": true});
        entries.push(env.entry(AuditKind::EmailVerified, by, by, call.client_ip, details));
    }
    if let Some(login) = &login {
        entries.push(env.entry(AuditKind::Login, by, by, call.client_ip, json!({"session": login.family})));
    }
    user.email_verified = true;
    if let Some(name) = &takes_over {
        user.name.clone_from(name);
    }
    let write = Write { act: Act::Reset { reset, password_hash, takes_over, login }, audit: entries };
    let Some(Written::Revoked(revocation)) = env.write(write, events).await? else {
        return Err(Rejection::ResetToken.into());
    };
    // The reader of the account's mail is no attacker.
    env.throttle.clear(&model::email_key(&user.email), call.client_ip).await;
    Ok((user, revocation.epoch))
}

impl Env {
    fn new_reset(&self, user: &User, call: &Call<ForgotPassword>) -> (Write, Vec<Outgoing>) {
        let (id, now) = (Uuid::now_v7(), self.clock.now());
        let expires_at = now.plus(model::RESET);
        let token_hash = secret_hash(&self.signer.reset_token(id));
        let per_hour_max = model::RESETS_PER_HOUR;
        let reset = NewLink { id, user: user.id, token_hash, requested_at: now, expires_at, per_hour_max };
        let event = PasswordResetRequested {
            reset_id: id,
            user_id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            expires_at,
            locale: call.context.locale.unwrap_or_default(),
        };
        let details = json!({"reset": id});
        let entry =
            self.entry(AuditKind::PasswordResetRequested, None, Some(user.id), call.client_ip, details);
        let event = self.event(&event, now, &call.context);
        (Act::RequestLink(LinkKind::PasswordReset, reset).audited(entry), vec![event])
    }
}
