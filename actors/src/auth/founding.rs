//! The accounts that nobody registers: the first SUPER_ADMIN of a new database, and those of the demo.

use anyhow::Context as _;
use bus::contract::auth::{Register, Role};
use bus::contract::{Fields, Request};
use bus::{Context, Problem};
use uuid::Uuid;

use super::actor::{Desk, registered};
use super::model;
use super::store::{self, Act, Refused};
use crate::delivery::{Change, Outcome};

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
    let mut account = desk
        .account(wanted.email, wanted.password, wanted.name, Role::SuperAdmin)
        .await
        .map_err(|problem| anyhow::anyhow!("making the first SUPER_ADMIN: {}", problem.detail))?;
    // The operator named the address.
    account.user.email_verified = true;
    let registered = registered(&account.user, &Context::new());
    let change = Change { outbox: vec![registered], ..Change::new(Act::FirstSuperAdmin(account).into()) };
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
        let mut account = desk.account(email.to_owned(), password.to_owned(), name.to_owned(), role).await?;
        // No mail reaches the demo's addresses.
        account.user.email_verified = true;
        let (id, registered) = (account.user.id, registered(&account.user, &Context::new()));
        desk.commit(Act::Account { account, login: None, verification: None }.into(), vec![registered])
            .await?;
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
