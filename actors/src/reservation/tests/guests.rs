//! A guest's order: its customer before paying, its address afterwards, its way to an account.

use super::*;

const GUEST: &str = "grace@example.org";

fn set(email: &str) -> Input {
    Input::SetCustomer { email: email.into(), name: None }
}

fn merge() -> Input {
    Input::Merge { user_id: Uuid::from_u128(77), email: "ada@example.org".into() }
}

/// A held order without an address.
fn held() -> Reservation {
    let mut order = reservation();
    order.email = String::new();
    order.saga.guest = true;
    order
}

fn after(order: &Reservation, input: &Input) -> Reservation {
    order.with(order.step(input, at(10)).unwrap().next, input, at(10))
}

fn begin() -> Input {
    Input::BeginPayment { payment_id: Uuid::from_u128(5) }
}

#[test]
fn a_guest_pays_only_with_an_address() {
    assert_eq!(held().step(&begin(), at(10)).unwrap_err(), Rejection::CustomerMissing);
    let named = after(&held(), &set(GUEST));
    assert_eq!((named.email.as_str(), named.version), (GUEST, 2));
    assert!(named.step(&begin(), at(10)).is_ok());
    assert!(named.step(&set(GUEST), at(10)).unwrap().writes_nothing(&named.saga));
}

#[test]
fn a_merge_changes_owner_and_address_and_voids_earlier_links() {
    let merged = after(&held(), &merge());
    assert_eq!((merged.user_id, merged.email.as_str()), (Uuid::from_u128(77), "ada@example.org"));
    assert_eq!((merged.saga.access, merged.saga.guest), (1, false));
    assert!(merged.step(&merge(), at(10)).unwrap().writes_nothing(&merged.saga));
    let paying = after(&after(&held(), &set(GUEST)), &begin());
    assert_eq!(paying.step(&merge(), at(10)).unwrap_err(), Rejection::MergeWhilePaying);
}

#[test]
fn a_checkpoint_from_before_guests_is_read() {
    let mut stored = serde_json::to_value(&held().saga).unwrap();
    for field in ["guest", "customerName", "access"] {
        stored.as_object_mut().unwrap().remove(field);
    }
    let read: Saga = serde_json::from_value(stored).unwrap();
    assert_eq!((read.guest, read.customer_name, read.access), (false, None, 0));
}

#[test]
fn an_order_is_open_until_it_is_paid_or_over_and_while_money_or_seats_move() {
    use crate::reservation::erasure::is_open;
    use crate::reservation::saga::{Exchanging, State};
    assert!(is_open(&held()));
    let cancelled = after(&held(), &Input::Cancel(Cancel::by(CancelledBy::User)));
    assert!(!is_open(&cancelled), "{:?}", cancelled.saga.state);
    let confirmed = |exchanging| {
        let mut order = held();
        let (payment_id, provider_ref) = (Uuid::from_u128(5), "pi_1".to_owned());
        order.saga.state = State::Confirmed { payment_id, provider_ref, exchanging };
        order
    };
    assert!(!is_open(&confirmed(None)), "its tickets are valid without an address");
    assert!(is_open(&confirmed(Some(Exchanging { to: Uuid::from_u128(6), since: at(10) }))));
}
