//! How many cards may be declined, and the code that customers see.

use super::*;
use crate::config::DeclineLimits;
use crate::payment::model::shown_code;

fn bounded(kind: Kind, name: &str) -> PayRequest {
    let declines = Some(DeclineLimits { per_order_max: 2, per_account_day_max: 10 });
    PayRequest { declines, ..pay_request(kind, name) }
}

/// An attempt that ends with this code.
fn declined(payment: &Payment, code: &str, now: i64) -> Payment {
    let step = begin(payment, token(), now);
    let number = step.next.attempts.last().unwrap().number;
    let declined = view(&format!("pi_{number}"), ProviderState::Declined { code: code.into() });
    replied(&step.next, Call::Begin(number), &Answer::Done(declined), at(now + 1)).next
}

#[test]
fn after_so_many_declines_of_an_order_only_the_hosted_page_is_left() {
    let once = declined(&opened(), "insufficient_funds", 10);
    assert!(pay(&once, &bounded(token(), "2"), at(20)).is_ok());
    let twice = declined(&once, "lost_card", 20);
    let refused = pay(&twice, &bounded(token(), "3"), at(30));
    assert!(matches!(refused, Err(Rejection::DeclinesLimit)), "{refused:?}");
    let page_opened = pay(&twice, &bounded(page(), "4"), at(40));
    let Ok(opened) = page_opened else { panic!("{page_opened:?}") };
    // The page that is open stays: the refused charge does not close it.
    let open = Answer::Done(page_view(ProviderState::Open));
    let waiting = replied(&opened.next, Call::Begin(3), &open, at(41)).next;
    let refused = pay(&waiting, &bounded(token(), "5"), at(50));
    assert!(matches!(refused, Err(Rejection::DeclinesLimit)), "{refused:?}");
    assert!(pay(&twice, &pay_request(token(), "6"), at(60)).is_ok(), "bounds are off");
}

#[test]
fn a_token_that_the_provider_does_not_know_is_no_decline() {
    let mut payment = opened();
    for now in [10, 20, 30] {
        let step = begin(&payment, token(), now);
        let number = step.next.attempts.last().unwrap().number;
        let unknown = Answer::Refused { code: "resource_missing".into(), status: 400 };
        payment = replied(&step.next, Call::Begin(number), &unknown, at(now + 1)).next;
    }
    assert!(pay(&payment, &bounded(token(), "4"), at(40)).is_ok());
}

#[test]
fn customers_read_the_general_decline_where_the_reason_would_help_a_thief() {
    let hidden =
        ["lost_card", "stolen_card", "fraudulent", "pickup_card", "restricted_card", "merchant_blacklist"];
    for code in hidden.into_iter().chain(["security_violation", "a_code_of_next_year"]) {
        let declined = declined(&opened(), code, 10);
        assert_eq!(declined.shown().attempts[0].code.as_deref(), Some("generic_decline"), "{code}");
        assert_eq!(declined.shown_to_staff().attempts[0].code.as_deref(), Some(code));
    }
    for code in ["insufficient_funds", "expired_card", "incorrect_cvc", "resource_missing"] {
        assert_eq!(shown_code(code), code);
    }
}
