//! A mail relay by SMTP: connections that are kept, and each mail's stage in the dialogue. `SMTP_URL` is `smtp://` with or
//! without `?tls=required|opportunistic`, or `smtps://`; a path is the name for EHLO.
//!
//! Invariant: a refusal names its stage. Before the recipient is named the refusal is about this client (its connection, login,
//! sender), from then on about the mail. lettre's own transport does not distinguish the two, so the commands are sent here.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bus::address::Address;
use bus::tls;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{Error, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};
use tokio::sync::Mutex;

/// To connect, TLS and greeting each; the mailer bounds the whole.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Relays close what is silent after five minutes (RFC 5321, 4.5.3.2.7), and many after one.
const IDLE_MAX: Duration = Duration::from_secs(45);
/// Longest wait at the start for the check of the mail server.
const CHECK_MAX: Duration = Duration::from_secs(3);
/// A relay that refused something may not answer QUIT.
const QUIT_MAX: Duration = Duration::from_secs(1);

/// The stage of the dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connection, TLS, greeting, EHLO and login.
    Connection,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA and the message.
    Content,
}

/// Why a mail was refused.
#[derive(Debug)]
pub enum Refusal {
    Relay {
        stage: Stage,
        error: Error,
    },
    /// The relay lacks an extension that this mail needs.
    Unable(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    Plain,
    /// After the greeting, where the relay can.
    Opportunistic,
    StartTls,
    Tls,
}

/// The mail server.
pub struct Relay {
    host: String,
    port: u16,
    hello: ClientId,
    security: Security,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    kept_max: usize,
    kept: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl Relay {
    /// From `SMTP_URL`. An error shows no part of it.
    pub fn from_url(url: &str, kept_max: usize) -> anyhow::Result<Self> {
        let address = Address::parse(url).map_err(|why| anyhow::anyhow!("SMTP_URL {why}"))?;
        let (security, port) = match (address.scheme.as_str(), address.parameter("tls")) {
            ("smtps", _) => (Security::Tls, SUBMISSIONS_PORT),
            ("smtp", None) => (Security::Plain, SMTP_PORT),
            ("smtp", Some("required")) => (Security::StartTls, SUBMISSION_PORT),
            ("smtp", Some("opportunistic")) => (Security::Opportunistic, SUBMISSION_PORT),
            _ => bail!(
                "SMTP_URL must be smtp://, with ?tls=required or ?tls=opportunistic where wanted, or smtps://"
            ),
        };
        let hello = match address.path.as_deref().map_or("", |path| path.trim_matches('/')) {
            "" => ClientId::default(),
            name => ClientId::Domain(name.to_owned()),
        };
        let tls = match security {
            Security::Plain => None,
            _ => Some(tls_parameters(&address.host)?),
        };
        let port = address.port.unwrap_or(port);
        let user = address.user.unwrap_or_default();
        let credentials = address.password.map(|password| Credentials::new(user, password));
        let host = address.host;
        Ok(Self { host, port, hello, security, tls, credentials, kept_max, kept: Mutex::default() })
    }

    /// Connects once, at the start. A mail server that is away, is busy or refuses this machine today is no error: mails wait.
    /// An error needs a person: TLS that cannot be negotiated.
    pub async fn check(&self) -> anyhow::Result<()> {
        match tokio::time::timeout(CHECK_MAX, self.connection()).await {
            Ok(Ok(mut connection)) => {
                let _ = tokio::time::timeout(QUIT_MAX, connection.abort()).await;
            }
            Ok(Err(error)) => match refusal(&error) {
                Some(why) => bail!("the mail server at SMTP_URL: {why}"),
                None => {
                    tracing::warn!(why = reason(&error), "the mail server does not take mails now; they wait")
                }
            },
            Err(_) => tracing::warn!("the mail server does not answer; mails wait"),
        }
        Ok(())
    }

    pub async fn send(&self, envelope: &Envelope, message: &[u8]) -> Result<(), Refusal> {
        let mut connection = self.connection().await.map_err(|error| at(Stage::Connection, error))?;
        match dialogue(&mut connection, envelope, message).await {
            Ok(()) => {
                let mut kept = self.kept.lock().await;
                if kept.len() < self.kept_max {
                    kept.push((connection, Instant::now()));
                }
                Ok(())
            }
            Err(refusal) => {
                let _ = tokio::time::timeout(QUIT_MAX, connection.abort()).await;
                Err(refusal)
            }
        }
    }

    /// A kept connection that still answers, else a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        loop {
            let Some((mut kept, since)) = self.kept.lock().await.pop() else { break };
            if since.elapsed() < IDLE_MAX && kept.test_connected().await {
                return Ok(kept);
            }
        }
        let address = (self.host.as_str(), self.port);
        let wrapped = self.tls.clone().filter(|_| self.security == Security::Tls);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_MAX), &self.hello, wrapped, None)
                .await?;
        let upgrades = match self.security {
            Security::StartTls => true,
            Security::Opportunistic => connection.can_starttls(),
            Security::Plain | Security::Tls => false,
        };
        if let Some(tls) = self.tls.clone().filter(|_| upgrades) {
            connection.starttls(tls, &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// Trusts what every other client of this process trusts.
fn tls_parameters(host: &str) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = tls::besides_pem() {
        builder = builder.add_root_certificate(Certificate::from_pem(pem.as_bytes())?);
    }
    builder.build().context("SMTP_URL names no host that TLS can be spoken with")
}

/// Why no connection is possible until a setting is changed; `None` for every error that may pass.
fn refusal(error: &Error) -> Option<String> {
    // The server offers no STARTTLS, and `tls=required` asks for it.
    let no_starttls = error.is_client() && error.to_string().contains("STARTTLS");
    tls::refusal(error).or_else(|| (error.is_tls() || no_starttls).then(|| reason(error)))
}

/// lettre's message, with the cause of a connection that failed.
pub fn reason(error: &Error) -> String {
    tls::refusal(error).map_or_else(|| tls::with_causes(error), |why| format!("{error}; {why}"))
}

fn at(stage: Stage, error: Error) -> Refusal {
    Refusal::Relay { stage, error }
}

async fn dialogue(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
) -> Result<(), Refusal> {
    let mut options = Vec::new();
    let beyond_ascii = envelope.to().iter().chain(envelope.from()).any(|address| {
        let address: &str = address.as_ref();
        !address.is_ascii()
    });
    if beyond_ascii {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Refusal::Unable("the relay takes no address beyond ASCII (SMTPUTF8)"));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !message.is_ascii() {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err(Refusal::Unable("the relay takes no message beyond ASCII (8BITMIME)"));
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    let sender = Mail::new(envelope.from().cloned(), options);
    connection.command(sender).await.map_err(|error| at(Stage::Sender, error))?;
    for recipient in envelope.to() {
        let recipient = Rcpt::new(recipient.clone(), Vec::new());
        connection.command(recipient).await.map_err(|error| at(Stage::Recipient, error))?;
    }
    connection.command(Data).await.map_err(|error| at(Stage::Content, error))?;
    connection.message(message).await.map_err(|error| at(Stage::Content, error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_address_is_read() {
        for good in [
            "smtp://relay",
            "smtp://u:a,b;c%2Fd@[::1]:2525/kino.example?tls=opportunistic",
            "smtp://relay?tls=required",
            "smtps://u:p@relay",
        ] {
            Relay::from_url(good, 1).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in ["http://relay", "smtp://relay?tls=yes", "smtp://u:s3/cret@relay"] {
            let error = Relay::from_url(bad, 1).err().unwrap().to_string();
            assert!(error.contains("SMTP_URL") && !error.contains("s3"), "{error}");
        }
        let relay = Relay::from_url("smtp://u:a%2Fb@[::1]:2525", 1).unwrap();
        assert_eq!((relay.host.as_str(), relay.port), ("::1", 2525));
    }
}
