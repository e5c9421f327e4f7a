//! Accounts that are made without registering: the first SUPER_ADMIN of a new database, and those of the demo.

use std::collections::BTreeSet;

use anyhow::Context as _;
use bus::contract::auth::{Register, Role};
use bus::contract::{Fields, Request};
use bus::{Context, Problem};

use super::endpoints::registered_event;
use super::password::Proof;
use super::store::{self, Act, Refused};
use super::{Env, Seeded, model};
use crate::delivery::{Change, Outcome};

/// The published password.
pub const DEMO_PASSWORD: &str = "popcorn-2026";

/// The accounts of a demo; the last one is `marquee up`'s SUPER_ADMIN.
pub const DEMO_EMAILS: [&str; 3] = ["staff@marquee.example", "ada@marquee.example", "owner@marquee.example"];

/// Makes the first SUPER_ADMIN of a new database, once, however many hosts start.
pub async fn ensure_super_admin(env: &Env, email: &str, password: &str) -> anyhow::Result<()> {
    if store::super_admin_exists(&env.pool).await.context("looking for a SUPER_ADMIN")? {
        return Ok(());
    }
    let wanted = Register {
        email: email.to_owned(),
        password: password.to_owned(),
        name: "Super Admin".to_owned(),
        order_token: None,
    };
    let mut fields = Fields::default();
    wanted.validate(&mut fields);
    if let Err(problem) = fields.into_result() {
        let wrong: Vec<String> =
            problem.errors.iter().map(|e| format!("the {} {}", e.field, e.message)).collect();
        anyhow::bail!("SUPER_ADMIN_EMAIL and SUPER_ADMIN_PASSWORD: {}", wrong.join("; "));
    }
    let mut account = env
        .account(wanted.email, wanted.password, wanted.name, Role::SuperAdmin)
        .await
        .map_err(|problem| anyhow::anyhow!("making the first SUPER_ADMIN: {}", problem.detail))?;
    // The operator named the address.
    account.user.email_verified = true;
    let registered = registered_event(env, &account.user, &Context::new());
    let change = Change { outbox: vec![registered], ..Change::new(Act::FirstSuperAdmin(account).into()) };
    match env.journal.commit(change).await {
        Outcome::Committed { .. } => tracing::info!("made the first SUPER_ADMIN"),
        Outcome::Rejected(Refused::SuperAdminExists) => {}
        Outcome::Rejected(Refused::EmailTaken) => {
            anyhow::bail!("SUPER_ADMIN_EMAIL belongs to an account that is not a SUPER_ADMIN; name another")
        }
        other => anyhow::bail!("making the first SUPER_ADMIN: {other:?}"),
    }
    Ok(())
}

/// Refuses to start where other machines reach the deployment while an account still has the published demo password.
pub async fn refuse_published_passwords(
    env: &Env,
    super_admin: Option<&(String, String)>,
) -> anyhow::Result<()> {
    let known = DEMO_EMAILS.into_iter().chain(super_admin.map(|(email, _)| email.as_str()));
    let mut published = BTreeSet::new();
    for key in known.map(model::email_key).collect::<BTreeSet<_>>() {
        let Some(account) = store::account_of(&env.pool, &key).await? else { continue };
        let proof = env.passwords.verify(DEMO_PASSWORD.to_owned(), Some(account.password_hash)).await;
        if proof.map_err(|problem| anyhow::anyhow!("comparing passwords: {}", problem.detail))?
            != Proof::Wrong
        {
            published.insert(account.user.email);
        }
    }
    anyhow::ensure!(
        published.is_empty(),
        "others than this machine reach PUBLIC_URL, and these accounts have the password that Marquee's README names: {}. \
         Start once with an address of this machine, log in and change them",
        Vec::from_iter(published).join(", ")
    );
    Ok(())
}

/// Makes an account unless its e-mail has one.
pub async fn ensure_account(
    env: &Env,
    email: &str,
    password: &str,
    name: &str,
    role: Role,
) -> anyhow::Result<Seeded> {
    let key = model::email_key(email);
    if let Some(account) = store::account_of(&env.pool, &key).await? {
        return Ok(Seeded { id: account.user.id, is_new: false });
    }
    let made = async {
        let mut account = env.account(email.to_owned(), password.to_owned(), name.to_owned(), role).await?;
        // No mail reaches the demo's addresses.
        account.user.email_verified = true;
        let (id, registered) = (account.user.id, registered_event(env, &account.user, &Context::new()));
        let write = Act::Account { account, login: None, verification: None }.into();
        env.commit(Change { outbox: vec![registered], ..Change::new(write) }).await?;
        Ok::<_, Problem>(id)
    };
    match made.await {
        Ok(id) => Ok(Seeded { id, is_new: true }),
        // Another process made it meanwhile.
        Err(problem) if problem.status == 409 => {
            let account = store::account_of(&env.pool, &key).await?;
            let id = account.context("the account was deleted meanwhile")?.user.id;
            Ok(Seeded { id, is_new: false })
        }
        Err(problem) => anyhow::bail!("making the account {email}: {}", problem.detail),
    }
}
