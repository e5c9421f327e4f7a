//! A fiscal service that lags, fails and answers twice: it delays no sale and no number, and the first signature stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use actors::config::{HostConfig, PaymentSettings};
use actors::host::DomainBuilder;
use actors::payment::fiscal::Fiscal;
use bus::Failure;
use bus::contract::payment::Receipt;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::cinema::TestCinema;

/// Fails once for each document, and then signs it anew at every request.
struct Lagging {
    /// The signatures that it may give; before that it does not answer.
    permits: Semaphore,
    asked: Mutex<HashMap<String, usize>>,
}

impl Fiscal for Lagging {
    fn sign<'a>(&'a self, receipt: &'a Receipt) -> BoxFuture<'a, Result<String, Failure>> {
        async move {
            self.permits.acquire().await.unwrap().forget();
            let mut asked = self.asked.lock().unwrap();
            let times = asked.entry(receipt.number.clone()).or_default();
            *times += 1;
            match *times {
                1 => Err(Failure::transient("the signing device restarts")),
                times => Ok(format!("{}:{times}", receipt.number)),
            }
        }
        .boxed()
    }
}

impl TestCinema {
    /// Starts one more payment host, whose receipts are signed.
    async fn start_signing(&mut self, fiscal: Arc<Lagging>) {
        let mut environment = self.environment();
        let nats = marquee::config::nats_among_others(&mut environment, "payment");
        let (host, settings) = (HostConfig::read(&mut environment), PaymentSettings::read(&mut environment));
        environment.check().unwrap();
        let bus = bus::Bus::connect(nats).await.unwrap();
        let builder = DomainBuilder::connect(&host, bus, "payment").await.unwrap();
        let host = actors::payment::spawn_with(builder, settings, Some(fiscal)).await.unwrap();
        self.cinema_mut().hosts.push(host);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signing_service_delays_neither_sales_nor_numbers_and_its_first_answer_stays() {
    let mut cinema = TestCinema::open().await;
    let at = cinema.cinema().hosts.iter().position(|host| host.domain() == "payment").unwrap();
    let plain = cinema.cinema_mut().hosts.remove(at);
    plain.stop().await;
    let fiscal = Arc::new(Lagging { permits: Semaphore::new(0), asked: Mutex::default() });
    // Two hosts: each asks for a signature of the same document.
    cinema.start_signing(fiscal.clone()).await;
    cinema.start_signing(fiscal.clone()).await;
    let ada = cinema.register().await;
    let mut orders = Vec::new();
    for seat in ["A1", "A2", "A3"] {
        orders.push(cinema.buy(&ada, &[seat]).await);
    }
    for order in &orders {
        let receipts = cinema.until_receipts(&ada, order, 1).await;
        assert_eq!(receipts[0]["signature"], serde_json::Value::Null, "the service has not answered");
    }
    fiscal.permits.add_permits(1000);
    cinema.until_sql("select count(*) from payment.receipts where signature is not null", 3).await;
    let mut signed = Vec::new();
    for order in &orders {
        let receipts = cinema.until_receipts(&ada, order, 1).await;
        let (number, signature) = (receipts[0]["number"].clone(), receipts[0]["signature"].clone());
        assert!(
            signature.as_str().unwrap().starts_with(&format!("{}:", number.as_str().unwrap())),
            "{signature}"
        );
        signed.push(signature);
    }
    // A late second answer changes nothing.
    let second =
        sqlx::query("update payment.receipts set signature = 'another'").execute(&cinema.database).await;
    assert!(second.is_err());
    let receipts = cinema.until_receipts(&ada, &orders[0], 1).await;
    let pdf = cinema.receipt_file(&ada, &orders[0], receipts[0]["number"].as_str().unwrap()).await;
    assert!(pdf["text"].as_str().unwrap().contains(signed[0].as_str().unwrap()), "{pdf}");
    cinema.check_receipts().await;
    cinema.close().await;
}
