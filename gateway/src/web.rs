//! The web page: its files, embedded in the binary, and the HTML shell that is the answer at each of its addresses.
//!
//! Invariant: a file's address contains a hash of all files, so a file that a browser caches forever is never out of date,
//! and modules that import one another by relative paths are of one version. Browsers revalidate the shell each time.
//! There is no build step: the files are served as they are written. Debug builds read them from disk, so that a reload
//! shows a change.

use std::borrow::Cow;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::endpoint::{BoxEndpoint, make};
use poem::error::NotFoundError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, EndpointExt, Request, Response};

use crate::etag;
use crate::problem::{Refused, no_route};

/// Addresses that a person may open, bookmark or get by mail; `web/app.js` decides which page is shown.
const PAGES: &[&str] = &[
    "/",
    "/movies/:id",
    "/showtimes/:id",
    "/reservations/:id",
    "/tickets",
    "/account",
    "/login",
    "/register",
    "/forgot",
    "/reset",
    "/verify",
    "/staff",
    "/staff/*page",
    "/door",
];
const FILES: &str = "/assets/:version/*file";
/// Placeholder in the shell for the folder of this version's files.
const PLACE: &str = "{assets}";
/// Placeholder in the shell for whether the payment provider is the sandbox.
const SANDBOX: &str = "{sandbox}";
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A worker has the policy of its own file: it may connect to the gateway only.
const WORKER: HeaderValue = HeaderValue::from_static("default-src 'none'; connect-src 'self'");
/// Opens the page for ticket checks at the door without a connection; its scope is larger than its own folder.
const DOOR_WORKER: &str = "door/worker.js";
/// May be cached, and must be revalidated each time.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");

#[derive(rust_embed::Embed)]
#[folder = "web/"]
struct Files;

/// Every address of the page, and its files. `media` is the origin of posters and trailers, where it is another one; with
/// `is_sandbox` the page says that nobody is charged.
pub fn pages(media: Option<&str>, is_sandbox: bool) -> Vec<(&'static str, BoxEndpoint<'static>)> {
    let shell = Shell { policy: policy(media), is_sandbox };
    let mut pages: Vec<_> = PAGES.iter().map(|path| (*path, shell.clone().boxed())).collect();
    pages.push((FILES, make(file).boxed()));
    pages
}

/// Around all routes: at an unknown address a browser gets the page, which says so, and other clients get the problem.
pub struct NotFoundPage<E> {
    inner: E,
    shell: Shell,
}

impl<E> NotFoundPage<E> {
    pub fn new(inner: E, media: Option<&str>, is_sandbox: bool) -> Self {
        Self { inner, shell: Shell { policy: policy(media), is_sandbox } }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for NotFoundPage<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let accepts = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_browser = reads && accepts.contains("text/html") && !is_api(request.uri().path());
        match self.inner.call(request).await {
            Err(error) if is_browser && error.is::<NotFoundError>() => {
                let mut response = self.shell.respond(None).await?;
                response.set_status(StatusCode::NOT_FOUND);
                Ok(response)
            }
            answer => answer,
        }
    }
}

/// Paths that only programs request: they get a problem, whatever they accept.
fn is_api(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    let version = first.strip_prefix('v').unwrap_or_default();
    let is_version = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
    is_version || ["docs", "openapi", "health", "assets", "media", ".well-known"].contains(&first)
}

/// No inline script or style, no framing, and connections to the gateway only.
fn policy(media: Option<&str>) -> HeaderValue {
    let media = media.map(|origin| format!(" {origin}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:{media}; media-src 'self' blob:{media}; manifest-src 'self'; worker-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an origin is printable")
}

/// The answer at every address of the page.
#[derive(Clone)]
struct Shell {
    policy: HeaderValue,
    is_sandbox: bool,
}

impl Endpoint for Shell {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        self.respond(request.headers().get(header::IF_NONE_MATCH).cloned()).await
    }
}

impl Shell {
    /// The shell, or 304 for a client that has it already.
    async fn respond(&self, if_none_match: Option<HeaderValue>) -> poem::Result<Response> {
        let response =
            Response::builder().content_type("text/html; charset=utf-8").body(html(self.is_sandbox));
        let mut response = etag::tag(response, if_none_match).await?;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, REVALIDATED);
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        // The camera reads tickets at the door.
        let permissions = HeaderValue::from_static("camera=(self), microphone=(), geolocation=()");
        headers.insert("permissions-policy", permissions);
        Ok(response)
    }
}

async fn file(request: Request) -> poem::Result<Response> {
    let (requested, name) = request.path_params::<(String, String)>().unwrap_or_default();
    let Some(bytes) = read(&name) else {
        return Err(Refused(no_route(request.uri().path())).into());
    };
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = Response::builder().content_type(content_type(&name)).body(bytes.into_owned());
    let mut response = etag::tag(response, if_none_match).await?;
    // A page of an older version still gets its file, which must not be cached under the older version's address.
    let cache = if requested == version() { FOREVER } else { REVALIDATED };
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, WORKER);
    if name == DOOR_WORKER {
        response.headers_mut().insert("service-worker-allowed", HeaderValue::from_static("/door"));
    }
    Ok(response)
}

fn read(name: &str) -> Option<Cow<'static, [u8]>> {
    Files::get(name).map(|file| file.data)
}

/// The shell, with the addresses of this version's files.
fn html(is_sandbox: bool) -> String {
    let page = read("index.html").unwrap_or_default();
    let page = String::from_utf8_lossy(&page).replace(PLACE, &format!("/assets/{}", version()));
    page.replace(SANDBOX, if is_sandbox { "true" } else { "false" })
}

/// A hash of every file's name and content.
fn version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let compute = || {
        let mut names: Vec<_> = Files::iter().collect();
        names.sort_unstable();
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for name in names {
            digest.update(name.as_bytes());
            digest.update(&Files::get(&name).map(|file| file.metadata.sha256_hash()).unwrap_or_default());
        }
        URL_SAFE_NO_PAD.encode(&digest.finish().as_ref()[..9])
    };
    // In debug builds the files may change while the gateway runs.
    if cfg!(debug_assertions) { compute() } else { VERSION.get_or_init(compute).clone() }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        "png" => "image/png",
        "webmanifest" | "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn text(name: &str) -> String {
        String::from_utf8(read(name).unwrap_or_else(|| panic!("no {name}")).into_owned()).unwrap()
    }

    /// What a module imports when it is loaded, as names of files.
    fn imports(name: &str) -> Vec<String> {
        let folder: Vec<&str> = name.split('/').collect();
        let folder = &folder[..folder.len() - 1];
        let text = text(name);
        let lines = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "));
        let paths = lines.filter_map(|line| line.split('"').nth(1));
        paths
            .map(|path| {
                let mut place: Vec<&str> = folder.to_vec();
                for part in path.split('/') {
                    match part {
                        "." => {}
                        ".." => {
                            place.pop();
                        }
                        part => place.push(part),
                    }
                }
                place.join("/")
            })
            .collect()
    }

    #[test]
    fn the_shell_preloads_what_the_first_view_needs() {
        let mut needed = BTreeSet::new();
        let mut open = vec!["app.js".to_owned()];
        while let Some(name) = open.pop() {
            open.extend(imports(&name));
            needed.insert(name);
        }
        let shell = text("index.html");
        let missing: Vec<_> =
            needed.iter().filter(|name| !shell.contains(&format!("{{assets}}/{name}\""))).collect();
        assert!(missing.is_empty(), "index.html preloads all but {missing:?}");
    }

    #[test]
    fn every_import_exists() {
        for name in Files::iter().filter(|name| name.ends_with(".js")) {
            for import in imports(&name) {
                assert!(read(&import).is_some(), "{name} imports {import}");
            }
        }
    }

    #[test]
    fn the_shell_has_no_inline_script_or_style() {
        let shell = text("index.html");
        assert!(!shell.contains("<style") && !shell.contains(" style=") && !shell.contains("<script>"));
    }

    #[test]
    fn paths_of_the_api_get_no_page() {
        for path in ["/v1/nothing", "/v2/movies", "/docs/nothing", "/assets/x/y.js"] {
            assert!(is_api(path), "{path}");
        }
        for path in ["/", "/nothing", "/videos", "/movies/1/2"] {
            assert!(!is_api(path), "{path}");
        }
    }
}
