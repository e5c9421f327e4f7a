//! The programme in memory: all movies and the showtimes to come, read from the public lists that the page reads, too.
//!
//! Invariant: only the public lists are read, so a draft is in no page, feed, sitemap or document that is made here.
//! A programme counts as fresh for five seconds, as those lists do in a browser. In the ten seconds after that it is still used
//! while it is read again. Where no host answers, the last one is used until one does.

mod calendar;
mod feeds;
mod head;
mod sitemap;
mod structured;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::Context;
use bus::contract::movie::{
    GetMovie, GetShowtime, ListMovies, ListShowtimes, Movie, MovieSort, Programme, ProgrammeMovie, Showtime,
};
use bus::contract::{Page, Paging, Problem, Request};
use bus::service::Ask;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use crate::hosts::Hosts;

use calendar::calendar;
use sitemap::{robots, sitemap};

pub use feeds::files;
pub use head::{of_movie, of_programme, of_showtime, plain};
pub use words::{Head, escaped};

const FRESH_FOR: Duration = Duration::from_secs(5);
const USED_FOR: Duration = Duration::from_secs(15);
/// After a failed read the next one waits so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A page waits no longer for the first programme: without one it has no data, and works.
const WAIT_MAX: Duration = Duration::from_secs(2);
const PAGE_SIZE: u32 = 100;
/// 2,000 movies and 5,000 showtimes: a large chain's. What is beyond is read by its id.
const MOVIE_PAGES_MAX: u32 = 20;
const SHOWTIME_PAGES_MAX: u32 = 50;
/// Look-ups by id at one time. Pages are not counted against a quota, and each unknown id is a request to a host.
const LOOKUPS_MAX: usize = 32;

/// The programme at one time.
pub struct Snapshot {
    /// Those that play soonest first.
    movies: HashMap<Uuid, Movie>,
    /// To come, by start.
    showtimes: Vec<Showtime>,
    /// The JSON of `GET /v1/programme`.
    pub document: Bytes,
    /// In the order of the document: those with showtimes to come.
    playing: Vec<Uuid>,
}

/// What the cache knows.
#[derive(Default)]
struct Known {
    snapshot: Option<(Arc<Snapshot>, Instant)>,
    failed_at: Option<Instant>,
}

/// The programme of this gateway.
pub struct Programmes {
    hosts: Arc<dyn Hosts>,
    known: Mutex<Known>,
    /// One task reads at a time.
    reading: tokio::sync::Mutex<()>,
    lookups: Semaphore,
}

/// What is at an address of the page.
pub enum Found<T> {
    Yes(T),
    No,
    /// No host answered, or too many unknown ids are asked for at once.
    Unknown,
}

impl Programmes {
    pub fn new(hosts: Arc<dyn Hosts>) -> Arc<Self> {
        Arc::new(Self {
            hosts,
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
        })
    }

    /// The programme, some seconds old; `None` where no host has ever answered.
    pub async fn now(self: &Arc<Self>) -> Option<Arc<Snapshot>> {
        match self.cached() {
            Some((snapshot, age)) if age < FRESH_FOR => return Some(snapshot),
            Some((snapshot, age)) if age < USED_FOR => {
                let programmes = self.clone();
                tokio::spawn(async move {
                    if let Ok(_turn) = programmes.reading.try_lock() {
                        programmes.read().await;
                    }
                });
                return Some(snapshot);
            }
            _ => {}
        }
        let read = async {
            let _turn = self.reading.lock().await;
            // The task before this one may have read it.
            if self.cached().is_none_or(|(_, age)| age >= FRESH_FOR) && !self.has_just_failed() {
                self.read().await;
            }
        };
        let _ = tokio::time::timeout(WAIT_MAX, read).await;
        self.cached().map(|(snapshot, _)| snapshot)
    }

    /// A movie, with its showtimes to come.
    pub async fn movie(self: &Arc<Self>, id: Uuid) -> Found<(Movie, Vec<Showtime>)> {
        let snapshot = self.now().await;
        if let Some(snapshot) = &snapshot
            && let Some(movie) = snapshot.movies.get(&id)
        {
            return Found::Yes((movie.clone(), snapshot.showtimes_of(id).cloned().collect()));
        }
        // New since the programme was read, or beyond its end.
        self.look_up(&GetMovie { id }).await.map(|movie: Movie| {
            let showtimes = snapshot.iter().flat_map(|snapshot| snapshot.showtimes_of(id)).cloned();
            (movie, showtimes.collect())
        })
    }

    /// A showtime, with its movie where that is still shown.
    pub async fn showtime(self: &Arc<Self>, id: Uuid) -> Found<(Showtime, Option<Movie>)> {
        let snapshot = self.now().await;
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.showtimes.iter().find(|s| s.id == id));
        let found = match known {
            Some(showtime) => Found::Yes(showtime.clone()),
            // Begun, or new since the programme was read.
            None => self.look_up(&GetShowtime { id }).await,
        };
        let movie = |showtime: &Showtime| snapshot.as_ref()?.movies.get(&showtime.movie_id).cloned();
        found.map(|showtime: Showtime| {
            let movie = movie(&showtime);
            (showtime, movie)
        })
    }

    fn cached(&self) -> Option<(Arc<Snapshot>, Duration)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.snapshot.as_ref().map(|(snapshot, at)| (snapshot.clone(), at.elapsed()))
    }

    fn has_just_failed(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.failed_at.is_some_and(|at| at.elapsed() < RETRY_AFTER)
    }

    async fn read(&self) {
        let read = self.read_all().await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(snapshot) => {
                *known = Known { snapshot: Some((Arc::new(snapshot), Instant::now())), failed_at: None };
            }
            Err(problem) => {
                tracing::debug!(problem = %problem.detail, "the programme cannot be read");
                known.failed_at = Some(Instant::now());
            }
        }
    }

    async fn read_all(&self) -> Result<Snapshot, Problem> {
        let movies = self.pages(MOVIE_PAGES_MAX, |paging| ListMovies {
            name: None,
            genre: None,
            date: None,
            show_time: None,
            sort: MovieSort::NextShowtime,
            paging,
        });
        let showtimes = self.pages(SHOWTIME_PAGES_MAX, |paging| ListShowtimes {
            movie_id: None,
            auditorium_id: None,
            date: None,
            from: None,
            to: None,
            paging,
        });
        let (movies, showtimes) = tokio::try_join!(movies, showtimes)?;
        Ok(Snapshot::new(movies, showtimes))
    }

    /// The items of all pages.
    async fn pages<T: DeserializeOwned, R: Request>(
        &self,
        pages_max: u32,
        request: impl Fn(Paging) -> R,
    ) -> Result<Vec<T>, Problem> {
        let mut items = Vec::new();
        for page in 1..=pages_max {
            let wanted = request(Paging { page, page_size: PAGE_SIZE });
            let read: Page<T> = self.ask(&wanted).await?;
            let is_last = read.items.len() < PAGE_SIZE as usize;
            items.extend(read.items);
            if is_last {
                break;
            }
        }
        Ok(items)
    }

    async fn look_up<T: DeserializeOwned, R: Request>(&self, request: &R) -> Found<T> {
        let Ok(_place) = self.lookups.try_acquire() else { return Found::Unknown };
        match self.ask(request).await {
            Ok(found) => Found::Yes(found),
            Err(problem) if problem.status == 404 => Found::No,
            Err(_) => Found::Unknown,
        }
    }

    async fn ask<T: DeserializeOwned, R: Request>(&self, request: &R) -> Result<T, Problem> {
        let ask = Ask { timeout: WAIT_MAX, ..Ask::new(Context::new()) };
        let json = self.hosts.request(request, &ask).await?;
        serde_json::from_slice(&json).map_err(|error| {
            tracing::debug!(subject = R::SUBJECT, %error, "an answer of another version");
            Problem::internal()
        })
    }
}

impl<T> Found<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Yes(found) => Found::Yes(change(found)),
            Self::No => Found::No,
            Self::Unknown => Found::Unknown,
        }
    }
}

impl Snapshot {
    fn new(movies: Vec<Movie>, mut showtimes: Vec<Showtime>) -> Self {
        // Rows that move between two pages are read twice.
        showtimes.sort_by_key(|showtime| (showtime.starts_at, showtime.id));
        showtimes.dedup_by_key(|showtime| showtime.id);
        let mut of_movie: HashMap<Uuid, Vec<Showtime>> = HashMap::new();
        for showtime in &showtimes {
            of_movie.entry(showtime.movie_id).or_default().push(showtime.clone());
        }
        let entries = movies.iter().filter_map(|movie| {
            let showtimes = of_movie.remove(&movie.id)?;
            Some(ProgrammeMovie { movie: movie.clone(), showtimes })
        });
        let programme = Programme { movies: entries.collect() };
        let document = serde_json::to_vec(&programme).expect("contract types always serialize").into();
        let playing = programme.movies.iter().map(|entry| entry.movie.id).collect();
        let movies = movies.into_iter().map(|movie| (movie.id, movie)).collect();
        Self { movies, showtimes, document, playing }
    }

    fn showtimes_of(&self, movie: Uuid) -> impl Iterator<Item = &Showtime> {
        self.showtimes.iter().filter(move |showtime| showtime.movie_id == movie)
    }
}
