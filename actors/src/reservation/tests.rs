//! Pure tests: the transition table, every history of up to eight inputs, seat maps, best-available.

use std::collections::HashSet;

use bus::contract::movie::{Prices, Row, Seat, SeatKind};
use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{CancelReason, Rejection, SeatChange, SeatStatus, SeatsChanged};
use bus::contract::{Currency, Money, Timestamp};
use uuid::Uuid;

use super::best_available::best_available;
use super::saga::{CancelledBy, Claim, Effect, Input, Refund, Saga, State, Terms};
use super::seat_map::{Applied, Named, SeatMap};

const PAYMENT: Uuid = Uuid::from_u128(1);
const HOLD: u64 = 600;

fn at(seconds: i64) -> Timestamp {
    (time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)).into()
}

fn euros(amount: i64) -> Money {
    Money { amount, currency: Currency::EUR }
}

fn saga() -> Saga {
    let terms = Terms {
        total: euros(2400),
        starts_at: at(36_000),
        hold_seconds: HOLD,
        hold_until_max: at(1200),
        grace_seconds: 60,
        refund_until: at(28_800),
    };
    Saga::start(terms, at(HOLD as i64)).0
}

fn success() -> PaymentSuccess {
    PaymentSuccess {
        payment_id: PAYMENT,
        reservation_id: Uuid::nil(),
        total: euros(2400),
        provider: "stripe".into(),
        provider_ref: "pi_1".into(),
        paid_at: at(60),
    }
}

fn refund() -> Refund {
    Refund::new(PAYMENT, euros(2400), 0)
}

fn states() -> Vec<State> {
    let reason = CancelReason::HoldExpired;
    vec![
        State::AwaitingPayment { begun: false },
        State::AwaitingPayment { begun: true },
        State::Ending { ask_at: at(605), until: at(660) },
        State::Confirmed { payment_id: PAYMENT, provider_ref: "pi_1".into() },
        State::Cancelled { reason },
        State::Cancelled { reason: CancelReason::UserRequest },
        State::Refunding { reason, refund: refund(), asked: 1, ask_at: at(630) },
        State::Refunded { reason, refund: refund() },
        State::NeedsAttention { reason, refund: refund(), refused: true },
    ]
}

fn inputs() -> Vec<Input> {
    let refund_id = refund().id;
    vec![
        Input::BeginPayment { payment_id: PAYMENT },
        Input::PaymentInitiated { payment_id: PAYMENT, checkout_url: Some("https://pay".into()) },
        Input::PaymentSucceeded(success()),
        Input::PaymentFailed { payment_id: PAYMENT },
        Input::PaymentOver { payment_id: PAYMENT },
        Input::ReclaimLost(success()),
        Input::Deadline,
        Input::Cancel(CancelledBy::User),
        Input::Cancel(CancelledBy::Admin),
        Input::Cancel(CancelledBy::Showtime),
        Input::RefundCompleted { refund_id },
        Input::RefundFailed { refund_id },
        Input::Resume,
    ]
}

fn label(state: &State) -> String {
    match state {
        State::Cancelled { reason } => format!("cancelled ({reason:?})"),
        other => other.name().to_owned(),
    }
}

#[test]
fn the_transition_table_changes_only_on_purpose() {
    let mut table = String::new();
    for state in states() {
        table.push_str(&format!("{}\n", label(&state)));
        let payment = Some(super::saga::KnownPayment { id: PAYMENT, checkout_url: None });
        let from = Saga { payment, state, ..saga() };
        // Just due, so that deadlines act and the hold is over only for whoever begins to pay.
        let now = from.deadline().unwrap_or(at(600));
        for input in inputs() {
            let now = if input == Input::Deadline { now } else { at(60) };
            let outcome = match from.step(&input, now) {
                Err(rejection) => format!("refused: {rejection:?}"),
                Ok((to, effects)) if to == from && effects.is_empty() => continue,
                Ok((to, effects)) => {
                    let said: Vec<&str> = effects.iter().map(effect_name).collect();
                    format!("{} {}", label(&to.state), said.join(" + "))
                }
            };
            table.push_str(&format!("    {:<20} {}\n", input.name(), outcome.trim_end()));
        }
    }
    insta::assert_snapshot!(table);
}

fn effect_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::TellCreated => "tell-created",
        Effect::TellConfirmed { .. } => "tell-confirmed",
        Effect::TellCancelled { .. } => "tell-cancelled",
        Effect::RequestRefund(_) => "request-refund",
        Effect::EndPayment { .. } => "end-payment",
    }
}

#[test]
fn beginning_to_pay_extends_the_hold_once_and_up_to_the_cap() {
    let begin = Input::BeginPayment { payment_id: PAYMENT };
    let (early, _) = saga().step(&begin, at(30)).unwrap();
    assert_eq!(early.expires_at, at(630));
    let (again, effects) = early.step(&begin, at(600)).unwrap();
    assert_eq!((again.expires_at, effects.len()), (at(630), 0));
    let (capped, _) = Saga { expires_at: at(1190), ..saga() }.step(&begin, at(1180)).unwrap();
    assert_eq!(capped.expires_at, at(1200));
    assert_eq!(saga().step(&begin, at(600)).unwrap_err(), Rejection::HoldExpired);
}

#[test]
fn a_confirmed_reservation_is_refunded_until_the_window_closes() {
    let confirmed =
        Saga { state: State::Confirmed { payment_id: PAYMENT, provider_ref: "pi_1".into() }, ..saga() };
    let (refunding, effects) = confirmed.step(&Input::Cancel(CancelledBy::User), at(28_800)).unwrap();
    assert_eq!(refunding.state.claim(), Claim::None);
    assert_eq!(effects.iter().map(effect_name).collect::<Vec<_>>(), ["tell-cancelled", "request-refund"]);
    let late = |by, seconds| confirmed.step(&Input::Cancel(by), at(seconds)).map(|_| ());
    assert_eq!(late(CancelledBy::User, 28_801), Err(Rejection::RefundWindowClosed));
    assert_eq!(late(CancelledBy::Admin, 28_801), Ok(()));
    assert_eq!(late(CancelledBy::Admin, 36_000), Err(Rejection::ShowtimeStarted));
    assert_eq!(late(CancelledBy::Showtime, 40_000), Ok(()));
}

/// What is true outside the saga.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    payment: Provider,
    refund: RefundAt,
    /// The refund asked for last.
    round: u32,
    /// Someone else has claimed the seats.
    other_has_seats: bool,
    now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Provider {
    Nothing,
    Open,
    Captured,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RefundAt {
    Nothing,
    Requested,
    Completed,
    Failed,
}

#[derive(Debug, Clone)]
struct Scene {
    saga: Saga,
    world: World,
}

impl Scene {
    /// Everything that can happen next, repeats and late messages included, as (name, scene).
    fn next(&self) -> Vec<(String, Scene)> {
        let mut scenes: Vec<(String, Scene)> =
            self.messages().into_iter().map(|input| (input.name().to_owned(), self.hear(&input))).collect();
        let mut happen = |name: &str, change: &dyn Fn(&mut World)| {
            let mut scene = self.clone();
            change(&mut scene.world);
            scenes.push((name.to_owned(), scene));
        };
        if self.world.payment == Provider::Open {
            happen("provider captures", &|world| world.payment = Provider::Captured);
            happen("provider closes", &|world| world.payment = Provider::Closed);
        }
        if self.world.refund == RefundAt::Requested {
            happen("provider refunds", &|world| world.refund = RefundAt::Completed);
            happen("provider refuses the refund", &|world| world.refund = RefundAt::Failed);
        }
        if self.saga.state.claim() == Claim::None {
            happen("someone else takes the seats", &|world| world.other_has_seats = true);
        }
        if let Some(deadline) = self.saga.deadline() {
            happen("time passes", &|world| world.now = world.now.max(deadline));
        }
        scenes
    }

    /// Inputs that may arrive now: what the world can truthfully say, as often as it likes.
    fn messages(&self) -> Vec<Input> {
        let refund_id = self.refund_id();
        let mut messages = vec![
            Input::BeginPayment { payment_id: PAYMENT },
            Input::Deadline,
            Input::Cancel(CancelledBy::User),
            Input::Cancel(CancelledBy::Admin),
            Input::Cancel(CancelledBy::Showtime),
            Input::Resume,
        ];
        match self.world.payment {
            Provider::Nothing => {}
            Provider::Open => {
                messages.push(Input::PaymentInitiated { payment_id: PAYMENT, checkout_url: None })
            }
            Provider::Captured => messages.push(Input::PaymentSucceeded(success())),
            Provider::Closed => {
                messages.push(Input::PaymentFailed { payment_id: PAYMENT });
                messages.push(Input::PaymentOver { payment_id: PAYMENT });
            }
        }
        match self.world.refund {
            RefundAt::Nothing | RefundAt::Requested => {}
            RefundAt::Completed => messages.push(Input::RefundCompleted { refund_id }),
            RefundAt::Failed => messages.push(Input::RefundFailed { refund_id }),
        }
        messages
    }

    /// The saga takes an input as its actor does: a claim that the database refuses comes back as an input.
    fn hear(&self, input: &Input) -> Scene {
        let Ok((saga, effects)) = self.saga.step(input, self.world.now) else { return self.clone() };
        let reclaims = self.saga.state.claim() == Claim::None && saga.state.claim() != Claim::None;
        let lost = self.world.other_has_seats || saga.terms.starts_at <= self.world.now;
        if let (true, true, Input::PaymentSucceeded(success)) = (reclaims, lost, input) {
            return self.hear(&Input::ReclaimLost(success.clone()));
        }
        let mut world = self.world.clone();
        for effect in &effects {
            match effect {
                Effect::RequestRefund(asked) => {
                    assert_eq!(world.payment, Provider::Captured, "only captured money is refunded");
                    assert_eq!(*asked, Refund::new(PAYMENT, euros(2400), asked.round));
                    let another = asked.round != world.round;
                    assert!(
                        !another || world.refund == RefundAt::Failed,
                        "a second refund while one may succeed"
                    );
                    if another || world.refund == RefundAt::Nothing {
                        world.refund = RefundAt::Requested;
                        world.round = asked.round;
                    }
                }
                Effect::TellCreated => panic!("a reservation is created once"),
                Effect::TellConfirmed { .. } | Effect::TellCancelled { .. } | Effect::EndPayment { .. } => {}
            }
        }
        if matches!(input, Input::BeginPayment { .. })
            && saga.state.claim() == Claim::Held
            && world.payment == Provider::Nothing
        {
            world.payment = Provider::Open;
        }
        Scene { saga, world }
    }

    fn refund_id(&self) -> Uuid {
        Refund::new(PAYMENT, euros(2400), self.world.round).id
    }

    fn check(&self, history: &[String]) {
        let owns = self.saga.state.claim() != Claim::None;
        assert!(!(owns && self.world.other_has_seats), "a seat has two owners after {history:?}");
        let sold = self.saga.state.claim() == Claim::Sold;
        assert!(!sold || self.world.payment == Provider::Captured, "sold for nothing after {history:?}");
        assert!(!sold || self.world.refund == RefundAt::Nothing, "sold and refunded after {history:?}");
    }

    /// Lets the world come to rest and every truth arrive: then money and seats must agree.
    fn settle(mut self, history: &[String]) {
        for _ in 0..80 {
            match self.world.payment {
                // A cancelled or ended reservation has its payment closed; an unpaid one is closed by its deadline.
                Provider::Open => self.world.payment = Provider::Closed,
                Provider::Captured => self = self.hear(&Input::PaymentSucceeded(success())),
                Provider::Closed => self = self.hear(&Input::PaymentOver { payment_id: PAYMENT }),
                Provider::Nothing => {}
            }
            match self.world.refund {
                RefundAt::Requested => self.world.refund = RefundAt::Completed,
                RefundAt::Completed => {
                    self = self.hear(&Input::RefundCompleted { refund_id: self.refund_id() })
                }
                RefundAt::Failed => {
                    self = self.hear(&Input::RefundFailed { refund_id: self.refund_id() });
                    self = self.hear(&Input::Resume);
                }
                RefundAt::Nothing => {}
            }
            if let Some(deadline) = self.saga.deadline() {
                self.world.now = self.world.now.max(deadline);
                self = self.hear(&Input::Deadline);
            }
            self.check(history);
        }
        let paid = self.world.payment == Provider::Captured;
        let fine = match &self.saga.state {
            State::Confirmed { .. } => paid && self.world.refund == RefundAt::Nothing,
            State::Cancelled { .. } => !paid,
            State::Refunded { .. } => paid && self.world.refund == RefundAt::Completed,
            _ => false,
        };
        assert!(fine, "after {history:?} it rests at {:?} with {:?}", self.saga.state, self.world);
    }
}

#[test]
fn every_history_of_eight_inputs_leaks_no_seat_and_keeps_no_money() {
    let world = World {
        payment: Provider::Nothing,
        refund: RefundAt::Nothing,
        round: 0,
        other_has_seats: false,
        now: at(10),
    };
    let mut front = vec![(Scene { saga: saga(), world }, Vec::new())];
    let mut seen = HashSet::new();
    for _ in 0..8 {
        let mut further = Vec::new();
        for (scene, history) in front {
            for (name, next) in scene.next() {
                let known = format!("{:?}", (&next.saga, &next.world));
                if !seen.insert(known) {
                    continue;
                }
                let mut history: Vec<String> = history.clone();
                history.push(name);
                next.check(&history);
                next.clone().settle(&history);
                further.push((next, history));
            }
        }
        front = further;
    }
    assert!(seen.len() > 250, "only {} scenes: the world has become too small", seen.len());
}

#[test]
fn a_refund_that_never_settles_is_put_before_a_person() {
    let refunding =
        State::Refunding { reason: CancelReason::Admin, refund: refund(), asked: 1, ask_at: at(700) };
    let mut saga = Saga { state: refunding, ..saga() };
    for _ in 0..100 {
        let Some(deadline) = saga.deadline() else { break };
        saga = saga.step(&Input::Deadline, deadline).unwrap().0;
    }
    assert_eq!(saga.state.name(), "needs-attention");
    let (resumed, effects) = saga.step(&Input::Resume, at(1_000_000)).unwrap();
    assert_eq!(
        (resumed.state.name(), effects.iter().map(effect_name).collect()),
        ("refunding", vec!["request-refund"])
    );
}

#[test]
fn a_checkpoint_reads_back_as_it_was_written() {
    for state in states() {
        let saga = Saga { state, ..saga() };
        let written = serde_json::to_string(&saga).unwrap();
        assert_eq!(serde_json::from_str::<Saga>(&written).unwrap(), saga);
    }
}

/// Rows as text: `S` standard, `W` wheelchair, `-` gap.
fn hall(rows: &[&str]) -> SeatMap {
    let layout: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| Row {
            label: char::from(b'A' + index as u8).to_string(),
            seats: row
                .chars()
                .enumerate()
                .map(|(at, kind)| Seat {
                    number: at as u16 + 1,
                    kind: match kind {
                        'W' => SeatKind::Wheelchair,
                        '-' => SeatKind::Gap,
                        _ => SeatKind::Standard,
                    },
                })
                .collect(),
        })
        .collect();
    let prices = Prices::from([(SeatKind::Standard, euros(1200)), (SeatKind::Wheelchair, euros(800))]);
    SeatMap::new(&layout, &prices, 0)
}

fn take(map: &mut SeatMap, seats: &[&str]) {
    let changes =
        seats.iter().map(|id| SeatChange { id: (*id).to_owned(), status: SeatStatus::Sold }).collect();
    assert_eq!(
        map.apply(&SeatsChanged { sequence: map.sequence + 1, changes, reload: false }),
        Applied::Newer
    );
}

fn best(map: &SeatMap, count: usize) -> Vec<String> {
    map.ids(&best_available(map, count, SeatKind::Standard).unwrap_or_default())
}

fn ids(seats: &[&str]) -> Vec<String> {
    seats.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn best_available_sits_together_in_the_middle() {
    assert_eq!(best(&hall(&["SSSSSSS"]), 3), ids(&["A3", "A4", "A5"]));
    assert_eq!(best(&hall(&["SSSSSSS", "SSSSSSS", "SSSSSSS", "SSSSSSS"]), 1), ids(&["C4"]));
}

#[test]
fn best_available_leaves_no_single_seat_behind() {
    // A4+A5 would be most central but leave A3 or A6 alone.
    let mut map = hall(&["SSSSSSSS"]);
    take(&mut map, &["A1", "A2", "A7", "A8"]);
    assert_eq!(best(&map, 2), ids(&["A3", "A4"]));
    // Here three of four cannot but leave one; adjacent matters more.
    assert_eq!(best(&map, 3).len(), 3);
}

#[test]
fn best_available_splits_a_party_rather_than_refuse() {
    let mut map = hall(&["SSSS", "SSSS"]);
    take(&mut map, &["A2", "A4", "B1", "B3"]);
    let seats = best(&map, 4);
    assert_eq!(seats, ids(&["A1", "A3", "B2", "B4"]));
    assert!(best_available(&map, 5, SeatKind::Standard).is_none());
}

#[test]
fn best_available_minds_gaps_and_kinds() {
    let map = hall(&["SS-SW"]);
    assert_eq!(best(&map, 2), ids(&["A1", "A2"]));
    assert_eq!(best_available(&map, 1, SeatKind::Wheelchair).map(|s| map.ids(&s)), Some(ids(&["A5"])));
}

#[test]
fn a_mark_keeps_others_waiting_and_ends_with_its_change() {
    let mut map = hall(&["SSS"]);
    let (mine, a1) = (Uuid::now_v7(), map.find(&ids(&["A1"])).unwrap());
    map.mark(&a1, mine);
    assert_eq!(map.named(a1.clone()), Named::Wait);
    assert_eq!(map.view().seats[0].status, SeatStatus::Free, "the world sees only what is committed");
    map.settle(mine, false);
    assert_eq!(map.named(a1.clone()), Named::Free(a1.clone()));
    map.mark(&a1, mine);
    map.settle(mine, true);
    assert_eq!(map.named(a1), Named::Taken(ids(&["A1"])));
}

#[test]
fn notices_are_applied_in_order_or_not_at_all() {
    let mut map = hall(&["SSS"]);
    let notice = |sequence, status| SeatsChanged {
        sequence,
        changes: vec![SeatChange { id: "A1".into(), status }],
        reload: false,
    };
    assert_eq!(map.apply(&notice(2, SeatStatus::Sold)), Applied::Gap);
    assert_eq!(map.view().seats[0].status, SeatStatus::Free);
    assert_eq!(map.apply(&notice(1, SeatStatus::Held)), Applied::Newer);
    assert_eq!(map.apply(&notice(1, SeatStatus::Free)), Applied::Old);
    assert_eq!(map.view().seats[0].status, SeatStatus::Held);
    map.load(9, std::iter::empty());
    assert_eq!((map.sequence, map.view().seats[0].status), (9, SeatStatus::Free));
}

#[test]
fn other_seats_and_prices_are_only_read_and_keep_the_marks() {
    let mut map = hall(&["SSS"]);
    let reload = SeatsChanged { sequence: 1, changes: vec![], reload: true };
    assert_eq!(map.apply(&reload), Applied::Gap);
    let (mine, a2) = (Uuid::now_v7(), map.find(&ids(&["A2"])).unwrap());
    map.mark(&a2, mine);
    let seat = |number| Seat { number, kind: SeatKind::Standard };
    let fitted = Row { label: "A".into(), seats: vec![seat(2), seat(9)] };
    map.refit(&[fitted], &Prices::from([(SeatKind::Standard, euros(1500))]));
    map.load(1, [("A9", SeatStatus::Sold)].into_iter());
    assert_eq!(map.find(&ids(&["A1"])), Err(Rejection::SeatUnknown(ids(&["A1"]))));
    let a2 = map.find(&ids(&["A2"])).unwrap();
    assert_eq!((map.named(a2.clone()), map.total(&a2)), (Named::Wait, euros(1500)));
    let a9 = map.find(&ids(&["A9"])).unwrap();
    assert_eq!(map.named(a9), Named::Taken(ids(&["A9"])));
}

#[test]
fn unknown_and_unsold_seats_are_named() {
    let map = hall(&["S-S"]);
    assert_eq!(map.find(&ids(&["A1", "A2", "Z9"])), Err(Rejection::SeatUnknown(ids(&["A2", "Z9"]))));
    let unpriced = Row { label: "A".into(), seats: vec![Seat { number: 1, kind: SeatKind::Loveseat }] };
    let map = SeatMap::new(&[unpriced], &Prices::new(), 0);
    assert_eq!(map.find(&ids(&["A1"])), Err(Rejection::SeatBlocked(ids(&["A1"]))));
}
