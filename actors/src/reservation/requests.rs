//! What the requests of a person have in common: the idempotency key with its first answer, the reservation that the caller may
//! see, and the way to its saga's actor.

use bus::Problem;
use bus::contract::Request;
use bus::contract::reservation::Rejection;
use bus::service::{Answered, Call};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Env;
use super::access::check;
use super::actor::SagaMachine;
use super::model::Reservation;
use super::order::replay;
use super::saga::Input;
use crate::delivery::{IdempotencyKey, request_hash};
use crate::entity_shell::{Caller, Requester, actor as shell};

/// The request's idempotency key with the hash that it is bound to.
pub fn key<R: Request>(call: &Call<R>) -> Result<Option<Keyed>, Problem> {
    let Some(key) = call.idempotency_key.clone() else { return Ok(None) };
    let key = IdempotencyKey { user_id: call.caller()?.user_id, route: R::SUBJECT, key };
    Ok(Some((key, request_hash(&call.request)?)))
}

pub type Keyed = (IdempotencyKey, [u8; 32]);

/// Answers a request, or gives the first answer to it again. The key is read before and after: a refusal may be caused by
/// the same request, sent twice at once.
pub async fn once(env: &Env, key: &Option<Keyed>, answer: impl Future<Output = Answered>) -> Answered {
    let Some((key, hash)) = key else { return answer.await };
    if let Some(first) = env.answers.get(key.clone()).await? {
        return replay(hash, first);
    }
    let answered = answer.await;
    match env.answers.get(key.clone()).await {
        Ok(Some(first)) => replay(hash, first),
        _ => answered,
    }
}

/// One reservation, if the caller may see it.
pub async fn find<R>(env: &Env, call: &Call<R>, id: Uuid) -> Result<Reservation, Problem> {
    let identity = call.caller()?;
    let found = env.reservations.get(id).await?;
    let found = found.ok_or(Rejection::NoSuchReservation)?;
    check(&found, identity)?;
    Ok(found)
}

/// Sends an input in the caller's name; a repeated request gets the first answer.
pub async fn send_to_saga<R: Request>(env: &Env, call: Call<R>, id: Uuid, input: Input) -> Answered {
    let key = key(&call)?;
    once(env, &key, send(env, &call, id, input, key.clone())).await
}

/// Sends an input in the caller's name and waits for the answer.
pub async fn send<R>(env: &Env, call: &Call<R>, id: Uuid, input: Input, key: Option<Keyed>) -> Answered {
    let (reply, answer) = oneshot::channel();
    let (identity, context) = (Some(call.caller()?.clone()), call.context.clone());
    let requester = Requester::Call(Box::new(Caller { identity, context, key, until: None, reply }));
    shell::ask::<SagaMachine>(env.sagas(), id, input, requester, answer).await
}
