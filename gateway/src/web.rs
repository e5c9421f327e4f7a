//! The web page: its files, embedded in the binary, and the HTML shell that is the answer at each of its addresses.
//!
//! The shell names what the page at this address loads first, its module with all imports, the texts in the reader's language
//! (`language`) and its first requests (`preload`), so that a browser fetches them at once and not one after the other.
//!
//! The shells of the programme, of a movie and of a showtime have their title, description and data in the HTML (`programme`), and the
//! status 404 where nothing is at the address. Without an answer of the hosts they have none, and work.
//!
//! Invariant: a file's address contains a hash of all files, so a file that a browser caches forever is never out of date,
//! and modules that import one another by relative paths are of one version. Browsers revalidate the shell each time.
//! There is no build step: the files are served as they are written. Debug builds read them from disk, so that a reload
//! shows a change.

mod face;
mod preload;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus::contract::Locale;
use bus::contract::site::Site;
use poem::endpoint::{BoxEndpoint, make};
use poem::error::NotFoundError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, EndpointExt, Request, Response};
use uuid::Uuid;

use self::face::{face, logo_origin, manifest};
use self::preload::{PAGES, Page, preloads};
use crate::etag;
use crate::language::{VARY, language, texts};
use crate::problem::{Refused, no_route};
use crate::programme::{self, Found, Head, Programmes};
use crate::site::SiteCache;

/// The manifest is not among the files: it has the cinema's name.
const MANIFEST: &str = "/app.webmanifest";
const FILES: &str = "/assets/:version/*file";
/// Placeholder in the shell for the folder of this version's files.
const PLACE: &str = "{assets}";
/// Placeholder in the shell for what a page loads first.
const PRELOADS: &str = "{preloads}";
/// Placeholder in the shell for title, description and data.
const HEAD: &str = "{head}";
/// Placeholder in the shell for whether the payment provider is the sandbox.
const SANDBOX: &str = "{sandbox}";
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A worker has the policy of its own file: it may connect to the gateway only.
const WORKER: HeaderValue = HeaderValue::from_static("default-src 'none'; connect-src 'self'");
/// Opens the page without a connection; its scope is larger than its own folder.
const OFFLINE_WORKER: &str = "offline/worker.js";
/// May be cached, and must be revalidated each time.
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");

#[derive(rust_embed::Embed)]
#[folder = "web/"]
struct Files;

/// What the pages of a gateway have in common.
pub struct PageContext {
    /// The origin of posters and trailers, where it is another one.
    pub media: Option<&'static str>,
    /// The page says that nobody is charged.
    pub is_sandbox: bool,
    /// The page's own address, without a slash at its end; empty where it is not known.
    pub base: String,
    pub site: Arc<SiteCache>,
    pub programmes: Arc<Programmes>,
}

/// Every address of the page, and its files.
pub fn pages(context: &Arc<PageContext>) -> Vec<(&'static str, BoxEndpoint<'static>)> {
    let shell = |page| Shell { context: context.clone(), page: Some(page) };
    let mut pages: Vec<_> = PAGES.iter().map(|page| (page.path, shell(page).boxed())).collect();
    pages.push((FILES, make(file).boxed()));
    let site = context.site.clone();
    let manifest = make(move |request| app_manifest(site.get(), request));
    pages.push((MANIFEST, manifest.boxed()));
    pages
}

/// Around all routes: at an unknown address a browser gets the page, which says so, and other clients get the problem.
pub struct NotFoundPage<E> {
    inner: E,
    shell: Shell,
}

impl<E> NotFoundPage<E> {
    pub fn new(inner: E, context: &Arc<PageContext>) -> Self {
        Self { inner, shell: Shell { context: context.clone(), page: None } }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for NotFoundPage<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let accepts = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_browser = reads && accepts.contains("text/html") && !is_api(request.uri().path());
        let language = self.shell.language(&request);
        match self.inner.call(request).await {
            Err(error) if is_browser && error.is::<NotFoundError>() => self.shell.not_found(language).await,
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

/// Whether it is the address of a page about something whose id cannot exist.
fn has_wrong_id(path: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    let of_id = parts.next().is_some_and(|page| ["movies", "showtimes", "reservations"].contains(&page));
    of_id && parts.next().is_some_and(|id| Uuid::try_parse(id).is_err())
}

/// No inline script or style, no framing, and connections to the gateway only. `media` and `logo` are the origins of files and of
/// the logo, where they are others.
fn policy(media: Option<&str>, logo: Option<&str>) -> HeaderValue {
    let also = |origin: Option<&str>| origin.map(|origin| format!(" {origin}")).unwrap_or_default();
    let (media, logo) = (also(media), also(logo));
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:{media}{logo}; media-src 'self' blob:{media}; manifest-src 'self'; worker-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("an origin is printable")
}

/// The answer at every address of the page.
#[derive(Clone)]
struct Shell {
    context: Arc<PageContext>,
    /// None for an unknown address.
    page: Option<&'static Page>,
}

impl Endpoint for Shell {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let language = self.language(&request);
        if has_wrong_id(request.uri().path()) {
            return self.not_found(language).await;
        }
        let site = self.context.site.get();
        let Some(head) = self.head(&request, &site, language).await else {
            return self.not_found(language).await;
        };
        let preloads = self.page.map(|page| preloads(page, &request, language)).unwrap_or_default();
        let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
        self.respond(if_none_match, &site, language, &preloads, &head).await
    }
}

impl Shell {
    fn language(&self, request: &Request) -> Locale {
        language(request, &self.context.site.get().of.languages)
    }

    /// The head of the page's HTML; `None` where nothing is at the address.
    async fn head(&self, request: &Request, site: &Site, locale: Locale) -> Option<String> {
        let PageContext { base, programmes, .. } = &*self.context;
        let head = Head { base, site, locale, now: time::OffsetDateTime::now_utc().into() };
        let id = request.raw_path_param("id").and_then(|id| Uuid::try_parse(id).ok());
        let plain = || programme::plain(site, locale);
        Some(match (self.page.map_or("", |page| page.path), id) {
            ("/", _) => match programmes.now().await {
                Some(snapshot) => programme::of_programme(&head, &snapshot),
                None => plain(),
            },
            ("/movies/:id", Some(id)) => match programmes.movie(id).await {
                Found::Yes((movie, showtimes)) => programme::of_movie(&head, &movie, &showtimes),
                Found::No => return None,
                Found::Unknown => plain(),
            },
            ("/showtimes/:id", Some(id)) => match programmes.showtime(id).await {
                Found::Yes((showtime, movie)) => programme::of_showtime(&head, &showtime, movie.as_ref()),
                Found::No => return None,
                Found::Unknown => plain(),
            },
            _ => plain(),
        })
    }

    /// The shell for an address where nothing is: the page says so, and search engines keep away.
    async fn not_found(&self, language: Locale) -> poem::Result<Response> {
        let site = self.context.site.get();
        let mut response =
            self.respond(None, &site, language, "", &programme::plain(&site, language)).await?;
        response.set_status(StatusCode::NOT_FOUND);
        response.headers_mut().insert("x-robots-tag", HeaderValue::from_static("noindex"));
        Ok(response)
    }

    /// The shell, or 304 for a client that has it already.
    async fn respond(
        &self,
        if_none_match: Option<HeaderValue>,
        site: &Site,
        language: Locale,
        preloads: &str,
        head: &str,
    ) -> poem::Result<Response> {
        let html = html(site, self.context.is_sandbox, language, preloads, head);
        let response = Response::builder().content_type("text/html; charset=utf-8").body(html);
        let mut response = etag::tag(response, if_none_match).await?;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, REVALIDATED);
        headers.insert(header::VARY, VARY);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy(self.context.media, logo_origin(site)));
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
    if name == OFFLINE_WORKER {
        response.headers_mut().insert("service-worker-allowed", HeaderValue::from_static("/"));
    }
    Ok(response)
}

fn read(name: &str) -> Option<Cow<'static, [u8]>> {
    Files::get(name).map(|file| file.data)
}

/// What a browser needs to install the page, with the cinema's name.
async fn app_manifest(site: Arc<Site>, request: Request) -> poem::Result<Response> {
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let icon = format!("/assets/{}/icon.svg", version());
    let response = Response::builder().content_type("application/manifest+json").body(manifest(&site, &icon));
    let mut response = etag::tag(response, if_none_match).await?;
    response.headers_mut().insert(header::CACHE_CONTROL, REVALIDATED);
    Ok(response)
}

/// The shell in a language, with the site's face, the page's head and the addresses of this version's files.
fn html(site: &Site, is_sandbox: bool, language: Locale, preloads: &str, head: &str) -> String {
    let page = read("index.html").unwrap_or_default();
    let mut page = String::from_utf8_lossy(&page).replace(PRELOADS, preloads);
    for (placeholder, text) in texts(language) {
        page = page.replace(placeholder, text);
    }
    page = page.replace(SANDBOX, if is_sandbox { "true" } else { "false" });
    for (placeholder, text) in face(site) {
        page = page.replace(placeholder, &text);
    }
    let page = page.replace(PLACE, &format!("/assets/{}", version()));
    // Last: its texts are staff's, and its data may look like a placeholder.
    page.replacen(HEAD, head, 1)
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
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::preload::{beside, imports, text_file, with_imports};
    use super::*;

    fn kino() -> Site {
        let of = bus::contract::site::SiteFields::named("Kino {site} <&\"");
        let at = bus::contract::Timestamp::wall_clock();
        Site { id: Uuid::nil(), of, version: 2, created_at: at, updated_at: at }
    }

    const LANGUAGES: [Locale; 2] = [Locale::En, Locale::De];

    fn text(name: &str) -> String {
        String::from_utf8(read(name).unwrap_or_else(|| panic!("no {name}")).into_owned()).unwrap()
    }

    /// What it imports later.
    fn later_imports(name: &str) -> Vec<String> {
        let text = text(name);
        let paths = text.split("import(\"").skip(1).filter_map(|rest| rest.split('"').next());
        paths.map(|path| beside(name, path)).collect()
    }

    /// These modules with all that they import when they are loaded.
    fn loaded_with(names: &[&str], also: impl Fn(&str) -> Vec<String>) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        while let Some(name) = open.pop() {
            if needed.insert(name.clone()) {
                open.extend(imports(&name));
                open.extend(also(&name));
            }
        }
        needed
    }

    #[test]
    fn the_shell_preloads_what_the_first_view_needs() {
        let needed = with_imports("app.js");
        let shell = text("index.html");
        let missing: Vec<_> =
            needed.iter().filter(|name| !shell.contains(&format!("{{assets}}/{name}\""))).collect();
        assert!(missing.is_empty(), "index.html preloads all but {missing:?}");
    }

    #[test]
    fn the_files_stored_for_offline_use_are_all_that_their_pages_import() {
        let shell = loaded_with(&["app.js"], |_| Vec::new());
        let lists = text("offline/files.js");
        for (part, pages) in
            [("tickets", &["pages/tickets.js", "pages/reservation.js"][..]), ("door", &["pages/door.js"])]
        {
            let list = lists.split_once(&format!("  {part}: [")).unwrap().1.split_once(']').unwrap().0;
            let list: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
            for name in &list {
                for language in LANGUAGES {
                    let name = name.replace("{language}", language.as_str());
                    assert!(read(&name).is_some(), "offline/files.js names {name}");
                }
            }
            // A page of staff is fetched when it is visited.
            let also = |name: &str| if name == "pages/staff.js" { vec![] } else { later_imports(name) };
            let needed = loaded_with(pages, also);
            let missing: Vec<_> = needed
                .iter()
                .filter(|name| !shell.contains(*name) && !list.contains(name.as_str()))
                .collect();
            assert!(missing.is_empty(), "offline/files.js lacks for {part}: {missing:?}");
            let texts = PAGES.iter().filter(|page| pages.contains(&page.module)).flat_map(|page| page.texts);
            for text in texts {
                assert!(
                    list.contains(format!("text/{text}-{{language}}.js").as_str()),
                    "{part} lacks {text}"
                );
            }
        }
    }

    /// A page's texts are loaded with its module, so the page is never drawn without them.
    #[test]
    fn every_page_names_the_texts_that_its_modules_use() {
        for page in PAGES {
            let also = |name: &str| {
                if name == page.module || name.starts_with("staff/") { later_imports(name) } else { vec![] }
            };
            let needed = loaded_with(&[page.module], also);
            let has_forms = needed.contains("parts/wrong.js");
            assert_eq!(page.texts.contains(&"wrong"), has_forms, "{page:?}");
            let is_staffs = page.module == "pages/staff.js" || page.module == "pages/door.js";
            assert_eq!(page.texts.contains(&"staff"), is_staffs, "{page:?}");
            for part in page.texts {
                assert!(
                    LANGUAGES.iter().all(|language| read(&text_file(part, *language)).is_some()),
                    "{part}"
                );
            }
        }
    }

    /// Each placeholder is filled in every language, and what the shell shows first is what the page shows then.
    #[test]
    fn the_shell_is_in_the_readers_language() {
        for language in LANGUAGES {
            let shell = html(&kino(), false, language, "", &programme::plain(&kino(), language));
            assert!(!shell.contains(['{', '}']), "{shell}");
            assert!(shell.contains(&format!("<html lang=\"{}\">", language.as_str())));
            assert!(shell.contains(&format!("/{}\"", text_file("", language))));
            let page = text(&text_file("", language));
            let first = texts(language).into_iter().filter(|(name, _)| ["{skip}", "{wait}"].contains(name));
            for (name, first) in first {
                assert!(page.contains(&format!("\"{first}\"")), "{name} in {language:?}");
            }
        }
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
