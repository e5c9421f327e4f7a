//! Forgotten passwords: a mail's token buys a new one, once, within half an hour.
//!
//! The token is derived from the reset's id with a key that no database has, so that neither a row nor an event gives
//! one away; whoever sends the mail asks for it. Using it proves the address; an account that had not proven it goes to who does:
//! its logins end, its name is the address's, and the seats that it holds are given up (`user.email_verified`). Invariant: whether there is an account shows neither in the answer to
//! *forgot* nor in its time.

use std::sync::Arc;
use std::time::Duration;

use bus::Problem;
use bus::contract::auth::{
    AuditKind, ForgotPassword, GetResetToken, PasswordResetRequested, Rejection, ResetPassword, ResetToken,
    User, password,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::actor::{Desk, unread};
use super::model::{self, secret_hash};
use super::store::access::{self, NewReset};
use super::store::{self, Act, Refused, Write};
use crate::delivery::{Change, Outcome};

/// When *forgot* is answered: ten times what it takes, so that what it takes for whom does not show.
const FORGOT_TAKES: Duration = Duration::from_millis(250);

pub async fn forgot_password(desk: Arc<Desk>, call: Call<ForgotPassword>) -> Answered {
    let answer_at = Instant::now() + FORGOT_TAKES;
    let key = model::email_key(&call.request.email);
    let account = store::account_of(&desk.pool, &key).await.map_err(unread)?;
    let (write, outbox) = match account {
        Some(account) if !account.user.disabled => desk.new_reset(&account.user, &call),
        // Written as well, so that an outage is told to everybody alike.
        Some(_) | None => (Act::Note.into(), vec![]),
    };
    let written = match desk.journal.commit(Change { outbox, ..Change::new(write) }).await {
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

pub async fn reset_token(desk: Arc<Desk>, call: Call<GetResetToken>) -> Answered {
    let token = desk.signer.reset_token(call.request.reset_id);
    let hash = secret_hash(&token);
    // After a change of the key the token is another, which nobody may use.
    match access::is_open(&desk.pool, call.request.reset_id, &hash).await.map_err(unread)? {
        true => json(&ResetToken { token }),
        false => Err(Problem::not_found("password reset")),
    }
}

pub async fn reset_password(desk: Arc<Desk>, call: Call<ResetPassword>) -> Answered {
    let ResetPassword { token, password } = call.request;
    // Spares the hashing; the write decides.
    let open = access::open_reset(&desk.pool, &secret_hash(&token)).await.map_err(unread)?;
    let (reset, user) = open.ok_or(Rejection::ResetToken)?;
    password::check_is_not_address(&password, &user.email, "password")?;
    let password_hash = desk.passwords.hash(password).await?;
    let by = Some(user.id);
    let entry = desk.entry(AuditKind::PasswordReset, by, by, call.client_ip, json!({"reset": reset}));
    let mut events = vec![desk.password_changed(&user, true, &call.context)];
    // Who made the account never proved the address; who reads its mail does, and gets the account.
    let takes_over = (!user.email_verified).then(|| model::name_of_address(&user.email));
    let mut entries = vec![entry];
    if takes_over.is_some() {
        events.push(desk.verified(&user, true, &call.context));
        let details = json!({"takenOver": true});
        entries.push(desk.entry(AuditKind::EmailVerified, by, by, call.client_ip, details));
    }
    let write = Write { act: Act::Reset { reset, password_hash, takes_over }, audit: entries };
    let changed = desk.commit(write, events).await?;
    changed.ok_or(Rejection::ResetToken)?;
    // Whoever reads the account's mail is no guesser.
    desk.throttle.forget(&model::email_key(&user.email), call.client_ip).await;
    json(&())
}

impl Desk {
    fn new_reset(&self, user: &User, call: &Call<ForgotPassword>) -> (Write, Vec<Outgoing>) {
        let (id, now) = (Uuid::now_v7(), self.clock.now());
        let expires_at = now.plus(model::RESET);
        let token_hash = secret_hash(&self.signer.reset_token(id));
        let reset = NewReset { id, user: user.id, token_hash, requested_at: now, expires_at };
        let event = PasswordResetRequested {
            reset_id: id,
            user_id: user.id,
            email: user.email.clone(),
            name: user.name.clone(),
            expires_at,
        };
        let details = json!({"reset": id});
        let entry =
            self.entry(AuditKind::PasswordResetRequested, None, Some(user.id), call.client_ip, details);
        let event = Outgoing::new("auth", &event, now, &call.context);
        (Act::RequestReset(reset).audited(entry), vec![event])
    }
}
