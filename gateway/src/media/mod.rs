//! Posters and trailers: taken from a form, checked by content, stored, and then shown with their movie.
//!
//! Invariant: the movie host knows a file's id before the store has the file, so that nothing in the store is nameless.
//! Invariant: of a picture only its pixels are kept: what a camera or an attacker wrote around them is not.
//! Files never travel over NATS, so they are the gateway's; which movie shows which is the movie host's.

mod cloudinary;
mod film;
mod folder;
mod form;
mod picture;
mod range;
mod sweep;

use std::time::Duration;

use bus::contract::Problem;
use bus::contract::media::{AttachMedia, BeginMedia, Media, MediaKind, Rejection, Stored};
use bytes::Bytes;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::MediaPlace;
use crate::house::House;
use crate::payload::Caller;

pub use cloudinary::Account;
pub use film::FILM_MAX;
pub use folder::{Folder, serve};
pub use form::{FORM, Upload};
pub use picture::PICTURE_MAX;
pub use sweep::sweep;

use cloudinary::Cloudinary;
use film::Film;
use picture::Picture;

/// Uploads at once: each holds a picture in memory or writes a film to disk.
const UPLOADS_MAX: usize = 8;
/// Pictures decoded at once: each takes a core and up to 100 MB.
const DECODED_MAX: usize = 2;
/// A whole file must have arrived by then: 100 MB at 1.4 Mbit/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Where files are kept.
enum Store {
    Folder(Folder),
    Cloudinary(Cloudinary),
}

/// The store refused or did not answer; the log says why.
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

/// Takes uploads.
pub struct MediaRoom {
    store: Store,
    uploads: Semaphore,
    decoding: Semaphore,
}

impl MediaRoom {
    pub fn open(place: &MediaPlace) -> anyhow::Result<Self> {
        let store = match place {
            MediaPlace::Folder(folder) => Store::Folder(Folder::new(folder.clone())),
            MediaPlace::Cloudinary(account) => Store::Cloudinary(Cloudinary::new(account.clone())?),
        };
        Ok(Self { store, uploads: Semaphore::new(UPLOADS_MAX), decoding: Semaphore::new(DECODED_MAX) })
    }

    /// The folder that this gateway has to serve, if files are kept in one.
    pub fn folder(&self) -> Option<&Folder> {
        match &self.store {
            Store::Folder(folder) => Some(folder),
            Store::Cloudinary(_) => None,
        }
    }

    /// The origin of files that others serve.
    pub fn origin(&self) -> Option<&'static str> {
        match &self.store {
            Store::Folder(_) => None,
            Store::Cloudinary(_) => Some(cloudinary::ORIGIN),
        }
    }

    /// Takes a file, keeps it and shows it with the movie. Answers with the movie host's bytes.
    pub async fn take(
        &self,
        house: &House,
        caller: &Caller,
        movie_id: Uuid,
        kind: MediaKind,
        upload: Upload,
    ) -> Result<Bytes, Problem> {
        let _upload = self.uploads.try_acquire().map_err(|_| Rejection::Busy)?;
        let taking = self.keep(house, caller, movie_id, kind, upload);
        tokio::time::timeout(UPLOAD_TIMEOUT, taking)
            .await
            .unwrap_or_else(|_| Err(Problem::new(400, "body-timeout", "The file did not arrive in time.")))
    }

    async fn keep(
        &self,
        house: &House,
        caller: &Caller,
        movie_id: Uuid,
        kind: MediaKind,
        upload: Upload,
    ) -> Result<Bytes, Problem> {
        let begin = BeginMedia { movie_id, kind };
        let (media, stored) = match kind {
            MediaKind::Poster => {
                let picture = self.decode(upload.bytes(PICTURE_MAX).await?).await?;
                let media = named(house, caller, &begin).await?;
                (media.id, self.store.keep_picture(media.id, &picture).await?)
            }
            MediaKind::Trailer => {
                let film = Film::receive(upload).await?;
                let media = named(house, caller, &begin).await?;
                (media.id, self.store.keep_film(media.id, film).await?)
            }
        };
        house.ask(&AttachMedia { id: media, stored }, &caller.0).await
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<Picture, Problem> {
        // The semaphore is never closed.
        let _decoding = self.decoding.acquire().await;
        let decoded = tokio::task::spawn_blocking(move || Picture::decode(&bytes)).await;
        Ok(decoded.map_err(|error| {
            tracing::error!(%error, "a picture's decoder panicked");
            Problem::from(Rejection::Broken)
        })??)
    }
}

/// Has the movie host write down that a file comes, and name it.
async fn named(house: &House, caller: &Caller, begin: &BeginMedia) -> Result<Media, Problem> {
    let answer = house.ask(begin, &caller.0).await?;
    serde_json::from_slice(&answer).map_err(|error| {
        tracing::error!(%error, "unreadable answer");
        Problem::internal()
    })
}

impl Store {
    async fn keep_picture(&self, id: Uuid, picture: &Picture) -> Result<Stored, StoreFailure> {
        match self {
            Self::Folder(folder) => folder.keep_picture(id, picture).await,
            Self::Cloudinary(cloudinary) => cloudinary.keep_picture(id, picture).await,
        }
    }

    async fn keep_film(&self, id: Uuid, film: Film) -> Result<Stored, StoreFailure> {
        match self {
            Self::Folder(folder) => folder.keep_film(id, film).await,
            Self::Cloudinary(cloudinary) => cloudinary.keep_film(id, film).await,
        }
    }

    /// Deletes all that is kept of a file. It may be gone already.
    async fn remove(&self, media: &Media) -> Result<(), StoreFailure> {
        match self {
            Self::Folder(folder) => folder.remove(media).await,
            Self::Cloudinary(cloudinary) => cloudinary.remove(media).await,
        }
    }
}
