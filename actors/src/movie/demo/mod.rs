//! The demo cinema: invented movies, three auditoriums in Berlin, and a programme for the coming two weeks.
//!
//! Its tickets have types, and prices by weekday and time. It goes through the journal as staff's own changes do, so the same
//! rules and events apply. Run again it adds only what is missing, such as the showtimes of newly reached days, and leaves
//! alone what staff changed.

pub(super) mod cinema;
pub(super) mod prices;
mod store;

use std::collections::HashMap;
use std::time::Duration;

use bus::Context;
use bus::contract::movie::{
    Auditorium, CreateMovie, CreateShowtime, Genre, InitialStatus, Movie, PriceCard, Rejection, TicketType,
};
use bus::contract::site::DEFAULT_SITE;
use bus::contract::{Currency, Timestamp};
use futures::future::try_join_all;
use jiff::tz::TimeZone;
use time::{Date, Time};
use uuid::Uuid;

use super::Env;
use super::endpoints;
use super::model;
use super::showtime::{Basis, schedule};
use super::store::Write;
use super::tariff::Pricing;
use crate::config::MovieSettings;
use crate::delivery::{Change, Outcome};
use crate::host::DomainBuilder;
use crate::zone;
use cinema::{DAYS, HALLS, Hall, MOVIES, Reel, TIME_ZONE};
use store::Named;

/// How much a seeding added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Added {
    pub genres: usize,
    pub movies: usize,
    pub auditoriums: usize,
    pub ticket_types: usize,
    pub price_cards: usize,
    pub showtimes: usize,
}

/// Adds what is missing of the demo cinema: created by `staff`, with prices in `currency`.
pub async fn seed(builder: DomainBuilder, staff: Uuid, currency: Currency) -> anyhow::Result<Added> {
    let (journal, database_up, children) = builder.delivery();
    let env = Env::new(&builder, journal, MovieSettings::default());
    // Titles are not unique, so two processes that seed at once take turns.
    let turn = store::take_turn(&builder.database).await?;
    let host = builder.start(database_up, move || children.clone()).await?;
    let added = add_missing(&env, staff, currency).await;
    drop(turn);
    // Also publishes the events.
    host.stop().await;
    added
}

async fn add_missing(env: &Env, staff: Uuid, currency: Currency) -> anyhow::Result<Added> {
    let mut added = Added { genres: add_genres(env).await?, ..Added::default() };
    let (movies, new) = add_movies(env, staff).await?;
    added.movies = new;
    let (auditoriums, new) = add_auditoriums(env).await?;
    added.auditoriums = new;
    (added.ticket_types, added.price_cards) = add_pricing(env, currency).await?;
    let pricing = super::store::pricing(&env.pool).await?;
    let has_draft = store::has_draft(&env.pool).await?;
    let mut changes = Vec::new();
    for (index, hall) in HALLS.iter().enumerate() {
        // Staff may have deleted it.
        let Some(auditorium) = auditoriums.iter().find(|a| a.name == hall.name) else { continue };
        let shows = Shows {
            movies: &movies,
            pricing: &pricing,
            currency,
            has_draft: has_draft || index + 1 < HALLS.len(),
        };
        changes.extend(programme(env, (index, hall), auditorium, &shows).await?);
    }
    added.showtimes = write(env, changes).await?;
    Ok(added)
}

async fn add_genres(env: &Env) -> anyhow::Result<usize> {
    let names = cinema::genres();
    let there = store::ids(&env.pool, Named::Genre, &names).await?;
    let there: Vec<String> = there.into_keys().map(|name| name.to_lowercase()).collect();
    let now = env.clock.now();
    let missing = names.iter().filter(|name| !there.contains(&name.to_lowercase())).map(|name| {
        Change::new(Write::Genre(Genre {
            id: Uuid::now_v7(),
            name: (*name).to_owned(),
            version: 1,
            created_at: now,
            updated_at: now,
        }))
    });
    write(env, missing.collect()).await
}

async fn add_movies(env: &Env, staff: Uuid) -> anyhow::Result<(Vec<Movie>, usize)> {
    let titles: Vec<&str> = MOVIES.iter().map(|reel| reel.title).collect();
    let there = store::ids(&env.pool, Named::Movie, &titles).await?;
    let genres = store::ids(&env.pool, Named::Genre, &cinema::genres()).await?;
    let genres: HashMap<String, Uuid> =
        genres.into_iter().map(|(name, id)| (name.to_lowercase(), id)).collect();
    let found: Vec<Uuid> = genres.values().copied().collect();
    let found = super::store::genres(&env.pool, &found).await?;
    let now = env.clock.now();
    let mut changes = Vec::new();
    for reel in MOVIES.iter().filter(|reel| !there.contains_key(reel.title)) {
        let ids = reel.genres.iter().filter_map(|name| genres.get(&name.to_lowercase()).copied()).collect();
        let movie = model::movie(create_movie(reel, ids, now), &found, now)
            .map_err(|rejection| anyhow::anyhow!("demo movie {}: {rejection:?}", reel.title))?;
        let created = endpoints::created_event(env, &movie, staff, &Context::new());
        changes.push(Change { outbox: vec![created], ..Change::new(Write::Movie(movie)) });
    }
    let new = write(env, changes).await?;
    let ids = store::ids(&env.pool, Named::Movie, &titles).await?;
    // In the order of the programme, whatever order they were written in.
    let ids: Vec<Uuid> = titles.iter().filter_map(|title| ids.get(*title).copied()).collect();
    let mut movies = super::store::movies(&env.pool, &ids).await?;
    movies.sort_by_key(|movie| ids.iter().position(|id| *id == movie.id));
    Ok((movies, new))
}

fn create_movie(reel: &Reel, genre_ids: Vec<Uuid>, now: Timestamp) -> CreateMovie {
    let released = now.minus(Duration::from_secs(u64::from(reel.weeks_out) * 7 * 24 * 60 * 60));
    CreateMovie {
        title: reel.title.to_owned(),
        synopsis: reel.synopsis.to_owned(),
        duration_minutes: reel.minutes,
        rating: String::new(),
        age_rating: Some(reel.age_rating()),
        release_date: model::date_text(released.date_time().date()),
        language: "en".to_owned(),
        versions: reel.versions(),
        formats: reel.formats(),
        genre_ids,
    }
}

async fn add_auditoriums(env: &Env) -> anyhow::Result<(Vec<Auditorium>, usize)> {
    let names: Vec<&str> = HALLS.iter().map(|hall| hall.name).collect();
    let there = store::ids(&env.pool, Named::Auditorium, &names).await?;
    let now = env.clock.now();
    let is_there = |hall: &&Hall| there.keys().any(|name| name.eq_ignore_ascii_case(hall.name));
    let missing = HALLS.iter().filter(|hall| !is_there(hall)).map(|hall| {
        let auditorium = Auditorium {
            id: Uuid::now_v7(),
            name: hall.name.to_owned(),
            time_zone: TIME_ZONE.to_owned(),
            rows: cinema::rows(hall),
            site_id: DEFAULT_SITE,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        Change::new(Write::Auditorium(auditorium, vec![]))
    });
    let new = write(env, missing.collect()).await?;
    let ids = store::ids(&env.pool, Named::Auditorium, &names).await?;
    let ids: Vec<Uuid> = ids.into_values().collect();
    Ok((super::store::auditoriums(&env.pool, &ids).await?, new))
}

/// The ticket types and price cards, where there are none at all: staff may have their own, or have deleted some.
async fn add_pricing(env: &Env, currency: Currency) -> anyhow::Result<(usize, usize)> {
    let there = super::store::pricing(&env.pool).await?;
    if !there.types.is_empty() || !there.cards.is_empty() {
        return Ok((0, 0));
    }
    let now = env.clock.now();
    let (id, version, created_at, updated_at) = (Uuid::now_v7, 1, now, now);
    let mut types = 0;
    // One after another: each may accompany one before.
    for of in prices::ticket_types() {
        let of = TicketType { id: id(), of, version, created_at, updated_at };
        types += write(env, vec![Change::new(Write::TicketType(of))]).await?;
    }
    let cards = prices::price_cards(currency)
        .into_iter()
        .map(|of| Change::new(Write::PriceCard(PriceCard { id: id(), of, version, created_at, updated_at })));
    Ok((types, write(env, cards.collect()).await?))
}

/// What the shows of an auditorium are made of.
struct Shows<'a> {
    movies: &'a [Movie],
    pricing: &'a Pricing,
    currency: Currency,
    /// Without one, the last show of the programme is a draft, as an example.
    has_draft: bool,
}

/// The showtimes that an auditorium lacks.
async fn programme(
    env: &Env,
    (index, hall): (usize, &Hall),
    auditorium: &Auditorium,
    shows: &Shows<'_>,
) -> anyhow::Result<Vec<Change<Write>>> {
    let Shows { movies, pricing, currency, has_draft } = *shows;
    let mut busy = store::busy(&env.pool, auditorium.id).await?;
    let (now, cleaning) = (env.clock.now(), env.settings.cleaning);
    let mut changes = Vec::new();
    let instants = instants(&auditorium.time_zone, hall.times, now);
    let last = instants.last().map(|(_, _, at)| *at).filter(|_| !has_draft);
    for (date, slot, at) in instants {
        let Some(movie) = cinema::playing(movies, date, index, slot) else { break };
        let basis = Basis { movie: Some(movie), auditorium: Some(auditorium), pricing, cleaning, now };
        let (film_version, format) = cinema::shown(movie, date, slot);
        let wanted = CreateShowtime {
            movie_id: movie.id,
            auditorium_id: auditorium.id,
            starts_at: at,
            prices: None,
            price_card_id: None,
            surcharges: cinema::surcharges(&movie.title),
            overrides: Default::default(),
            film_version,
            format,
            on_sale_at: None,
            minutes_before_film: cinema::MINUTES_BEFORE_FILM,
            status: if last == Some(at) { InitialStatus::Draft } else { InitialStatus::OnSale },
        };
        let plain = || {
            let prices = Some(cinema::prices(&auditorium.rows, hall.times[slot], currency));
            CreateShowtime { prices, surcharges: vec![], ..wanted.clone() }
        };
        let scheduled = schedule(wanted.clone(), &basis).or_else(|rejection| match rejection {
            // Of today's slots.
            Rejection::StartsInThePast => Err(rejection),
            // Staff's own cards do not have this.
            _ => schedule(plain(), &basis),
        });
        let Ok(scheduled) = scheduled else { continue };
        let until = scheduled.busy_until();
        if busy.iter().any(|(from, to)| at < *to && *from < until) {
            continue;
        }
        busy.push((at, until));
        let event = endpoints::scheduled_event(env, &scheduled, &Context::new());
        let outbox = event.into_iter().collect();
        changes.push(Change { outbox, ..Change::new(Write::Showtimes(vec![scheduled])) });
    }
    Ok(changes)
}

/// When it is each of `times` on each of the days from today on, in this time zone, in order.
fn instants(time_zone: &str, times: &[Time], now: Timestamp) -> Vec<(Date, usize, Timestamp)> {
    let zone = zone::named(time_zone).unwrap_or(TimeZone::UTC);
    let mut instants = Vec::new();
    let mut day = zone::day_of(now, &zone);
    for _ in 0..=DAYS {
        let Some(date) = day else { break };
        // A time that the clocks skip is not played.
        instants.extend(
            times
                .iter()
                .enumerate()
                .filter_map(|(slot, time)| Some((date, slot, zone::instant(date, *time, &zone)?))),
        );
        day = date.next_day();
    }
    instants.sort_by_key(|(_, _, at)| *at);
    instants
}

/// Commits all changes together and returns how many there were. What another process added meanwhile does not count.
async fn write(env: &Env, changes: Vec<Change<Write>>) -> anyhow::Result<usize> {
    let outcomes = try_join_all(changes.into_iter().map(|change| async {
        match env.journal.commit(change).await {
            Outcome::Committed { .. } => Ok(1),
            Outcome::Rejected(
                Rejection::GenreTaken
                | Rejection::AuditoriumNameTaken
                | Rejection::TicketTypeTaken
                | Rejection::AuditoriumTaken(_),
            ) => Ok(0),
            other => Err(anyhow::anyhow!("seeding the demo cinema: {other:?}")),
        }
    }));
    Ok(outcomes.await?.into_iter().sum())
}
