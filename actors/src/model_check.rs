//! Reservation and payment together, by the shells and machines that production runs, in every order of events: two
//! moviegoers who want two seats, one of them both, or one who exchanges for dearer seats; messages late, doubled and out of order, each again at any later point;
//! answers lost; either process killed between any two steps, or an event handled by another process with its own cache.
//!
//! Breadth first, each state once. From each state all outstanding messages are delivered, and then seats and money must agree.
//! No deduplication is assumed: a message that arrives twice is handled twice, and must change nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::Context;
use bus::contract::payment::PaymentEnd;
use bus::contract::reservation::{RefundPolicy, Rejection};
use bus::contract::{Currency, Line, Locale, Money, OrderCode, SeatId, Timestamp};
use uuid::Uuid;

use crate::config::ReservationSettings;
use crate::delivery::{Change, IdempotencyKey, Outcome};
use crate::entity_shell::{Action as ShellAction, Machine, Memory, Message, Poll, Requester, Shell, Written};
use crate::payment::call::{ProviderCall, ProviderReply};
use crate::payment::endpoints::refund_answer;
use crate::payment::ledger::Account;
use crate::payment::machine::{Input as PaymentInput, WebhookEvent};
use crate::payment::model::{Bill, EXPIRED, Facts, Payment, payment_id, sale};
use crate::payment::provider::objects::About;
use crate::payment::provider::{Answer, AttemptView, Kind, ProviderState, RefundState, RefundView};
use crate::payment::step::PayRequest;
use crate::payment::store::Rows as PaymentRows;
use crate::payment::{PaymentMachine, Wait, consumer as payment_consumer};
use crate::reservation::model::{Reservation, Seats};
use crate::reservation::saga::{
    Cancel, CancelledBy, Claim, Input, Place, Replace, Replacement, Return, Saga, SagaCall, State, Step,
    Terms, ended_input, refund_input, replacement_input,
};
use crate::reservation::store::{Rows as ReservationRows, Step as RowStep};
use crate::reservation::{SagaMachine, consumer as reservation_consumer};

/// Longest history; every state on the way is settled once.
const DEPTH: usize = 9;
/// Further depths are for longer runs: the depths searched until then are printed.
const TIME_MAX: Duration = Duration::from_secs(40);
/// The price of a seat: no two seats cost the same.
const fn price(seat: u8) -> i64 {
    1_000 + 200 * seat as i64
}

fn seat(number: u8) -> SeatId {
    SeatId::new("A", number.into())
}

fn line(number: &u8) -> Line {
    Line::plain(seat(*number), euros(price(*number)))
}

/// The seats that each moviegoer orders.
const WANTS: [&[u8]; 2] = [&[1, 2], &[2]];
/// The dearer seats that the first one exchanges for.
const DEARER: &[u8] = &[3, 4];
/// Attempts to pay of one moviegoer.
const ATTEMPTS_MAX: usize = 2;

/// A published event: its subject and payload.
type Published = (String, String);

#[derive(Clone)]
struct User {
    number: usize,
    wants: &'static [u8],
    /// It is the order in the place of the first user's.
    is_exchange: bool,
    /// The rows.
    reservation: Option<Reservation>,
    payment: Option<Payment>,
    /// The memory of the two processes.
    saga_memory: Memory<SagaMachine>,
    payment_memory: Memory<PaymentMachine>,
    /// Calls of the payment process that are at the provider, with the try of a refund.
    calls: Vec<(ProviderCall, i32)>,
    /// Calls of the reservation process to payment.
    requests: Vec<SagaCall>,
    /// Every event that was published, and whether it was delivered yet.
    events: BTreeMap<Published, bool>,
    /// In the payment process's memory: whether reservation has agreed to the next attempt.
    agreed: bool,
    /// The sums of the ledger's tickets, and of its account of credits.
    tickets: i64,
    credits: i64,
    /// The provider's payments and refunds.
    intents: BTreeMap<String, ProviderState>,
    refunds: BTreeMap<(Uuid, i32), i64>,
    cancelled: bool,
    /// The first seat was given back; another version of the reservation has to do so.
    returned: bool,
}

#[derive(Clone)]
struct World {
    users: Vec<User>,
    claims: BTreeMap<u8, usize>,
    /// A dispute holds the money of the first user.
    is_disputed: bool,
    now: i64,
}

fn at(seconds: i64) -> Timestamp {
    (time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)).into()
}

/// The same for every request: random ids would make equal states differ.
fn fixed_context() -> Context {
    Context { correlation_id: String::new(), traceparent: String::new(), locale: None }
}

/// The requester of an event: as in a delivery, the event has a context.
fn delivery() -> Requester {
    Requester::internal(fixed_context()).0
}

fn euros(amount: i64) -> Money {
    Money { amount, currency: Currency::EUR }
}

/// One of the two entities of a user, as the model runs its shell.
trait Side: Machine {
    fn machine() -> Self;
    fn memory(user: &mut User) -> &mut Memory<Self>;
    fn read(user: &User) -> Option<Self::State>;
    /// The transaction of the journal.
    fn write(world: &mut World, index: usize, change: &Change<Self::Rows>) -> Outcome<Self::Rows>;
    fn call(world: &mut World, index: usize, call: Self::Call, state: Option<Self::State>);
}

impl Side for SagaMachine {
    fn machine() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            settings: Arc::new(ReservationSettings {
                hold: minutes(10),
                hold_max: minutes(20),
                grace: minutes(1),
                seats_per_order_max: 10,
                open_holds_max: 4,
                refund_until: minutes(120),
                refund_percent: 100,
                sales_end: Duration::ZERO,
                limits: None,
                retention: None,
            }),
        }
    }

    fn memory(user: &mut User) -> &mut Memory<Self> {
        &mut user.saga_memory
    }

    fn read(user: &User) -> Option<Reservation> {
        user.reservation.clone()
    }

    fn write(world: &mut World, index: usize, change: &Change<ReservationRows>) -> Outcome<ReservationRows> {
        match &change.rows {
            ReservationRows::Step(step) => {
                if let Some(lost) = world.refusal(step) {
                    return lost;
                }
                world.put(step);
            }
            ReservationRows::Pair(steps) => {
                if let Some(lost) = steps.iter().find_map(|step| world.refusal(step)) {
                    return lost;
                }
                steps.iter().for_each(|step| world.put(step));
            }
            ReservationRows::Deadline { version: expected, deadline, .. } => {
                let row = world.users[index].reservation.as_mut();
                match row.filter(|row| row.version == *expected) {
                    Some(row) => row.deadline = *deadline,
                    None => return Outcome::Stale,
                }
            }
            _ => unreachable!("this model writes no other rows"),
        }
        world.publish_all(&change.outbox);
        Outcome::Committed { written: Vec::new(), at: at(world.now) }
    }

    fn call(world: &mut World, index: usize, call: SagaCall, _state: Option<Reservation>) {
        if !world.users[index].requests.contains(&call) {
            world.users[index].requests.push(call);
        }
    }
}

impl Side for PaymentMachine {
    fn machine() -> Self {
        Self { provider: "stripe" }
    }

    fn memory(user: &mut User) -> &mut Memory<Self> {
        &mut user.payment_memory
    }

    fn read(user: &User) -> Option<Payment> {
        user.payment.clone()
    }

    fn write(world: &mut World, index: usize, change: &Change<PaymentRows>) -> Outcome<PaymentRows> {
        let user = &mut world.users[index];
        let version = user.payment.as_ref().map_or(0, |row| row.version);
        match &change.rows {
            PaymentRows::Step(rows) if rows.expected != version => return Outcome::Stale,
            PaymentRows::Step(rows) => {
                user.tickets += rows.postings.iter().map(|posting| posting.tickets).sum::<i64>();
                let credits = rows.postings.iter().filter(|posting| posting.account == Account::Credit);
                user.credits += credits.map(|posting| posting.total.amount).sum::<i64>();
                user.payment = Some(rows.payment.clone());
            }
            PaymentRows::Check { version: expected, at, .. } => {
                match user.payment.as_mut().filter(|row| row.version == *expected) {
                    Some(row) => row.next_check_at = *at,
                    None => return Outcome::Stale,
                }
            }
            PaymentRows::Event(_) => {}
            PaymentRows::Cursor(_)
            | PaymentRows::Numbering(_)
            | PaymentRows::Buyer(_)
            | PaymentRows::Signature(_) => unreachable!("this model has no workers and no buyers"),
        }
        world.publish(index, &change.outbox);
        Outcome::Committed { written: (), at: at(world.now) }
    }

    fn call(world: &mut World, index: usize, call: ProviderCall, state: Option<Payment>) {
        let tries = match call {
            ProviderCall::Refund(id) | ProviderCall::LookAtRefund(id) | ProviderCall::FindRefund(id) => {
                state.as_ref().and_then(|payment| payment.refund(id)).map_or(1, |refund| refund.tries)
            }
            ProviderCall::Begin(_)
            | ProviderCall::Look(_)
            | ProviderCall::Close(_)
            | ProviderCall::LookAtDispute(_) => 0,
        };
        world.users[index].calls.push((call, tries));
    }
}

impl User {
    fn new(number: usize) -> Self {
        Self {
            number,
            wants: WANTS[number],
            is_exchange: false,
            reservation: None,
            payment: None,
            saga_memory: Memory::default(),
            payment_memory: Memory::default(),
            calls: Vec::new(),
            requests: Vec::new(),
            events: BTreeMap::new(),
            agreed: false,
            tickets: 0,
            credits: 0,
            intents: BTreeMap::new(),
            refunds: BTreeMap::new(),
            cancelled: false,
            returned: false,
        }
    }

    fn id(&self) -> Uuid {
        Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001 + self.number as u128)
    }

    fn total(&self) -> Money {
        euros(self.wants.iter().map(|seat| price(*seat)).sum())
    }

    /// What its payment charges: of an exchange the difference.
    fn due(&self) -> Money {
        self.payment.as_ref().map_or(self.total(), |payment| payment.total)
    }

    fn intent(&self, number: i32) -> String {
        if self.is_exchange { format!("px_{number}") } else { format!("pi_{number}") }
    }

    /// The provider's money for its order, the credit of the replaced order included.
    fn value(&self) -> i64 {
        let Some(row) = &self.reservation else { return self.held() };
        let credit = row.saga.credit.as_ref().filter(|_| row.saga.captured.is_some());
        let credit = credit.map_or(0, |credit| credit.total.amount);
        self.held() + credit - row.saga.credited_sum()
    }

    /// The first pays with a card's token, the second on the provider's page.
    fn kind(&self) -> Kind {
        match self.number {
            0 => Kind::Token { method: Some("pm_card_visa".into()) },
            _ => Kind::Hosted { ends_at: 2_400, purchase: None },
        }
    }

    fn view(&self, intent: &str) -> AttemptView {
        let state = self.intents[intent].clone();
        let session = (self.number == 1).then(|| format!("cs_{intent}"));
        AttemptView { intent: Some(intent.to_owned()), session, url: None, total: Some(self.due()), state }
    }

    fn held(&self) -> i64 {
        let captured =
            self.intents.values().filter(|state| **state == ProviderState::Captured).count() as i64;
        captured * self.due().amount - self.refunds.values().sum::<i64>()
    }

    /// The number of seats that it has or had.
    fn seats(&self) -> usize {
        self.reservation.as_ref().map_or(0, |row| row.saga.terms.lines.len())
    }

    fn claim(&self) -> Claim {
        self.reservation.as_ref().map_or(Claim::None, |row| row.saga.state.claim())
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.reservation.as_ref().and_then(|row| row.deadline)
    }

    fn next_check(&self) -> Option<Timestamp> {
        self.payment.as_ref().and_then(|row| row.next_check_at)
    }

    /// Whether a message or reply still has to arrive.
    fn is_in_flight(&self) -> bool {
        !self.requests.is_empty()
            || !self.calls.is_empty()
            || self.events.values().any(|delivered| !delivered)
    }
}

impl World {
    fn new() -> Self {
        let users = vec![User::new(0), User::new(1)];
        Self { users, claims: BTreeMap::new(), is_disputed: false, now: 10 }
    }

    /// The first user has paid, and may exchange for the dearer seats of the second order.
    fn of_exchange() -> Self {
        let new = User { wants: DEARER, is_exchange: true, ..User::new(1) };
        let mut world = Self { users: vec![User::new(0), new], ..Self::new() };
        world.order(0);
        world.begin_payment(0);
        world.attempt(0);
        while world.users[0].is_in_flight() {
            for call in world.users[0].calls.clone() {
                world.execute(0, call, &ProviderState::Captured, true);
            }
            let new = world.users[0].events.iter().filter(|(_, delivered)| !**delivered);
            for event in new.map(|(event, _)| event.clone()).collect::<Vec<_>>() {
                world.deliver(0, &event, false);
            }
        }
        assert_eq!(world.users[0].claim(), Claim::Sold);
        world
    }

    /// Why a step cannot be written.
    fn refusal(&self, step: &RowStep) -> Option<Outcome<ReservationRows>> {
        let row = &step.reservation;
        let user = self.user_of(row.id);
        let version = self.users[user].reservation.as_ref().map_or(0, |row| row.version);
        if row.version != version + 1 {
            return Some(Outcome::Stale);
        }
        let takes = matches!(step.seats, Seats::Reclaim | Seats::New { .. });
        let taken = self.users[user].wants.iter().any(|seat| self.claims.contains_key(seat));
        (takes && taken).then(|| Outcome::Rejected(Rejection::SeatsTaken(Vec::new())))
    }

    fn put(&mut self, step: &RowStep) {
        let index = self.user_of(step.reservation.id);
        match step.seats {
            Seats::Reclaim | Seats::New { .. } => {
                self.claims.extend(self.users[index].wants.iter().map(|seat| (*seat, index)));
            }
            Seats::Free => self.claims.retain(|_, owner| *owner != index),
            Seats::Keep | Seats::Sell => {}
            // A ticket is given back: nothing is taken.
            Seats::Move { .. } => {
                let seats = &step.reservation;
                self.claims.retain(|at, owner| *owner != index || seats.has_seat(&seat(*at)));
            }
        }
        self.users[index].reservation = Some(step.reservation.clone());
    }

    fn user_of(&self, reservation: Uuid) -> usize {
        self.users.iter().position(|user| user.id() == reservation).expect("the reservation of a user")
    }

    /// Each event is of one reservation.
    fn publish_all(&mut self, outbox: &[bus::event::Outgoing]) {
        for event in outbox {
            let payload: serde_json::Value = serde_json::from_slice(&event.payload).expect("JSON");
            let id = payload["reservationId"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            self.publish(self.user_of(id), std::slice::from_ref(event));
        }
    }

    fn publish(&mut self, index: usize, outbox: &[bus::event::Outgoing]) {
        for event in outbox {
            let payload = String::from_utf8(event.payload.to_vec()).expect("JSON");
            self.users[index].events.entry((event.subject.clone(), payload)).or_insert(false);
        }
    }

    /// Runs the shell with its process's memory, until it waits for a message or reply.
    fn send<M: Side>(&mut self, index: usize, message: Message<M>) {
        let memory = std::mem::take(M::memory(&mut self.users[index]));
        *M::memory(&mut self.users[index]) = self.run(index, memory, message);
    }

    /// The same in another process, which starts without memory and ends afterwards.
    fn send_elsewhere<M: Side>(&mut self, index: usize, message: Message<M>) {
        self.run(index, Memory::default(), message);
    }

    fn run<M: Side>(&mut self, index: usize, memory: Memory<M>, message: Message<M>) -> Memory<M> {
        let mut shell = Shell::remembering(M::machine(), memory);
        let mut messages = VecDeque::from([message]);
        while let Some(message) = messages.pop_front() {
            for action in shell.handle(message, at(self.now)) {
                match action {
                    ShellAction::Read => {
                        messages.push_back(Message::Read(Ok(M::read(&self.users[index]))));
                    }
                    ShellAction::Write(change, job, plan) => {
                        let outcome = M::write(self, index, &change);
                        let written = Written { job: *job, plan: *plan, outcome };
                        messages.push_back(Message::Written(Box::new(written)));
                    }
                    ShellAction::Call { call, state, .. } => M::call(self, index, call, state),
                    ShellAction::ReadKey(job) => messages.push_back(Message::KeyRead(Some(job))),
                    ShellAction::Wake(_) => messages.push_back(Message::Deferred),
                }
            }
        }
        shell.memory()
    }

    fn saga(&mut self, index: usize, input: Input) {
        self.send::<SagaMachine>(index, Message::Input(input, Requester::Nobody));
    }

    fn payment(&mut self, index: usize, input: PaymentInput) {
        self.send::<PaymentMachine>(index, Message::Input(input, Requester::Nobody));
    }

    /// A new reservation with its seats, as the showtime actor makes it.
    fn order(&mut self, index: usize) {
        let user = &self.users[index];
        if user.wants.iter().any(|seat| self.claims.contains_key(seat)) {
            return;
        }
        let terms = self.terms(index);
        let Step { next: saga, events, .. } = Saga::start(terms, at(self.now + 600), None);
        let row = Reservation {
            id: user.id(),
            code: OrderCode::parse("K7M2QX4D").unwrap(),
            user_id: Uuid::from_u128(7),
            email: "ada@example.org".into(),
            showtime_id: Uuid::from_u128(8),
            movie_id: Uuid::from_u128(9),
            movie_title: String::new(),
            starts_at: at(36_000),
            version: 1,
            deadline: saga.deadline(at(self.now)),
            saga,
            created_at: at(self.now),
            updated_at: at(self.now),
        };
        self.publish(index, &row.events(&row, &events, None, &fixed_context()));
        self.users[index].reservation = Some(row.clone());
        self.claims.extend(self.users[index].wants.iter().map(|seat| (*seat, index)));
        self.send::<SagaMachine>(index, Message::Cached(Box::new(row)));
    }

    fn terms(&self, index: usize) -> Terms {
        let user = &self.users[index];
        Terms {
            lines: user.wants.iter().map(line).collect(),
            fees: vec![],
            fees_kept: 0,
            total: user.total(),
            starts_at: at(36_000),
            hold_seconds: 600,
            hold_until_max: at(1_200),
            grace_seconds: 60,
            refund_until: at(28_800),
            refund_policy: RefundPolicy { until_minutes: 120, percent: 100 },
            sales_cutoffs: Default::default(),
            site_id: bus::contract::site::DEFAULT_SITE,
            locale: Locale::En,
        }
    }

    fn place(&self, row: &Reservation, lines: &[u8]) -> Place {
        Place {
            planned_on: row.version,
            showtime_id: row.showtime_id,
            showtime_version: 1,
            movie_id: row.movie_id,
            movie_title: String::new(),
            starts_at: row.starts_at,
            lines: lines.iter().map(line).collect(),
            fees: vec![],
            total: euros(lines.iter().map(|seat| price(*seat)).sum()),
        }
    }

    /// The first order is to be replaced by the dearer one.
    fn begin_exchange(&mut self) {
        let Some(row) = &self.users[0].reservation else { return };
        let new = &self.users[1];
        let credit = row.saga.credit_for(row.id, new.total());
        let Step { next: saga, .. } = Saga::start(self.terms(1), at(self.now + 600), Some(row.id));
        let replacement = Replacement {
            id: new.id(),
            code: row.code,
            to: self.place(row, new.wants),
            saga: Saga { credit: Some(credit), ..saga },
            created_at: at(self.now),
        };
        self.saga(0, Input::BeginExchange(Box::new(replacement)));
    }

    /// The first seat of the order is given back.
    fn return_seat(&mut self, index: usize) {
        self.users[index].returned = true;
        let [first, rest @ ..] = self.users[index].wants else { return };
        let Some(row) = &self.users[index].reservation else { return };
        let place = self.place(row, rest);
        let cancel = Cancel::by(CancelledBy::User);
        self.saga(index, Input::Return(Box::new(Return { seats: vec![seat(*first)], rest: place, cancel })));
    }

    fn deliver(&mut self, index: usize, event: &Published, elsewhere: bool) {
        self.users[index].events.insert(event.clone(), true);
        let (subject, payload) = event;
        if let Ok((_, input)) = payment_consumer::input(subject, payload.as_bytes()) {
            let message = Message::<PaymentMachine>::Input(input, delivery());
            if elsewhere { self.send_elsewhere(index, message) } else { self.send(index, message) }
        }
        if let Ok((_, input)) = reservation_consumer::input(subject, payload.as_bytes()) {
            let message = Message::<SagaMachine>::Input(input, delivery());
            if elsewhere { self.send_elsewhere(index, message) } else { self.send(index, message) }
        }
    }

    fn begin_payment(&mut self, index: usize) {
        let payment_id = payment_id(self.users[index].id());
        self.saga(index, Input::BeginPayment { payment_id });
        let row = self.users[index].reservation.as_ref();
        let is_begun = |row: &Reservation| {
            row.saga.state == State::AwaitingPayment { begun: true } && row.saga.expires_at > at(self.now)
        };
        self.users[index].agreed = row.is_some_and(is_begun);
    }

    fn attempt(&mut self, index: usize) {
        let user = &mut self.users[index];
        user.agreed = false;
        let Some(row) = &user.reservation else { return };
        let facts = Facts {
            reservation_id: row.id,
            user_id: row.user_id,
            email: None,
            description: String::new(),
            sale: Some(sale(&row.event())),
            seats_version: 0,
            total: row.saga.due(),
            exchange_of: row.saga.exchange_of,
            credit: row.saga.credit.clone(),
            bill: Bill::default(),
            expires_at: row.saga.expires_at,
        };
        let key = IdempotencyKey { user_id: Uuid::nil(), route: "pay", key: String::new() };
        let (kind, context) = (user.kind(), fixed_context());
        let request =
            PayRequest { facts, kind, key, hash: [0; 32], context, declines: None, has_waited: false };
        self.payment(index, PaymentInput::Pay(Box::new(request)));
    }

    /// The provider executes a call; a charge ends as `outcome`, and the reply may get lost.
    fn execute(
        &mut self,
        index: usize,
        (call, tries): (ProviderCall, i32),
        outcome: &ProviderState,
        replies: bool,
    ) {
        let user = &mut self.users[index];
        user.calls.retain(|other| *other != (call, tries));
        let reply = match call {
            ProviderCall::Begin(number) | ProviderCall::Look(number) | ProviderCall::Close(number) => {
                let intent = user.intent(number);
                let begun = if user.number == 1 { ProviderState::Open } else { outcome.clone() };
                match call {
                    ProviderCall::Begin(_) => {
                        user.intents.entry(intent.clone()).or_insert(begun);
                    }
                    ProviderCall::Close(_) => {
                        let state = user.intents.entry(intent.clone()).or_insert(ProviderState::Open);
                        if *state == ProviderState::Open {
                            *state = ProviderState::Closed;
                        }
                    }
                    _ => {}
                }
                match replies && user.intents.contains_key(&intent) {
                    true => ProviderReply::Attempt(Answer::Done(user.view(&intent))),
                    false => ProviderReply::Attempt(Answer::Unknown(String::new())),
                }
            }
            ProviderCall::Refund(id) | ProviderCall::LookAtRefund(id) | ProviderCall::FindRefund(id) => {
                let Some(total) = user.payment.as_ref().and_then(|p| p.refund(id)).map(|refund| refund.total)
                else {
                    return;
                };
                if matches!(call, ProviderCall::Refund(_)) {
                    user.refunds.entry((id, tries)).or_insert(total.amount);
                }
                let reference = format!("re_{tries}");
                let view = RefundView { reference, total: Some(total), state: RefundState::Succeeded };
                match replies && user.refunds.contains_key(&(id, tries)) {
                    true => ProviderReply::Refund(tries, Answer::Done(view)),
                    false => ProviderReply::Refund(tries, Answer::Unknown(String::new())),
                }
            }
            ProviderCall::LookAtDispute(_) => return,
        };
        self.send::<PaymentMachine>(index, Message::CallDone(call, Some(PaymentInput::Replied(call, reply))));
    }

    /// Payment answers a request of the saga, or the answer gets lost.
    fn answer(&mut self, index: usize, request: &SagaCall, arrives: bool) {
        let input = match request {
            SagaCall::EndPayment { payment_id } => {
                self.payment(index, PaymentInput::End { code: EXPIRED });
                let user = &self.users[index];
                let in_flight = user.payment_memory.in_flight();
                match PaymentMachine::machine().poll(&Wait::End, user.payment.as_ref(), in_flight) {
                    Poll::Answer(Ok(bytes)) => {
                        let ended: PaymentEnd = serde_json::from_slice(&bytes).expect("an answer");
                        ended_input(*payment_id, ended)
                    }
                    Poll::Answer(Err(_)) | Poll::Wait | Poll::Again(_) => None,
                }
            }
            SagaCall::GetRefund { refund_id } => {
                refund_input(*refund_id, refund_answer(self.users[index].payment.as_ref(), *refund_id))
            }
            SagaCall::NotifyReplaced { old } => {
                if arrives {
                    let input = Input::ExchangeOver { to: self.users[index].id() };
                    self.saga(self.user_of(*old), input);
                }
                None
            }
            SagaCall::ReadReplacement { to } => {
                let new = self.users[self.user_of(*to)].reservation.as_ref();
                replacement_input(*to, new.map(|new| &new.saga))
            }
            SagaCall::ReadReplaced { old } => {
                let old = self.users[self.user_of(*old)].reservation.as_ref().map(Reservation::as_old_order);
                let (to, is_disputed) = (self.users[index].id(), self.is_disputed);
                Some(Input::Replace(Box::new(Replace { to, old, is_disputed })))
            }
        };
        self.users[index].requests.retain(|other| other != request);
        self.send::<SagaMachine>(index, Message::CallDone(request.clone(), input.filter(|_| arrives)));
    }

    fn webhook(&mut self, index: usize, intent: &str) {
        let number = intent[3..].parse().ok();
        let about = About::Attempt { number, view: self.users[index].view(intent) };
        let (id, kind, body) = (String::new(), String::new(), String::new());
        let event = WebhookEvent { id, kind, body, payment_id: None, about };
        self.payment(index, PaymentInput::Webhook(Box::new(event)));
    }

    fn check_provider(&mut self, index: usize) {
        let Some(next) = self.users[index].next_check() else { return };
        self.now = self.now.max(next.unix_seconds());
        self.payment(index, PaymentInput::Due);
    }

    fn deadline(&mut self, index: usize) {
        let Some(deadline) = self.users[index].deadline() else { return };
        self.now = self.now.max(deadline.unix_seconds());
        self.saga(index, Input::Deadline);
    }

    fn kill_payment(&mut self) {
        for user in &mut self.users {
            (user.payment_memory, user.agreed) = (Memory::default(), false);
            user.calls.clear();
        }
    }

    fn kill_reservation(&mut self) {
        for user in &mut self.users {
            user.saga_memory = Memory::default();
            user.requests.clear();
        }
    }
}

type Action = (String, Box<dyn Fn(&mut World)>);

fn action(name: String, does: impl Fn(&mut World) + 'static) -> Action {
    (name, Box::new(does))
}

/// Everything that can happen next.
fn actions(world: &World) -> Vec<Action> {
    let mut next = vec![
        action("the payment process is killed".into(), World::kill_payment),
        action("the reservation process is killed".into(), World::kill_reservation),
    ];
    if world.users[1].is_exchange && !world.is_disputed {
        next.push(action("a dispute holds the money".into(), |world| world.is_disputed = true));
        let cancel = || Input::Cancel(Cancel::by(CancelledBy::Showtime));
        next.push(action("the first showtime is cancelled".into(), move |world| world.saga(0, cancel())));
    }
    for user in &world.users {
        let index = user.number;
        let mut add =
            |name: &str, does: Box<dyn Fn(&mut World)>| next.push((format!("{index}: {name}"), does));
        if user.reservation.is_none() {
            match user.is_exchange {
                true => add("begins the exchange", Box::new(World::begin_exchange)),
                false => add("orders", Box::new(move |world| world.order(index))),
            }
            continue;
        }
        let attempts = user.payment.as_ref().map_or(0, |payment| payment.attempts.len());
        if attempts < ATTEMPTS_MAX && !user.agreed {
            add("begins to pay", Box::new(move |world| world.begin_payment(index)));
        }
        if user.agreed {
            add("attempts", Box::new(move |world| world.attempt(index)));
        }
        if !user.cancelled {
            add(
                "cancels",
                Box::new(move |world| {
                    world.users[index].cancelled = true;
                    world.saga(index, Input::Cancel(Cancel::by(CancelledBy::User)));
                }),
            );
        }
        if !user.returned && user.wants.len() > 1 && user.claim() == Claim::Sold {
            add("gives a ticket back", Box::new(move |world| world.return_seat(index)));
        }
        add_messages(user, &mut add);
        for (intent, state) in &user.intents {
            let intent = intent.clone();
            if *state == ProviderState::Open {
                let intent = intent.clone();
                add(
                    "pays on the page",
                    Box::new(move |world| {
                        world.users[index].intents.insert(intent.clone(), ProviderState::Captured);
                    }),
                );
            }
            add(&format!("webhook of {intent}"), Box::new(move |world| world.webhook(index, &intent)));
        }
        add("its deadline", Box::new(move |world| world.deadline(index)));
        add("its payment is checked", Box::new(move |world| world.check_provider(index)));
    }
    next
}

fn add_messages(user: &User, add: &mut impl FnMut(&str, Box<dyn Fn(&mut World)>)) {
    let index = user.number;
    for event in user.events.keys() {
        for elsewhere in [false, true] {
            let event = event.clone();
            let place = if elsewhere { "another process" } else { "its process" };
            add(
                &format!("{} comes to {place}: {}", event.0, event.1),
                Box::new(move |world| world.deliver(index, &event, elsewhere)),
            );
        }
    }
    for request in &user.requests {
        for arrives in [true, false] {
            let request = request.clone();
            add(
                &format!("{request:?} is answered, the answer arrives: {arrives}"),
                Box::new(move |world| world.answer(index, &request, arrives)),
            );
        }
    }
    for call in user.calls.clone() {
        let declined = ProviderState::Declined { code: "no".into() };
        let outcomes = match (call.0, index) {
            (ProviderCall::Begin(_), 0) => vec![ProviderState::Captured, declined],
            _ => vec![ProviderState::Captured],
        };
        for outcome in outcomes {
            for replies in [true, false] {
                let outcome = outcome.clone();
                add(
                    &format!("{call:?} {outcome:?}, the reply arrives: {replies}"),
                    Box::new(move |world| world.execute(index, call, &outcome, replies)),
                );
            }
        }
    }
}

impl World {
    /// States that differ only in values that no rule reads have the same fingerprint.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.claims, self.is_disputed, self.now).hash(&mut hasher);
        for user in &self.users {
            let payment = user.payment.clone().map(|payment| Payment {
                created_at: at(0),
                updated_at: at(0),
                ..payment
            });
            let saga = user.reservation.as_ref().map(|row| (&row.saga, row.version, row.deadline));
            let calls: BTreeSet<String> = user.calls.iter().map(|call| format!("{call:?}")).collect();
            let memory = (user.saga_memory.fingerprint(), user.payment_memory.fingerprint());
            format!("{saga:?} {payment:?} {calls:?} {:?} {memory:?}", user.requests).hash(&mut hasher);
            format!("{:?} {:?} {:?}", user.events, user.intents, user.refunds).hash(&mut hasher);
            (user.agreed, user.tickets, user.credits, user.cancelled, user.returned).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The invariants of every state, settled or not.
    fn check(&self, history: &[String]) {
        for user in &self.users {
            let claim = user.claim();
            let owned = self.claims.iter().filter(|(_, owner)| **owner == user.number).count();
            let wanted = if claim == Claim::None { 0 } else { user.seats() };
            assert_eq!(owned, wanted, "seats of {} ({claim:?}) after {history:#?}", user.number);
            assert!(user.value() >= 0, "more back than was taken after {history:#?}");
            let captured = user.intents.values().any(|state| *state == ProviderState::Captured);
            assert!(claim != Claim::Sold || captured, "sold for nothing after {history:#?}");
            let open = user.intents.values().filter(|state| **state == ProviderState::Open).count();
            assert!(open <= 1, "two attempts can capture after {history:#?}");
            let requested = user.events.keys().filter(|(subject, _)| subject == "refund.requested").count();
            // Of an exchange a refund is split over two captures.
            let most = (1 + usize::from(user.returned)) * (1 + usize::from(user.is_exchange));
            assert!(requested <= most, "a refund is requested once, after {history:#?}");
        }
    }

    /// From now on no moviegoer acts and nothing is lost: everything arrives, and every deadline passes.
    fn settle(mut self, history: &[String]) {
        for _ in 0..60 {
            let mut moved = false;
            for index in 0..self.users.len() {
                while let Some(call) = self.users[index].calls.first().copied() {
                    self.execute(index, call, &ProviderState::Captured, true);
                    moved = true;
                }
                let new = self.users[index].events.iter().filter(|(_, delivered)| !**delivered);
                for event in new.map(|(event, _)| event.clone()).collect::<Vec<_>>() {
                    self.deliver(index, &event, false);
                    moved = true;
                }
                for intent in self.users[index].intents.keys().cloned().collect::<Vec<_>>() {
                    self.webhook(index, &intent);
                }
                while let Some(request) = self.users[index].requests.first().cloned() {
                    self.answer(index, &request, true);
                    moved = true;
                }
            }
            self.check(history);
            // Webhooks are repeated in every round, so only their effects count as progress.
            if moved || self.users.iter().any(User::is_in_flight) {
                continue;
            }
            let next = |user: &User| user.deadline().into_iter().chain(user.next_check()).min();
            let due = (0..2).filter(|index| next(&self.users[*index]).is_some());
            let Some(index) = due.min_by_key(|index| next(&self.users[*index])) else {
                return self.check_rest(history);
            };
            let (deadline, check) = (self.users[index].deadline(), self.users[index].next_check());
            if deadline.is_some_and(|at| check.is_none_or(|check| at <= check)) {
                self.deadline(index);
            } else {
                self.check_provider(index);
            }
        }
        panic!("it does not come to rest after {history:#?}: {}", self.printed());
    }

    fn printed(&self) -> String {
        let user = |user: &User| format!("{:#?}\n{:#?}\n{:?}", user.reservation, user.payment, user.calls);
        self.users.iter().map(user).collect::<Vec<_>>().join("\n")
    }

    fn check_rest(&self, history: &[String]) {
        let credits: i64 = self.users.iter().map(|user| user.credits).sum();
        assert_eq!(credits, 0, "credits after {history:#?}: {}", self.printed());
        for user in &self.users {
            let Some(row) = &user.reservation else { continue };
            let is_right = match &row.saga.state {
                State::Confirmed { exchanging: None, .. } => user.value() == row.saga.terms.total.amount,
                State::Cancelled { .. } | State::Refunded { .. } => user.value() == 0,
                _ => false,
            };
            let sold = if user.claim() == Claim::Sold { user.seats() as i64 } else { 0 };
            assert_eq!(
                user.tickets,
                sold,
                "tickets of {} after {history:#?}: {}",
                user.number,
                self.printed()
            );
            let attention = user.payment.as_ref().and_then(Payment::attention);
            assert!(
                is_right && attention.is_none(),
                "after {history:#?} {} rests with {} held, {attention:?}: {}",
                user.number,
                user.held(),
                self.printed()
            );
        }
    }
}

/// Searches every history from this state, breadth first, until the depth or the time is reached.
fn search(start: World) -> usize {
    let begun = Instant::now();
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut frontier: Vec<(World, Vec<String>)> = vec![(start, Vec::new())];
    let mut steps = 0u64;
    'search: for depth in 1..=DEPTH {
        let mut next_frontier = Vec::new();
        for (world, history) in &frontier {
            if begun.elapsed() > TIME_MAX {
                println!("depth {depth} is not done: {} states, {steps} steps in {TIME_MAX:?}", seen.len());
                break 'search;
            }
            for (name, does) in actions(world) {
                let mut next = world.clone();
                does(&mut next);
                steps += 1;
                if !seen.insert(next.fingerprint()) {
                    continue;
                }
                let mut history = history.clone();
                history.push(name);
                next.check(&history);
                next.clone().settle(&history);
                next_frontier.push((next, history));
            }
        }
        frontier = next_frontier;
        println!("depth {depth}: {} states, {steps} steps, {:.1?}", seen.len(), begun.elapsed());
    }
    seen.len()
}

#[test]
fn saga_payment_and_delivery_agree_in_every_order_of_events_for_two_users_and_two_seats() {
    let states = search(World::new());
    assert!(states > 1_000, "only {states} states: the model has become too small");
}

#[test]
fn seats_and_money_of_a_dearer_exchange_agree_in_every_order_of_events() {
    let states = search(World::of_exchange());
    assert!(states > 1_000, "only {states} states: the model has become too small");
}
