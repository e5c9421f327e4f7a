//! The endpoints of the mail log: list, look at one, send again.

use std::sync::Arc;

use bus::contract::Request;
use bus::contract::notification::{
    GetNotification, ListNotifications, NotificationStatus, RESEND_MAX, Rejection, ResendFailed,
    ResendNotification, Resent,
};
use bus::service::{Answered, Call, Server, json};
use bus::{Failure, Problem};

use super::Env;
use super::model::message_id;
use super::store::{self, Write, Written};
use crate::delivery::{Change, IdempotencyKey, IdempotencyWrite, Outcome, read_failure, request_hash};

/// A mail whose version moves under a resend is being sent just now; once more, then it is told.
const TRIES_MAX: u32 = 3;

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
    let hash = request_hash(&call.request)?;
    let user_id = call.caller()?.user_id;
    for _ in 0..TRIES_MAX {
        let found = store::notification(&env.pool, call.request.id, env.mailer.domain()).await;
        let (mut mail, version) = found.map_err(read_failure)?.ok_or(Rejection::NoSuchNotification)?;
        let is_queued = mail.status == NotificationStatus::Queued;
        // A repeat of a request that was answered finds it queued by itself; its key tells.
        if is_queued && call.idempotency_key.is_none() {
            return Err(Rejection::StillQueued.into());
        }
        let now = env.clock.now();
        mail.status = NotificationStatus::Queued;
        (mail.attempts, mail.error, mail.reason) = (0, None, None);
        (mail.next_try, mail.updated_at) = (Some(now), now);
        mail.message_id = next_message_id(&mail.message_id, mail.id, env.mailer.domain());
        let response = json(&mail)?;
        let idempotency = call.idempotency_key.clone().map(|key| IdempotencyWrite::Claim {
            key: IdempotencyKey { user_id, route: ResendNotification::SUBJECT, key },
            request_hash: hash,
            response: Some(response.clone()),
        });
        let change = Change { idempotency, ..Change::new(Write::Resend { id: mail.id, version }) };
        match env.journal.commit(change).await {
            Outcome::Committed { .. } => {
                env.wake.notify_one();
                return Ok(response);
            }
            Outcome::Repeated(first) if first.request_hash == hash => {
                return first.response.ok_or_else(Problem::internal);
            }
            Outcome::Repeated(_) => return Err(Rejection::IdempotencyMismatch.into()),
            Outcome::Stale if is_queued => return Err(Rejection::StillQueued.into()),
            Outcome::Stale => {}
            Outcome::Failed(failure) => return Err(failure.into()),
            Outcome::Rejected(never) => match never {},
        }
    }
    Err(Rejection::StillQueued.into())
}

/// Sent again it finds nothing more to do, so that it needs no key.
async fn resend_failed(env: Arc<Env>, call: Call<ResendFailed>) -> Answered {
    let ResendFailed { from, to } = call.request;
    let change = Change::new(Write::ResendFailed { from, to, most: RESEND_MAX });
    match env.journal.commit(change).await {
        Outcome::Committed { written: Written::Resent { queued, left }, .. } => {
            env.wake.notify_one();
            tracing::info!(queued, left, by = %call.caller()?.user_id, "failed mails are queued again");
            json(&Resent { queued, left })
        }
        Outcome::Failed(failure) => Err(failure.into()),
        _ => Err(Problem::internal()),
    }
}

/// The id that the mail gets with its next resend; `current` is `<mail>.<resends>@<domain>`.
fn next_message_id(current: &str, mail: uuid::Uuid, domain: &str) -> String {
    let resends = current.split(['.', '@']).nth(1).and_then(|number| number.parse::<i32>().ok());
    message_id(mail, resends.unwrap_or(0) + 1, domain)
}
