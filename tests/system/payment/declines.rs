//! Card testing: how often a card may be declined, counted by order and by account on all hosts together, and what is
//! told of a decline.

use bus::contract::payment::{AttemptStatus, PaymentStatus};

use super::*;

const DECLINED: Option<&str> = Some("pm_card_chargeDeclined");

async fn till(per_order_max: usize, per_account_day_max: usize) -> Till {
    let limits = DeclineLimits { per_order_max, per_account_day_max };
    Till::open_with(Duration::from_secs(60), Some(limits)).await
}

#[tokio::test]
async fn after_five_declined_cards_an_order_can_be_paid_on_the_page_only() {
    let till = till(5, 10).await;
    let reservation = till.reserve().await;
    for _ in 0..5 {
        let declined = till.pay(reservation, DECLINED).await.unwrap_err();
        assert_eq!((declined.status, declined.code.as_str()), (402, "card-declined"));
    }
    let asked = till.provider("payment_intents?limit=100").await.len();
    for method in ["pm_card_chargeDeclined", "pm_card_visa"] {
        let refused = till.pay(reservation, Some(method)).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (409, "declines-limit"), "{method}");
    }
    assert_eq!(till.provider("payment_intents?limit=100").await.len(), asked, "the provider was not asked");
    let page = till.pay(reservation, None).await.unwrap();
    assert!(page.checkout_url.is_some());
    let refused = till.pay(reservation, Some("pm_card_visa")).await.unwrap_err();
    assert_eq!(refused.code, "declines-limit");
    assert_eq!(till.pay_on_page(&page, "4242424242424242").await, 303, "the page is still open");
    till.until("paid", reservation, |row| row["status"] == "SUCCEEDED").await;
    till.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declines_are_counted_per_account_over_all_orders_and_hosts() {
    let mut till = till(100, 3).await;
    till.start_host().await;
    let mut reservations = Vec::new();
    for _ in 0..8 {
        reservations.push(till.reserve().await);
    }
    // All at once: an outcome that is not known yet counts too.
    let tries = reservations.iter().map(|reservation| till.pay(*reservation, DECLINED));
    let answers = futures::future::join_all(tries).await;
    let codes: Vec<String> = answers.into_iter().map(|answer| answer.unwrap_err().code).collect();
    let declined = codes.iter().filter(|code| *code == "card-declined").count();
    assert!(codes.iter().all(|code| code == "card-declined" || code == "declines-limit"), "{codes:?}");
    assert!((1..=3).contains(&declined), "{codes:?}");
    for reservation in &reservations {
        let _ = till.pay(*reservation, DECLINED).await;
    }
    let asked = "select count(*) from payment.attempts where kind = 'TOKEN'";
    assert_eq!(till.count(asked).await, 3, "no more than three, also one after the other");
    assert_eq!(till.provider("payment_intents?limit=100").await.len(), 3);
    let page = till.pay(reservations[0], None).await.unwrap();
    assert_eq!((page.status, page.checkout_url.is_some()), (PaymentStatus::Processing, true));

    // A day later they are forgotten.
    sqlx::query("update payment.declines set at = at - interval '25 hours'")
        .execute(&till.system.database)
        .await
        .unwrap();
    let paid = till.pay(reservations[1], Some("pm_card_visa")).await.unwrap();
    assert_eq!(paid.status, PaymentStatus::Succeeded);
    till.close().await;
}

#[tokio::test]
async fn successful_charges_are_not_counted() {
    let till = till(1, 2).await;
    let declined = till.reserve().await;
    till.pay(declined, DECLINED).await.unwrap_err();
    for _ in 0..3 {
        let reservation = till.reserve().await;
        assert_eq!(
            till.pay(reservation, Some("pm_card_visa")).await.unwrap().status,
            PaymentStatus::Succeeded
        );
    }
    till.close().await;
}

#[tokio::test]
async fn a_lost_card_is_shown_to_the_customer_as_a_generic_decline_and_to_staff_as_lost() {
    let till = Till::open().await;
    let reservation = till.reserve().await;
    let lost = till.pay(reservation, Some("pm_card_chargeDeclinedLostCard")).await.unwrap_err();
    let general = till.pay(reservation, DECLINED).await.unwrap_err();
    assert_eq!((lost.status, &lost.code, &lost.detail), (general.status, &general.code, &general.detail));
    let poor = till.pay(reservation, Some("pm_card_chargeDeclinedInsufficientFunds")).await.unwrap_err();
    assert!(poor.detail.contains("insufficient_funds"), "{}", poor.detail);

    let id = payment_of(&till, reservation).await;
    let customer = till.token(till.ada, Role::User);
    let shown = till.system.ask(&GetPayment { id }, Some(&customer)).await.unwrap();
    let codes = |payment: &Payment| -> Vec<String> {
        assert!(payment.attempts.iter().all(|attempt| attempt.status == AttemptStatus::Declined));
        payment.attempts.iter().map(|attempt| attempt.code.clone().unwrap()).collect()
    };
    assert_eq!(codes(&shown), ["generic_decline", "generic_decline", "insufficient_funds"]);
    assert!(!serde_json::to_string(&shown).unwrap().contains("lost"));
    let staff = till.get(id).await;
    assert_eq!(codes(&staff), ["lost_card", "generic_decline", "insufficient_funds"]);
    assert!(serde_json::to_string(&staff.log).unwrap().contains("lost_card"));
    till.close().await;
}

async fn payment_of(till: &Till, reservation: Uuid) -> Uuid {
    till.row(reservation).await["id"].as_str().unwrap().parse().unwrap()
}
