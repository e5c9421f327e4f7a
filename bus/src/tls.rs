//! The certificate authorities that this process trusts: the public ones, those of the machine (`SSL_CERT_FILE`,
//! `SSL_CERT_DIR` or the system's store), and those of `CA_CERT_FILE`. The same for every server: Postgres, NATS, Redis,
//! RabbitMQ, the mail server, the payment provider, Cloudinary and the collector of spans.
//!
//! Each client library has a different store of its own; here all of them are given the same roots.

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

/// The roots that are trusted in addition to the public ones, including the machine's. Set once in a process.
static TRUSTED_BESIDES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

/// Reads `CA_CERT_FILE`, a PEM file of the operator's own certificate authorities. Problems are recorded.
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

/// Trusts the authorities of `CA_CERT_FILE` from now on. Call it before the first connection; later calls have no effect.
pub fn install(environment: &mut Environment) {
    let own = read(environment);
    let _ = TRUSTED_BESIDES.set(besides(own));
}

/// The roots that are not in the libraries' own store (Mozilla's).
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
        // A client would reject all of them if rustls cannot parse one.
        let is_new = !public.contains(&certificate) && !besides.contains(&certificate);
        if is_new && RootCertStore::empty().add(certificate.clone()).is_ok() {
            besides.push(certificate);
        }
    }
    besides
}

/// The roots other than Mozilla's as PEM, for clients that have Mozilla's already. `None` if there are no others.
pub fn besides_pem() -> Option<String> {
    let besides = trusted_besides();
    (!besides.is_empty()).then(|| besides.iter().map(pem).collect())
}

/// All roots as PEM, for a client that trusts only the given ones.
pub fn all_pem() -> String {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(trusted_besides()).map(pem).collect()
}

/// A configuration of rustls that trusts all roots.
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

/// Why TLS failed, if retrying cannot help until a setting or a certificate is changed: the peer is not trusted, or does not
/// support TLS. `None` for every other error, such as an unavailable server.
pub fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let tls = tls_error(error)?;
    Some(match tls {
        rustls::Error::InvalidCertificate(_) => format!(
            "{tls}: the server's certificate is not trusted; CA_CERT_FILE names the authority that issued it"
        ),
        rustls::Error::InvalidMessage(_) => format!("the server does not speak TLS at this port ({tls})"),
        _ => tls.to_string(),
    })
}

/// Whether the server answered in something else than TLS.
pub fn is_plain_server(error: &(dyn Error + 'static)) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// The error of TLS within another one.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    // Some clients share their errors in an `Arc`; `source` of such an error, as of an I/O error, omits the inner one.
    if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
        return tls_error(&**shared);
    }
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    within.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source()).and_then(tls_error)
}

/// The text of an error with all its causes: many clients show only the outermost, such as "connection error".
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
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, plain);
        assert!(is_plain_server(&wrapped) && !is_plain_server(&shared), "{wrapped}");
        assert!(refusal(&wrapped).unwrap().starts_with("the server does not speak TLS"), "{wrapped}");
    }
}
