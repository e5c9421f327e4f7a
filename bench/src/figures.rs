//! Latencies, and how they are printed.

use std::time::Duration;

/// Durations of one kind.
#[derive(Default, Clone)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The quantile `share` (0–1) in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
        sorted[(last as f64 * share).round() as usize].as_secs_f64() * 1_000.0
    }

    /// `p50/p95/p99/max` in milliseconds.
    pub fn shown(&self) -> String {
        let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| self.quantile_ms(share));
        format!("{p50:.0}/{p95:.0}/{p99:.0}/{max:.0}")
    }
}

/// Prints a result beside its target.
pub fn against(what: &str, reached: String, target: &str, is_met: bool) {
    println!("  {:<52} {reached:>14}   target {target:<12} {}", what, if is_met { "met" } else { "NOT MET" });
}
