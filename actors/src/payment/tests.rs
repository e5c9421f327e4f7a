//! Pure tests of the machine: a payment and an input give a step. No I/O.

mod closing;
mod credits;
mod declines;
mod disputes;
mod histories;
mod ledger;
mod receipts;
mod refunds;
mod seat_histories;
mod seats;
mod table;
mod webhooks;

use std::time::Duration;

use bus::Context;
use bus::contract::payment::{PaymentStatus, Rejection};
use bus::contract::reservation::{RefundRequested, ReservationCancelled, Sale};
use bus::contract::{Currency, Money, Timestamp};
use uuid::Uuid;

use super::call::{ProviderCall as Call, ProviderReply};
use super::ledger::Posting;
use super::machine::{self, Input, SeatsChanged, WebhookEvent};
use super::model::{Bill, Facts, NO_SUCH_METHOD, Payment, Stage, State, payment_id, sale};
use super::provider::objects::About;
use super::provider::{Answer, AttemptView, DisputeView, Kind, ProviderState, RefundView};
use super::step::{self, KeyWrite, LogLine, PayRequest, PaymentEvent};
use crate::delivery::IdempotencyKey;

const RESERVATION: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const HOLD: i64 = 600;

fn at(seconds: i64) -> Timestamp {
    (time::OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)).into()
}

fn euros(amount: i64) -> Money {
    Money { amount, currency: Currency::EUR }
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey { user_id: Uuid::from_u128(7), route: "rpc.payment.pay", key: name.to_owned() }
}

/// A step, and how it differs from the payment before.
#[derive(Debug)]
struct Step {
    next: Payment,
    events: Vec<PaymentEvent>,
    calls: Vec<Call>,
    postings: Vec<Posting>,
    log: Vec<LogLine>,
    key: Option<KeyWrite>,
    changed: bool,
    /// A person must look, since this step.
    alarm: bool,
}

fn try_step(before: &Payment, input: &Input, now: Timestamp) -> Result<Step, Rejection> {
    let step = machine::step(before, input, now)?;
    let changed = step.is_new_version(before);
    let alarm = before.attention().is_none() && step.next.attention().is_some();
    let step::Step { next, events, calls, postings, log, key } = step;
    Ok(Step { next, events, calls, postings, log, key, changed, alarm })
}

fn step(before: &Payment, input: Input, now: Timestamp) -> Step {
    try_step(before, &input, now).expect("only paying is refused")
}

fn pay(payment: &Payment, request: &PayRequest, now: Timestamp) -> Result<Step, Rejection> {
    try_step(payment, &Input::Pay(Box::new(request.clone())), now)
}

fn replied(payment: &Payment, call: Call, answer: &Answer<AttemptView>, now: Timestamp) -> Step {
    step(payment, Input::Replied(call, ProviderReply::Attempt(answer.clone())), now)
}

fn webhook(payment: &Payment, about: About, now: Timestamp) -> Step {
    let (id, kind, body) = (String::new(), String::new(), String::new());
    step(payment, Input::Webhook(Box::new(WebhookEvent { id, kind, body, payment_id: None, about })), now)
}

fn shown(payment: &Payment, number: Option<i32>, view: &AttemptView, now: Timestamp) -> Step {
    webhook(payment, About::Attempt { number, view: view.clone() }, now)
}

fn end(payment: &Payment, code: &'static str, now: Timestamp) -> Step {
    step(payment, Input::End { code }, now)
}

fn due(payment: &Payment, now: Timestamp) -> Step {
    step(payment, Input::Due, now)
}

fn resume(payment: &Payment, by: Uuid, now: Timestamp) -> Step {
    step(payment, Input::Resume { by }, now)
}

fn request_refund(payment: &Payment, event: &RefundRequested, now: Timestamp) -> Step {
    step(payment, Input::RefundRequested(Box::new(event.clone())), now)
}

fn refund_replied(
    payment: &Payment,
    id: Uuid,
    tries: i32,
    answer: &Answer<RefundView>,
    now: Timestamp,
) -> Step {
    step(payment, Input::Replied(Call::Refund(id), ProviderReply::Refund(tries, answer.clone())), now)
}

fn refund_found(
    payment: &Payment,
    id: Uuid,
    tries: i32,
    answer: &Answer<RefundView>,
    now: Timestamp,
) -> Step {
    step(payment, Input::Replied(Call::FindRefund(id), ProviderReply::Refund(tries, answer.clone())), now)
}

fn refund_shown(payment: &Payment, id: Uuid, tries: i32, view: &RefundView, now: Timestamp) -> Step {
    webhook(payment, About::Refund { id: Some(id), tries, view: view.clone() }, now)
}

fn dispute_shown(payment: &Payment, view: &DisputeView, now: Timestamp) -> Step {
    webhook(payment, About::Dispute(view.clone()), now)
}

fn seats_changed(payment: &Payment, change: SeatsChanged, now: Timestamp) -> Step {
    step(payment, Input::SeatsChanged(Box::new(change)), now)
}

fn cancelled(payment: &Payment, event: &ReservationCancelled, now: Timestamp) -> Step {
    step(payment, Input::Cancelled(Box::new(event.clone())), now)
}

/// The facts from which the payment of a new reservation is opened.
fn facts() -> Facts {
    Facts {
        reservation_id: RESERVATION,
        user_id: Uuid::from_u128(7),
        email: Some("ada@example.org".into()),
        description: "Metropolis · A1, A2".into(),
        sale: Some(Sale {
            showtime_id: Uuid::from_u128(8),
            movie_id: Uuid::from_u128(9),
            movie_title: "Metropolis".into(),
            starts_at: at(86_400),
            tickets: 2,
        }),
        seats_version: 1,
        total: euros(2400),
        bill: Bill::default(),
        exchange_of: None,
        credit: None,
        expires_at: at(HOLD),
    }
}

fn opened_from(facts: Facts) -> Payment {
    Payment { version: 1, ..Payment::open(facts, &Context::new(), at(0)) }
}

/// The payment of a reservation that was just made.
fn opened() -> Payment {
    opened_from(facts())
}

fn pay_request(kind: Kind, name: &str) -> PayRequest {
    let (facts, key, context) = (facts(), key(name), Context::new());
    PayRequest { facts, kind, key, hash: [1; 32], context, declines: None, has_waited: false }
}

fn token() -> Kind {
    Kind::Token { method: Some("pm_card_visa".into()) }
}

fn page() -> Kind {
    Kind::Hosted { ends_at: 2400, purchase: None }
}

fn begin(payment: &Payment, kind: Kind, now: i64) -> Step {
    match pay(payment, &pay_request(kind, &format!("key at {now}")), at(now)) {
        Ok(step) => step,
        other => panic!("does not begin: {other:?}"),
    }
}

fn view(intent: &str, state: ProviderState) -> AttemptView {
    AttemptView { intent: Some(intent.into()), session: None, url: None, total: Some(euros(2400)), state }
}

fn page_view(state: ProviderState) -> AttemptView {
    AttemptView {
        intent: (state == ProviderState::Captured).then(|| "pi_page".to_owned()),
        session: Some("cs_1".into()),
        url: (state == ProviderState::Open).then(|| "https://pay.test/cs_1".to_owned()),
        total: Some(euros(2400)),
        state,
    }
}

fn reply(payment: &Payment, call: Call, view: AttemptView, now: i64) -> Step {
    replied(payment, call, &Answer::Done(view), at(now))
}

/// Paid with a token.
fn paid() -> Payment {
    let begun = begin(&opened(), token(), 10).next;
    reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Captured), 11).next
}

/// A hosted page is open.
fn page_open() -> Payment {
    let begun = begin(&opened(), page(), 10).next;
    reply(&begun, Call::Begin(1), page_view(ProviderState::Open), 11).next
}

#[test]
fn a_payment_has_one_id_wherever_it_is_opened() {
    let id = payment_id(RESERVATION);
    assert_eq!(id, payment_id(RESERVATION));
    assert_ne!(id, payment_id(Uuid::from_u128(RESERVATION.as_u128() + 1)));
    assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
    assert_eq!(id.as_bytes()[..6], RESERVATION.as_bytes()[..6], "it sorts by the reservation's time");
}

#[test]
fn a_token_is_charged_only_after_its_attempt_and_key_are_written() {
    let step = begin(&opened(), token(), 10);
    assert_eq!(step.calls, [Call::Begin(1)]);
    assert_eq!(step.events, [PaymentEvent::Initiated(1)]);
    assert_eq!(step.key, Some(KeyWrite::Claim { key: key("key at 10"), hash: [1; 32] }));
    assert_eq!(step.next.status(), PaymentStatus::Processing);
    assert_eq!(step.next.next_check_at, Some(at(20)), "an attempt without an answer is checked");
}

#[test]
fn a_capture_is_the_success_and_completes_the_key() {
    let begun = begin(&opened(), token(), 10).next;
    let step = reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Captured), 11);
    assert_eq!(step.events, [PaymentEvent::Success]);
    assert_eq!(step.key, Some(KeyWrite::Complete { key: key("key at 10"), attempt: 1 }));
    assert_eq!(step.next.status(), PaymentStatus::Succeeded);
    assert_eq!(step.next.next_check_at, None);
    let success = step.next.success("stripe").unwrap();
    assert_eq!((success.provider_ref.as_str(), success.paid_at), ("pi_1", at(11)));
    let Kind::Token { method } = &step.next.attempts[0].kind else { panic!() };
    assert_eq!(*method, None, "the token is not kept longer than needed");
}

#[test]
fn a_declined_card_leaves_the_payment_open_for_another() {
    let begun = begin(&opened(), token(), 10).next;
    let declined = ProviderState::Declined { code: "insufficient_funds".into() };
    let step = reply(&begun, Call::Begin(1), view("pi_1", declined), 11);
    assert_eq!((&step.events[..], step.next.status()), (&[][..], PaymentStatus::Open));
    assert_eq!(step.key, Some(KeyWrite::Forget { key: key("key at 10") }), "a refusal may be tried again");
    assert_eq!(step.next.attempts[0].code.as_deref(), Some("insufficient_funds"));
    let again = begin(&step.next, token(), 20);
    assert_eq!(again.calls, [Call::Begin(2)], "a new attempt, and with it a new key at the provider");
}

#[test]
fn an_unknown_token_is_no_matter_for_staff() {
    let begun = begin(&opened(), token(), 10).next;
    let refused = Answer::Refused { code: NO_SUCH_METHOD.into(), status: 400 };
    let step = replied(&begun, Call::Begin(1), &refused, at(11));
    assert_eq!((step.next.attempts[0].state, step.alarm), (State::Declined, false));
    let refused = Answer::Refused { code: "amount_too_small".into(), status: 400 };
    let step = replied(&begun, Call::Begin(1), &refused, at(11));
    assert_eq!((step.next.attempts[0].state, step.alarm), (State::Declined, true));
}

#[test]
fn a_pages_address_is_published_once_it_is_open() {
    let begun = begin(&opened(), page(), 10);
    assert_eq!(begun.events, []);
    let step = reply(&begun.next, Call::Begin(1), page_view(ProviderState::Open), 11);
    assert_eq!(step.events, [PaymentEvent::Initiated(1)]);
    assert_eq!(step.key, Some(KeyWrite::Complete { key: key("key at 10"), attempt: 1 }));
    assert_eq!(step.next.shown().checkout_url.as_deref(), Some("https://pay.test/cs_1"));
    assert_eq!(step.next.next_check_at, Some(at(HOLD)), "the provider is checked when the hold ends");
    let paid = shown(&step.next, Some(1), &page_view(ProviderState::Captured), at(60));
    assert_eq!((&paid.events[..], paid.next.shown().checkout_url), (&[PaymentEvent::Success][..], None));
}

#[test]
fn a_payment_that_a_bank_has_not_decided_is_checked_until_it_has() {
    let begun = begin(&opened(), token(), 10).next;
    let step = reply(&begun, Call::Begin(1), view("pi_1", ProviderState::Open), 11);
    assert!(matches!(step.key, Some(KeyWrite::Complete { .. })), "the caller is answered PROCESSING");
    assert_eq!(step.next.status(), PaymentStatus::Processing);
    let checked = due(&step.next, at(21));
    assert_eq!(checked.calls, [Call::Look(1)]);
    let paid = reply(&checked.next, Call::Look(1), view("pi_1", ProviderState::Captured), 22);
    assert_eq!((&paid.events[..], &paid.key), (&[PaymentEvent::Success][..], &None));
}

#[test]
fn a_paid_payment_and_one_that_is_over_take_no_attempt() {
    let refusal = |payment: &Payment, now| pay(payment, &pay_request(token(), "k"), at(now)).err();
    assert_eq!(refusal(&paid(), 20), Some(Rejection::AlreadyPaid));
    let over = end(&opened(), "hold-expired", at(HOLD)).next;
    assert_eq!(refusal(&over, 20), Some(Rejection::PaymentOver));
    assert_eq!(refusal(&opened(), HOLD), Some(Rejection::PaymentOver), "the hold is over, seen or not");
}

#[test]
fn an_unknown_outcome_is_requested_again_under_the_same_attempt() {
    let begun = begin(&opened(), token(), 10).next;
    let unknown = replied(&begun, Call::Begin(1), &Answer::Unknown("timed out".into()), at(15));
    assert_eq!((&unknown.calls[..], &unknown.key), (&[][..], &None), "the key stays claimed");
    assert_eq!(unknown.next.next_check_at, Some(at(25)));
    let checked = due(&unknown.next, at(25));
    assert_eq!((&checked.calls[..], checked.changed), (&[Call::Begin(1)][..], false));
    assert_eq!(checked.next.next_check_at, Some(at(40)), "the pause grows");
    assert_eq!(due(&checked.next, at(30)).calls, [], "not before its time");
    let found = reply(&checked.next, Call::Begin(1), view("pi_1", ProviderState::Captured), 41);
    assert_eq!(found.events, [PaymentEvent::Success]);
    assert!(matches!(found.key, Some(KeyWrite::Complete { .. })), "a repeated request gets the answer");
}

#[test]
fn an_unanswered_charge_is_not_repeated_once_the_hold_is_over() {
    let begun = begin(&opened(), token(), 10).next;
    let closing = due(&begun, at(HOLD));
    assert_eq!(closing.calls, [Call::Close(1)]);
    let paid = reply(&closing.next, Call::Close(1), view("pi_1", ProviderState::Captured), HOLD + 1);
    assert_eq!(paid.events, [PaymentEvent::Success], "it had been charged in time");
}

#[test]
fn after_a_day_an_unanswered_charge_is_a_matter_for_a_person() {
    let begun = begin(&opened(), token(), 10).next;
    let now = at(11).plus(Duration::from_secs(23 * 3600));
    let step = due(&begun, now);
    assert_eq!((&step.calls[..], step.alarm), (&[][..], true), "the provider no longer has the key");
    let begun = begin(&opened(), page(), 10).next;
    let step = due(&begun, now);
    assert_eq!(step.next.attempts[0].state, State::Closed, "a page that no caller received has ended");
}

#[test]
fn a_capture_of_another_amount_is_no_success_and_is_given_back() {
    let begun = begin(&opened(), token(), 10).next;
    for wrong in [euros(2399), Money { currency: Currency::parse("USD").unwrap(), ..euros(2400) }] {
        let view = AttemptView { total: Some(wrong), ..view("pi_1", ProviderState::Captured) };
        let step = reply(&begun, Call::Begin(1), view, 11);
        assert_eq!((&step.events[..], step.alarm), (&[][..], true));
        assert_eq!(step.next.stage, Stage::Payable);
        assert_eq!((step.next.refunds[0].total, step.calls.len()), (wrong, 1));
    }
}

#[test]
fn a_page_over_another_amount_is_closed() {
    let begun = begin(&opened(), page(), 10).next;
    let step = reply(
        &begun,
        Call::Begin(1),
        AttemptView { total: Some(euros(1)), ..page_view(ProviderState::Open) },
        11,
    );
    assert_eq!((&step.calls[..], step.alarm, &step.key), (&[Call::Close(1)][..], true, &None));
}
