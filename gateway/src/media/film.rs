//! An uploaded trailer: written to a temporary file; its type is recognised by its first bytes.

use std::path::{Path, PathBuf};

use bus::contract::Problem;
use bus::contract::media::{MediaKind, Rejection};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::form::Upload;
use crate::routes::FILM_MAX;

/// The first bytes identify the type of file.
const HEAD: usize = 64;

/// A film in a temporary file, which is deleted when the value is dropped.
#[derive(Debug)]
pub struct Film {
    path: PathBuf,
    pub bytes: u64,
    pub format: FilmFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilmFormat {
    Mp4,
    WebM,
}

impl FilmFormat {
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::WebM => "webm",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::WebM => "video/webm",
        }
    }

    /// By content, never by name: an MP4 begins with `ftyp`, a WebM with an EBML header whose DocType is `webm`.
    fn of(head: &[u8]) -> Result<Self, Rejection> {
        if infer::video::is_mp4(head) {
            return Ok(Self::Mp4);
        }
        let doc_type = b"\x42\x82\x84webm";
        if infer::video::is_webm(head) && head.windows(doc_type.len()).any(|window| window == doc_type) {
            return Ok(Self::WebM);
        }
        Err(Rejection::Type(MediaKind::Trailer))
    }
}

impl Film {
    /// Writes the upload to a temporary file.
    pub async fn receive(upload: Upload) -> Result<Self, Problem> {
        let path = std::env::temp_dir().join(format!("marquee-{}.upload", Uuid::now_v7()));
        // From here on the file is deleted when this value is dropped.
        let mut film = Self { path, bytes: 0, format: FilmFormat::Mp4 };
        let mut file = tokio::fs::File::create_new(&film.path).await.map_err(unwritten)?;
        film.bytes = upload.copy(&mut file, FILM_MAX).await? as u64;
        file.sync_all().await.map_err(unwritten)?;
        let mut head = Vec::with_capacity(HEAD);
        let file = tokio::fs::File::open(&film.path).await.map_err(unwritten)?;
        file.take(HEAD as u64).read_to_end(&mut head).await.map_err(unwritten)?;
        film.format = FilmFormat::of(&head)?;
        Ok(film)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Film {
    fn drop(&mut self) {
        // The store may have moved the file.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn unwritten(error: std::io::Error) -> Problem {
    tracing::error!(%error, "an upload could not be written to the temporary folder");
    Rejection::Store.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_films_type_is_recognised_by_its_first_bytes() {
        assert_eq!(FilmFormat::of(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"), Ok(FilmFormat::Mp4));
        let webm = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm";
        assert_eq!(FilmFormat::of(webm), Ok(FilmFormat::WebM));
        let matroska = b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x01";
        for other in [matroska.as_slice(), b"<html>film.mp4</html>", b"", b"RIFF\0\0\0\0AVI LIST"] {
            assert_eq!(FilmFormat::of(other), Err(Rejection::Type(MediaKind::Trailer)));
        }
    }
}
