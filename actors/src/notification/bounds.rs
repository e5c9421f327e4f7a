//! Limits against misuse of mails: no mail about a hold to an address that is not proven, and a limited number an hour to one
//! address of all mails that a stranger can cause.
//!
//! Invariant: the first mail with paid tickets and mails about refunds are never held back. The limit is exact for one host; hosts that send at
//! the same moment may exceed it by the mails that each has in flight.

use std::collections::HashMap;
use std::sync::Mutex;

use bus::contract::auth::GetAddress;
use bus::service::Ask;

use super::Env;
use super::facts::ASK_MAX;
use super::model::{Facts, Mail, Trouble};
use super::store::Claimed;

/// How many bounded mails each recipient of a round had within the hour.
pub struct Recipients {
    most: Option<u32>,
    sent: Mutex<HashMap<String, u32>>,
}

impl Recipients {
    pub fn of(env: &Env, claimed: &[Claimed]) -> Self {
        let most = env.settings.mails_per_recipient_hour;
        let counts = claimed.iter().filter_map(|claimed| {
            let recipient = claimed.recipient.as_ref()?;
            Some((recipient.to_lowercase(), claimed.sent_lately))
        });
        Self { most, sent: Mutex::new(counts.collect()) }
    }

    /// Counts a mail to this address, or returns why it may not be sent.
    pub fn take(&self, recipient: &str) -> Option<String> {
        let most = self.most?;
        let mut sent = self.sent.lock().unwrap_or_else(|e| e.into_inner());
        let had = sent.entry(recipient.to_lowercase()).or_default();
        if *had >= most {
            return Some(format!("the address had {most} such mails within an hour"));
        }
        *had += 1;
        None
    }
}

/// Why a mail about a hold is not sent: its address is not the proven one of its account. Requested when the mail is sent,
/// since the address may have been proven meanwhile.
pub async fn unproven(env: &Env, mail: &Mail, facts: &Facts) -> Result<Option<&'static str>, Trouble> {
    let Some(attendee) = facts.attendee.as_ref().filter(|_| mail.topic.is_of_hold(facts)) else {
        return Ok(None);
    };
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(mail.context.clone()) };
    match env.bus.ask(&GetAddress { user_id: attendee.reservation.user_id }, &ask).await {
        Ok(address) if address.verified && is_same(&address.email, &attendee.reservation.email) => Ok(None),
        Ok(_) => Ok(Some("the address is not proven")),
        Err(problem) if problem.status == 404 => Ok(Some("there is no such account")),
        Err(problem) => Err(Trouble::unanswered(&problem)),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
