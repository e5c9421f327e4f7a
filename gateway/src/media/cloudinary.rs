//! Files at Cloudinary, by its signed upload API (`POST /v1_1/{cloud}/{type}/upload`, `…/destroy`).
//!
//! Invariant: public ids are ours and uploads overwrite, so an upload of unknown outcome is simply sent again.
//! The account comes as Cloudinary's own `CLOUDINARY_URL`: `cloudinary://key:secret@cloud`, with `upload_prefix` and
//! `signature_algorithm` (`sha1`, `sha256`) as its official libraries take them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bus::address::Address;
use bus::contract::Timestamp;
use bus::contract::media::{Media, MediaKind, Stored};
use reqwest::multipart::{Form, Part};
use ring::digest;
use serde::Deserialize;
use uuid::Uuid;

use super::StoreFailure;
use super::film::Film;
use super::picture::Picture;

/// A film of 100 MB at 3 Mbit/s.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The first try and two more, for a connection that breaks once.
const TRIES: u32 = 3;
/// The pause before the next try, multiplied by the number of tries so far.
const PAUSE: Duration = Duration::from_millis(500);
/// The origin of delivered files, unless the account has its own domain.
pub const ORIGIN: &str = "https://res.cloudinary.com";
/// The folder in the account, which separates our files in a shared account.
const FOLDER: &str = "marquee";

/// An account.
#[derive(Clone)]
pub struct Account {
    cloud: String,
    key: String,
    secret: String,
    prefix: String,
    algorithm: &'static digest::Algorithm,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cloudinary account {}", self.cloud)
    }
}

impl Account {
    /// Reads a `CLOUDINARY_URL`; the error does not contain its secret.
    pub fn read(url: &str) -> Result<Self, &'static str> {
        let shape = "must be cloudinary://key:secret@cloud";
        let url = Address::parse(url)?;
        let (Some(key), Some(secret)) = (url.user, url.password) else { return Err(shape) };
        if url.scheme != "cloudinary" || url.host.is_empty() {
            return Err(shape);
        }
        let mut account = Self {
            cloud: url.host,
            key,
            secret,
            prefix: "https://api.cloudinary.com".to_owned(),
            algorithm: &digest::SHA1_FOR_LEGACY_USE_ONLY,
        };
        for (name, value) in &url.query {
            match (name.as_str(), value.as_str()) {
                ("upload_prefix", prefix) => account.prefix = prefix.trim_end_matches('/').to_owned(),
                ("signature_algorithm", "sha1") => {}
                ("signature_algorithm", "sha256") => account.algorithm = &digest::SHA256,
                ("signature_algorithm", _) => {
                    return Err("has a signature_algorithm other than sha1, sha256");
                }
                // The official libraries pass more settings in this way; the others do not concern uploads.
                _ => {}
            }
        }
        Ok(account)
    }

    /// The parameters sorted by name, `name=value` joined by `&`, the secret, hashed.
    /// <https://cloudinary.com/documentation/authentication_signatures>
    fn sign(&self, parameters: &BTreeMap<&str, String>) -> String {
        let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = pairs.join("&") + &self.secret;
        hex::encode(digest::digest(self.algorithm, text.as_bytes()))
    }
}

/// The fields of the answer to an upload that are used.
#[derive(Deserialize)]
struct Uploaded {
    public_id: String,
    secure_url: String,
    bytes: u64,
    width: Option<u32>,
    height: Option<u32>,
}

pub struct Cloudinary {
    account: Account,
    client: reqwest::Client,
}

impl Cloudinary {
    pub fn new(account: Account) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(bus::tls::client_config())
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("no HTTP client")?;
        Ok(Self { account, client })
    }

    pub async fn store_picture(&self, id: Uuid, picture: &Picture) -> Result<Stored, StoreFailure> {
        let small = self.upload("image", &small(id), File::Bytes(&picture.small)).await?;
        let large = self.upload("image", &large(id), File::Bytes(&picture.large)).await?;
        Ok(Stored { small_url: Some(small.secure_url), ..stored(large, "image/jpeg") })
    }

    pub async fn store_film(&self, id: Uuid, film: Film) -> Result<Stored, StoreFailure> {
        let uploaded = self.upload("video", &large(id), File::Film(&film)).await?;
        Ok(stored(uploaded, film.format.content_type()))
    }

    pub async fn remove(&self, media: &Media) -> Result<(), StoreFailure> {
        let (kind, ids) = match media.kind {
            MediaKind::Poster | MediaKind::Logo => ("image", vec![large(media.id), small(media.id)]),
            MediaKind::Trailer => ("video", vec![large(media.id)]),
        };
        for id in ids {
            self.destroy(kind, &id).await?;
        }
        Ok(())
    }

    async fn upload(&self, kind: &str, public_id: &str, file: File<'_>) -> anyhow::Result<Uploaded> {
        let mut tried = 1;
        loop {
            let parameters = self.parameters(public_id, ("overwrite", "true"));
            match self.post::<Uploaded>(kind, "upload", parameters, Some(file.part().await?)).await {
                Ok(uploaded) => {
                    ensure!(uploaded.public_id == public_id, "Cloudinary gave the file another public id");
                    return Ok(uploaded);
                }
                Err(CloudinaryError { is_transient: true, error }) if tried < TRIES => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        tried,
                        "upload to Cloudinary failed; trying again"
                    );
                    tokio::time::sleep(PAUSE * tried).await;
                    tried += 1;
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    async fn destroy(&self, kind: &str, public_id: &str) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Destroyed {
            result: String,
        }
        let parameters = self.parameters(public_id, ("invalidate", "true"));
        let answer = self.post::<Destroyed>(kind, "destroy", parameters, None).await;
        match answer.map_err(|failure| failure.error)?.result.as_str() {
            "ok" | "not found" => Ok(()),
            other => bail!("Cloudinary did not delete {public_id}: {other}"),
        }
    }

    fn parameters(&self, public_id: &str, own: (&'static str, &str)) -> BTreeMap<&'static str, String> {
        let now = Timestamp::wall_clock().unix_seconds().to_string();
        BTreeMap::from([("public_id", public_id.to_owned()), ("timestamp", now), (own.0, own.1.to_owned())])
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        action: &str,
        parameters: BTreeMap<&'static str, String>,
        file: Option<Part>,
    ) -> Result<T, CloudinaryError> {
        let signature = self.account.sign(&parameters);
        let signed = [("api_key", self.account.key.clone()), ("signature", signature)];
        let mut form = parameters.into_iter().chain(signed).fold(Form::new(), |form, (k, v)| form.text(k, v));
        if let Some(file) = file {
            form = form.part("file", file);
        }
        let url = format!("{}/v1_1/{}/{kind}/{action}", self.account.prefix, self.account.cloud);
        let answer =
            self.client.post(url).multipart(form).send().await.map_err(CloudinaryError::transient)?;
        let status = answer.status();
        if !status.is_success() {
            // Cloudinary sends the reason in a header too.
            let why = answer.headers().get("x-cld-error").and_then(|v| v.to_str().ok()).unwrap_or_default();
            let error = anyhow::anyhow!("Cloudinary answered {status}: {why}");
            return Err(CloudinaryError {
                is_transient: status.is_server_error() || status.as_u16() == 429,
                error,
            });
        }
        answer.json().await.map_err(CloudinaryError::transient)
    }
}

/// Why a request failed, and whether a repetition may succeed.
struct CloudinaryError {
    is_transient: bool,
    error: anyhow::Error,
}

impl CloudinaryError {
    fn transient(error: reqwest::Error) -> Self {
        Self { is_transient: true, error: error.without_url().into() }
    }
}

fn stored(uploaded: Uploaded, content_type: &str) -> Stored {
    Stored {
        url: uploaded.secure_url,
        small_url: None,
        content_type: content_type.into(),
        bytes: uploaded.bytes,
        width: uploaded.width,
        height: uploaded.height,
    }
}

/// A file that can be sent repeatedly.
enum File<'a> {
    Bytes(&'a [u8]),
    Film(&'a Film),
}

impl File<'_> {
    async fn part(&self) -> anyhow::Result<Part> {
        let part = match self {
            Self::Bytes(bytes) => Part::bytes(bytes.to_vec()),
            Self::Film(film) => {
                let file = tokio::fs::File::open(film.path()).await.context("cannot read a film")?;
                Part::stream_with_length(file, film.bytes)
            }
        };
        Ok(part.file_name("file"))
    }
}

fn large(id: Uuid) -> String {
    format!("{FOLDER}/{id}")
}

fn small(id: Uuid) -> String {
    format!("{FOLDER}/{id}-small")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in Cloudinary's documentation of signatures.
    #[test]
    fn signatures_are_those_of_the_official_libraries() {
        let parameters = BTreeMap::from([
            ("timestamp", "1315060510".to_owned()),
            ("public_id", "sample_image".to_owned()),
            ("eager", "w_400,h_300,c_pad|w_260,h_200,c_crop".to_owned()),
        ]);
        let account = Account::read("cloudinary://key:abcd@demo").unwrap();
        assert_eq!(account.sign(&parameters), "bfd09f95f331f558cbd1320e67aa8d488770583e");
        let stronger = Account::read("cloudinary://key:abcd@demo?signature_algorithm=sha256").unwrap();
        assert_eq!(stronger.sign(&parameters).len(), 64);
    }

    #[test]
    fn an_account_is_read_from_its_url_and_never_logged() {
        let account = Account::read("cloudinary://k:s3cret@demo?upload_prefix=http://127.0.0.1:9/").unwrap();
        assert_eq!(account.prefix, "http://127.0.0.1:9");
        assert!(!format!("{account:?}").contains("s3cret"));
        for bad in ["", "demo", "https://k:s@demo", "cloudinary://demo", "cloudinary://k@demo"] {
            assert!(Account::read(bad).is_err(), "{bad}");
        }
    }
}
