//! What keeps mails from becoming a weapon: none about holds to an address that is not proven, and only so many an hour to one
//! address of all that a stranger can cause.
//!
//! Invariant: tickets that were paid and refunds are never held back. The bound is exact for one host; hosts that send at the
//! same moment may exceed it by what each has in work.

use std::collections::HashMap;
use std::sync::Mutex;

use bus::contract::auth::GetAddress;
use bus::service::Ask;

use super::Env;
use super::model::{Facts, Mail, Trouble};
use super::sender::{ASK_MAX, unanswered};
use super::store;

/// How many bounded mails each recipient of a round had within the hour.
pub struct Recipients {
    most: Option<u32>,
    sent: Mutex<HashMap<String, u32>>,
}

impl Recipients {
    pub async fn of(env: &Env, mails: &[Mail]) -> Result<Self, sqlx::Error> {
        let most = env.settings.mails_per_recipient_hour;
        let sent = match most {
            Some(_) => {
                let recipients: Vec<String> = mails
                    .iter()
                    .filter_map(|mail| mail.recipient.as_deref())
                    .map(str::to_lowercase)
                    .collect();
                store::sent_lately(&env.pool, &recipients).await?
            }
            None => HashMap::new(),
        };
        Ok(Self { most, sent: Mutex::new(sent) })
    }

    /// Counts a mail to this address, or says why it is one too many.
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

/// Why a mail about a hold is not sent: its address is not that which its account has proven. Asked when it is sent, so that it
/// is right for accounts of before as well.
pub async fn unproven(env: &Env, mail: &Mail, facts: &Facts) -> Result<Option<&'static str>, Trouble> {
    let Some(attendee) = facts.attendee.as_ref().filter(|_| mail.topic.is_of_hold(facts)) else {
        return Ok(None);
    };
    let ask = Ask { timeout: ASK_MAX, ..Ask::new(mail.context.clone()) };
    match env.bus.ask(&GetAddress { user_id: attendee.told.user_id }, &ask).await {
        Ok(address) if address.verified && is_same(&address.email, &attendee.told.email) => Ok(None),
        Ok(_) => Ok(Some("the address is not proven")),
        Err(problem) if problem.status == 404 => Ok(Some("there is no such account")),
        Err(problem) => Err(unanswered(&problem)),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
