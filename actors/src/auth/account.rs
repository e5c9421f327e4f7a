//! What is done to accounts: names, passwords, roles; and what staff and verifiers read of them.
//!
//! Invariant: whoever changes a password or a role decides by rows that still stand as they were read; if they moved,
//! they are read and decided on again.

use std::sync::Arc;

use bus::contract::auth::{
    AuditKind, ChangePassword, ListAudit, ListRevocations, ListUsers, PasswordChanged, Rejection,
    Revocations, SetDisabled, SetRole, UpdateMe, User, UserRoleChanged, password,
};
use bus::event::Outgoing;
use bus::service::{Answered, Call, json};
use bus::{Context, Problem};
use serde_json::json;
use uuid::Uuid;

use super::actor::{Desk, unread};
use super::model::{self, Standing};
use super::password::Proof;
use super::store::access::{self, DisabledChange, NewPassword};
use super::store::{self, Act, audit};

/// Whoever meets so many changes of the same account in a row is told to come again.
pub const DECISIONS_MAX: usize = 3;

pub async fn update_me(desk: Arc<Desk>, call: Call<UpdateMe>) -> Answered {
    let user = call.caller()?.user_id;
    if let Some(name) = call.request.name {
        desk.commit(Act::Name { user, name }.into(), vec![]).await?;
    }
    match store::user_by_id(&desk.pool, user).await.map_err(unread)? {
        Some(user) => json(&user),
        None => Err(gone()),
    }
}

pub async fn change_password(desk: Arc<Desk>, call: Call<ChangePassword>) -> Answered {
    let caller = call.caller()?.clone();
    let ChangePassword { old_password, new_password } = call.request;
    let Some(account) = store::account_by_id(&desk.pool, caller.user_id).await.map_err(unread)? else {
        return Err(gone());
    };
    password::check_is_not_address(&new_password, &account.user.email, "newPassword")?;
    // A stolen token must not be a way to guess the password faster than at the front door.
    let key = model::email_key(&account.user.email);
    let tried = desk.begin_try(&key, None, call.client_ip).await?;
    let proven = async {
        let proof = desk.passwords.verify(old_password, Some(account.password_hash.clone())).await?;
        match proof {
            Proof::Wrong => Ok(None),
            Proof::Right | Proof::Outdated { .. } => desk.passwords.hash(new_password).await.map(Some),
        }
    };
    let (kind, user) = (AuditKind::LoginFailed, Some(caller.user_id));
    let password_hash = match proven.await {
        Ok(Some(password_hash)) => password_hash,
        Ok(None) => {
            let details = json!({"email": key, "at": "password change"});
            let failed = desk.entry(kind, user, user, call.client_ip, details);
            desk.commit(Act::Note.audited(failed), vec![]).await?;
            return Err(Rejection::OldPassword.into());
        }
        Err(problem) => {
            desk.throttle.undecided(tried).await;
            return Err(problem);
        }
    };
    desk.throttle.right(tried).await;
    let keeps = caller.session_id;
    let changed =
        desk.entry(AuditKind::PasswordChanged, user, user, call.client_ip, json!({"session": keeps}));
    let new = NewPassword { user: caller.user_id, proven: account.password_hash, password_hash, keeps };
    let event = desk.password_changed(&account.user, false, &call.context);
    match desk.commit(Act::Password(new).audited(changed), vec![event]).await? {
        Some(_) => json(&()),
        // Somebody changed it meanwhile: what was proven is the old password no more.
        None => Err(Rejection::OldPassword.into()),
    }
}

impl Desk {
    pub fn password_changed(&self, user: &User, by_reset: bool, context: &Context) -> Outgoing {
        let changed_at = self.clock.now();
        let event = PasswordChanged { user_id: user.id, email: user.email.clone(), changed_at, by_reset };
        Outgoing::new("auth", &event, changed_at, context)
    }
}

pub async fn set_role(desk: Arc<Desk>, call: Call<SetRole>) -> Answered {
    let by = call.caller()?.user_id;
    let SetRole { id, role } = call.request;
    for _ in 0..DECISIONS_MAX {
        let standing = access::standing_of(&desk.pool, id).await.map_err(unread)?;
        let standing = standing.ok_or(Rejection::UnknownUser)?;
        if standing.user.role == role {
            return json(&standing.user);
        }
        let user = User { role, ..standing.user.clone() };
        let details = json!({"from": standing.user.role, "to": role});
        let entry = desk.entry(AuditKind::RoleChanged, Some(by), Some(id), call.client_ip, details);
        let event = Outgoing::new("auth", &role_changed(&user, Some(by)), desk.clock.now(), &call.context);
        if desk.commit(Act::Role(standing.to(role)).audited(entry), vec![event]).await?.is_some() {
            return json(&user);
        }
    }
    Err(Problem::unavailable("The account is being changed. Try again shortly."))
}

pub async fn set_disabled(desk: Arc<Desk>, call: Call<SetDisabled>) -> Answered {
    let by = call.caller()?.user_id;
    let SetDisabled { id, disabled } = call.request;
    for _ in 0..DECISIONS_MAX {
        let standing = access::standing_of(&desk.pool, id).await.map_err(unread)?;
        let Standing { user, epoch, .. } = standing.ok_or(Rejection::UnknownUser)?;
        if user.disabled == disabled {
            return json(&user);
        }
        let kind = if disabled { AuditKind::AccountDisabled } else { AuditKind::AccountEnabled };
        let entry = desk.entry(kind, Some(by), Some(id), call.client_ip, json!({}));
        let change = DisabledChange { user: id, role: user.role, epoch, disabled };
        if desk.commit(Act::Disabled(change).audited(entry), vec![]).await?.is_some() {
            return json(&User { disabled, ..user });
        }
    }
    Err(Problem::unavailable("The account is being changed. Try again shortly."))
}

pub fn role_changed(user: &User, by: Option<Uuid>) -> UserRoleChanged {
    let User { id, email, name, role, .. } = user.clone();
    UserRoleChanged { user_id: id, email, name, role, by }
}

pub async fn list_users(desk: Arc<Desk>, call: Call<ListUsers>) -> Answered {
    let ListUsers { email, paging } = call.request;
    let part = email.map(|part| model::email_key(&part));
    let (users, total) = access::list_users(&desk.pool, part.as_deref(), paging).await.map_err(unread)?;
    json(&paging.of(users, total))
}

pub async fn list_audit(desk: Arc<Desk>, call: Call<ListAudit>) -> Answered {
    let (records, total) = audit::list(&desk.pool, &call.request).await.map_err(unread)?;
    json(&call.request.paging.of(records, total))
}

pub async fn list_revocations(desk: Arc<Desk>, call: Call<ListRevocations>) -> Answered {
    let ListRevocations { after, ended_after } = call.request;
    let revocations = access::revocations(&desk.pool, after).await.map_err(unread)?;
    let is_full = |rows: usize| rows as i64 == access::REVOCATIONS_MAX;
    let next = revocations.last().filter(|_| is_full(revocations.len())).map(|last| last.user_id);
    let ended = access::ended_sessions(&desk.pool, ended_after).await.map_err(unread)?;
    let ended_next = ended.last().filter(|_| is_full(ended.len())).copied();
    json(&Revocations { revocations, next, ended, ended_next })
}

fn gone() -> Problem {
    Problem::unauthorized("token-invalid", "The account of this token is gone.")
}
