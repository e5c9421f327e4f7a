//! What guests do with an order besides buying: they correct its address, add it to their account, by their token or by the link in
//! a mail, or register by that link; and whether their tokens still open their orders afterwards.

use std::time::Duration;

use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, Outcome};
use crate::deployment::Deployment;
use crate::load::{Account, Customer};
use crate::record::{By, Correction, Merge, Record};

/// How long a guest waits for a mail; during a fault none may come.
const MAIL_MAX: Duration = Duration::from_secs(5);
/// Tries of a request that may be repeated.
const TRIES: u32 = 3;
/// Merges whose tokens are tried at the end: so many of the latest.
const TRIED_MAX: usize = 40;

/// What a guest does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAct {
    Leaves,
    CorrectsAddress,
    MergesByToken,
    MergesByLink,
    Registers,
}

/// The answer to a request for a merged order with a token.
#[derive(Clone, Debug)]
pub struct GuestTry {
    pub order: Uuid,
    /// Whether it is the account's token; otherwise the guest's.
    pub by_account: bool,
    /// `None` without an answer.
    pub status: Option<u16>,
}

impl Customer {
    /// The address of a new guest: sometimes that of the customer's own account, which may take the order by its link then.
    pub fn guest_address(&mut self) -> Option<String> {
        self.random.random_bool(0.4).then(|| self.home.email.clone())
    }

    /// Adds the order to the customer's account before it is paid, and goes on as the account.
    pub async fn merge_first(&mut self, order: Uuid) {
        if self.random.random_bool(0.25) && self.merge(order, By::Token).await {
            self.account = self.home.clone();
        }
    }

    /// What a guest does with an order after everything else.
    pub async fn act_as_guest(&mut self, order: Uuid) {
        if self.account.id == self.home.id {
            return;
        }
        let has_own_address = self.account.email != self.home.email;
        let act = match self.random.random_range(0..10) {
            0..3 => GuestAct::CorrectsAddress,
            3..6 if has_own_address => GuestAct::MergesByToken,
            6..8 if has_own_address => GuestAct::Registers,
            3..8 => GuestAct::MergesByLink,
            _ => GuestAct::Leaves,
        };
        match act {
            GuestAct::Leaves => {}
            GuestAct::CorrectsAddress => self.correct_address(order).await,
            GuestAct::MergesByToken => {
                self.merge(order, By::Token).await;
            }
            GuestAct::MergesByLink => {
                if let Some(token) = self.link_of(order).await {
                    self.merge(order, By::Link(token)).await;
                }
            }
            GuestAct::Registers => self.register(order).await,
        }
    }

    async fn correct_address(&self, order: Uuid) {
        let email = format!("corrected-{}@example.org", Uuid::new_v4().simple());
        let (path, body) = (format!("/v1/reservations/{order}"), json!({"email": email}));
        let outcome =
            self.repeat_until_answered(Method::PATCH, &path, Some(&self.account.token), &body).await;
        self.recorder.lock().corrections.push(Correction { order, email, outcome });
    }

    /// Adds the guest's orders, or that of the link, to the customer's account. Returns whether that was answered.
    async fn merge(&mut self, order: Uuid, by: By) -> bool {
        let token = match &by {
            By::Link(token) => token.clone(),
            By::Token | By::Registration => self.account.token.clone(),
        };
        let (key, body) = (Uuid::new_v4().to_string(), json!({"token": token}));
        let mut outcome = self.client.post("/v1/reservations/merge", &self.home.token, &key, &body).await;
        if let Outcome::Refused(401, _) = outcome {
            self.home.renew(&self.client).await;
            outcome = self.client.post("/v1/reservations/merge", &self.home.token, &key, &body).await;
        }
        let is_done = matches!(outcome, Outcome::Done(_));
        let merge = Merge { order, guest: self.account.clone(), account: self.home.clone(), by, outcome };
        self.recorder.lock().merges.push(merge);
        is_done
    }

    /// Opens an account by the link in the mail, which keeps the guest's id.
    async fn register(&mut self, order: Uuid) {
        let Some(token) = self.link_of(order).await else { return };
        let password = "correct horse";
        let body =
            json!({"email": self.account.email, "password": password, "name": "Grace", "orderToken": token});
        let outcome = self.repeat_until_answered(Method::POST, "/v1/auth/register", None, &body).await;
        let registered = match &outcome {
            Outcome::Done(text) => Account::read(&serde_json::from_str(text).unwrap_or_default(), password),
            _ => None,
        };
        let account = registered.unwrap_or_else(|| self.account.clone());
        let merge = Merge { order, guest: self.account.clone(), account, by: By::Registration, outcome };
        self.recorder.lock().merges.push(merge);
    }

    /// The token in the latest mail about the order.
    async fn link_of(&self, order: Uuid) -> Option<String> {
        let until = tokio::time::Instant::now() + MAIL_MAX;
        loop {
            let links = self.mail_server.mails().into_iter().rev().filter_map(|mail| mail.link);
            if let Some(link) = links.into_iter().find(|link| link.order == order) {
                return Some(link.token);
            }
            if tokio::time::Instant::now() > until {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Sends a request that may be repeated without a key, until there is an answer.
    async fn repeat_until_answered(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Outcome {
        let mut is_in_doubt = false;
        for _ in 0..TRIES {
            let key = Uuid::new_v4().to_string();
            match self.client.try_once(method.clone(), path, token, &key, Some(body)).await {
                Some(answer) if answer.is_done() => return Outcome::Done(answer.text),
                Some(answer) if answer.status < 500 && !is_in_doubt => {
                    return Outcome::Refused(answer.status, answer.text);
                }
                Some(answer) if answer.status < 500 => return Outcome::Unknown,
                _ => is_in_doubt = true,
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Outcome::Unknown
    }
}

/// Tries the tokens of both sides on the orders that were merged, when there are no faults.
pub async fn try_merged(deployment: &Deployment, record: &Record) -> Vec<GuestTry> {
    let done = record.merges.iter().rev().filter(|merge| matches!(merge.outcome, Outcome::Done(_)));
    let mut tries = Vec::new();
    for Merge { order, guest, account, .. } in done.take(TRIED_MAX) {
        let mut account = account.clone();
        let mut by_account = open(&deployment.client, *order, &account.token).await;
        if by_account == Some(401) {
            account.renew(&deployment.client).await;
            by_account = open(&deployment.client, *order, &account.token).await;
        }
        let by_guest = open(&deployment.client, *order, &guest.token).await;
        tries.push(GuestTry { order: *order, by_account: true, status: by_account });
        tries.push(GuestTry { order: *order, by_account: false, status: by_guest });
    }
    tries
}

async fn open(client: &Client, order: Uuid, token: &str) -> Option<u16> {
    let path = format!("/v1/reservations/{order}");
    client.try_once(Method::GET, &path, Some(token), "", None).await.map(|answer| answer.status)
}
