//! A showtime with what it froze: made of a movie, an auditorium and prices, changed, cancelled, refitted, taken back.
//!
//! Invariant: each change is the next version, and a published showtime never becomes a draft again. The prices that are shown are those of the tariff, where there is one.

use std::time::Duration;

use bus::contract::movie::{
    Auditorium, CreateShowtime, FilmVersion, Movie, Rejection, Row, Showtime, ShowtimeScheduled,
    ShowtimeStatus, UnpublishedReason, UpdateShowtime,
};
use bus::contract::tariff::Channel;
use bus::contract::{Tariff, Timestamp};
use uuid::Uuid;

use super::layout::kinds_sold;
use super::tariff::{Pricing, Show, Wanted, tariff};

/// A showtime with the seats and the tariff that it froze.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    pub showtime: Showtime,
    pub rows: Vec<Row>,
    /// `None`: it is sold by the showtime's plain prices.
    pub tariff: Option<Tariff>,
    /// When the auditorium is clean again; `None` for those from before there was a gap.
    pub free_at: Option<Timestamp>,
    /// Of the auditorium whose seats were frozen.
    pub auditorium_version: i64,
}

/// What showtimes are made of, as it is now.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    pub movie: Option<&'a Movie>,
    pub auditorium: Option<&'a Auditorium>,
    /// Not read for plain prices.
    pub pricing: &'a Pricing,
    pub cleaning: Duration,
    pub now: Timestamp,
}

/// Makes a showtime, frozen as its basis is now. Whether the auditorium is free, only the database can decide.
pub fn schedule(wanted: CreateShowtime, basis: &Basis<'_>) -> Result<Scheduled, Rejection> {
    let movie = basis.movie.ok_or(Rejection::UnknownMovie)?;
    let auditorium = basis.auditorium.ok_or(Rejection::UnknownAuditorium)?;
    if wanted.starts_at <= basis.now {
        return Err(Rejection::StartsInThePast);
    }
    let showing = wanted.showing();
    may_show(movie, showing.film_version.as_ref(), showing.format.as_ref())?;
    if showing.on_sale_at.is_some_and(|at| at >= wanted.starts_at) {
        return Err(Rejection::SaleAfterStart);
    }
    let show = Show {
        starts_at: wanted.starts_at,
        minutes: movie.duration_minutes,
        time_zone: &auditorium.time_zone,
        rows: &auditorium.rows,
    };
    let of =
        Wanted { prices: wanted.prices.as_ref(), card: wanted.price_card_id, surcharges: &wanted.surcharges };
    let tariff = tariff(of, show, basis.pricing)?;
    let ends_at =
        wanted.starts_at.plus(minutes(showing.minutes_before_film) + minutes(movie.duration_minutes));
    let showtime = Showtime {
        id: Uuid::now_v7(),
        movie_id: movie.id,
        movie_title: movie.title.clone(),
        auditorium_id: auditorium.id,
        auditorium_name: auditorium.name.clone(),
        time_zone: auditorium.time_zone.clone(),
        starts_at: wanted.starts_at,
        ends_at,
        prices: wanted.prices.unwrap_or_default(),
        price_card: None,
        surcharges: vec![],
        order_fee: None,
        site_id: auditorium.site_id,
        overrides: wanted.overrides,
        status: wanted.status.into(),
        showing,
        sales_end_at: None,
        availability: None,
        version: 1,
        created_at: basis.now,
        updated_at: basis.now,
    };
    let (rows, auditorium_version) = (auditorium.rows.clone(), auditorium.version);
    let free_at = Some(ends_at.plus(basis.cleaning));
    let mut scheduled = Scheduled { showtime, rows, tariff, free_at, auditorium_version };
    scheduled.show_tariff();
    Ok(scheduled)
}

fn minutes(minutes: u16) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

/// Refuses a version or a format that the movie does not have.
fn may_show(movie: &Movie, version: Option<&FilmVersion>, format: Option<&String>) -> Result<(), Rejection> {
    if version.is_some_and(|version| !movie.versions.contains(version)) {
        return Err(Rejection::VersionUnknown);
    }
    if format.is_some_and(|format| !movie.formats.contains(format)) {
        return Err(Rejection::FormatUnknown);
    }
    Ok(())
}

/// The showtime after a change of start, prices or what it shows. `movie` is its movie, where the change names a version or a
/// format. The caller checks whether seats are sold.
pub fn changed(
    current: &Scheduled,
    change: &UpdateShowtime,
    movie: Option<&Movie>,
    pricing: &Pricing,
    cleaning: Duration,
    now: Timestamp,
) -> Result<Scheduled, Rejection> {
    match current.showtime.status {
        ShowtimeStatus::Cancelled => return Err(Rejection::ShowtimeCancelled),
        ShowtimeStatus::Draft | ShowtimeStatus::OnSale if current.showtime.starts_at <= now => {
            return Err(Rejection::ShowtimeStarted);
        }
        ShowtimeStatus::Draft | ShowtimeStatus::OnSale => {}
    }
    let mut changed = current.next(now);
    if change.prices.is_some() || change.price_card_id.is_some() {
        changed.reprice(change, pricing)?;
    }
    if let Some(overrides) = change.overrides {
        changed.showtime.overrides = overrides;
    }
    if let Some(starts_at) = change.starts_at.filter(|at| *at != current.showtime.starts_at) {
        if starts_at <= now {
            return Err(Rejection::StartsInThePast);
        }
        changed.start(starts_at);
        changed.free_at = Some(changed.showtime.ends_at.plus(cleaning));
    }
    changed.show(change, movie, cleaning)?;
    Ok(changed)
}

/// Whether a request changes the version or the format, so that the movie must be known.
pub fn needs_movie(change: &UpdateShowtime) -> bool {
    change.film_version.is_some() || change.format.is_some()
}

/// The showtime as it is published.
pub fn published(current: &Scheduled, now: Timestamp) -> Result<Scheduled, UnpublishedReason> {
    match current.showtime.status {
        ShowtimeStatus::OnSale => Err(UnpublishedReason::AlreadyPublished),
        ShowtimeStatus::Cancelled => Err(UnpublishedReason::ShowtimeCancelled),
        ShowtimeStatus::Draft if current.showtime.starts_at <= now => Err(UnpublishedReason::ShowtimeStarted),
        ShowtimeStatus::Draft => {
            let mut published = current.next(now);
            published.showtime.status = ShowtimeStatus::OnSale;
            Ok(published)
        }
    }
}

/// How a showtime ends that is taken off the programme.
#[derive(Debug, Clone, PartialEq)]
pub enum Removal {
    /// It is cancelled already.
    Nothing,
    Cancelled(Scheduled),
    /// A draft, which nobody has seen, is deleted.
    Deleted,
}

/// Takes the showtime off the programme.
pub fn cancelled(current: &Scheduled, now: Timestamp) -> Result<Removal, Rejection> {
    match current.showtime.status {
        ShowtimeStatus::Cancelled => Ok(Removal::Nothing),
        ShowtimeStatus::Draft => Ok(Removal::Deleted),
        // A show that has begun may still break off, and is refunded then.
        ShowtimeStatus::OnSale if current.showtime.ends_at <= now => Err(Rejection::ShowtimeOver),
        ShowtimeStatus::OnSale => {
            let mut cancelled = current.next(now);
            cancelled.showtime.status = ShowtimeStatus::Cancelled;
            Ok(Removal::Cancelled(cancelled))
        }
    }
}

/// What the view has of a tariff beside its prices: the card, the surcharges and the fee of an order.
pub fn show_terms(showtime: &mut Showtime, tariff: Option<&Tariff>) {
    showtime.price_card = tariff.and_then(|tariff| tariff.card.clone());
    let surcharges = tariff.into_iter().flat_map(|tariff| &tariff.surcharges);
    showtime.surcharges = surcharges.map(|surcharge| surcharge.code.clone()).collect();
    showtime.order_fee = tariff.map(|tariff| tariff.order_fee(Channel::Web)).filter(|fee| fee.amount > 0);
}

impl Scheduled {
    /// Until when no other showtime may have the auditorium.
    pub fn busy_until(&self) -> Timestamp {
        self.free_at.unwrap_or(self.showtime.ends_at)
    }

    /// The next version, with nothing changed yet.
    pub fn next(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.showtime.version += 1;
        next.showtime.updated_at = now;
        next
    }

    /// Whether customers and other domains know it.
    pub fn is_published(&self) -> bool {
        self.showtime.status != ShowtimeStatus::Draft
    }

    /// Takes what a change says of version, format, the start of the sale, and the time before the film.
    fn show(
        &mut self,
        change: &UpdateShowtime,
        movie: Option<&Movie>,
        cleaning: Duration,
    ) -> Result<(), Rejection> {
        let UpdateShowtime { film_version, format, on_sale_at, minutes_before_film, .. } = change;
        if needs_movie(change) {
            let (version, format) = (film_version.iter().flatten().next(), format.iter().flatten().next());
            may_show(movie.ok_or(Rejection::UnknownMovie)?, version, format)?;
        }
        let showtime = &mut self.showtime;
        let showing = &mut showtime.showing;
        if let Some(film_version) = film_version {
            showing.film_version = film_version.clone();
        }
        if let Some(format) = format {
            showing.format = format.clone();
        }
        if let Some(on_sale_at) = on_sale_at {
            showing.on_sale_at = *on_sale_at;
        }
        if let Some(before) = minutes_before_film.filter(|before| *before != showing.minutes_before_film) {
            let film_begins = showtime.starts_at.plus(minutes(showing.minutes_before_film));
            let film_lasts = showtime.ends_at.date_time() - film_begins.date_time();
            showing.minutes_before_film = before;
            showtime.ends_at = showtime.starts_at.plus(minutes(before)).plus(film_lasts.unsigned_abs());
            self.free_at = Some(showtime.ends_at.plus(cleaning));
        }
        if self.showtime.showing.on_sale_at.is_some_and(|at| at >= self.showtime.starts_at) {
            return Err(Rejection::SaleAfterStart);
        }
        Ok(())
    }

    /// Takes other prices: plain ones, or a tariff of the card as it is now.
    fn reprice(&mut self, change: &UpdateShowtime, pricing: &Pricing) -> Result<(), Rejection> {
        let showtime = &self.showtime;
        let lasts = showtime.ends_at.date_time() - showtime.starts_at.date_time();
        let of_film = lasts.whole_minutes() - i64::from(showtime.showing.minutes_before_film);
        let show = Show {
            starts_at: showtime.starts_at,
            minutes: u16::try_from(of_film).unwrap_or(u16::MAX),
            time_zone: &showtime.time_zone,
            rows: &self.rows,
        };
        let (prices, card) = (change.prices.as_ref(), change.price_card_id);
        self.tariff = tariff(Wanted { prices, card, surcharges: &change.surcharges }, show, pricing)?;
        if let Some(prices) = prices {
            self.showtime.prices = prices.clone();
        }
        self.show_tariff();
        Ok(())
    }

    /// Shows of its tariff what the view has: the default type's prices for the kinds of seat that there are, the card and the
    /// surcharges.
    fn show_tariff(&mut self) {
        let showtime = &mut self.showtime;
        show_terms(showtime, self.tariff.as_ref());
        if let Some(tariff) = &self.tariff {
            let kinds = kinds_sold(&self.rows);
            showtime.prices = tariff.prices();
            showtime.prices.retain(|kind, _| kinds.contains(kind));
        }
    }

    /// Moves it; it lasts as long as before.
    fn start(&mut self, starts_at: Timestamp) {
        if starts_at == self.showtime.starts_at {
            return;
        }
        let lasts = self.showtime.ends_at.date_time() - self.showtime.starts_at.date_time();
        // None where a longer movie overlaps the next showtime.
        let cleaned =
            (self.busy_until().date_time() - self.showtime.ends_at.date_time()).max(time::Duration::ZERO);
        self.showtime.starts_at = starts_at;
        self.showtime.ends_at = starts_at.plus(lasts.unsigned_abs());
        self.free_at = self.free_at.map(|_| self.showtime.ends_at.plus(cleaned.unsigned_abs()));
    }

    /// The showtime with the auditorium as it is now.
    pub fn refitted(&self, auditorium: &Auditorium, now: Timestamp) -> Self {
        let mut refitted = self.next(now);
        refitted.showtime.auditorium_name = auditorium.name.clone();
        refitted.showtime.time_zone = auditorium.time_zone.clone();
        refitted.rows = auditorium.rows.clone();
        refitted.show_tariff();
        refitted
    }

    /// The showtime with the start and the seats that reservation has kept.
    pub fn taken_back(&self, starts_at: Timestamp, rows: Vec<Row>, now: Timestamp) -> Self {
        let mut back = Self { rows, ..self.next(now) };
        back.show_tariff();
        back.start(starts_at);
        back
    }

    /// The event with all that selling its seats needs.
    pub fn event(&self) -> ShowtimeScheduled {
        let showtime = self.showtime.clone();
        ShowtimeScheduled {
            showtime_id: showtime.id,
            version: showtime.version,
            movie_id: showtime.movie_id,
            movie_title: showtime.movie_title,
            auditorium_id: showtime.auditorium_id,
            auditorium_name: showtime.auditorium_name,
            time_zone: showtime.time_zone,
            starts_at: showtime.starts_at,
            ends_at: showtime.ends_at,
            rows: self.rows.clone(),
            prices: showtime.prices,
            tariff: self.tariff.clone(),
            site_id: showtime.site_id,
            overrides: showtime.overrides,
            status: showtime.status,
            showing: showtime.showing,
        }
    }
}
