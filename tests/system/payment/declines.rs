//! Protection against card testing: limits of declined cards per order and per account over all hosts, and what a customer
//! and staff see of a decline.

use bus::contract::payment::{AttemptStatus, PaymentStatus};

use super::*;

const DECLINED: Option<&str> = Some("pm_card_chargeDeclined");

async fn open_with_limits(per_order_max: usize, per_account_day_max: usize) -> PaymentSystem {
    let limits = DeclineLimits { per_order_max, per_account_day_max };
    PaymentSystem::open_with(Duration::from_secs(60), Some(limits)).await
}

#[tokio::test]
async fn after_five_declined_cards_an_order_can_be_paid_on_the_page_only() {
    let system = open_with_limits(5, 10).await;
    let reservation = system.reserve().await;
    for _ in 0..5 {
        let declined = system.pay(reservation, DECLINED).await.unwrap_err();
        assert_eq!((declined.status, declined.code.as_str()), (402, "card-declined"));
    }
    let charges = system.provider("payment_intents?limit=100").await.len();
    for method in ["pm_card_chargeDeclined", "pm_card_visa"] {
        let refused = system.pay(reservation, Some(method)).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (409, "declines-limit"), "{method}");
    }
    assert_eq!(system.provider("payment_intents?limit=100").await.len(), charges, "the provider was called");
    let page = system.pay(reservation, None).await.unwrap();
    assert!(page.checkout_url.is_some());
    let refused = system.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!(refused.code, "declines-limit");
    assert_eq!(system.pay_on_page(&page, "4242424242424242").await, 303, "the page is still open");
    system.until("paid", reservation, |row| row["status"] == "SUCCEEDED").await;
    system.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declines_are_counted_per_account_over_all_orders_and_hosts() {
    let mut system = open_with_limits(100, 3).await;
    system.start_host().await;
    let mut reservations = Vec::new();
    for _ in 0..8 {
        reservations.push(system.reserve().await);
    }
    // All at once: an attempt without an outcome counts too.
    let tries = reservations.iter().map(|reservation| system.pay(*reservation, DECLINED));
    let answers = futures::future::join_all(tries).await;
    let codes: Vec<String> = answers.into_iter().map(|answer| answer.unwrap_err().code).collect();
    let declined = codes.iter().filter(|code| *code == "card-declined").count();
    assert!(codes.iter().all(|code| code == "card-declined" || code == "declines-limit"), "{codes:?}");
    assert!((1..=3).contains(&declined), "{codes:?}");
    for reservation in &reservations {
        system.pay(*reservation, DECLINED).await.unwrap_err();
    }
    let attempts = "select count(*) from payment.attempts where kind = 'TOKEN'";
    assert_eq!(system.count(attempts).await, 3, "no more than three, also when sent one after the other");
    assert_eq!(system.provider("payment_intents?limit=100").await.len(), 3);
    let page = system.pay(reservations[0], None).await.unwrap();
    assert_eq!((page.status, page.checkout_url.is_some()), (PaymentStatus::Processing, true));

    // After a day they no longer count.
    sqlx::query("update payment.declines set at = at - interval '25 hours'")
        .execute(&system.servers.database)
        .await
        .unwrap();
    let paid = system.pay(reservations[1], Some("pm_card_visa")).await.unwrap();
    assert_eq!(paid.status, PaymentStatus::Succeeded);
    system.close().await;
}

#[tokio::test]
async fn successful_charges_are_not_counted() {
    let system = open_with_limits(1, 2).await;
    let declined = system.reserve().await;
    system.pay(declined, DECLINED).await.unwrap_err();
    for _ in 0..3 {
        let reservation = system.reserve().await;
        assert_eq!(
            system.pay(reservation, Some("pm_card_visa")).await.unwrap().status,
            PaymentStatus::Succeeded
        );
    }
    system.close().await;
}

#[tokio::test]
async fn a_lost_card_is_shown_to_the_customer_as_a_generic_decline_and_to_staff_as_lost() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let lost = system.pay(reservation, Some("pm_card_chargeDeclinedLostCard")).await.unwrap_err();
    let general = system.pay(reservation, DECLINED).await.unwrap_err();
    assert_eq!((lost.status, &lost.code, &lost.detail), (general.status, &general.code, &general.detail));
    let poor = system.pay(reservation, Some("pm_card_chargeDeclinedInsufficientFunds")).await.unwrap_err();
    assert!(poor.detail.contains("insufficient_funds"), "{}", poor.detail);

    let id = payment_of(&system, reservation).await;
    let customer = system.token(system.ada, Role::User);
    let shown = system.servers.ask(&GetPayment { id }, Some(&customer)).await.unwrap();
    let codes = |payment: &Payment| -> Vec<String> {
        assert!(payment.attempts.iter().all(|attempt| attempt.status == AttemptStatus::Declined));
        payment.attempts.iter().map(|attempt| attempt.code.clone().unwrap()).collect()
    };
    assert_eq!(codes(&shown), ["generic_decline", "generic_decline", "insufficient_funds"]);
    assert!(!serde_json::to_string(&shown).unwrap().contains("lost"));
    let staff = system.get(id).await;
    assert_eq!(codes(&staff), ["lost_card", "generic_decline", "insufficient_funds"]);
    assert!(serde_json::to_string(&staff.log).unwrap().contains("lost_card"));
    system.close().await;
}

async fn payment_of(system: &PaymentSystem, reservation: Uuid) -> Uuid {
    system.row(reservation).await["id"].as_str().unwrap().parse().unwrap()
}
