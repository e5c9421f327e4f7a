//! The customers of a run, all at once, beside its faults or its upgrade.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use anyhow::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check::Window;
use crate::cluster::Healer;
use crate::deployment::Deployment;
use crate::journeys::Journeys;
use crate::load::{Account, Customer, Showtimes};
use crate::record::Recorder;
use crate::run::{RunPlan, inject_faults};
use crate::staff::Planner;
use crate::upgrade::{self, UpgradeReport};

/// Every third customer buys without an account.
const GUEST_EVERY: usize = 3;

/// The customers of a run with what they need.
pub struct Crowd<'a> {
    pub deployment: &'a Deployment,
    pub plan: &'a RunPlan,
    pub planner: &'a Planner,
    pub showtimes: &'a Showtimes,
    pub recorder: &'a Recorder,
    /// In a run with `--cluster`.
    pub healer: Option<&'a Healer>,
}

impl Crowd<'_> {
    /// Runs the load and the faults; returns when both are over and all faults are removed.
    pub async fn run_with_faults(&self, accounts: &[Account]) -> Result<Vec<Window>> {
        let (begin, stop) = (Instant::now(), CancellationToken::new());
        let mut customers = self.start(accounts, &Arc::new(AtomicBool::new(true)), &stop);
        let lanes =
            self.plan.lanes.iter().map(|lane| inject_faults(self.deployment, lane, begin, self.healer));
        let injected = futures::future::join_all(lanes).await;
        tokio::time::sleep_until(begin + self.plan.load).await;
        stop.cancel();
        while customers.join_next().await.is_some() {}
        let mut windows = Vec::new();
        for lane in injected {
            windows.extend(lane?);
        }
        Ok(windows)
    }

    /// Runs the load and an upgrade to `program`. For half of the load the customers then also do what only new hosts know.
    pub async fn run_with_upgrade(&self, program: &Path, accounts: &[Account]) -> Result<UpgradeReport> {
        let (all_new, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let journeys = Journeys {
            client: self.deployment.client.clone(),
            account: accounts[self.plan.customers].clone(),
            showtime: self.planner.create_showtime().await?,
            recorder: self.recorder.clone(),
            ended: 0,
            findings: Vec::new(),
        };
        let own = journeys.showtime.clone();
        let mut customers = self.start(accounts, &all_new, &stop);
        let report = upgrade::perform(self.deployment, program, journeys, self.plan.load / 8).await?;
        // The token of staff may be as old as the run.
        let mut planner = self.planner.clone();
        planner.staff.renew(&self.deployment.client).await;
        planner.create_price_card().await?;
        let first = planner.create_showtime().await?;
        self.showtimes.lock().unwrap_or_else(PoisonError::into_inner).push(first);
        all_new.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.plan.load / 2).await;
        stop.cancel();
        while customers.join_next().await.is_some() {}
        // The seat maps of all showtimes are compared at the end.
        self.showtimes.lock().unwrap_or_else(PoisonError::into_inner).push(own);
        Ok(report)
    }

    /// Starts the customers, and staff who create showtimes.
    fn start(
        &self,
        accounts: &[Account],
        all_new: &Arc<AtomicBool>,
        stop: &CancellationToken,
    ) -> tokio::task::JoinSet<()> {
        let plan = self.plan;
        let mut customers = tokio::task::JoinSet::new();
        for (number, account) in accounts.iter().take(plan.customers).enumerate() {
            let customer = Customer {
                client: self.deployment.client.clone(),
                account: account.clone(),
                home: account.clone(),
                mail_server: self.deployment.mail_server.clone(),
                staff: self.planner.staff.clone(),
                showtimes: self.showtimes.clone(),
                recorder: self.recorder.clone(),
                random: Customer::random(plan.seed, number),
                only: plan.only,
                is_guest: plan.only.is_none() && number % GUEST_EVERY == 0,
                all_new: all_new.clone(),
            };
            customers.spawn(customer.run(stop.clone()));
        }
        customers.spawn(self.planner.clone().keep_creating(self.showtimes.clone(), stop.clone()));
        customers
    }
}
