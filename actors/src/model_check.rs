//! Reservation and payment together, by their real rules, in every order of events: two moviegoers who want two seats, one of
//! them both; messages late, doubled and out of order; answers lost; either host killed between any two steps.
//!
//! Breadth first, each state once. From each the world is let come to rest, and seats and money must agree. What delivery adds
//! (inboxes) is left out on purpose: a message that comes twice is handled twice, and must change nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bus::Context;
use bus::contract::reservation::{
    CancelReason, RefundPolicy, RefundRequested, ReservationCancelled, ReservationCreated,
};
use bus::contract::{Currency, Money, SeatId, Timestamp};
use uuid::Uuid;

use crate::delivery::IdempotencyKey;
use crate::payment::model::{Facts, Kind, Payment, Stage, payment_id};
use crate::payment::provider::{Answer, RefundSight, RefundStanding, Sight, Standing};
use crate::payment::refund;
use crate::payment::rules::{self, Paying, Wish};
use crate::payment::show;
use crate::payment::step::{Call, EXPIRED, Said, Step};
use crate::reservation::saga::{Cancel, CancelledBy, Claim, Effect, Input, Saga, State, Terms};

/// Longest history; the world comes to rest from each of its states.
const DEPTH: usize = 9;
/// Further depths are for longer runs: what was searched until then is printed.
const TIME_MAX: Duration = Duration::from_secs(40);
const PRICE: i64 = 1_200;
/// Which seats each moviegoer wants.
const WANTS: [&[u8]; 2] = [&[1, 2], &[2]];
/// Attempts to pay of one moviegoer.
const ATTEMPTS_MAX: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Created,
    /// Of this version; the hold had ended.
    Cancelled(i64, bool),
    RefundRequested(Uuid, i64),
    Success,
    Failed,
    RefundCompleted(Uuid),
}

#[derive(Debug, Clone)]
struct User {
    number: usize,
    saga: Option<Saga>,
    /// Counts the saga's changes.
    version: i64,
    payment: Option<Payment>,
    /// What the ledger counts.
    tickets: i64,
    /// What was published, and how often it was delivered: at most twice.
    messages: BTreeMap<Message, u8>,
    /// In the payment host's memory: reservation has agreed to the next attempt.
    agreed: bool,
    /// In the payment host's memory.
    calls: BTreeSet<String>,
    waiting: Vec<Call>,
    /// In the reservation host's memory: payment is asked to end.
    asking: bool,
    /// The provider's books.
    intents: BTreeMap<String, Standing>,
    refunds: BTreeMap<(Uuid, i32), i64>,
    cancelled: bool,
}

#[derive(Debug, Clone)]
struct World {
    users: Vec<User>,
    claims: BTreeMap<u8, usize>,
    now: i64,
}

fn at(seconds: i64) -> Timestamp {
    (time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)).into()
}

/// The same for everybody: random ids would make each state another.
fn nobody() -> Context {
    Context { correlation_id: String::new(), traceparent: String::new() }
}

fn euros(amount: i64) -> Money {
    Money { amount, currency: Currency::EUR }
}

impl User {
    fn new(number: usize) -> Self {
        Self {
            number,
            saga: None,
            version: 0,
            payment: None,
            tickets: 0,
            messages: BTreeMap::new(),
            agreed: false,
            calls: BTreeSet::new(),
            waiting: Vec::new(),
            asking: false,
            intents: BTreeMap::new(),
            refunds: BTreeMap::new(),
            cancelled: false,
        }
    }

    fn reservation(&self) -> Uuid {
        Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001 + self.number as u128)
    }

    fn total(&self) -> Money {
        euros(PRICE * WANTS[self.number].len() as i64)
    }

    /// What its events say of it, at this version.
    fn event(&self, version: i64) -> ReservationCreated {
        ReservationCreated {
            reservation_id: self.reservation(),
            version,
            user_id: Uuid::from_u128(7),
            email: String::new(),
            showtime_id: Uuid::from_u128(8),
            movie_id: Uuid::from_u128(9),
            movie_title: String::new(),
            starts_at: at(36_000),
            seats: WANTS[self.number].iter().map(|seat| SeatId::new("A", (*seat).into())).collect(),
            lines: Vec::new(),
            total: self.total(),
            expires_at: at(600),
        }
    }

    /// The first pays with a card's token, the second on the provider's page.
    fn kind(&self) -> Kind {
        match self.number {
            0 => Kind::Token { method: Some("pm_card_visa".into()) },
            _ => Kind::Hosted { ends_at: 2_400 },
        }
    }

    fn open(&self, now: i64) -> Payment {
        if let Some(payment) = &self.payment {
            return payment.clone();
        }
        let facts = Facts {
            reservation_id: self.reservation(),
            user_id: Uuid::from_u128(7),
            email: None,
            description: String::new(),
            sale: Some(show::sale(&self.event(1))),
            seats_version: 0,
            total: self.total(),
            expires_at: at(600),
        };
        let context = nobody();
        Payment::open(facts, &context, at(now))
    }

    fn sight(&self, intent: &str) -> Sight {
        let standing = self.intents[intent].clone();
        let session = (self.number == 1).then(|| format!("cs_{intent}"));
        Sight { intent: Some(intent.to_owned()), session, url: None, total: Some(self.total()), standing }
    }

    fn held(&self) -> i64 {
        let captured =
            self.intents.values().filter(|standing| **standing == Standing::Captured).count() as i64;
        captured * self.total().amount - self.refunds.values().sum::<i64>()
    }

    fn publish(&mut self, message: Message) {
        self.messages.insert(message, 0);
    }

    /// A payment's step is committed: events are published, calls wait in memory.
    fn take(&mut self, step: Step) {
        for said in &step.said {
            match said {
                Said::Success => self.publish(Message::Success),
                Said::Failed { .. } => self.publish(Message::Failed),
                Said::RefundCompleted(id) => self.publish(Message::RefundCompleted(*id)),
                Said::Initiated(_) | Said::RefundFailed(_) | Said::Disputed(_) => {}
            }
        }
        for call in step.calls {
            if self.calls.insert(format!("{call:?}")) {
                self.waiting.push(call);
            }
        }
        self.tickets += step.postings.iter().map(|posting| posting.tickets).sum::<i64>();
        self.payment = Some(step.payment);
    }

    /// Something still has to arrive.
    fn is_under_way(&self) -> bool {
        self.asking || !self.waiting.is_empty() || self.messages.values().any(|count| *count == 0)
    }

    fn forget_calls(&mut self) {
        self.agreed = false;
        self.calls.clear();
        self.waiting.clear();
    }
}

impl World {
    fn new() -> Self {
        Self { users: vec![User::new(0), User::new(1)], claims: BTreeMap::new(), now: 10 }
    }

    fn order(&mut self, who: usize) {
        if WANTS[who].iter().any(|seat| self.claims.contains_key(seat)) {
            return;
        }
        let user = &mut self.users[who];
        let terms = Terms {
            lines: vec![],
            total: user.total(),
            starts_at: at(36_000),
            hold_seconds: 600,
            hold_until_max: at(1_200),
            grace_seconds: 60,
            refund_until: at(28_800),
            refund_policy: Some(RefundPolicy { until_minutes: 120, percent: 100 }),
        };
        user.saga = Some(Saga::start(terms, at(self.now + 600), None).0);
        user.version = 1;
        user.publish(Message::Created);
        self.claims.extend(WANTS[who].iter().map(|seat| (*seat, who)));
    }

    /// The saga takes an input as its actor does; false when it was refused.
    fn hear(&mut self, who: usize, input: &Input) -> bool {
        let Some(saga) = &self.users[who].saga else { return false };
        let Ok((after, effects)) = saga.step(input, at(self.now)) else { return false };
        let (had, has) = (saga.state.claim(), after.state.claim());
        if had == Claim::None && has != Claim::None {
            let lost = WANTS[who].iter().any(|seat| self.claims.contains_key(seat));
            if let (true, Input::PaymentSucceeded(success)) = (lost, input) {
                return self.hear(who, &Input::ReclaimLost(success.clone()));
            }
            self.claims.extend(WANTS[who].iter().map(|seat| (*seat, who)));
        }
        if had != Claim::None && has == Claim::None {
            self.claims.retain(|_, owner| *owner != who);
        }
        let user = &mut self.users[who];
        user.version += i64::from(user.saga.as_ref() != Some(&after));
        user.saga = Some(after);
        for effect in effects {
            match effect {
                Effect::TellCancelled { reason } => {
                    user.publish(Message::Cancelled(user.version, reason == CancelReason::HoldExpired));
                }
                Effect::RequestRefund(refund) => {
                    user.publish(Message::RefundRequested(refund.id, refund.total.amount));
                }
                Effect::EndPayment { .. } => user.asking = true,
                _ => {}
            }
        }
        true
    }

    fn deliver(&mut self, who: usize, message: &Message) {
        let now = at(self.now);
        let user = &mut self.users[who];
        if let Some(count) = user.messages.get_mut(message) {
            *count += 1;
        }
        let payment = payment_id(user.reservation());
        let success = user.payment.as_ref().and_then(|payment| payment.success("stripe"));
        match message {
            Message::Created if user.payment.is_some() => {}
            Message::Created => user.take(rules::opened(&user.open(self.now), now)),
            Message::Cancelled(version, expired) => {
                let reason = if *expired { CancelReason::HoldExpired } else { CancelReason::UserRequest };
                let event = ReservationCancelled { reason, reservation: user.event(*version) };
                user.take(show::cancelled(&user.open(self.now), &event, now));
            }
            Message::RefundRequested(id, amount) => {
                let wanted = RefundRequested {
                    refund_id: *id,
                    reservation_id: user.reservation(),
                    payment_id: payment,
                    total: euros(*amount),
                    reason: String::new(),
                    by: None,
                };
                user.take(refund::requested(&user.open(self.now), &wanted, now));
            }
            Message::Success => {
                let success = success.expect("what was told was captured");
                self.hear(who, &Input::PaymentSucceeded(success));
            }
            Message::Failed => drop(self.hear(who, &Input::PaymentFailed { payment_id: payment })),
            Message::RefundCompleted(id) => {
                self.hear(who, &Input::RefundCompleted { refund_id: *id });
            }
        }
    }

    fn attempt(&mut self, who: usize) {
        let user = &mut self.users[who];
        user.agreed = false;
        let Some(saga) = &user.saga else { return };
        let wish = Wish {
            kind: user.kind(),
            key: IdempotencyKey { user_id: Uuid::nil(), route: "pay", key: String::new() },
            hash: [0; 32],
            expires_at: saga.expires_at,
            description: String::new(),
            email: None,
            context: nobody(),
            declines: None,
        };
        if let Ok(Paying::Begin(step) | Paying::CloseFirst(step)) =
            rules::pay(&user.open(self.now), &wish, at(self.now))
        {
            user.take(*step);
        }
    }

    /// The provider does what it is called for; a charge ends as `outcome` says.
    fn execute(&mut self, who: usize, call: Call, outcome: &Standing, heard: bool) {
        let now = at(self.now);
        let user = &mut self.users[who];
        user.waiting.retain(|waiting| *waiting != call);
        user.calls.remove(&format!("{call:?}"));
        let Some(payment) = user.payment.clone() else { return };
        let step = match call {
            Call::Begin(number) | Call::Look(number) | Call::Close(number) => {
                let intent = format!("pi_{number}");
                match call {
                    Call::Begin(_) if user.intents.contains_key(&intent) => {}
                    Call::Begin(_) if user.number == 1 => {
                        drop(user.intents.insert(intent.clone(), Standing::Open))
                    }
                    Call::Begin(_) => drop(user.intents.insert(intent.clone(), outcome.clone())),
                    Call::Close(_) => {
                        let standing = user.intents.entry(intent.clone()).or_insert(Standing::Open);
                        if *standing == Standing::Open {
                            *standing = Standing::Closed;
                        }
                    }
                    _ => {}
                }
                let answer = match heard && user.intents.contains_key(&intent) {
                    true => Answer::Done(user.sight(&intent)),
                    false => Answer::Unknown(String::new()),
                };
                rules::answered(&payment, call, &answer, now)
            }
            Call::Refund(id) | Call::LookAtRefund(id) | Call::FindRefund(id) => {
                let Some(refund) = payment.refund(id) else { return };
                let key = (id, refund.tries);
                if matches!(call, Call::Refund(_)) {
                    user.refunds.entry(key).or_insert(refund.total.amount);
                }
                let sight = RefundSight {
                    reference: format!("re_{}", refund.tries),
                    total: Some(refund.total),
                    standing: RefundStanding::Succeeded,
                };
                let answer = match heard && user.refunds.contains_key(&key) {
                    true => Answer::Done(sight),
                    false => Answer::Unknown(String::new()),
                };
                refund::answered(&payment, id, refund.tries, &answer, now)
            }
            Call::LookAtDispute(_) => return,
        };
        user.take(step);
    }

    /// The question to payment whether anything can still be captured, and its answer.
    fn end(&mut self, who: usize, heard: bool) {
        let user = &mut self.users[who];
        user.asking = false;
        let step = rules::end(&user.open(self.now), EXPIRED, at(self.now));
        user.take(step);
        let payment_id = payment_id(user.reservation());
        let Some(payment) = user.payment.clone().filter(|_| heard) else { return };
        match (&payment.stage, payment.success("stripe")) {
            (Stage::Over { .. }, _) => drop(self.hear(who, &Input::PaymentOver { payment_id })),
            (_, Some(success)) => drop(self.hear(who, &Input::PaymentSucceeded(success))),
            _ => {}
        }
    }

    fn webhook(&mut self, who: usize, intent: &str) {
        let user = &mut self.users[who];
        let number = intent.trim_start_matches("pi_").parse().ok();
        let (payment, sight) = (user.open(self.now), user.sight(intent));
        user.take(rules::seen(&payment, number, &sight, at(self.now)));
    }

    fn due(&mut self, who: usize) {
        let user = &mut self.users[who];
        let Some(payment) = user.payment.clone() else { return };
        let Some(next) = payment.next_check_at else { return };
        self.now = self.now.max(next.unix_seconds());
        let step = rules::due(&payment, at(self.now));
        self.users[who].take(step);
    }

    fn deadline(&mut self, who: usize) {
        let Some(deadline) = self.users[who].saga.as_ref().and_then(Saga::deadline) else { return };
        self.now = self.now.max(deadline.unix_seconds());
        self.hear(who, &Input::Deadline);
    }
}

type Action = (String, Box<dyn Fn(&mut World)>);

fn action(name: String, does: impl Fn(&mut World) + 'static) -> Action {
    (name, Box::new(does))
}

/// Everything that can happen next.
fn actions(world: &World) -> Vec<Action> {
    let mut next = vec![
        action("the payment host is killed".into(), |world| {
            world.users.iter_mut().for_each(User::forget_calls);
        }),
        action("the reservation host is killed".into(), |world| {
            world.users.iter_mut().for_each(|user| user.asking = false);
        }),
    ];
    for user in &world.users {
        let who = user.number;
        let mut add =
            |name: String, does: Box<dyn Fn(&mut World)>| next.push((format!("{who}: {name}"), does));
        if user.saga.is_none() {
            add("orders".into(), Box::new(move |world| world.order(who)));
            continue;
        }
        let attempts = user.payment.as_ref().map_or(0, |payment| payment.attempts.len());
        if attempts < ATTEMPTS_MAX && !user.agreed {
            add(
                "begins to pay".into(),
                Box::new(move |world| {
                    let payment_id = payment_id(world.users[who].reservation());
                    let agreed = world.hear(who, &Input::BeginPayment { payment_id });
                    world.users[who].agreed = agreed;
                }),
            );
        }
        if user.agreed {
            add("attempts".into(), Box::new(move |world| world.attempt(who)));
        }
        if !user.cancelled {
            add(
                "cancels".into(),
                Box::new(move |world| {
                    world.users[who].cancelled = true;
                    world.hear(who, &Input::Cancel(Cancel::by(CancelledBy::User)));
                }),
            );
        }
        calls(user, &mut add);
        for (message, _) in user.messages.iter().filter(|(_, count)| **count < 2) {
            let message = message.clone();
            add(format!("{message:?} comes"), Box::new(move |world| world.deliver(who, &message)));
        }
        for (intent, standing) in &user.intents {
            let intent = intent.clone();
            if *standing == Standing::Open {
                let intent = intent.clone();
                add(
                    "pays on the page".into(),
                    Box::new(move |world| {
                        world.users[who].intents.insert(intent.clone(), Standing::Captured);
                    }),
                );
            }
            add(format!("webhook of {intent}"), Box::new(move |world| world.webhook(who, &intent)));
        }
        if user.asking {
            add("payment is asked to end".into(), Box::new(move |world| world.end(who, true)));
            add("payment is asked to end, unheard".into(), Box::new(move |world| world.end(who, false)));
        }
        add("its deadline".into(), Box::new(move |world| world.deadline(who)));
        add("its payment is due".into(), Box::new(move |world| world.due(who)));
    }
    next
}

fn calls(user: &User, add: &mut impl FnMut(String, Box<dyn Fn(&mut World)>)) {
    let who = user.number;
    for call in user.waiting.clone() {
        let declined = Standing::Declined { code: "no".into() };
        let outcomes = match (call, who) {
            (Call::Begin(_), 0) => vec![Standing::Captured, declined],
            _ => vec![Standing::Captured],
        };
        for outcome in outcomes {
            for heard in [true, false] {
                let outcome = outcome.clone();
                add(
                    format!("{call:?} {outcome:?} heard {heard}"),
                    Box::new(move |world| world.execute(who, call, &outcome, heard)),
                );
            }
        }
    }
}

impl World {
    /// Two states that differ only in what no rule reads are one.
    fn fingerprint(&self) -> u64 {
        let mut world = self.clone();
        for user in &mut world.users {
            if let Some(payment) = &mut user.payment {
                (payment.version, payment.created_at, payment.updated_at) = (0, at(0), at(0));
            }
            user.waiting.sort_unstable_by_key(|call| format!("{call:?}"));
        }
        let mut hasher = DefaultHasher::new();
        format!("{world:?}").hash(&mut hasher);
        hasher.finish()
    }

    /// True of every state, at rest or not.
    fn check(&self, history: &[String]) {
        for user in &self.users {
            let claim = user.saga.as_ref().map_or(Claim::None, |saga| saga.state.claim());
            let owned = self.claims.iter().filter(|(_, owner)| **owner == user.number).count();
            let wanted = if claim == Claim::None { 0 } else { WANTS[user.number].len() };
            assert_eq!(owned, wanted, "seats of {} ({claim:?}) after {history:#?}", user.number);
            assert!(user.held() >= 0, "more back than was taken after {history:#?}");
            let captured = user.intents.values().any(|standing| *standing == Standing::Captured);
            assert!(claim != Claim::Sold || captured, "sold for nothing after {history:#?}");
            let open = user.intents.values().filter(|standing| **standing == Standing::Open).count();
            assert!(open <= 1, "two attempts can capture after {history:#?}");
        }
    }

    /// Nobody acts any more and nothing is lost from now on: everything arrives, and every deadline passes.
    fn settle(mut self, history: &[String]) {
        for _ in 0..60 {
            let mut moved = false;
            for who in 0..self.users.len() {
                while let Some(call) = self.users[who].waiting.first().copied() {
                    self.execute(who, call, &Standing::Captured, true);
                    moved = true;
                }
                let new = self.users[who].messages.iter().filter(|(_, count)| **count == 0);
                for message in new.map(|(message, _)| message.clone()).collect::<Vec<_>>() {
                    self.deliver(who, &message);
                    moved = true;
                }
                for intent in self.users[who].intents.keys().cloned().collect::<Vec<_>>() {
                    self.webhook(who, &intent);
                }
                if self.users[who].asking {
                    self.end(who, true);
                    moved = true;
                }
            }
            self.check(history);
            // A webhook moves by what it causes: the same one comes in every round.
            if moved || self.users.iter().any(User::is_under_way) {
                continue;
            }
            let deadline = |user: &User| user.saga.as_ref().and_then(Saga::deadline);
            let check = |user: &User| user.payment.as_ref().and_then(|payment| payment.next_check_at);
            let next = |user: &User| deadline(user).into_iter().chain(check(user)).min();
            let Some(who) = (0..2)
                .filter(|who| next(&self.users[*who]).is_some())
                .min_by_key(|who| next(&self.users[*who]))
            else {
                return self.check_rest(history);
            };
            if deadline(&self.users[who])
                .is_some_and(|at| check(&self.users[who]).is_none_or(|check| at <= check))
            {
                self.deadline(who);
            } else {
                self.due(who);
            }
        }
        panic!("it does not come to rest after {history:#?}: {self:#?}");
    }

    fn check_rest(&self, history: &[String]) {
        for user in &self.users {
            let Some(saga) = &user.saga else { continue };
            let fine = match &saga.state {
                State::Confirmed { .. } => user.held() == user.total().amount,
                State::Cancelled { .. } | State::Refunded { .. } => user.held() == 0,
                _ => false,
            };
            let sold = if saga.state.claim() == Claim::Sold { WANTS[user.number].len() as i64 } else { 0 };
            assert_eq!(
                user.tickets, sold,
                "tickets of {} after {history:#?}: {:#?}",
                user.number, user.payment
            );
            let attention = user.payment.as_ref().and_then(|payment| payment.attention.clone());
            assert!(
                fine && attention.is_none(),
                "after {history:#?} {} rests at {:?}, {} held, {attention:?}: {:#?}",
                user.number,
                saga.state,
                user.held(),
                user.payment
            );
        }
    }
}

#[test]
fn saga_payment_and_delivery_agree_in_every_order_of_events_for_two_users_and_two_seats() {
    let begun = Instant::now();
    let mut seen = HashSet::from([World::new().fingerprint()]);
    let mut front: Vec<(World, Vec<String>)> = vec![(World::new(), Vec::new())];
    let mut steps = 0u64;
    'search: for depth in 1..=DEPTH {
        let mut further = Vec::new();
        for (world, history) in &front {
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
                further.push((next, history));
            }
        }
        front = further;
        println!("depth {depth}: {} states, {steps} steps, {:.1?}", seen.len(), begun.elapsed());
    }
    assert!(seen.len() > 1_000, "only {} states: the world has become too small", seen.len());
}
