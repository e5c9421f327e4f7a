//! The way out: SMTP, or `.eml` files in a folder.
//!
//! Invariant: what a mail server says is told apart by whose fault it is: it is away, it puts this mail off, or it refuses
//! this mail for good. A login that is refused is the operator's fault and no mail's.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::model::{Mail, Trouble, name_of};
use super::smtp;
use crate::config::NotificationSettings;

/// Each command to the mail server; lettre's own default is a minute, in which a claim could run out.
const COMMAND_MAX: Duration = Duration::from_secs(10);
/// One mail, connecting included.
const MAIL_MAX: Duration = Duration::from_secs(20);
/// Connections to the mail server: as many as mails are on their way at once.
const CONNECTIONS_MAX: u32 = 8;
/// Replies to a login or to a mail before it that say: you may not send here (RFC 4954); and 421, closing (RFC 5321).
const NOT_THE_MAILS_FAULT: [&str; 5] = ["421", "530", "534", "535", "538"];
/// Characters of an error that are kept.
const ERROR_MAX: usize = 500;

enum Way {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Folder(PathBuf),
}

/// Delivers mails from one sender.
pub struct Mailer {
    way: Way,
    from: Mailbox,
}

impl Mailer {
    pub fn new(settings: &NotificationSettings) -> anyhow::Result<Self> {
        let from = settings.mail_from.parse().context("MAIL_FROM is not a mailbox")?;
        let way = match &settings.smtp_url {
            Some(url) => {
                let builder = smtp::builder(url)?;
                let pool = PoolConfig::new().max_size(CONNECTIONS_MAX);
                Way::Smtp(Box::new(builder.timeout(Some(COMMAND_MAX)).pool_config(pool).build()))
            }
            None => {
                let folder = &settings.mail_dir;
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("making MAIL_DIR {}", folder.display()))?;
                tracing::info!(folder = %folder.display(), "no SMTP_URL: mails are files");
                Way::Folder(folder.clone())
            }
        };
        Ok(Self { way, from })
    }

    /// Whether the way out exists, as far as that can be known at the start.
    pub async fn check(&self) -> anyhow::Result<()> {
        match &self.way {
            Way::Smtp(transport) => smtp::check(transport).await,
            Way::Folder(_) => Ok(()),
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
        match &self.way {
            Way::Smtp(transport) => {
                match tokio::time::timeout(MAIL_MAX, transport.send(message.clone())).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(trouble(&error)),
                    Err(_) => Err(Trouble::Away("the mail server did not answer in time".to_owned())),
                }
            }
            Way::Folder(folder) => {
                // By its id, so that a mail that is sent again replaces itself.
                let kind = name_of(mail.topic.kind()).to_lowercase().replace('_', "-");
                let path = folder.join(format!("{}.{}-{kind}.eml", mail.id, mail.resends));
                let text = message.formatted();
                let written = tokio::task::spawn_blocking(move || {
                    let part = path.with_extension("part");
                    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &path))
                });
                let written = written.await.map_err(|panic| Trouble::Away(panic.to_string()))?;
                written.map_err(|error| Trouble::Away(format!("MAIL_DIR: {error}")))
            }
        }
    }
}

fn trouble(error: &Error) -> Trouble {
    let text: String = smtp::reason(error).chars().take(ERROR_MAX).collect();
    let code = error.status().map(|code| code.to_string());
    let ours = code.is_some_and(|code| NOT_THE_MAILS_FAULT.contains(&code.as_str()));
    if ours {
        Trouble::Away(text)
    } else if error.is_permanent() {
        Trouble::Refused(text)
    } else if error.is_transient() || error.is_client() || error.is_response() {
        Trouble::PutOff(text)
    } else {
        Trouble::Away(text)
    }
}
