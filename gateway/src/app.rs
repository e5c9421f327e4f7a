//! The composition of a gateway: what endpoints share, and all routes behind their guards.

use std::collections::HashMap;
use std::sync::Arc;

use bus::contract::site::SiteFields;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, Response, Route};
use poem_openapi::OpenApi;
use tokio_util::sync::CancellationToken;

use crate::api::{
    Auth, DeadLetters, EventFeed, MediaFiles, Movies, Notifications, PageLogins, Payments, Prices, Privacy,
    Programmed, Quotes, Receipts, Reports, ReservationStaff, Reservations, Seats, Showtimes, Sites,
};
use crate::challenge::Challenge;
use crate::entrypoint::{EntryPoint, HttpConfig};
use crate::event_feed::Feed;
use crate::guard::{Admission, Guard};
use crate::hosts::Hosts;
use crate::limit::{Bounds, Limiter, Networks};
use crate::media::{StoreConfig, Uploads};
use crate::programme::Programmes;
use crate::routes::{ROWS, Row};
use crate::seat_map::SeatMaps;
use crate::site::SiteCache;
use crate::{document, health, listen, media, programme, web};

/// An endpoint that is no part of the OpenAPI document, with its row.
pub type Page = (&'static Row, BoxEndpoint<'static>);

/// What endpoints share.
pub struct Shared {
    pub hosts: Arc<dyn Hosts>,
    pub admission: Arc<Admission>,
    pub seat_maps: Arc<SeatMaps>,
    pub event_feed: Arc<Feed>,
    pub uploads: Arc<Uploads>,
    pub programmes: Arc<Programmes>,
    /// Live seat maps and event feeds, by network.
    pub streams: Arc<Networks>,
    pub site: Arc<SiteCache>,
    webhooks_max: Option<usize>,
    /// Cancelled when the gateway stops: waits and streams end, and connections are closed.
    pub stop: CancellationToken,
    /// Cancelled before that, and with it at the latest: the gateway is not ready any more and still serves.
    pub draining: CancellationToken,
}

impl Shared {
    pub fn new(
        hosts: Arc<dyn Hosts>,
        limiter: Limiter,
        challenge: Option<Box<dyn Challenge>>,
        store: &StoreConfig,
        of_settings: SiteFields,
        bounds: &Bounds,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        Ok(Self {
            admission: Arc::new(Admission { hosts: hosts.clone(), limiter, challenge }),
            seat_maps: Arc::new(SeatMaps::new(hosts.clone(), stop.clone())),
            event_feed: Arc::new(Feed::new(hosts.clone(), stop.clone())),
            uploads: Arc::new(Uploads::new(store, hosts.clone())?),
            programmes: Programmes::new(hosts.clone()),
            streams: Networks::new(bounds.streams_per_network_max),
            site: SiteCache::new(hosts.clone(), of_settings),
            webhooks_max: bounds.webhooks_in_work_max,
            hosts,
            draining: stop.child_token(),
            stop,
        })
    }

    /// The endpoints of the OpenAPI document, by path and method.
    fn endpoints(&self, is_secure: bool) -> HashMap<String, HashMap<Method, BoxEndpoint<'static>>> {
        let hosts = || self.hosts.clone();
        let mut endpoints = HashMap::new();
        Auth::new(hosts()).add_routes(&mut endpoints);
        Privacy { hosts: hosts() }.add_routes(&mut endpoints);
        PageLogins { hosts: hosts(), is_secure }.add_routes(&mut endpoints);
        Movies { hosts: hosts() }.add_routes(&mut endpoints);
        Showtimes { hosts: hosts(), site: self.site.clone() }.add_routes(&mut endpoints);
        Sites { hosts: hosts(), site: self.site.clone() }.add_routes(&mut endpoints);
        Programmed { hosts: hosts(), programmes: self.programmes.clone() }.add_routes(&mut endpoints);
        Prices { hosts: hosts() }.add_routes(&mut endpoints);
        MediaFiles { uploads: self.uploads.clone() }.add_routes(&mut endpoints);
        let (seat_maps, streams) = (self.seat_maps.clone(), self.streams.clone());
        Seats { hosts: hosts(), seat_maps, streams }.add_routes(&mut endpoints);
        Quotes { hosts: hosts() }.add_routes(&mut endpoints);
        Reservations { hosts: hosts(), stop: self.stop.clone() }.add_routes(&mut endpoints);
        ReservationStaff { hosts: hosts() }.add_routes(&mut endpoints);
        Reports { hosts: hosts() }.add_routes(&mut endpoints);
        Payments::new(hosts(), self.webhooks_max).add_routes(&mut endpoints);
        Receipts { hosts: hosts() }.add_routes(&mut endpoints);
        Notifications { hosts: hosts() }.add_routes(&mut endpoints);
        DeadLetters { hosts: hosts() }.add_routes(&mut endpoints);
        let (feed, streams) = (self.event_feed.clone(), self.streams.clone());
        EventFeed { feed, streams }.add_routes(&mut endpoints);
        endpoints
    }

    /// All routes behind their guards, behind the entry point. `pages` are added to those of every gateway.
    pub fn app(&self, config: HttpConfig, pages: Vec<Page>) -> impl Endpoint<Output = Response> + use<> {
        let mut endpoints = self.endpoints(config.is_secure);
        let mut paths: HashMap<String, Vec<Page>> = HashMap::new();
        for row in ROWS {
            let pattern = pattern(row.path);
            let endpoint = endpoints.get_mut(&pattern).and_then(|methods| methods.remove(&row.verb.method()));
            let endpoint =
                endpoint.unwrap_or_else(|| panic!("the row of {} has no signature in api/", row.path));
            paths.entry(pattern).or_default().push((row, endpoint));
        }
        let files = self.uploads.folder().map(|folder| media::serve(folder, listen::files_max()));
        let context = Arc::new(web::PageContext {
            media: self.uploads.origin(),
            is_sandbox: config.is_sandbox,
            base: config.public_url.clone().unwrap_or_default(),
            site: self.site.clone(),
            programmes: self.programmes.clone(),
        });
        let feeds = programme::files(&context.base, &self.site, &self.programmes);
        let with_row = |(path, endpoint)| (page(path), endpoint);
        let pages = static_pages()
            .into_iter()
            .chain(pages)
            .chain(files.map(with_row))
            .chain(feeds.into_iter().map(with_row))
            .chain(web::pages(&context).into_iter().map(with_row));
        for (row, endpoint) in pages {
            paths.entry(row.path.to_owned()).or_default().push((row, endpoint));
        }
        let routes = paths.into_iter().fold(Route::new(), |routes, (path, methods)| {
            routes.at(path, Guard::new(self.admission.clone(), methods))
        });
        let inner = web::NotFoundPage::new(routes, &context);
        EntryPoint { inner, config, draining: self.draining.clone() }
    }
}

/// The row of a page.
pub fn page(path: &'static str) -> &'static Row {
    // Leaked once a start, some bytes each: the rows of the table are `'static` too.
    Box::leak(Box::new(Row::page(path)))
}

/// A path as poem-openapi's macro names it for Poem: parameters by their position.
fn pattern(path: &str) -> String {
    let mut position = 0;
    let segments = path.split('/').map(|segment| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        position += 1;
        format!(":param{}", position - 1)
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Liveness and the documents, which are the same in every gateway.
fn static_pages() -> Vec<Page> {
    let mut pages = vec![(page("/health/live"), health::live())];
    for (name, document) in document::documents() {
        let (json, html) = match name {
            "" => ("/openapi.json".to_owned(), "/docs".to_owned()),
            _ => (format!("/openapi/{name}.json"), format!("/docs/{name}")),
        };
        pages.push((page(json.leak()), document::json(&document)));
        pages.push((page(html.leak()), document::page(document)));
    }
    pages
}
