//! The requests about the mail log: list, get, send again.

use std::sync::Arc;

use bus::contract::notification::{
    GetNotification, ListNotifications, NotificationStatus, RESEND_MAX, Rejection, ResendFailed,
    ResendNotification, Resent,
};
use bus::service::{Answered, Call, Server, json};
use bus::{Failure, Problem};
use tokio::time::Instant;

use super::Env;
use super::model::message_id;
use super::store::{self, Write, Written};
use crate::delivery::{Change, read_failure};
use crate::domain::Decision;

pub async fn serve(env: Arc<Env>, mut server: Server) -> Result<Server, Failure> {
    server.serve_with(&env, list).await?;
    server.serve_with(&env, get).await?;
    server.serve_with(&env, resend).await?;
    server.serve_with(&env, resend_failed).await?;
    Ok(server)
}

async fn list(env: Arc<Env>, call: Call<ListNotifications>) -> Answered {
    json(&store::list(&env.pool, &call.request, env.mailer.domain()).await.map_err(read_failure)?)
}

async fn get(env: Arc<Env>, call: Call<GetNotification>) -> Answered {
    let found = store::notification(&env.pool, call.request.id, env.mailer.domain()).await;
    let (notification, _) = found.map_err(read_failure)?.ok_or(Rejection::NoSuchNotification)?;
    json(&notification)
}

async fn resend(env: Arc<Env>, call: Call<ResendNotification>) -> Answered {
    let answered = env.change(&call, || queue_again(&env, &call)).await;
    env.next_look.at(Instant::now());
    answered
}

async fn queue_again(env: &Env, call: &Call<ResendNotification>) -> Result<Decision<Write>, Problem> {
    let found = store::notification(&env.pool, call.request.id, env.mailer.domain()).await;
    let (mut mail, version) = found.map_err(read_failure)?.ok_or(Rejection::NoSuchNotification)?;
    if mail.status == NotificationStatus::Queued {
        return Err(Rejection::StillQueued.into());
    }
    let now = env.clock.now();
    mail.status = NotificationStatus::Queued;
    (mail.attempts, mail.error, mail.reason) = (0, None, None);
    (mail.next_try, mail.updated_at) = (Some(now), now);
    mail.message_id = next_message_id(&mail.message_id, mail.id, env.mailer.domain());
    Decision::new(&mail, Write::Resend { id: mail.id, version }, vec![])
}

/// A repeated request finds nothing more to do, so that it needs no key.
async fn resend_failed(env: Arc<Env>, call: Call<ResendFailed>) -> Answered {
    let ResendFailed { from, to } = call.request;
    let written = env.commit(Change::new(Write::ResendFailed { from, to, most: RESEND_MAX })).await?;
    let Some(Written::Resent { queued, left }) = written else { return Err(Problem::internal()) };
    env.next_look.at(Instant::now());
    tracing::info!(queued, left, by = %call.caller()?.user_id, "failed mails are queued again");
    json(&Resent { queued, left })
}

/// The id that the mail gets with its next resend; `current` is `<mail>.<resends>@<domain>`.
fn next_message_id(current: &str, mail: uuid::Uuid, domain: &str) -> String {
    let resends = current.split(['.', '@']).nth(1).and_then(|number| number.parse::<i32>().ok());
    message_id(mail, resends.unwrap_or(0) + 1, domain)
}
