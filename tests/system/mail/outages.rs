//! A real mail server that is down, refuses or defers mails or does not answer, and hosts that are killed.

use std::time::{Duration, Instant};

use marquee::local::Folder;
use reqwest::Method;
use serde_json::Value;

use super::smtp_server::SmtpServer;
use crate::cinema::{Plan, TestCinema};

async fn open_with_smtp(plan: Plan) -> (TestCinema, SmtpServer, Folder) {
    let folder = Folder::temporary().unwrap();
    let server = SmtpServer::start(folder.path());
    let cinema = TestCinema::open_with(plan.with("SMTP_URL", server.url())).await;
    (cinema, server, folder)
}

async fn until_received(server: &SmtpServer, count: usize) {
    let began = Instant::now();
    while server.mails().len() < count {
        assert!(began.elapsed() < Duration::from_secs(45), "{} of {count} mails", server.mails().len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_mail_server_loses_no_mail_and_outdated_mails_are_skipped() {
    let plan =
        Plan::default().with("HOLD_SECONDS", 5).with("HOLD_SECONDS_MAX", 60).with("HOLD_GRACE_SECONDS", 1);
    let (cinema, mut server, _folder) = open_with_smtp(plan).await;
    server.stop();
    let ada = cinema.register().await;
    let lost = cinema.reserve(&ada, &["A1"]).await;
    let paid = cinema.buy(&ada, &["A2"]).await;
    cinema.until_status(&ada, &lost, "CANCELLED").await;
    let waiting = cinema.until_mail(&paid, "RESERVATION_CONFIRMED", "QUEUED").await;
    assert!(waiting["nextTry"].is_string(), "{waiting}");
    assert!(server.mails().is_empty());

    server.start_again();
    cinema.until_mail(&lost, "HOLD_EXPIRED", "SENT").await;
    let confirmed = cinema.until_mail(&paid, "RESERVATION_CONFIRMED", "SENT").await;
    assert_eq!(confirmed["attempts"], 1, "an outage of the server does not count as an attempt");
    let skipped = cinema.until_mail(&lost, "RESERVATION_CREATED", "SKIPPED").await;
    assert_eq!(skipped["reason"], "the hold has ended");
    let mut subjects: Vec<String> = server.mails().into_iter().map(|mail| mail.subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["Your seats were released: The Long Night", "Your tickets: The Long Night"]);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_mail_fails_and_staff_resend_it() {
    let (cinema, server, _folder) = open_with_smtp(Plan::default()).await;
    server.set_mode("refuse");
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let failed = cinema.until_mail(&reservation, "RESERVATION_CREATED", "FAILED").await;
    assert!(failed["error"].as_str().unwrap().contains("550"), "{failed}");
    let path = "/v1/notifications?status=FAILED";
    let listed = cinema.call(Method::GET, path, Some(&cinema.owner()), None).await.expect(200);
    assert_eq!((&listed["total"], &listed["items"][0]["id"]), (&1.into(), &failed["id"]));

    server.set_mode("take");
    let path = format!("/v1/notifications/{}", failed["id"].as_str().unwrap());
    let resend = |key: &'static str| {
        let (cinema, path) = (&cinema, format!("{path}/resend"));
        async move { cinema.call_with_key(Method::POST, &path, Some(&cinema.owner()), None, key).await }
    };
    let queued = resend("once").await.expect(202);
    assert_eq!((&queued["status"], &queued["attempts"]), (&"QUEUED".into(), &0.into()));
    assert_eq!(resend("once").await.expect(202), queued, "the same key gets the first answer");
    let sent = cinema.until_mail(&reservation, "RESERVATION_CREATED", "SENT").await;
    assert_eq!(sent["messageId"], queued["messageId"]);
    assert_ne!(sent["messageId"], failed["messageId"]);
    let seen: Value = cinema.call(Method::GET, &path, Some(&cinema.owner()), None).await.expect(200);
    assert_eq!(seen, sent);
    assert_eq!(server.mails().len(), 1);
    let unknown = format!("/v1/notifications/{}/resend", uuid::Uuid::now_v7());
    cinema.call(Method::POST, &unknown, Some(&cinema.owner()), None).await.expect(404);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_before_the_recipient_command_fails_no_mail() {
    let (cinema, server, _folder) = open_with_smtp(Plan::default()).await;
    let ada = cinema.register().await;
    for (mode, seat) in [("refuse-us", "A1"), ("refuse-sender", "A2"), ("quota", "A3")] {
        server.set_mode(mode);
        let order = cinema.reserve(&ada, &[seat]).await;
        let began = Instant::now();
        loop {
            let log = cinema.mail_log(&order).await;
            if log.iter().any(|mail| mail["error"].as_str().is_some_and(|error| error.contains("550"))) {
                assert!(log.iter().all(|mail| mail["status"] == "QUEUED"), "{mode}: {log:#?}");
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{mode}: {log:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server.set_mode("take");
        cinema.until_mail(&order, "RESERVATION_CREATED", "SENT").await;
    }
    assert_eq!(server.mails().len(), 3);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_resends_all_mails_that_failed_in_a_period() {
    let (cinema, server, _folder) = open_with_smtp(Plan::default()).await;
    server.set_mode("refuse");
    let ada = cinema.register().await;
    let mut orders = Vec::new();
    for seat in ["A1", "A2", "A3"] {
        let order = cinema.reserve(&ada, &[seat]).await;
        cinema.until_mail(&order, "RESERVATION_CREATED", "FAILED").await;
        orders.push(order);
    }
    server.set_mode("take");
    let resend = |from: &'static str, to: &'static str| {
        let body = serde_json::json!({"from": from, "to": to});
        let cinema = &cinema;
        async move {
            cinema.call(Method::POST, "/v1/notifications/resend", Some(&cinema.owner()), Some(body)).await
        }
    };
    let none = resend("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z").await.expect(202);
    assert_eq!(none, serde_json::json!({"queued": 0, "left": 0}));
    resend("2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z").await.expect(422);
    // Besides the three only a mail that confirms an address may have failed.
    let failed = "select kind from notification.mails where status = 'FAILED'";
    let failed: Vec<String> = sqlx::query_scalar(failed).fetch_all(&cinema.database).await.unwrap();
    let (of_orders, others): (Vec<_>, Vec<_>) =
        failed.iter().partition(|kind| *kind == "RESERVATION_CREATED");
    assert_eq!(of_orders.len(), 3, "{failed:?}");
    assert!(others.iter().all(|kind| *kind == "EMAIL_VERIFICATION"), "{failed:?}");
    let all = resend("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z").await.expect(202);
    assert_eq!(all, serde_json::json!({"queued": failed.len(), "left": 0}));
    for order in &orders {
        cinema.until_mail(order, "RESERVATION_CREATED", "SENT").await;
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferred_mail_is_retried_under_the_same_message_id() {
    let (cinema, server, _folder) = open_with_smtp(Plan::default()).await;
    server.set_mode("defer");
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let began = Instant::now();
    let deferred = loop {
        let log = cinema.mail_log(&reservation).await;
        if let Some(mail) = log.iter().find(|mail| mail["error"].is_string()) {
            break mail.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{log:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&deferred["status"], &deferred["attempts"]), (&"QUEUED".into(), &1.into()));
    assert!(deferred["error"].as_str().unwrap().contains("451"), "{deferred}");
    let busy = format!("/v1/notifications/{}/resend", deferred["id"].as_str().unwrap());
    let refused = cinema.call(Method::POST, &busy, Some(&cinema.owner()), None).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "notification-queued"), "{}", refused.text);
    server.set_mode("take");
    let sent = cinema.until_mail(&reservation, "RESERVATION_CREATED", "SENT").await;
    assert_eq!((&sent["attempts"], &sent["messageId"]), (&2.into(), &deferred["messageId"]));
    assert_eq!(Some(server.mails()[0].message_id.as_str()), deferred["messageId"].as_str());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_host_was_killed_before_marking_it_is_sent_again_under_the_same_message_id() {
    let (mut cinema, server, _folder) = open_with_smtp(Plan::default().with("MAIL_CLAIM_SECONDS", 3)).await;
    server.set_mode("hold");
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    // The server has stored the mail and not answered yet.
    until_received(&server, 1).await;
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "notification").unwrap();
    hosts.remove(at).kill();
    server.set_mode("take");
    cinema.start_another("notification").await;
    let sent = cinema.until_mail(&reservation, "RESERVATION_CREATED", "SENT").await;
    assert_eq!(sent["attempts"], 2);
    let mails = server.mails();
    let ids: Vec<Option<&str>> = mails.iter().map(|mail| Some(mail.message_id.as_str())).collect();
    assert_eq!(ids, [sent["messageId"].as_str(); 2]);
    cinema.close().await;
}
