//! Pure tests: the transition table in this file; every history of up to eight inputs, refunds, exchanges and halls in files of
//! their own.

mod film_weeks;
mod giving_back;
mod guests;
mod halls;
mod histories;
mod holds;
mod plans;
mod pricing;
mod returns;
mod sale_rules;
mod sold_together;
mod tickets;

use bus::contract::payment::PaymentSuccess;
use bus::contract::reservation::{
    CancelReason, Credit, CreditedCapture, RefundAmount, RefundPolicy, Rejection, SagaState,
};
use bus::contract::{Currency, Line, Locale, Money, OrderCode, SeatId, Timestamp};
use uuid::Uuid;

use super::model::Reservation;
use super::saga::{
    Cancel, CancelledBy, Claim, Exchanging, GiveBack, Input, KnownPayment, Place, Refund, Replace,
    Replacement, Return, Saga, SagaCall, SagaEvent, State, Step, Terms,
};

const PAYMENT: Uuid = Uuid::from_u128(1);
const DEARER: Uuid = Uuid::from_u128(2);
const OLD: Uuid = Uuid::from_u128(5);
const HOLD: u64 = 600;

fn at(seconds: i64) -> Timestamp {
    (time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)).into()
}

fn euros(amount: i64) -> Money {
    Money { amount, currency: Currency::EUR }
}

fn saga() -> Saga {
    let terms = Terms {
        lines: vec![line("A1", 1500), line("A2", 900)],
        fees: vec![],
        fees_kept: 0,
        total: euros(2400),
        starts_at: at(36_000),
        hold_seconds: HOLD,
        hold_until_max: at(1200),
        grace_seconds: 60,
        refund_until: at(28_800),
        refund_policy: RefundPolicy { until_minutes: 120, percent: 100 },
        sales_cutoffs: Default::default(),
        site_id: bus::contract::site::DEFAULT_SITE,
        locale: Locale::En,
    };
    Saga::start(terms, at(HOLD as i64), None).next
}

fn success() -> PaymentSuccess {
    PaymentSuccess {
        payment_id: PAYMENT,
        reservation_id: Uuid::nil(),
        total: euros(2400),
        provider: "stripe".into(),
        provider_ref: "pi_1".into(),
        paid_at: at(60),
        version: 2,
    }
}

fn refund() -> Refund {
    Refund::new(PAYMENT, euros(2400), 0)
}

fn ids(seats: &[&str]) -> Vec<SeatId> {
    seats.iter().map(|id| SeatId::parse(id).unwrap()).collect()
}

fn line(seat: &str, amount: i64) -> Line {
    Line::plain(SeatId::parse(seat).unwrap(), euros(amount))
}

fn confirmed() -> State {
    State::Confirmed { payment_id: PAYMENT, provider_ref: "pi_1".into(), exchanging: None }
}

/// Other seats of the same showtime.
fn place(amount: i64) -> Place {
    Place {
        planned_on: 1,
        showtime_id: Uuid::nil(),
        showtime_version: 1,
        movie_id: Uuid::nil(),
        movie_title: String::new(),
        starts_at: at(36_000),
        lines: vec![line("B1", amount)],
        fees: vec![],
        total: euros(amount),
    }
}

fn code() -> OrderCode {
    OrderCode::parse("K7M2QX4D").unwrap()
}

fn reservation() -> Reservation {
    Reservation {
        id: Uuid::from_u128(3),
        code: code(),
        user_id: Uuid::nil(),
        email: "ada@example.org".into(),
        showtime_id: Uuid::nil(),
        movie_id: Uuid::nil(),
        movie_title: String::new(),
        starts_at: at(36_000),
        version: 1,
        saga: saga(),
        deadline: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// The beginning of a dearer exchange that was planned on this version.
fn begin_exchange(planned_on: i64) -> Input {
    let to = Place { planned_on, ..place(2800) };
    Input::BeginExchange(Box::new(Replacement {
        id: DEARER,
        code: code(),
        to,
        saga: saga(),
        created_at: at(0),
    }))
}

/// The replaced reservation was read: with the money that the table's reservation is credited, or gone.
fn replace(is_there: bool) -> Input {
    let state = State::Confirmed {
        payment_id: Uuid::from_u128(4),
        provider_ref: "pi_0".into(),
        exchanging: Some(Exchanging { to: DEARER, since: at(60) }),
    };
    let old = Saga { captured: Some(euros(2000)), state, ..saga() };
    let old = Saga { terms: Terms { total: euros(2000), ..old.terms.clone() }, ..old };
    let old = is_there.then(|| Reservation { id: OLD, saga: old, ..reservation() }.as_old_order());
    Input::Replace(Box::new(Replace { to: DEARER, old, is_disputed: false }))
}

/// The credit of a reservation for 24 €: the 20 € of the one that it replaces.
fn credit() -> Credit {
    let capture = CreditedCapture { reservation_id: OLD, provider_ref: "pi_0".into(), total: euros(2000) };
    Credit { total: euros(2000), waived: euros(0), captures: vec![capture] }
}

fn give_back(amount: Option<i64>) -> Input {
    let amount = amount.map(RefundAmount::Minor);
    Input::GiveBack(GiveBack { amount, reason: "the film broke".into(), by: Uuid::nil() })
}

fn cancel(by: CancelledBy) -> Input {
    Input::Cancel(Cancel::by(by))
}

/// A1 of the order is given back, and A2 stays.
fn give_seat_back(cancel: Cancel) -> Input {
    let rest = Place { lines: vec![line("A2", 900)], ..place(900) };
    Input::Return(Box::new(Return { seats: ids(&["A1"]), rest, cancel }))
}

fn resume() -> Input {
    Input::Resume { by: None }
}

fn states() -> Vec<State> {
    let reason = CancelReason::HoldExpired;
    vec![
        State::AwaitingPayment { begun: false },
        State::AwaitingPayment { begun: true },
        State::Ending { until: at(660) },
        State::Replacing { payment_id: PAYMENT, provider_ref: "pi_1".into(), paid: euros(400) },
        confirmed(),
        State::Confirmed {
            payment_id: PAYMENT,
            provider_ref: "pi_1".into(),
            exchanging: Some(Exchanging { to: DEARER, since: at(60) }),
        },
        State::Cancelled { reason },
        State::Cancelled { reason: CancelReason::UserRequest },
        State::Refunding { reason, refund: refund(), requested_at: at(600) },
        State::Refunded { reason, refund: refund() },
        State::NeedsAttention { reason, refund: refund(), refused: true },
    ]
}

fn inputs() -> Vec<Input> {
    let refund_id = refund().id;
    vec![
        Input::BeginPayment { payment_id: PAYMENT },
        Input::PaymentInitiated { payment_id: PAYMENT, checkout_url: Some("https://pay".into()), version: 1 },
        Input::PaymentSucceeded(success()),
        Input::PaymentFailed { payment_id: PAYMENT },
        Input::PaymentOver { payment_id: PAYMENT },
        Input::ReclaimLost(success()),
        Input::Deadline,
        cancel(CancelledBy::User),
        cancel(CancelledBy::Admin),
        cancel(CancelledBy::Showtime),
        give_back(Some(500)),
        give_back(None),
        Input::Exchange(place(2400)),
        Input::Exchange(place(2000)),
        begin_exchange(1),
        give_seat_back(Cancel::by(CancelledBy::User)),
        replace(true),
        replace(false),
        Input::ExchangeOver { to: DEARER },
        Input::RefundCompleted { refund_id, version: 4 },
        Input::RefundFailed { refund_id, code: None, version: 4 },
        resume(),
    ]
}

fn label(state: &State) -> String {
    match state {
        State::Cancelled { reason } => format!("cancelled ({reason:?})"),
        State::Confirmed { exchanging: Some(_), .. } => "confirmed (exchanging)".to_owned(),
        other => other.name().as_str().to_owned(),
    }
}

#[test]
fn the_transition_table_changes_only_on_purpose() {
    let mut table = String::new();
    for state in states() {
        table.push_str(&format!("{}\n", label(&state)));
        let payment = Some(KnownPayment { id: PAYMENT, checkout_url: None, version: 0 });
        let is_exchange = matches!(state, State::Replacing { .. });
        let exchange_of = is_exchange.then_some(OLD);
        let from = Saga { payment, state, exchange_of, credit: exchange_of.map(|_| credit()), ..saga() };
        // Just due, so that deadlines act and the hold is over only for a payment that begins now.
        let now = from.deadline(at(600)).unwrap_or(at(600));
        for input in inputs() {
            let now = if input == Input::Deadline { now } else { at(60) };
            let outcome = match from.step(&input, now) {
                Err(Rejection::RefundTooLarge { left }) => {
                    format!("refused: RefundTooLarge, {} left", left.amount)
                }
                Err(rejection) => format!("refused: {rejection:?}"),
                Ok(step) if step.writes_nothing(&from) && step.calls.is_empty() => continue,
                Ok(step) => format!("{} {}", label(&step.next.state), names(&step).join(" + ")),
            };
            let name = match &input {
                Input::GiveBack(GiveBack { amount: Some(_), .. }) => "give-back (part)",
                Input::Replace(replace) if replace.old.is_none() => "replace (gone)",
                Input::Exchange(to) if to.total != euros(2400) => "exchange (cheaper)",
                input => input.name(),
            };
            table.push_str(&format!("    {name:<20} {}\n", outcome.trim_end()));
        }
    }
    insta::assert_snapshot!(table);
}

/// The events and calls of a step.
fn names(step: &Step) -> Vec<&'static str> {
    let events = step.events.iter().map(|event| match event {
        SagaEvent::Created => "created",
        SagaEvent::Confirmed { .. } => "confirmed",
        SagaEvent::Cancelled { .. } => "cancelled",
        SagaEvent::RefundRequested(_) => "refund-requested",
        SagaEvent::Exchanged { .. } => "exchanged",
        SagaEvent::Updated { .. } => "updated",
        SagaEvent::Readdressed => "readdressed",
    });
    let calls = step.calls.iter().map(|call| match call {
        SagaCall::EndPayment { .. } => "[end-payment]",
        SagaCall::GetRefund { .. } => "[get-refund]",
        SagaCall::NotifyReplaced { .. } => "[notify-replaced]",
        SagaCall::ReadReplacement { .. } => "[read-replacement]",
        SagaCall::ReadReplaced { .. } => "[read-replaced]",
    });
    events.chain(calls).collect()
}

#[test]
fn only_the_charge_of_a_beginning_without_a_page_is_expected_and_it_changes_nothing() {
    let page =
        |url: Option<&str>| KnownPayment { id: PAYMENT, checkout_url: url.map(str::to_owned), version: 0 };
    let charge = Input::PaymentInitiated { payment_id: PAYMENT, checkout_url: None, version: 1 };
    let mut expected = Vec::new();
    for state in states() {
        for payment in [None, Some(page(None)), Some(page(Some("https://pay")))] {
            let saga = Saga { payment: payment.clone(), state: state.clone(), ..saga() };
            assert!(!inputs().iter().any(|input| saga.expects(input)), "{}", label(&state));
            if saga.expects(&charge) {
                assert_eq!(saga.step(&charge, at(60)), Ok(Step::to(saga.clone())));
                expected.push((label(&state), payment));
            }
        }
    }
    assert_eq!(expected, [("paying".to_owned(), Some(page(None)))]);
}

#[test]
fn beginning_to_pay_extends_the_hold_once_and_up_to_the_cap() {
    let begin = Input::BeginPayment { payment_id: PAYMENT };
    let early = saga().step(&begin, at(30)).unwrap().next;
    assert_eq!(early.expires_at, at(630));
    let again = early.step(&begin, at(600)).unwrap();
    assert_eq!((again.next.expires_at, names(&again).len()), (at(630), 0));
    let capped = Saga { expires_at: at(1190), ..saga() }.step(&begin, at(1180)).unwrap().next;
    assert_eq!(capped.expires_at, at(1200));
    assert_eq!(saga().step(&begin, at(600)).unwrap_err(), Rejection::HoldExpired);
}

#[test]
fn a_refunds_state_is_requested_without_a_new_version_and_after_a_day_a_person_must_look() {
    let refunding = State::Refunding { reason: CancelReason::Admin, refund: refund(), requested_at: at(600) };
    let saga = Saga { state: refunding, ..saga() };
    let (mut now, mut asked) = (at(600), 0);
    let stuck = loop {
        now = saga.deadline(now).unwrap();
        let step = saga.step(&Input::Deadline, now).unwrap();
        assert!(step.events.is_empty(), "a repeated request is not published as an event");
        if step.next != saga {
            break step.next;
        }
        assert_eq!(names(&step), ["[get-refund]"]);
        asked += 1;
    };
    assert!((20..40).contains(&asked), "{asked} times in a day");
    assert_eq!(stuck.state.name(), SagaState::NeedsAttention);
    let resumed = stuck.step(&resume(), at(1_000_000)).unwrap();
    assert_eq!((resumed.next.state.name(), names(&resumed)), (SagaState::Refunding, vec!["[get-refund]"]));
}

#[test]
fn an_older_version_of_a_refund_changes_nothing() {
    let refund_id = refund().id;
    let completed = Input::RefundCompleted { refund_id, version: 4 };
    let failed = Input::RefundFailed { refund_id, code: None, version: 6 };
    let refunding = State::Refunding { reason: CancelReason::Admin, refund: refund(), requested_at: at(600) };
    let refunded = Saga { state: refunding, ..saga() }.step(&completed, at(700)).unwrap().next;
    let returned = refunded.step(&failed, at(800)).unwrap().next;
    assert_eq!(returned.state.name(), SagaState::NeedsAttention);
    assert_eq!(returned.step(&completed, at(900)).unwrap().next, returned, "delivered again");
}

#[test]
fn a_checkpoint_reads_back_as_it_was_written() {
    for state in states() {
        let saga = Saga { state, ..saga() };
        let written = serde_json::to_string(&saga).unwrap();
        assert_eq!(serde_json::from_str::<Saga>(&written).unwrap(), saga);
    }
}
