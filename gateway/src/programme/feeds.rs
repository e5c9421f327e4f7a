//! The endpoints of `/robots.txt`, `/sitemap.xml` and `/programme.ics`: files for programs, made of the cached programme.

use std::sync::Arc;

use bus::contract::Problem;
use bus::contract::site::Site;
use poem::endpoint::{BoxEndpoint, make};
use poem::http::{HeaderValue, header};
use poem::{EndpointExt, Request, Response};

use super::{Programmes, Snapshot, calendar, robots, sitemap};
use crate::etag;
use crate::language::{VARY, language};
use crate::problem::Refused;
use crate::site::SiteCache;

/// Programs read them some times an hour; a change may be seen five minutes late.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Writes a file of the programme, for this address of the page, site and request.
type MakeText = fn(&str, &Site, &Request, &Snapshot) -> String;

/// The files, by path.
pub fn files(
    base: &str,
    site: &Arc<SiteCache>,
    programmes: &Arc<Programmes>,
) -> Vec<(&'static str, BoxEndpoint<'static>)> {
    let robots = robots(base);
    let robots = make(move |request: Request| {
        let text = robots.clone();
        async move { file(&request, "text/plain; charset=utf-8", text).await }
    });
    let of_sitemap = |base: &str, _: &Site, _: &Request, snapshot: &Snapshot| sitemap(base, snapshot);
    let of_calendar = |base: &str, site: &Site, request: &Request, snapshot: &Snapshot| {
        calendar(base, &site.of.name, language(request, &site.of.languages), snapshot)
    };
    let made = |content_type, make_text: MakeText| made(base, site, programmes, content_type, make_text);
    vec![
        ("/robots.txt", robots.boxed()),
        ("/sitemap.xml", made("application/xml; charset=utf-8", of_sitemap)),
        ("/programme.ics", made("text/calendar; charset=utf-8", of_calendar)),
    ]
}

/// A file that is made of the programme; 503 without one.
fn made(
    base: &str,
    site: &Arc<SiteCache>,
    programmes: &Arc<Programmes>,
    content_type: &'static str,
    make_text: MakeText,
) -> BoxEndpoint<'static> {
    let (base, site, programmes) = (Arc::<str>::from(base), site.clone(), programmes.clone());
    let endpoint = make(move |request: Request| {
        let (base, site, programmes) = (base.clone(), site.get(), programmes.clone());
        async move {
            let Some(snapshot) = programmes.now().await else {
                let problem = Problem::unavailable("The programme cannot be read just now.");
                return Err(Refused(problem).into());
            };
            file(&request, content_type, make_text(&base, &site, &request, &snapshot)).await
        }
    });
    endpoint.boxed()
}

async fn file(request: &Request, content_type: &str, text: String) -> poem::Result<Response> {
    let if_none_match = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = Response::builder().content_type(content_type).body(text);
    let mut response = etag::tag(response, if_none_match).await?;
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE_CONTROL);
    // The calendar is in the reader's language.
    response.headers_mut().insert(header::VARY, VARY);
    Ok(response)
}
