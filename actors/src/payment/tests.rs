//! Pure tests of the rules: given a payment, when something is heard, then a step. No I/O.

mod closing;
mod declines;
mod disputes;
mod histories;
mod ledger;
mod refunds;
mod show_histories;
mod shows;
mod webhooks;

use std::time::Duration;

use bus::Context;
use bus::contract::payment::{PaymentStatus, Rejection};
use bus::contract::reservation::Sale;
use bus::contract::{Currency, Money, Timestamp};
use uuid::Uuid;

use super::hear::NO_SUCH_METHOD;
use super::model::{Facts, Kind, Payment, Stage, State, payment_id};
use super::provider::{Answer, Sight, Standing};
use super::rules::{self, Paying, Wish};
use super::step::{Call, KeyWrite, Said, Step};
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

/// The payment of a reservation that was just made.
fn opened() -> Payment {
    let facts = Facts {
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
        expires_at: at(HOLD),
    };
    rules::opened(&Payment::open(facts, &Context::new(), at(0)), at(0)).payment
}

fn wish(kind: Kind, name: &str) -> Wish {
    Wish {
        kind,
        key: key(name),
        hash: [1; 32],
        expires_at: at(HOLD),
        description: "Metropolis · A1, A2".into(),
        email: None,
        context: Context::new(),
        declines: None,
    }
}

fn token() -> Kind {
    Kind::Token { method: Some("pm_card_visa".into()) }
}

fn page() -> Kind {
    Kind::Hosted { ends_at: 2400 }
}

fn begin(payment: &Payment, kind: Kind, now: i64) -> Step {
    match rules::pay(payment, &wish(kind, &format!("key at {now}")), at(now)) {
        Ok(Paying::Begin(step)) => *step,
        other => panic!("does not begin: {other:?}"),
    }
}

fn sight(intent: &str, standing: Standing) -> Sight {
    Sight { intent: Some(intent.into()), session: None, url: None, total: Some(euros(2400)), standing }
}

fn page_sight(standing: Standing) -> Sight {
    Sight {
        intent: (standing == Standing::Captured).then(|| "pi_page".to_owned()),
        session: Some("cs_1".into()),
        url: (standing == Standing::Open).then(|| "https://pay.test/cs_1".to_owned()),
        total: Some(euros(2400)),
        standing,
    }
}

fn hear(payment: &Payment, call: Call, sight: Sight, now: i64) -> Step {
    rules::answered(payment, call, &Answer::Done(sight), at(now))
}

/// Paid with a token.
fn paid() -> Payment {
    let begun = begin(&opened(), token(), 10).payment;
    hear(&begun, Call::Begin(1), sight("pi_1", Standing::Captured), 11).payment
}

/// A page waits for the moviegoer.
fn page_open() -> Payment {
    let begun = begin(&opened(), page(), 10).payment;
    hear(&begun, Call::Begin(1), page_sight(Standing::Open), 11).payment
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
    assert_eq!(step.said, [Said::Initiated(1)]);
    assert_eq!(step.key, Some(KeyWrite::Claim { key: key("key at 10"), hash: [1; 32] }));
    assert_eq!(step.payment.status(), PaymentStatus::Processing);
    assert_eq!(step.payment.next_check_at, Some(at(20)), "an attempt without an answer is asked about");
}

#[test]
fn a_capture_is_the_success_and_completes_the_key() {
    let begun = begin(&opened(), token(), 10).payment;
    let step = hear(&begun, Call::Begin(1), sight("pi_1", Standing::Captured), 11);
    assert_eq!(step.said, [Said::Success]);
    assert_eq!(step.key, Some(KeyWrite::Complete { key: key("key at 10"), attempt: 1 }));
    assert_eq!(step.payment.status(), PaymentStatus::Succeeded);
    assert_eq!(step.payment.next_check_at, None);
    let success = step.payment.success("stripe").unwrap();
    assert_eq!((success.provider_ref.as_str(), success.paid_at), ("pi_1", at(11)));
    let Kind::Token { method } = &step.payment.attempts[0].kind else { panic!() };
    assert_eq!(*method, None, "the token is not kept longer than needed");
}

#[test]
fn a_declined_card_leaves_the_payment_open_for_another() {
    let begun = begin(&opened(), token(), 10).payment;
    let declined = Standing::Declined { code: "insufficient_funds".into() };
    let step = hear(&begun, Call::Begin(1), sight("pi_1", declined), 11);
    assert_eq!((&step.said[..], step.payment.status()), (&[][..], PaymentStatus::Open));
    assert_eq!(step.key, Some(KeyWrite::Forget { key: key("key at 10") }), "a refusal may be tried again");
    assert_eq!(step.payment.attempts[0].code.as_deref(), Some("insufficient_funds"));
    let again = begin(&step.payment, token(), 20);
    assert_eq!(again.calls, [Call::Begin(2)], "a new attempt, and with it a new key at the provider");
}

#[test]
fn an_unknown_token_is_no_matter_for_staff() {
    let begun = begin(&opened(), token(), 10).payment;
    let refused = Answer::Refused { code: NO_SUCH_METHOD.into(), status: 400 };
    let step = rules::answered(&begun, Call::Begin(1), &refused, at(11));
    assert_eq!((step.payment.attempts[0].state, step.alarm), (State::Declined, false));
    let refused = Answer::Refused { code: "amount_too_small".into(), status: 400 };
    let step = rules::answered(&begun, Call::Begin(1), &refused, at(11));
    assert_eq!((step.payment.attempts[0].state, step.alarm), (State::Declined, true));
}

#[test]
fn a_page_is_told_once_it_is_open() {
    let begun = begin(&opened(), page(), 10);
    assert_eq!(begun.said, []);
    let step = hear(&begun.payment, Call::Begin(1), page_sight(Standing::Open), 11);
    assert_eq!(step.said, [Said::Initiated(1)]);
    assert_eq!(step.key, Some(KeyWrite::Complete { key: key("key at 10"), attempt: 1 }));
    assert_eq!(step.payment.shown().checkout_url.as_deref(), Some("https://pay.test/cs_1"));
    assert_eq!(step.payment.next_check_at, Some(at(HOLD)), "the provider is asked when the hold ends");
    let paid = rules::seen(&step.payment, Some(1), &page_sight(Standing::Captured), at(60));
    assert_eq!((&paid.said[..], paid.payment.shown().checkout_url), (&[Said::Success][..], None));
}

#[test]
fn a_bank_that_thinks_is_waited_for() {
    let begun = begin(&opened(), token(), 10).payment;
    let step = hear(&begun, Call::Begin(1), sight("pi_1", Standing::Open), 11);
    assert!(matches!(step.key, Some(KeyWrite::Complete { .. })), "the asker hears PROCESSING");
    assert_eq!(step.payment.status(), PaymentStatus::Processing);
    let due = rules::due(&step.payment, at(21));
    assert_eq!(due.calls, [Call::Look(1)]);
    let paid = hear(&due.payment, Call::Look(1), sight("pi_1", Standing::Captured), 22);
    assert_eq!((&paid.said[..], &paid.key), (&[Said::Success][..], &None));
}

#[test]
fn a_paid_payment_and_one_that_is_over_take_no_attempt() {
    let refusal = |payment: &Payment, now| rules::pay(payment, &wish(token(), "k"), at(now)).err();
    assert_eq!(refusal(&paid(), 20), Some(Rejection::AlreadyPaid));
    let over = rules::end(&opened(), "hold-expired", at(HOLD)).payment;
    assert_eq!(refusal(&over, 20), Some(Rejection::PaymentOver));
    assert_eq!(refusal(&opened(), HOLD), Some(Rejection::PaymentOver), "the hold is over, told or not");
}

#[test]
fn an_outcome_that_is_unknown_is_asked_for_under_the_same_attempt() {
    let begun = begin(&opened(), token(), 10).payment;
    let unknown = rules::answered(&begun, Call::Begin(1), &Answer::Unknown("timed out".into()), at(15));
    assert_eq!((&unknown.calls[..], &unknown.key), (&[][..], &None), "the key stays claimed");
    assert_eq!(unknown.payment.next_check_at, Some(at(20)));
    let due = rules::due(&unknown.payment, at(20));
    assert_eq!(due.calls, [Call::Begin(1)]);
    assert_eq!(due.payment.next_check_at, Some(at(40)), "the delay grows");
    assert_eq!(rules::due(&due.payment, at(30)).calls, [], "not before its time");
    let found = hear(&due.payment, Call::Begin(1), sight("pi_1", Standing::Captured), 41);
    assert_eq!(found.said, [Said::Success]);
    assert!(
        matches!(found.key, Some(KeyWrite::Complete { .. })),
        "whoever repeats the request gets its answer"
    );
}

#[test]
fn an_unanswered_charge_is_not_repeated_once_the_hold_is_over() {
    let begun = begin(&opened(), token(), 10).payment;
    let mut due = rules::due(&begun, at(HOLD));
    assert_eq!(due.calls, [Call::Close(1)]);
    due = hear(&due.payment, Call::Close(1), sight("pi_1", Standing::Captured), HOLD + 1);
    assert_eq!(due.said, [Said::Success], "it had been charged in time");
}

#[test]
fn after_a_day_an_unanswered_charge_is_a_matter_for_a_person() {
    let begun = begin(&opened(), token(), 10).payment;
    let now = at(11).plus(Duration::from_secs(23 * 3600));
    let step = rules::due(&begun, now);
    assert_eq!((&step.calls[..], step.alarm), (&[][..], true), "the provider has forgotten the key");
    let begun = begin(&opened(), page(), 10).payment;
    let step = rules::due(&begun, now);
    assert_eq!(step.payment.attempts[0].state, State::Closed, "a page that nobody saw has ended");
}

#[test]
fn a_capture_of_another_amount_is_no_success_and_is_given_back() {
    let begun = begin(&opened(), token(), 10).payment;
    for wrong in [euros(2399), Money { currency: Currency::parse("USD").unwrap(), ..euros(2400) }] {
        let sight = Sight { total: Some(wrong), ..sight("pi_1", Standing::Captured) };
        let step = hear(&begun, Call::Begin(1), sight, 11);
        assert_eq!((&step.said[..], step.alarm), (&[][..], true));
        assert_eq!(step.payment.stage, Stage::Payable);
        assert_eq!((step.payment.refunds[0].total, step.calls.len()), (wrong, 1));
    }
}

#[test]
fn a_page_over_another_amount_is_closed() {
    let begun = begin(&opened(), page(), 10).payment;
    let step =
        hear(&begun, Call::Begin(1), Sight { total: Some(euros(1)), ..page_sight(Standing::Open) }, 11);
    assert_eq!((&step.calls[..], step.alarm, &step.key), (&[Call::Close(1)][..], true, &None));
}
