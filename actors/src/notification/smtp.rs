//! The connection to the mail server as `SMTP_URL` says it: `smtp://` with or without `?tls=required|opportunistic`, or
//! `smtps://`; a path is the name for EHLO.

use std::time::Duration;

use anyhow::{Context, bail};
use bus::address::Address;
use bus::tls;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{
    AsyncSmtpTransportBuilder, Error, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT,
};
use lettre::{AsyncSmtpTransport, Tokio1Executor};

/// A start waits no longer to learn whether the mail server refuses for good.
const CHECK_MAX: Duration = Duration::from_secs(3);

/// What `SMTP_URL` says. An error shows no part of it.
pub fn builder(url: &str) -> anyhow::Result<AsyncSmtpTransportBuilder> {
    let address = Address::parse(url).map_err(|why| anyhow::anyhow!("SMTP_URL {why}"))?;
    let host = &address.host;
    let (port, tls) = match (address.scheme.as_str(), address.parameter("tls")) {
        ("smtp", None) => (SMTP_PORT, Tls::None),
        ("smtp", Some("required")) => (SUBMISSION_PORT, Tls::Required(parameters(host)?)),
        ("smtp", Some("opportunistic")) => (SUBMISSION_PORT, Tls::Opportunistic(parameters(host)?)),
        ("smtps", _) => (SUBMISSIONS_PORT, Tls::Wrapper(parameters(host)?)),
        _ => bail!(
            "SMTP_URL must be smtp://, with ?tls=required or ?tls=opportunistic where wanted, or smtps://"
        ),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(address.port.unwrap_or(port))
        .tls(tls);
    if let Some(name) =
        address.path.as_deref().map(|path| path.trim_matches('/')).filter(|name| !name.is_empty())
    {
        builder = builder.hello_name(ClientId::Domain(name.to_owned()));
    }
    if let Some(password) = address.password {
        builder = builder.credentials(Credentials::new(address.user.unwrap_or_default(), password));
    }
    Ok(builder)
}

/// Trusts what every other client of this process trusts.
fn parameters(host: &str) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = tls::besides_pem() {
        builder = builder.add_root_certificate(Certificate::from_pem(pem.as_bytes())?);
    }
    builder.build().context("SMTP_URL names no host that TLS can be spoken with")
}

/// Connects once, for a start. A mail server that is away, busy or does not like us today is fine: mails wait. An error is
/// what only a person mends: TLS that does not come about.
pub async fn check(transport: &AsyncSmtpTransport<Tokio1Executor>) -> anyhow::Result<()> {
    match tokio::time::timeout(CHECK_MAX, transport.test_connection()).await {
        Ok(Ok(_)) => {}
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

/// Why no connection comes about until somebody changes a setting; `None` for all that may pass.
fn refusal(error: &Error) -> Option<String> {
    // The server offers no STARTTLS, and `tls=required` asks for it.
    let no_starttls = error.is_client() && error.to_string().contains("STARTTLS");
    tls::refusal(error).or_else(|| (error.is_tls() || no_starttls).then(|| reason(error)))
}

/// What lettre says, with the cause of a connection that failed.
pub fn reason(error: &Error) -> String {
    tls::refusal(error).map_or_else(|| tls::with_causes(error), |why| format!("{error}; {why}"))
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
            builder(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for bad in ["http://relay", "smtp://relay?tls=yes", "smtp://u:s3/cret@relay"] {
            let error = builder(bad).err().unwrap().to_string();
            assert!(error.contains("SMTP_URL") && !error.contains("s3"), "{error}");
        }
        let seen = format!("{:?}", builder("smtp://u:a%2Fb@[::1]:2525").unwrap());
        assert!(seen.contains("\"::1\"") && seen.contains("2525"), "{seen}");
    }
}
