//! Posters, trailers and logos: received as a form, checked by content, stored, and then attached to their movie.
//!
//! Invariant: the movie host has stored a file's id before the store has the file, so every stored file can be deleted.
//! Invariant: of a picture only the pixels are stored, not the metadata that a camera or an attacker wrote beside them.
//! Files do not travel over NATS, so the gateway handles them; the movie host owns which movie has which file.

mod cloudinary;
mod film;
mod folder;
mod form;
mod picture;
mod range;
mod sweep;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::contract::Problem;
use bus::contract::media::{AttachMedia, BeginMedia, Media, MediaKind, Rejection, Stored};
use bytes::Bytes;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::hosts::Hosts;
use crate::payload::Caller;
use crate::routes::PICTURE_MAX;

pub use cloudinary::Account;
pub use folder::{Folder, serve};
pub use form::{FORM, Upload};
pub use sweep::sweep;

use cloudinary::Cloudinary;
use film::Film;
use picture::Picture;

/// Concurrent uploads: each holds a picture in memory or writes a film to disk.
const UPLOADS_MAX: usize = 8;
/// Concurrent decodings: each takes a core and up to 100 MB.
const DECODED_MAX: usize = 2;
/// A whole file must have arrived by then: 100 MB at 1.4 Mbit/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Which store has the posters and trailers.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    Folder(PathBuf),
    Cloudinary(Account),
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::Folder("media".into())
    }
}

/// Where files are stored.
enum Store {
    Folder(Folder),
    Cloudinary(Cloudinary),
}

/// The store refused or did not answer; the reason is logged.
#[derive(Debug)]
pub struct StoreFailure(pub anyhow::Error);

impl From<anyhow::Error> for StoreFailure {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl From<StoreFailure> for Problem {
    fn from(StoreFailure(error): StoreFailure) -> Self {
        tracing::error!(error = format!("{error:#}"), "the media store failed");
        Rejection::Store.into()
    }
}

/// Receives uploads.
pub struct Uploads {
    hosts: Arc<dyn Hosts>,
    store: Store,
    running: Semaphore,
    decoding: Semaphore,
}

impl Uploads {
    pub fn new(config: &StoreConfig, hosts: Arc<dyn Hosts>) -> anyhow::Result<Self> {
        let store = match config {
            StoreConfig::Folder(folder) => Store::Folder(Folder::new(folder.clone())),
            StoreConfig::Cloudinary(account) => Store::Cloudinary(Cloudinary::new(account.clone())?),
        };
        let (running, decoding) = (Semaphore::new(UPLOADS_MAX), Semaphore::new(DECODED_MAX));
        Ok(Self { hosts, store, running, decoding })
    }

    /// The folder that this gateway has to serve, if it is the store.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.store {
            Store::Folder(folder) => Some(folder),
            Store::Cloudinary(_) => None,
        }
    }

    /// The origin of the files, where it is not this gateway.
    pub fn origin(&self) -> Option<&'static str> {
        match &self.store {
            Store::Folder(_) => None,
            Store::Cloudinary(_) => Some(cloudinary::ORIGIN),
        }
    }

    /// Receives a file, stores it and attaches it to the movie, or a logo to the site. Returns the movie host's answer.
    pub async fn receive(
        &self,
        caller: &Caller,
        movie_id: Uuid,
        kind: MediaKind,
        upload: Upload,
    ) -> Result<Bytes, Problem> {
        let _running = self.running.try_acquire().map_err(|_| Rejection::Busy)?;
        let storing = self.store_upload(caller, BeginMedia { movie_id, kind }, upload);
        tokio::time::timeout(UPLOAD_TIMEOUT, storing)
            .await
            .unwrap_or_else(|_| Err(Problem::new(400, "body-timeout", "The file did not arrive in time.")))
    }

    async fn store_upload(
        &self,
        caller: &Caller,
        begin: BeginMedia,
        upload: Upload,
    ) -> Result<Bytes, Problem> {
        let (media, stored) = match begin.kind {
            MediaKind::Poster | MediaKind::Logo => {
                let picture = self.decode(upload.bytes(PICTURE_MAX).await?).await?;
                let media = self.begin(caller, &begin).await?;
                (media.id, self.store.store_picture(media.id, &picture).await?)
            }
            MediaKind::Trailer => {
                let film = Film::receive(upload).await?;
                let media = self.begin(caller, &begin).await?;
                (media.id, self.store.store_film(media.id, film).await?)
            }
        };
        self.hosts.request(&AttachMedia { id: media, stored }, &caller.0).await
    }

    /// Has the movie host store that a file will follow; it answers with the file's id.
    async fn begin(&self, caller: &Caller, begin: &BeginMedia) -> Result<Media, Problem> {
        let answer = self.hosts.request(begin, &caller.0).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            tracing::error!(%error, "the answer to a BeginMedia request is not readable");
            Problem::internal()
        })
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<Picture, Problem> {
        // The semaphore is never closed.
        let _decoding = self.decoding.acquire().await;
        let decoded = tokio::task::spawn_blocking(move || Picture::decode(&bytes)).await;
        Ok(decoded.map_err(|error| {
            tracing::error!(%error, "the decoder of a picture panicked");
            Problem::from(Rejection::Broken)
        })??)
    }
}

impl Store {
    async fn store_picture(&self, id: Uuid, picture: &Picture) -> Result<Stored, StoreFailure> {
        match self {
            Self::Folder(folder) => folder.store_picture(id, picture).await,
            Self::Cloudinary(cloudinary) => cloudinary.store_picture(id, picture).await,
        }
    }

    async fn store_film(&self, id: Uuid, film: Film) -> Result<Stored, StoreFailure> {
        match self {
            Self::Folder(folder) => folder.store_film(id, film).await,
            Self::Cloudinary(cloudinary) => cloudinary.store_film(id, film).await,
        }
    }

    /// Deletes a file in all its sizes. It may have been deleted already.
    async fn remove(&self, media: &Media) -> Result<(), StoreFailure> {
        match self {
            Self::Folder(folder) => folder.remove(media).await,
            Self::Cloudinary(cloudinary) => cloudinary.remove(media).await,
        }
    }
}
