//! The links in received mails, each tried on its own order and on another one, when there are no faults.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use uuid::Uuid;

use crate::deployment::Deployment;

/// Links that are tried: the first and the latest of so many orders.
const TRIED_MAX: usize = 40;

/// The answer to a request for an order with the token of a link.
#[derive(Clone, Debug)]
pub struct LinkTry {
    /// The order of the link.
    pub of: Uuid,
    /// The access number that the token carries.
    pub access: i64,
    /// The order that was requested.
    pub opened: Uuid,
    /// `None` without an answer.
    pub status: Option<u16>,
}

/// Tries the links on their orders, and each on the order of the next one.
pub async fn try_all(deployment: &Deployment) -> Vec<LinkTry> {
    let received = deployment.mail_server.mails();
    // Between them the address may have been corrected, or the order merged: then only the latest is still good.
    let mut links: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for link in received.into_iter().filter_map(|mail| mail.link) {
        let tokens = links.entry(link.order).or_default();
        tokens.truncate(1);
        tokens.push(link.token);
    }
    let orders: Vec<(Uuid, Vec<String>)> = links.into_iter().rev().take(TRIED_MAX).collect();
    let mut tries = Vec::new();
    for (at, (of, tokens)) in orders.iter().enumerate() {
        let next = orders.get(at + 1).or(orders.first()).map(|(other, _)| *other).filter(|other| other != of);
        for (token, opened) in tokens
            .iter()
            .flat_map(|token| std::iter::once(*of).chain(next).map(move |opened| (token, opened)))
        {
            let path = format!("/v1/reservations/{opened}");
            let answer = deployment.client.try_once(Method::GET, &path, Some(token), "", None).await;
            let status = answer.map(|answer| answer.status);
            tries.push(LinkTry { of: *of, access: access_of(token).unwrap_or(-1), opened, status });
        }
    }
    tries
}

/// The access number in the claims of a token.
fn access_of(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<serde_json::Value>(&claims).ok()?["access"].as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_number_is_read_from_the_claims() {
        let token = format!("head.{}.signature", URL_SAFE_NO_PAD.encode(r#"{"sub":"x","access":3}"#));
        assert_eq!(access_of(&token), Some(3));
        assert_eq!(access_of("no token"), None);
    }
}
