//! Files in a local folder, served by the gateway with byte ranges. Several gateways can share it as a network folder.
//!
//! Invariant: a file under its final name is complete and never changes, so it may be cached forever.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bus::contract::Problem;
use bus::contract::media::{Media, MediaKind, Stored};
use futures::StreamExt;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::{HeaderValue, header};
use poem::web::StaticFileRequest;
use poem::{Body, EndpointExt, FromRequest, IntoResponse, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::StoreFailure;
use super::film::Film;
use super::picture::Picture;
use super::range;
use crate::problem::{self, Refused, no_route};
use crate::trace::Trace;

/// Where the gateway serves the folder.
const PATH: &str = "/media";
/// The suffixes of all file names that are ever written here.
const ENDINGS: [&str; 4] = [".jpg", "-small.jpg", ".mp4", ".webm"];

#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub async fn store_picture(&self, id: Uuid, picture: &Picture) -> Result<Stored, StoreFailure> {
        let (large, small) = (format!("{id}.jpg"), format!("{id}-small.jpg"));
        self.write(&small, &picture.small).await?;
        self.write(&large, &picture.large).await?;
        Ok(Stored {
            url: format!("{PATH}/{large}"),
            small_url: Some(format!("{PATH}/{small}")),
            content_type: "image/jpeg".into(),
            bytes: picture.large.len() as u64,
            width: Some(picture.width),
            height: Some(picture.height),
        })
    }

    pub async fn store_film(&self, id: Uuid, film: Film) -> Result<Stored, StoreFailure> {
        let name = format!("{id}.{}", film.format.extension());
        let partial = self.partial(&name).await?;
        // A copy, since the temporary folder may be another disk.
        tokio::fs::copy(film.path(), &partial).await.context("cannot copy a film")?;
        self.finish(&partial, &name).await?;
        Ok(Stored {
            url: format!("{PATH}/{name}"),
            small_url: None,
            content_type: film.format.content_type().into(),
            bytes: film.bytes,
            width: None,
            height: None,
        })
    }

    pub async fn remove(&self, media: &Media) -> Result<(), StoreFailure> {
        let endings = match media.kind {
            MediaKind::Poster | MediaKind::Logo => &ENDINGS[..2],
            MediaKind::Trailer => &ENDINGS[2..],
        };
        for ending in endings {
            let name = format!("{}{ending}", media.id);
            for path in [self.0.join(&name), self.0.join(partial_name(&name))] {
                match tokio::fs::remove_file(&path).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(anyhow::Error::new(error)
                            .context(format!("cannot delete {name}"))
                            .into());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let partial = self.partial(name).await?;
        let mut file = tokio::fs::File::create(&partial).await.context("cannot create a file")?;
        file.write_all(bytes).await.context("cannot write a file")?;
        file.flush().await.context("cannot write a file")?;
        self.finish(&partial, name).await
    }

    /// The path of a file while it is being written.
    async fn partial(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = || format!("cannot use MEDIA_DIR {}", self.0.display());
        tokio::fs::create_dir_all(&self.0).await.with_context(folder)?;
        Ok(self.0.join(partial_name(name)))
    }

    /// Gives a complete file its final name. It is synced to disk before the movie refers to it.
    async fn finish(&self, partial: &Path, name: &str) -> anyhow::Result<()> {
        sync(partial).await.context("cannot sync a file")?;
        tokio::fs::rename(partial, self.0.join(name)).await.context("cannot rename a file")?;
        sync(&self.0).await.context("cannot sync the folder")?;
        Ok(())
    }
}

async fn sync(path: &Path) -> std::io::Result<()> {
    tokio::fs::File::open(path).await?.sync_all().await
}

/// Hidden, and never served.
fn partial_name(name: &str) -> String {
    format!(".{name}")
}

/// `/media/{file}`, for at most `files_max` requests at once: a client that reads slowly keeps its file open.
pub fn serve(folder: &Folder, files_max: usize) -> (&'static str, BoxEndpoint<'static>) {
    let (folder, files) = (folder.clone(), Arc::new(Semaphore::new(files_max)));
    let endpoint = make(move |request: Request| {
        let (folder, files) = (folder.clone(), files.clone());
        async move {
            let busy = || Problem::unavailable("Too many files are being read. Try again shortly.");
            let open = files.try_acquire_owned().map_err(|_| Refused(busy()))?;
            let mut response = folder.answer(request).await?;
            let chunks = response.take_body().into_bytes_stream();
            // The permit is released after the last chunk, or when the client disconnects.
            let chunks = chunks.inspect(move |_| {
                let _ = &open;
            });
            response.set_body(Body::from_bytes_stream(chunks));
            Ok::<_, poem::Error>(response)
        }
    });
    ("/media/:file", endpoint.boxed())
}

impl Folder {
    async fn answer(&self, mut request: Request) -> poem::Result<Response> {
        let name = request.path_params::<String>().unwrap_or_default();
        let path = self.0.join(&name);
        let metadata = if is_file_name(&name) { tokio::fs::metadata(&path).await.ok() } else { None };
        let Some(file) = metadata.filter(std::fs::Metadata::is_file) else {
            return Err(Refused(no_route(request.uri().path())).into());
        };
        if range::normalize(request.headers_mut(), file.len()).is_err() {
            return Ok(unsatisfiable(&request, file.len()));
        }
        let file_request = StaticFileRequest::from_request_without_body(&request).await?;
        let mut response = file_request.create_response(path, false, false)?.into_response();
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
        Ok(response)
    }
}

/// 416, with the length of the file.
fn unsatisfiable(request: &Request, length: u64) -> Response {
    let id = request.data::<Arc<Trace>>().map(|trace| trace.context.correlation_id.as_str());
    let problem =
        Problem::new(416, "range", format!("The file has {length} bytes; none of them is in the range."));
    let mut response = problem::respond(problem, id.unwrap_or_default());
    let range = HeaderValue::try_from(format!("bytes */{length}")).expect("a number is printable");
    response.headers_mut().insert(header::CONTENT_RANGE, range);
    response
}

/// Whether a name is one that this module gives: no other path of the file system can be reached.
fn is_file_name(name: &str) -> bool {
    let id = |ending: &&str| name.strip_suffix(ending).is_some_and(|id| Uuid::try_parse(id).is_ok());
    ENDINGS.iter().any(id)
}

#[cfg(test)]
mod tests {
    use poem::{Endpoint, Route};

    use super::*;

    #[test]
    fn only_names_of_stored_files_are_read() {
        let id = Uuid::now_v7();
        for stored in
            [format!("{id}.jpg"), format!("{id}-small.jpg"), format!("{id}.mp4"), format!("{id}.webm")]
        {
            assert!(is_file_name(&stored), "{stored}");
        }
        for other in
            ["", "../nats.conf", "x.jpg", &format!(".{id}.jpg"), &format!("{id}.svg"), &format!("{id}")]
        {
            assert!(!is_file_name(other), "{other}");
        }
    }

    #[tokio::test]
    async fn a_file_counts_while_it_is_read_and_no_longer() {
        let folder = std::env::temp_dir().join(format!("marquee-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let name = format!("{}.mp4", Uuid::now_v7());
        std::fs::write(folder.join(&name), b"a film").unwrap();
        let (path, endpoint) = serve(&Folder::new(folder.clone()), 1);
        let route = Route::new().at(path, endpoint);
        let get = async || {
            let uri = format!("/media/{name}").parse().unwrap();
            route.get_response(Request::builder().uri(uri).finish()).await
        };
        let mut read = get().await;
        assert_eq!(read.status().as_u16(), 200);
        assert_eq!(get().await.status().as_u16(), 503, "the only permit is taken");
        assert_eq!(read.take_body().into_vec().await.unwrap(), b"a film");
        let unread = get().await;
        assert_eq!(unread.status().as_u16(), 200, "reading a file to its end releases the permit");
        drop(unread);
        assert_eq!(get().await.status().as_u16(), 200, "so does a client that disconnects");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
