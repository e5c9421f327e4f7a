//! The composition of a gateway: what endpoints share, and all routes behind their guards.

use std::collections::HashMap;
use std::sync::Arc;

use bus::contract::Currency;
use bus::contract::currency::Currencies;
use bytes::Bytes;
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, Response, Route};
use poem_openapi::OpenApi;
use tokio_util::sync::CancellationToken;

use crate::api::{
    Auth, DeadLetters, EventFeed, MediaFiles, Movies, Notifications, PageLogins, Payments, ReservationStaff,
    Reservations, Seats, Showtimes,
};
use crate::challenge::Challenge;
use crate::entrypoint::{EntryPoint, HttpConfig};
use crate::event_feed::Feed;
use crate::guard::{Admission, Guard};
use crate::hosts::Hosts;
use crate::limit::{Bounds, Limiter, Networks};
use crate::media::{StoreConfig, Uploads};
use crate::routes::{ROWS, Row};
use crate::seat_map::SeatMaps;
use crate::{document, health, listen, media, web};

/// An endpoint that is no part of the OpenAPI document, with its row.
pub type Page = (&'static Row, BoxEndpoint<'static>);

/// What endpoints share.
pub struct Shared {
    pub hosts: Arc<dyn Hosts>,
    pub admission: Arc<Admission>,
    pub seat_maps: Arc<SeatMaps>,
    pub event_feed: Arc<Feed>,
    pub uploads: Arc<Uploads>,
    /// Live seat maps and event feeds, by network.
    pub streams: Arc<Networks>,
    /// The JSON of `GET /v1/currencies`.
    currencies: Bytes,
    webhooks_max: Option<usize>,
    /// Cancelled when the gateway stops: waits and streams end, and it is not ready any more.
    pub stop: CancellationToken,
}

impl Shared {
    pub fn new(
        hosts: Arc<dyn Hosts>,
        limiter: Limiter,
        challenge: Option<Box<dyn Challenge>>,
        store: &StoreConfig,
        currency: Currency,
        bounds: &Bounds,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let currencies =
            serde_json::to_vec(&Currencies::with_default(currency)).expect("plain fields always serialize");
        Ok(Self {
            admission: Arc::new(Admission { hosts: hosts.clone(), limiter, challenge }),
            seat_maps: Arc::new(SeatMaps::new(hosts.clone(), stop.clone())),
            event_feed: Arc::new(Feed::new(hosts.clone(), stop.clone())),
            uploads: Arc::new(Uploads::new(store, hosts.clone())?),
            streams: Networks::new(bounds.streams_per_network_max),
            currencies: currencies.into(),
            webhooks_max: bounds.webhooks_in_work_max,
            hosts,
            stop,
        })
    }

    /// The endpoints of the OpenAPI document, by path and method.
    fn endpoints(&self, is_secure: bool) -> HashMap<String, HashMap<Method, BoxEndpoint<'static>>> {
        let hosts = || self.hosts.clone();
        let mut endpoints = HashMap::new();
        Auth::new(hosts()).add_routes(&mut endpoints);
        PageLogins { hosts: hosts(), is_secure }.add_routes(&mut endpoints);
        Movies { hosts: hosts() }.add_routes(&mut endpoints);
        Showtimes { hosts: hosts(), currencies: self.currencies.clone() }.add_routes(&mut endpoints);
        MediaFiles { uploads: self.uploads.clone() }.add_routes(&mut endpoints);
        let (seat_maps, streams) = (self.seat_maps.clone(), self.streams.clone());
        Seats { hosts: hosts(), seat_maps, streams }.add_routes(&mut endpoints);
        Reservations { hosts: hosts(), stop: self.stop.clone() }.add_routes(&mut endpoints);
        ReservationStaff { hosts: hosts() }.add_routes(&mut endpoints);
        Payments::new(hosts(), self.webhooks_max).add_routes(&mut endpoints);
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
        let origin = self.uploads.origin();
        let pages = static_pages()
            .into_iter()
            .chain(pages)
            .chain(files.map(|(path, endpoint)| (page(path), endpoint)))
            .chain(
                web::pages(origin, config.is_sandbox)
                    .into_iter()
                    .map(|(path, endpoint)| (page(path), endpoint)),
            );
        for (row, endpoint) in pages {
            paths.entry(row.path.to_owned()).or_default().push((row, endpoint));
        }
        let routes = paths.into_iter().fold(Route::new(), |routes, (path, methods)| {
            routes.at(path, Guard::new(self.admission.clone(), methods))
        });
        EntryPoint { inner: web::NotFoundPage::new(routes, origin, config.is_sandbox), config }
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
