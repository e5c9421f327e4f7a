//! Delivers mails: by SMTP, or as `.eml` files in a folder.
//!
//! Invariant: the stage of the dialogue decides what a refusal means. Before the recipient is named it is about this client,
//! and mails wait; from then on it defers this mail or refuses it for good. A quota is never caused by the mail.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use lettre::Message;
use lettre::message::Mailbox;
use uuid::Uuid;

use super::address::in_ascii;
use super::model::{Mail, Trouble, name_of};
use super::smtp::{self, Refusal, Relay, Stage};
use crate::config::NotificationSettings;

/// One mail, connecting included.
const MAIL_MAX: Duration = Duration::from_secs(20);
/// Connections to the mail server that are kept: as many as mails are in flight at once.
const CONNECTIONS_MAX: usize = 8;
/// Replies that mean, at any stage: log in before sending (RFC 4954); and 421, closing (RFC 5321).
const NOT_ABOUT_THE_MAIL: [&str; 5] = ["421", "530", "534", "535", "538"];
/// Enhanced codes (RFC 3463) for what an account may send in a time: 5.3 too many recipients, 4.5 congestion, which large
/// relays also use for a daily quota.
const QUOTA: [&str; 4] = ["4.5.3", "5.5.3", "4.4.5", "5.4.5"];
/// Characters of an error that are kept.
const ERROR_MAX: usize = 500;

enum Transport {
    Smtp(Box<Relay>),
    Folder(PathBuf),
}

/// Delivers mails from one sender.
pub struct Mailer {
    transport: Transport,
    from: Mailbox,
}

impl Mailer {
    pub fn new(settings: &NotificationSettings) -> anyhow::Result<Self> {
        let mut from: Mailbox = settings.mail_from.parse().context("MAIL_FROM is not a mailbox")?;
        from.email = in_ascii(from.email.as_ref()).parse().context("MAIL_FROM is not a mailbox")?;
        let transport = match &settings.smtp_url {
            Some(url) => Transport::Smtp(Box::new(Relay::from_url(url, CONNECTIONS_MAX)?)),
            None => {
                let folder = &settings.mail_dir;
                private_folder(folder).with_context(|| format!("making MAIL_DIR {}", folder.display()))?;
                tracing::info!(folder = %folder.display(), "no SMTP_URL: mails are files");
                Transport::Folder(folder.clone())
            }
        };
        Ok(Self { transport, from })
    }

    /// Whether mails can be delivered, as far as that can be known at the start.
    pub async fn check(&self) -> anyhow::Result<()> {
        match &self.transport {
            Transport::Smtp(relay) => relay.check().await,
            Transport::Folder(_) => Ok(()),
        }
    }

    pub fn from(&self) -> &Mailbox {
        &self.from
    }

    /// The part of our own address that makes Message-IDs unique in the world.
    pub fn domain(&self) -> &str {
        self.from.email.domain()
    }

    pub async fn deliver(&self, mail: &Mail, message: &Message) -> Result<(), Trouble> {
        match &self.transport {
            Transport::Smtp(relay) => {
                let text = message.formatted();
                match tokio::time::timeout(MAIL_MAX, relay.send(message.envelope(), &text)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(trouble(&error)),
                    Err(_) => Err(Trouble::Away("the mail server did not answer in time".to_owned())),
                }
            }
            Transport::Folder(folder) => {
                // By its id, so that a mail that is sent again replaces itself.
                let kind = name_of(mail.topic.kind()).to_lowercase().replace('_', "-");
                let path = folder.join(format!("{}.{}-{kind}.eml", mail.id, mail.resends));
                let text = message.formatted();
                let written = tokio::task::spawn_blocking(move || {
                    let part = path.with_extension("part");
                    private_file(&part, &text).and_then(|()| std::fs::rename(&part, &path))
                });
                let written = written.await.map_err(|panic| Trouble::Away(panic.to_string()))?;
                written.map_err(|error| Trouble::Away(format!("MAIL_DIR: {error}")))
            }
        }
    }

    /// Removes the files of mails, of every resend. A mail server has no mails of ours.
    pub async fn remove(&self, mails: Vec<Uuid>) -> std::io::Result<()> {
        let Transport::Folder(folder) = &self.transport else { return Ok(()) };
        if mails.is_empty() {
            return Ok(());
        }
        let folder = folder.clone();
        let removed = tokio::task::spawn_blocking(move || {
            for file in std::fs::read_dir(folder)? {
                let file = file?;
                if mail_of(&file.file_name()).is_some_and(|mail| mails.contains(&mail)) {
                    match std::fs::remove_file(file.path()) {
                        // Another host was faster.
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
            }
            Ok(())
        });
        removed.await.map_err(std::io::Error::other)?
    }
}

/// The mail whose file has this name.
fn mail_of(file: &std::ffi::OsStr) -> Option<Uuid> {
    file.to_str()?.split('.').next()?.parse().ok()
}

/// Mails contain tickets and links to new passwords: other users of the machine must not read them.
fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn private_file(path: &Path, text: &[u8]) -> std::io::Result<()> {
    // A file that a killed host left behind.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text)
}

/// What a refusal means. Before the recipient is named it is about this client or the relay, whatever its number.
fn trouble(refusal: &Refusal) -> Trouble {
    let (stage, error) = match refusal {
        Refusal::Relay { stage, error } => (*stage, error),
        Refusal::Unable(why) => return Trouble::Refused((*why).to_owned()),
    };
    let text: String = smtp::reason(error).chars().take(ERROR_MAX).collect();
    let code = error.status().map(|code| code.to_string());
    blame(stage, code.as_deref(), error.is_permanent(), error.is_transient() || error.is_response(), text)
}

/// The rule of [`trouble`]: `code` is the reply's number, `text` the reply.
fn blame(stage: Stage, code: Option<&str>, permanent: bool, transient: bool, text: String) -> Trouble {
    match stage {
        Stage::Connection | Stage::Sender => Trouble::Away(text),
        _ if code.is_some_and(|code| NOT_ABOUT_THE_MAIL.contains(&code)) => Trouble::Away(text),
        _ if is_quota(&text) => Trouble::OverQuota(text),
        _ if permanent => Trouble::Refused(text),
        _ if transient => Trouble::Deferred(text),
        _ => Trouble::Away(text),
    }
}

fn is_quota(text: &str) -> bool {
    let words = text.split(|c: char| c.is_whitespace() || c == '(' || c == ')' || c == ':');
    words.map(|word| word.trim_end_matches(['.', ','])).any(|word| QUOTA.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_mails_fault_only_once_its_recipient_was_named() {
        use Stage::{Connection, Content, Recipient, Sender};
        let cases = [
            (Connection, "554", "554 5.7.1 Client host blocked", "away"),
            (Connection, "550", "550 5.7.1 Access denied for this host name", "away"),
            (Connection, "535", "535 5.7.8 Authentication credentials invalid", "away"),
            (Sender, "550", "550 5.7.1 Sender address rejected", "away"),
            (Sender, "550", "550 5.4.5 Daily user sending quota exceeded.", "away"),
            (Sender, "454", "454 4.7.0 Throttling failure", "away"),
            (Recipient, "550", "permanent error (550): 5.1.1 No such user", "refused"),
            (Recipient, "451", "451 4.7.1 Greylisted, try again", "deferred"),
            (Recipient, "421", "421 4.3.2 Closing", "away"),
            (Recipient, "530", "530 5.7.0 Authentication required", "away"),
            (Recipient, "452", "transient error (452): 4.5.3 Too many recipients", "over quota"),
            (Content, "550", "permanent error (550): 5.4.5 Daily sending quota exceeded.", "over quota"),
            (Content, "554", "554 5.6.0 Message rejected", "refused"),
        ];
        for (stage, code, text, wanted) in cases {
            let permanent = code.starts_with('5');
            let seen = match blame(stage, Some(code), permanent, !permanent, text.to_owned()) {
                Trouble::Away(_) => "away",
                Trouble::Unanswered(_) => "unanswered",
                Trouble::OverQuota(_) => "over quota",
                Trouble::Deferred(_) => "deferred",
                Trouble::Refused(_) => "refused",
            };
            assert_eq!(seen, wanted, "{stage:?} {text}");
        }
        let dropped = blame(Content, None, false, false, "network error".to_owned());
        assert_eq!(dropped, Trouble::Away("network error".to_owned()));
    }
}
