//! Rate limits on real servers: counted in Redis for all gateways, by each gateway alone without it, by client address.

use std::time::{Duration, Instant};

use crate::cinema::{Answer, Plan, TestCinema, answer};

async fn genres(cinema: &TestCinema, from: &str) -> Answer {
    let request = cinema.http.get(format!("{}/v1/genres", cinema.url())).header("X-Forwarded-For", from);
    answer(request.send().await.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_in_redis_survives_a_gateway_restart_and_without_redis_each_gateway_counts_alone() {
    let plan = Plan { redis: true, ..Plan::default() }
        .with("RATE_LIMIT_DISABLED", false)
        .with("RATE_LIMIT_READS", 3)
        .with("TRUSTED_PROXIES", "127.0.0.0/8");
    let mut cinema = TestCinema::open_with(plan).await;
    let (ada, bob) = ("203.0.113.7", "203.0.113.8");
    for remaining in ["2", "1", "0"] {
        let answer = genres(&cinema, ada).await;
        assert_eq!(
            (answer.status.as_u16(), answer.headers["ratelimit-remaining"].to_str().unwrap()),
            (200, remaining)
        );
    }
    let refused = genres(&cinema, ada).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate-limited"));
    assert!((1..=20).contains(&refused.headers["retry-after"].to_str().unwrap().parse().unwrap()));
    assert_eq!(
        genres(&cinema, &format!("{ada}, {bob}")).await.status,
        200,
        "the address is the one that the proxy added, not the client's"
    );

    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    assert_eq!(genres(&cinema, ada).await.status, 429, "a new gateway reads the count from Redis");

    cinema.redis.as_mut().unwrap().kill().await;
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(genres(&cinema, ada).await.status, 200, "this gateway counts alone, starting at 0");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "a request waited for Redis: {:?}", began.elapsed());
    assert_eq!(genres(&cinema, ada).await.status, 429);
    cinema.close().await;
}
