//! The contract of posters, trailers and logos: files that movie names and the gateway stores.
//!
//! The row is written before the file, with an id of our own, so that every file that a crash leaves in the store has a row. A
//! file that no movie shows is condemned, then deleted from the store, and only then is its row deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Access, Fields, Problem, Request, Rule};

/// Files condemned by one request: a sweep repeats the request while there are more.
pub const CONDEMNED_MAX: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MediaKind {
    /// A still picture, kept in two sizes.
    Poster,
    /// A film.
    Trailer,
    /// A still picture of a site, kept like a poster.
    Logo,
}

/// A file in the store, by the id that we gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    pub id: Uuid,
    /// The movie, or for a logo the site.
    pub movie_id: Uuid,
    pub kind: MediaKind,
}

/// Records that a file is about to be stored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeginMedia {
    /// The movie, or for a logo the site.
    pub movie_id: Uuid,
    pub kind: MediaKind,
}

impl Request for BeginMedia {
    const SUBJECT: &'static str = "rpc.movie.begin_media";
    const ACCESS: Access = Access::Admin;
    type Answer = Media;
}

/// Shows a stored file with its movie or site, in place of the one before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachMedia {
    pub id: Uuid,
    pub stored: Stored,
}

/// A stored file's address, type and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Absolute, or a path from this API's root.
    pub url: String,
    /// The picture at most 400 pixels wide, for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub small_url: Option<String>,
    /// The type of the stored file, which may differ from the uploaded one: `image/jpeg`, `video/mp4`, `video/webm`.
    pub content_type: String,
    /// The size of the file at `url`.
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

impl Request for AttachMedia {
    const SUBJECT: &'static str = "rpc.movie.attach_media";
    const ACCESS: Access = Access::Admin;
    type Answer = Stored;

    fn validate(&self, fields: &mut Fields) {
        let fits = |url: &str| (1..=2_000).contains(&url.len());
        fields.check(fits(&self.stored.url), "stored.url", Rule::Length { min: 1, max: 2_000 });
        let small = self.stored.small_url.as_deref();
        fields.check(small.is_none_or(fits), "stored.smallUrl", Rule::Length { min: 1, max: 2_000 });
    }
}

/// Condemns files that no movie shows any more and files whose upload never ended, the oldest first. A condemned file cannot be
/// attached, and is listed again until its row is deleted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CondemnMedia {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Condemned {
    pub media: Vec<Media>,
}

impl Request for CondemnMedia {
    const SUBJECT: &'static str = "rpc.movie.condemn_media";
    const ACCESS: Access = Access::Internal;
    type Answer = Condemned;
}

/// Deletes the rows of condemned files that are deleted from the store.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetMedia {
    pub ids: Vec<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forgotten {}

impl Request for ForgetMedia {
    const SUBJECT: &'static str = "rpc.movie.forget_media";
    const ACCESS: Access = Access::Internal;
    type Answer = Forgotten;

    fn validate(&self, fields: &mut Fields) {
        fields.count(self.ids.len(), 0..=CONDEMNED_MAX, "ids", "ids");
    }
}

/// Why a file is rejected. Decided by the gateway, since no host receives files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Not of a supported type, whatever its name ends with.
    Type(MediaKind),
    /// It begins like a picture, but cannot be decoded.
    Broken,
    /// More pixels than we decode.
    Pixels,
    /// The part `file` is missing, or there is another part beside it.
    Parts,
    TooLarge(usize),
    /// Too many uploads at once.
    Busy,
    /// The store is not available.
    Store,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Type(MediaKind::Poster | MediaKind::Logo) => {
                Problem::new(415, "media-type", "A poster or logo must be a JPEG, PNG or WebP picture.")
            }
            Rejection::Type(MediaKind::Trailer) => {
                Problem::new(415, "media-type", "A trailer must be an MP4 or WebM film.")
            }
            Rejection::Broken => Problem::invalid_field("file", Rule::FileBroken),
            Rejection::Pixels => Problem::invalid_field("file", Rule::FilePixels { max: 24 }),
            Rejection::Parts => Problem::invalid_field("file", Rule::FileParts),
            Rejection::TooLarge(limit) => {
                Problem::new(413, "too-large", format!("The file may have at most {limit} bytes."))
            }
            Rejection::Busy => Problem::unavailable("Too many uploads at once. Please try again shortly."),
            Rejection::Store => {
                Problem::unavailable("The media store is not available. Please try again shortly.")
            }
        }
    }
}
