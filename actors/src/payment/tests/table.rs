//! The transition tables as a snapshot: a change of them is on purpose.

use bus::contract::SeatId;
use bus::contract::payment::DisputeStatus;
use bus::contract::reservation::{CancelReason, ReservationCreated};

use super::*;
use crate::payment::provider::RefundState;

fn attempt_in(payment: Payment, state: State) -> Payment {
    let mut payment = payment;
    payment.attempts[0].state = state;
    payment
}

fn payments() -> Vec<(&'static str, Payment)> {
    let charging = begin(&opened(), token(), 10).next;
    let opening = begin(&opened(), page(), 10).next;
    let ending = end(&page_open(), "hold-expired", at(HOLD)).next;
    let over = end(&opened(), "hold-expired", at(HOLD)).next;
    let declined =
        reply(&charging, Call::Begin(1), view("pi_1", ProviderState::Declined { code: "no".into() }), 11);
    let refunding = request_refund(&paid(), &refund(), at(100)).next;
    let refunded =
        refund_shown(&refunding, refund().refund_id, 1, &refund_view(RefundState::Succeeded), at(101));
    let disputed = dispute_shown(&paid(), &dispute(DisputeStatus::Open), at(100)).next;
    vec![
        ("open", opened()),
        ("charging a token", charging.clone()),
        ("bank decides", attempt_in(charging, State::Open)),
        ("declined", declined.next),
        ("opening a page", opening),
        ("page waits", page_open()),
        ("ending, page closing", ending),
        ("over", over),
        ("captured", paid()),
        ("captured, refund requested", refunding),
        ("captured, refunded", refunded.next),
        ("captured, disputed", disputed),
    ]
}

fn refund() -> RefundRequested {
    RefundRequested {
        refund_id: Uuid::from_u128(91),
        reservation_id: RESERVATION,
        payment_id: payment_id(RESERVATION),
        total: euros(2400),
        provider_ref: None,
        reason: "USER_REQUEST".into(),
        by: None,
        version: 4,
    }
}

fn refund_view(state: RefundState) -> RefundView {
    RefundView { reference: "re_1".into(), total: Some(euros(2400)), state }
}

fn dispute(status: DisputeStatus) -> DisputeView {
    let (reference, intent) = ("du_1".into(), "pi_1".into());
    DisputeView { reference, intent, total: Some(euros(2400)), reason: "fraudulent".into(), status }
}

fn event(version: i64, showtime: u128) -> ReservationCreated {
    ReservationCreated {
        reservation_id: RESERVATION,
        code: None,
        version,
        user_id: Uuid::from_u128(7),
        email: String::new(),
        showtime_id: Uuid::from_u128(showtime),
        movie_id: Uuid::from_u128(9),
        movie_title: String::new(),
        starts_at: at(86_400),
        seats: vec![SeatId::new("A", 1)],
        lines: Vec::new(),
        fees: vec![],
        total: euros(2400),
        expires_at: at(HOLD),
        locale: bus::contract::Locale::En,
        site_id: bus::contract::site::DEFAULT_SITE,
        access: 0,
        exchange_of: None,
        credit: None,
        due: None,
    }
}

/// The provider's view of the first attempt, whatever its kind.
fn shows(payment: &Payment, state: ProviderState) -> Input {
    let is_page = payment.attempts.first().is_some_and(|attempt| !attempt.is_charge());
    let view = if is_page { page_view(state) } else { view("pi_1", state) };
    let about = About::Attempt { number: Some(1), view };
    let (id, kind, body) = (String::new(), String::new(), String::new());
    Input::Webhook(Box::new(WebhookEvent { id, kind, body, payment_id: None, about }))
}

fn webhook_of(about: About) -> Input {
    let (id, kind, body) = (String::new(), String::new(), String::new());
    Input::Webhook(Box::new(WebhookEvent { id, kind, body, payment_id: None, about }))
}

fn inputs(payment: &Payment) -> Vec<(&'static str, Input)> {
    let cancelled = |reason| {
        Input::Cancelled(Box::new(ReservationCancelled {
            reason,
            credited: vec![],
            reservation: event(5, 8),
        }))
    };
    let exchanged = SeatsChanged { payment_id: payment.id, entry: "exchange", reservation: event(5, 30) };
    let returned = SeatsChanged { payment_id: payment.id, entry: "return", reservation: event(5, 8) };
    let refund_id = refund().refund_id;
    let refund_shows =
        |state| webhook_of(About::Refund { id: Some(refund_id), tries: 1, view: refund_view(state) });
    let failed = || RefundState::Failed { code: "bank".into() };
    let unknown = |call| Input::Replied(call, ProviderReply::Attempt(Answer::Unknown("silence".into())));
    let refused = Answer::Refused { code: "no".into(), status: 400 };
    vec![
        ("pay by token", Input::Pay(Box::new(pay_request(token(), "k")))),
        ("end", Input::End { code: "hold-expired" }),
        ("cancelled", cancelled(CancelReason::UserRequest)),
        ("cancelled, hold expired", cancelled(CancelReason::HoldExpired)),
        ("exchanged", Input::SeatsChanged(Box::new(exchanged))),
        ("returned", Input::SeatsChanged(Box::new(returned))),
        (
            "refund requested",
            Input::RefundRequested(Box::new(RefundRequested { refund_id: Uuid::from_u128(92), ..refund() })),
        ),
        ("provider: open", shows(payment, ProviderState::Open)),
        ("provider: captured", shows(payment, ProviderState::Captured)),
        ("provider: declined", shows(payment, ProviderState::Declined { code: "no".into() })),
        ("provider: closed", shows(payment, ProviderState::Closed)),
        (
            "provider: another capture",
            webhook_of(About::Attempt { number: None, view: view("pi_2", ProviderState::Captured) }),
        ),
        ("begin: no reply", unknown(Call::Begin(1))),
        ("begin: refused", Input::Replied(Call::Begin(1), ProviderReply::Attempt(refused))),
        (
            "close: no such object",
            Input::Replied(Call::Close(1), ProviderReply::Attempt(Answer::NoSuchObject)),
        ),
        ("refund: succeeded", refund_shows(RefundState::Succeeded)),
        ("refund: failed", refund_shows(failed())),
        ("dispute: lost", webhook_of(About::Dispute(dispute(DisputeStatus::Lost)))),
        ("due", Input::Due),
        ("resume", Input::Resume { by: Uuid::nil() }),
    ]
}

fn printed(step: &Step) -> String {
    let stage = match &step.next.stage {
        Stage::Payable => "payable",
        Stage::Ending { .. } => "ending",
        Stage::Over { .. } => "over",
        Stage::Captured { .. } => "captured",
    };
    let attempts: Vec<String> = step.next.attempts.iter().map(|a| format!("{:?}", a.state)).collect();
    let refunds: Vec<String> = step.next.refunds.iter().map(|r| format!("refund {:?}", r.status)).collect();
    let disputes: Vec<String> =
        step.next.disputes.iter().map(|d| format!("dispute {:?}", d.status)).collect();
    let parts = [attempts, refunds, disputes].concat().join(", ");
    let events: Vec<String> = step
        .events
        .iter()
        .map(|event| match event {
            PaymentEvent::Initiated(_) => "initiated".to_owned(),
            PaymentEvent::Success => "success".to_owned(),
            PaymentEvent::Failed { .. } => "failed".to_owned(),
            PaymentEvent::RefundCompleted(_) => "refund-completed".to_owned(),
            PaymentEvent::RefundFailed(_) => "refund-failed".to_owned(),
            PaymentEvent::Disputed(_) => "disputed".to_owned(),
        })
        .collect();
    let calls: Vec<String> = step
        .calls
        .iter()
        .map(|call| match call {
            Call::Begin(number) => format!("[begin {number}]"),
            Call::Look(number) => format!("[look {number}]"),
            Call::Close(number) => format!("[close {number}]"),
            Call::Refund(_) => "[refund]".to_owned(),
            Call::LookAtRefund(_) => "[look at refund]".to_owned(),
            Call::FindRefund(_) => "[find refund]".to_owned(),
            Call::LookAtDispute(_) => "[look at dispute]".to_owned(),
        })
        .collect();
    let booked: Vec<String> = step
        .postings
        .iter()
        .map(|posting| format!("{:?} {:+}", posting.account, posting.total.amount))
        .collect();
    let attention = if step.next.attention().is_some() { "ATTENTION" } else { "" };
    let line = [
        format!("{stage} ({parts})"),
        events.join(" + "),
        calls.join(" "),
        booked.join(" "),
        attention.to_owned(),
    ];
    let line: Vec<String> = line.into_iter().filter(|part| !part.is_empty()).collect();
    line.join(" | ")
}

#[test]
fn the_transition_table_changes_only_on_purpose() {
    let mut table = String::new();
    for (name, payment) in payments() {
        table.push_str(&format!("{name}\n"));
        for (input_name, input) in inputs(&payment) {
            let now = if matches!(input, Input::Due) { at(700) } else { at(60) };
            let outcome = match try_step(&payment, &input, now) {
                Err(rejection) => format!("refused: {rejection:?}"),
                Ok(step) if !step.changed && step.calls.is_empty() => continue,
                Ok(step) => printed(&step),
            };
            table.push_str(&format!("    {input_name:<26} {outcome}\n"));
        }
    }
    insta::assert_snapshot!(table);
}
