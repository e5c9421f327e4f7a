//! The showtime actor: holds one showtime's seat map and decides which order gets which seats, at once and in memory.
//!
//! A winner's seats are marked and the change goes to the journal; the actor does not wait for the commit. An order is refused
//! only when the map is as new as the database was after the request arrived, when the refusal depends on committed seats
//! alone, and when the request's idempotency key was not used before. So the refused orders of a rush share one small query,
//! and no order is refused a seat that had become free.

use std::collections::VecDeque;
use std::time::Duration;

use bus::contract::auth::Role;
use bus::contract::movie::DescribeShowtime;
use bus::contract::reservation::{FindBestSeats, QuoteTickets, Rejection, SeatsChanged, seats_subject};
use bus::contract::{Locale, Timestamp};
use bus::service::Ask;
use bus::{Context, Failure, Problem};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Env;
use super::actor;
use super::holds::{Bounds, may_order};
use super::model::{Reservation, Showtime, Snapshot};
use super::order::{self, Choice, Order, Reply, answer, new_reservation, replay};
use super::pricing;
use super::seat_map::{Applied, SeatMap};
use super::store::{self, Rows, Step};
use crate::config::ReservationSettings;
use crate::delivery::{Change, IdempotencyWrite, Outcome, StoredAnswer, read_failure};
use crate::supervision::entity::{Address, Entity};

/// A version that is missing for this long will not arrive any more: read again.
const GAP_MAX: Duration = Duration::from_millis(100);
/// Tries of one order that loses its seats to other hosts; best-available then finds others.
const TRIES_MAX: u32 = 8;

pub enum Message {
    Create(Box<Order>),
    View(View, Reply),
    Loaded(Result<Option<Snapshot>, Failure>),
    Noticed(SeatsChanged),
    /// Read again, unless the map has reached this version by notices.
    ReadUpTo(i64),
    Checked(Box<Order>, Result<(Option<StoredAnswer>, i64), Failure>),
    ViewChecked(View, Reply, Result<i64, Failure>),
    Written(Box<Written>),
    /// Marks were settled.
    DecideAgain,
}

/// A request that reads a showtime's seats without taking any.
pub enum View {
    Map,
    Best(Box<FindBestSeats>),
    Tariff,
    Quote(Box<QuoteTickets>, Locale),
}

/// How an order's change ended, with the answer it gets if it was committed.
pub struct Written {
    order: Box<Order>,
    reservation: Box<Reservation>,
    response: Bytes,
    outcome: Outcome<Rows>,
}

pub struct ShowtimeActor {
    id: Uuid,
    env: Env,
    me: Address<Self>,
    hall: Option<Hall>,
    loading: bool,
    /// Arrived before the map was loaded.
    unloaded: VecDeque<Message>,
    /// Blocked only by marks.
    waiting_for_marks: Vec<Box<Order>>,
    is_deciding_again: bool,
    /// The map is older than the database was when they arrived.
    waiting_for_sequence: Vec<Box<Order>>,
    views: Vec<(View, Reply, i64)>,
    /// Orders and views that are at the database or in the journal.
    under_way: usize,
    listening: tokio::task::JoinHandle<()>,
}

struct Hall {
    showtime: Showtime,
    map: SeatMap,
}

impl Hall {
    fn show(&self, view: &View, env: &Env) -> Result<Bytes, Problem> {
        match view {
            View::Map => bus::service::json(&self.map.view()),
            View::Best(request) => {
                let settings = env.settings_for(&self.showtime, Role::User);
                let now = env.clock.now();
                bus::service::json(&order::find_best(request, &self.showtime, &self.map, &settings, now)?)
            }
            View::Tariff => bus::service::json(&pricing::shown(&self.showtime)),
            View::Quote(request, locale) => {
                let tickets = &request.tickets;
                bus::service::json(&pricing::quote_tickets(&self.showtime, &self.map, tickets, *locale)?)
            }
        }
    }
}

impl Drop for ShowtimeActor {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Entity for ShowtimeActor {
    type Env = Env;
    type Message = Message;
    const KIND: &'static str = "showtimes";
    const IDLE: Duration = Duration::from_secs(60);

    fn new(id: Uuid, env: Env, me: Address<Self>) -> Self {
        let mut actor = Self {
            id,
            listening: listen(id, env.clone(), me.clone()),
            env,
            me,
            hall: None,
            loading: false,
            unloaded: VecDeque::new(),
            waiting_for_marks: Vec::new(),
            is_deciding_again: false,
            waiting_for_sequence: Vec::new(),
            views: Vec::new(),
            under_way: 0,
        };
        actor.load();
        actor
    }

    fn is_quiet(&self) -> bool {
        self.under_way == 0
            && !self.loading
            && self.unloaded.is_empty()
            && self.waiting_for_marks.is_empty()
            && self.waiting_for_sequence.is_empty()
            && self.views.is_empty()
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Loaded(loaded) => self.loaded(loaded),
            Message::Noticed(notice) => self.noticed(&notice),
            Message::ReadUpTo(wanted) if self.hall.as_ref().is_none_or(|hall| hall.map.sequence < wanted) => {
                self.load()
            }
            Message::ReadUpTo(_) => {}
            Message::Create(_) | Message::View(..) if self.hall.is_none() => {
                self.unloaded.push_back(message);
                self.load();
            }
            Message::Create(order) => self.decide(order),
            Message::View(view, reply) => self.check_view(view, reply),
            Message::Checked(order, checked) => self.checked(order, checked),
            Message::ViewChecked(view, reply, sequence) => self.view_checked(view, reply, sequence),
            Message::Written(written) => self.written(*written),
            Message::DecideAgain => self.decide_again(),
        }
    }
}

impl ShowtimeActor {
    /// Reads the showtime and its claims; requests an unknown showtime from movie.
    fn load(&mut self) {
        if self.loading {
            return;
        }
        self.loading = true;
        let (id, env, me) = (self.id, self.env.clone(), self.me.clone());
        tokio::spawn(async move { me.send(Message::Loaded(read(id, &env).await)) });
    }

    fn loaded(&mut self, loaded: Result<Option<Snapshot>, Failure>) {
        self.loading = false;
        match loaded {
            Ok(Some(snapshot)) => {
                let claims = snapshot.claims.iter().map(|(seat, status)| (seat, *status));
                let hall = self.hall.get_or_insert_with(|| Hall {
                    map: SeatMap::new(
                        &snapshot.showtime.layout,
                        &snapshot.showtime.tariff.prices(),
                        snapshot.sequence,
                    ),
                    showtime: snapshot.showtime.clone(),
                });
                if snapshot.showtime.version > hall.showtime.version {
                    hall.map.refit(&snapshot.showtime.layout, &snapshot.showtime.tariff.prices());
                    hall.showtime = snapshot.showtime.clone();
                }
                hall.showtime.status = snapshot.showtime.status;
                // Notices that arrived while the query ran may have made the map newer.
                if snapshot.sequence >= hall.map.sequence {
                    hall.map.load(snapshot.sequence, claims);
                }
                self.advanced();
                // A request that arrived while the query ran may need a version that the query did not see.
                let orders = self.waiting_for_sequence.iter().filter_map(|order| order.checked);
                if let Some(wanted) = orders.chain(self.views.iter().map(|(_, _, wanted)| *wanted)).max() {
                    self.expect(wanted);
                }
            }
            Ok(None) => self.refuse_unloaded(|| Rejection::NoSuchShowtime.into()),
            Err(failure) => {
                tracing::warn!(showtime = %self.id, %failure, "seat map not loaded");
                self.refuse_unloaded(|| Problem::unavailable("The seat map cannot be read just now."));
                for order in self.waiting_for_sequence.drain(..) {
                    answer(order.reply, Err(failure.clone().into()));
                }
                for (_, reply, _) in self.views.drain(..) {
                    answer(reply, Err(failure.clone().into()));
                }
            }
        }
        for message in std::mem::take(&mut self.unloaded) {
            self.handle(message);
        }
    }

    fn refuse_unloaded(&mut self, problem: impl Fn() -> Problem) {
        for message in self.unloaded.drain(..) {
            match message {
                Message::Create(order) => answer(order.reply, Err(problem())),
                Message::View(_, reply) => answer(reply, Err(problem())),
                _ => {}
            }
        }
    }

    fn noticed(&mut self, notice: &SeatsChanged) {
        let Some(hall) = &mut self.hall else { return };
        match hall.map.apply(notice) {
            Applied::Newer => self.advanced(),
            Applied::Old => {}
            Applied::Gap => self.expect(notice.sequence),
        }
    }

    /// A version that exists should arrive as a notice; it is read if it does not.
    fn expect(&self, sequence: i64) {
        self.me.send_after(GAP_MAX, Message::ReadUpTo(sequence));
    }

    /// The map is newer: decides the orders and views that waited for that.
    fn advanced(&mut self) {
        let Some(hall) = &self.hall else { return };
        let sequence = hall.map.sequence;
        for (view, reply, _) in self.views.extract_if(.., |(_, _, wanted)| *wanted <= sequence) {
            answer(reply, hall.show(&view, &self.env));
        }
        let ready =
            self.waiting_for_sequence.extract_if(.., |order| order.checked.is_some_and(|at| at <= sequence));
        for order in ready.collect::<Vec<_>>() {
            self.decide(order);
        }
    }

    fn decide(&mut self, order: Box<Order>) {
        let Some(hall) = &mut self.hall else { return answer(order.reply, Err(Problem::internal())) };
        let settings = self.env.settings_for(&hall.showtime, order.identity.role);
        let now = self.env.clock.now();
        let (request, locale) = (&order.request, order.locale());
        let choice = order::decide(request, &hall.showtime, &hall.map, &settings, locale, now);
        let allowed = choice.and_then(|choice| {
            if let Some(Choice { quote, .. }) = &choice {
                may_order(&settings, &order.customer(), quote.total)?;
            }
            Ok(choice)
        });
        match allowed {
            Ok(Some(choice)) => self.take(order, choice, &settings, now),
            Ok(None) => self.waiting_for_marks.push(order),
            Err(rejection) => self.refuse(order, rejection),
        }
    }

    /// Marks the seats and gives the change to the journal.
    fn take(
        &mut self,
        order: Box<Order>,
        Choice { seats, quote }: Choice,
        settings: &ReservationSettings,
        now: Timestamp,
    ) {
        let Some(hall) = &mut self.hall else { return };
        let locale = order.locale();
        let (reservation, events) =
            new_reservation(&order.identity, &hall.showtime, quote, locale, settings, now);
        let bounds = Bounds::of_order(settings, &order.customer(), seats.len(), hall.map.capacity());
        let response = match bus::service::json(&reservation.view(now)) {
            Ok(response) => response,
            Err(problem) => return answer(order.reply, Err(problem)),
        };
        #[cfg(feature = "planted")]
        let order = answered_early(order, &response);
        hall.map.mark(&seats, reservation.id);
        let made = Box::new(reservation.clone());
        let change = Change {
            outbox: reservation.events(&reservation, &events, None, &order.context),
            idempotency: Some(IdempotencyWrite::Claim {
                key: order.key.clone(),
                request_hash: order.request_hash,
                response: Some(response.clone()),
            }),
            ..Change::new(Rows::Step(Box::new(Step::of_new(reservation, bounds, hall.showtime.version))))
        };
        self.under_way += 1;
        let me = self.me.clone();
        self.env.journal.write(change, move |outcome| {
            me.send(Message::Written(Box::new(Written { order, reservation: made, response, outcome })));
        });
    }

    fn written(&mut self, Written { mut order, reservation, response, outcome }: Written) {
        self.under_way -= 1;
        let committed = matches!(outcome, Outcome::Committed { .. });
        if let Some(hall) = &mut self.hall {
            hall.map.settle(reservation.id, committed);
        }
        match outcome {
            Outcome::Committed { .. } => {
                answer(order.reply, Ok(response));
                self.env.sagas().send(reservation.id, actor::Message::Cached(reservation));
            }
            Outcome::Repeated(stored) => answer(order.reply, replay(&order.request_hash, stored)),
            // Another host was faster. Named seats are taken; best-available finds others.
            Outcome::Rejected(Rejection::SeatsTaken(_)) if order.tries < TRIES_MAX => {
                order.tries += 1;
                order.checked = None;
                self.check(order);
            }
            // Seats or prices changed since: decide again by the new ones.
            Outcome::Stale if order.tries < TRIES_MAX => {
                order.tries += 1;
                order.checked = None;
                self.check(order);
            }
            Outcome::Rejected(rejection) => answer(order.reply, Err(rejection.into())),
            Outcome::Failed(failure) => answer(order.reply, Err(failure.into())),
            Outcome::Stale => answer(order.reply, Err(Problem::internal())),
        }
        // The outcomes of a batch arrive one after the other: the waiting orders are decided once, after all of them.
        if !self.waiting_for_marks.is_empty() && !std::mem::replace(&mut self.is_deciding_again, true) {
            self.me.send(Message::DecideAgain);
        }
    }

    /// Decides the orders whose blocking marks are settled now; orders blocked by other marks wait again.
    fn decide_again(&mut self) {
        self.is_deciding_again = false;
        for order in std::mem::take(&mut self.waiting_for_marks) {
            self.decide(order);
        }
    }

    /// A refusal is final once it was checked against the database.
    fn refuse(&mut self, order: Box<Order>, rejection: Rejection) {
        let fresh = self.hall.as_ref().zip(order.checked).is_some_and(|(hall, at)| at <= hall.map.sequence);
        if fresh { answer(order.reply, Err(rejection.into())) } else { self.check(order) }
    }

    fn check(&mut self, order: Box<Order>) {
        self.under_way += 1;
        let (id, env, me) = (self.id, self.env.clone(), self.me.clone());
        tokio::spawn(async move {
            let checked = tokio::try_join!(env.answers.get(order.key.clone()), env.sequences.get(id));
            let checked = checked.map(|(stored, sequence)| (stored, sequence.unwrap_or(0)));
            me.send(Message::Checked(order, checked));
        });
    }

    fn checked(&mut self, mut order: Box<Order>, checked: Result<(Option<StoredAnswer>, i64), Failure>) {
        self.under_way -= 1;
        let (stored, sequence) = match checked {
            Ok(checked) => checked,
            Err(failure) => return answer(order.reply, Err(failure.into())),
        };
        if let Some(stored) = stored {
            return answer(order.reply, replay(&order.request_hash, stored));
        }
        order.checked = Some(sequence);
        match &self.hall {
            Some(hall) if hall.map.sequence < sequence => {
                self.waiting_for_sequence.push(order);
                self.expect(sequence);
            }
            _ => self.decide(order),
        }
    }

    fn check_view(&mut self, view: View, reply: Reply) {
        self.under_way += 1;
        let (id, env, me) = (self.id, self.env.clone(), self.me.clone());
        tokio::spawn(async move {
            let sequence = env.sequences.get(id).await.map(|sequence| sequence.unwrap_or(0));
            me.send(Message::ViewChecked(view, reply, sequence));
        });
    }

    fn view_checked(&mut self, view: View, reply: Reply, sequence: Result<i64, Failure>) {
        self.under_way -= 1;
        match (sequence, &self.hall) {
            (Ok(sequence), Some(hall)) if hall.map.sequence >= sequence => {
                answer(reply, hall.show(&view, &self.env));
            }
            (Ok(sequence), _) => {
                self.views.push((view, reply, sequence));
                self.expect(sequence);
            }
            (Err(failure), _) => answer(reply, Err(failure.into())),
        }
    }
}

#[cfg(feature = "planted")]
fn answered_early(mut order: Box<Order>, response: &Bytes) -> Box<Order> {
    if bus::config::planted("confirm-before-commit") {
        let closed = oneshot::channel().0;
        answer(std::mem::replace(&mut order.reply, closed), Ok(response.clone()));
    }
    order
}

/// A showtime from the database; an unknown one is requested from movie.
pub async fn read(id: Uuid, env: &Env) -> Result<Option<Snapshot>, Failure> {
    let snapshot = store::snapshot(&env.pool, id).await.map_err(read_failure)?;
    if snapshot.is_some() {
        return Ok(snapshot);
    }
    let described = match env.bus.ask(&DescribeShowtime { id }, &Ask::new(Context::new())).await {
        Ok(described) => described,
        Err(problem) if problem.status == 404 => return Ok(None),
        Err(problem) => return Err(Failure::transient(problem.detail)),
    };
    match env.journal.commit(Change::new(Rows::Showtime(described.into()))).await {
        Outcome::Committed { .. } => store::snapshot(&env.pool, id).await.map_err(read_failure),
        other => Err(Failure::transient(format!("the showtime was not stored: {other:?}"))),
    }
}

/// Receives the changes of other hosts and of this host's journal.
fn listen(id: Uuid, env: Env, me: Address<ShowtimeActor>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut notices = match env.bus.client.subscribe(seats_subject(id)).await {
            Ok(notices) => notices,
            // Without notices every answer costs a reload, and is still right.
            Err(error) => return tracing::warn!(%error, "no subscription to the seat notices"),
        };
        while let Some(message) = notices.next().await {
            match serde_json::from_slice(&message.payload) {
                Ok(notice) => me.send(Message::Noticed(notice)),
                Err(error) => tracing::warn!(%error, "unreadable seat notice"),
            }
        }
    })
}

/// Requests seats from the showtime actor and waits for its answer.
pub async fn create(
    env: &Env,
    order: impl FnOnce(Reply) -> Box<Order>,
    showtime: Uuid,
) -> Result<Bytes, Problem> {
    let (reply, answer) = oneshot::channel();
    env.showtimes().send(showtime, Message::Create(order(reply)));
    answer.await.unwrap_or_else(|_| Err(Problem::unavailable("Please try again.")))
}

/// Reads a showtime's seats from its actor, as new as the database was after the request arrived.
pub async fn view(env: &Env, showtime: Uuid, view: View) -> Result<Bytes, Problem> {
    let (reply, answer) = oneshot::channel();
    env.showtimes().send(showtime, Message::View(view, reply));
    answer.await.unwrap_or_else(|_| Err(Problem::unavailable("Please try again.")))
}
