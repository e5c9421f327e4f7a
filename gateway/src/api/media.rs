//! REST of posters, trailers and logos.

use std::sync::Arc;

use bus::contract::media::{MediaKind, Stored};
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use uuid::Uuid;

use super::Domain;
use crate::media::{Upload, Uploads};
use crate::payload::{Answer, Answered, Caller, Of};

pub struct MediaFiles {
    pub uploads: Arc<Uploads>,
}

#[OpenApi(tag = "Domain::Movie")]
impl MediaFiles {
    /// Set a movie's poster
    ///
    /// A form with one part, `file`: a JPEG, PNG or WebP of at most 10 MiB and 24 million pixels. It is stored as JPEG in
    /// two sizes, without the camera's metadata.
    #[oai(path = "/v1/movies/:id/poster", method = "put")]
    async fn put_poster(&self, caller: Caller, id: Path<Of<Uuid>>, upload: Upload) -> Answered<Stored> {
        let stored = self.uploads.receive(&caller, id.0.0, MediaKind::Poster, upload).await?;
        Ok(Answer::new(stored))
    }

    /// Set a movie's trailer
    ///
    /// A form with one part, `file`: an MP4 or WebM of at most 100 MiB.
    #[oai(path = "/v1/movies/:id/trailer", method = "put")]
    async fn put_trailer(&self, caller: Caller, id: Path<Of<Uuid>>, upload: Upload) -> Answered<Stored> {
        let stored = self.uploads.receive(&caller, id.0.0, MediaKind::Trailer, upload).await?;
        Ok(Answer::new(stored))
    }

    /// Set a site's logo
    ///
    /// A form with one part, `file`, as for a poster: a JPEG, PNG or WebP; transparent pixels become white. The site must have been
    /// saved before (409 `site-unsaved`). Its new `theme.logoUrl` is a new version of the site.
    #[oai(path = "/v1/sites/:id/logo", method = "put")]
    async fn put_logo(&self, caller: Caller, id: Path<Of<Uuid>>, upload: Upload) -> Answered<Stored> {
        let stored = self.uploads.receive(&caller, id.0.0, MediaKind::Logo, upload).await?;
        Ok(Answer::new(stored))
    }
}
