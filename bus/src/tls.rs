//! Whom this process trusts: the certificate authorities that everybody knows, those of the machine (`SSL_CERT_FILE`,
//! `SSL_CERT_DIR` or the system's store), and those of `CA_CERT_FILE`. The same for every server: Postgres, NATS, Redis,
//! RabbitMQ, the mail server, the payment provider, Cloudinary and the collector of spans.
//!
//! The client libraries come with stores of their own, each with another one; here each is given all roots.

use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::Environment;

/// What an operator trusts besides, the machine's included. Once in a process, as the crypto provider is.
static TRUSTED_BESIDES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

/// Reads `CA_CERT_FILE`, the PEM file of one's own certificate authorities. What is wrong with it is noted.
pub fn read(environment: &mut Environment) -> Vec<CertificateDer<'static>> {
    let Some(path) = environment.get("CA_CERT_FILE") else { return Vec::new() };
    let wanted = "must be a readable PEM file with certificates of authorities (BEGIN CERTIFICATE)";
    let certificates = std::fs::read(path.trim())
        .ok()
        .and_then(|pem| CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().ok())
        .filter(|certificates| {
            let mut store = RootCertStore::empty();
            !certificates.is_empty() && certificates.iter().all(|one| store.add(one.clone()).is_ok())
        });
    certificates.unwrap_or_else(|| {
        environment.problem("CA_CERT_FILE", wanted);
        Vec::new()
    })
}

/// Trusts what `CA_CERT_FILE` names from now on. To be called before anything is connected; later calls change nothing.
pub fn install(environment: &mut Environment) {
    let own = read(environment);
    let _ = TRUSTED_BESIDES.set(besides(own));
}

/// The roots that the libraries' own store (Mozilla's) does not have.
fn trusted_besides() -> &'static [CertificateDer<'static>] {
    TRUSTED_BESIDES.get_or_init(|| besides(Vec::new()))
}

fn besides(own: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    let machine = rustls_native_certs::load_native_certs();
    for error in &machine.errors {
        tracing::warn!(%error, "certificates of this machine are not readable");
    }
    let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    let mut besides: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in own.into_iter().chain(machine.certs) {
        // One that rustls cannot parse would make a client refuse all of them.
        let is_new = !public.contains(&certificate) && !besides.contains(&certificate);
        if is_new && RootCertStore::empty().add(certificate.clone()).is_ok() {
            besides.push(certificate);
        }
    }
    besides
}

/// The roots besides Mozilla's as PEM, for clients that have those already. `None`: there are no others.
pub fn besides_pem() -> Option<String> {
    let besides = trusted_besides();
    (!besides.is_empty()).then(|| besides.iter().map(pem).collect())
}

/// All roots as PEM, for a client that trusts what it is given alone.
pub fn all_pem() -> String {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(trusted_besides()).map(pem).collect()
}

/// TLS that trusts all of them, for clients that take a configuration of rustls.
pub fn client_config() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(trusted_besides());
    roots.add_parsable_certificates(all.cloned());
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// Why TLS did not come about, when it cannot until somebody changes a setting or a certificate: the peer is not trusted, or
/// does not speak TLS. `None` for everything else, such as a server that is away.
pub fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(_) => format!(
                "{tls}: the server's certificate is not trusted; CA_CERT_FILE names the authority that issued it"
            ),
            rustls::Error::InvalidMessage(_) => format!("{tls}: the server does not speak TLS at this port"),
            _ => tls.to_string(),
        });
    }
    // Some clients share their errors; `source` of such a one, as of an I/O error, would leave the inner one out.
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return refusal(&**shared);
    }
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    within.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source()).and_then(refusal)
}

/// An error with all its causes: many clients show only the outermost, such as "connection error".
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text += &format!(": {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> (usize, anyhow::Result<()>) {
        let path = std::env::temp_dir().join(format!("marquee-ca-{}.pem", uuid::Uuid::now_v7()));
        std::fs::write(&path, text).unwrap();
        let mut environment = Environment::default().or("CA_CERT_FILE", path.display().to_string());
        let found = read(&mut environment).len();
        std::fs::remove_file(&path).unwrap();
        (found, environment.check())
    }

    #[test]
    fn a_file_of_authorities_is_read_whole_and_anything_else_is_refused() {
        let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
        let (found, checked) = given(&public[..3].iter().map(pem).collect::<String>());
        checked.unwrap();
        assert_eq!(found, 3);
        for bad in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = given(bad).1.unwrap_err().to_string();
            assert!(error.contains("CA_CERT_FILE must be a readable PEM file"), "{error}");
        }
    }

    #[test]
    fn the_reason_of_a_refused_certificate_is_found_within_other_errors() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let why = refusal(&wrapped).unwrap();
        assert!(why.contains("UnknownIssuer") && why.contains("CA_CERT_FILE"), "{why}");
        let shared: Arc<dyn Error + Send + Sync> = Arc::new(wrapped);
        assert!(refusal(&shared).is_some(), "the client of Redis shares its errors");
        assert!(refusal(&io::Error::from(io::ErrorKind::ConnectionRefused)).is_none());
    }
}
