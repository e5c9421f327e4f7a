//! Alerts and the dashboard in `deploy/`: they name metrics that exist, and sections and commands of the documents.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cinema::TestCinema;

/// Every metric in these files has a selector that begins so; in JSON the quotes are escaped.
const SELECTOR: &str = "{job=";

/// Made by Prometheus itself.
const OF_PROMETHEUS: [&str; 1] = ["up"];

/// Not in the metrics of a quiet cinema in one process: of a host's own `/metrics` (`src/health.rs` has a test), of a failure,
/// of a live seat map.
const RARE: [&str; 4] = ["host_ready", "host_degraded", "actor_restarts_total", "seat_map_clients"];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The metrics that a file names, without the suffixes of a histogram.
fn metrics_in(name: &str) -> BTreeSet<String> {
    let text = file(name);
    let found = text.match_indices(SELECTOR).map(|(at, _)| {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let begin = text[..at].rfind(|c: char| !is_of_name(c)).map_or(0, |before| before + 1);
        text[begin..at].trim_end_matches("_bucket").to_owned()
    });
    let found: BTreeSet<String> = found.filter(|name| !OF_PROMETHEUS.contains(&name.as_str())).collect();
    assert!(found.len() > 8 && !found.contains(""), "{name}: {found:?}");
    found
}

fn all_metrics() -> BTreeSet<String> {
    let files =
        ["deploy/prometheus/rules.yml", "deploy/prometheus/rules_test.yml", "deploy/grafana/marquee.json"];
    files.into_iter().flat_map(metrics_in).collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_the_code_registers() {
    // The descriptions alone register nothing.
    let is_description = |path: &Path| path.ends_with("telemetry/metrics.rs");
    let sources = crate::tidy::SOURCES.iter().flat_map(|folder| crate::tidy::sources(folder));
    let sources: Vec<String> =
        sources.filter(|(path, _)| !is_description(path)).map(|(_, text)| text).collect();
    let own = file("src/telemetry/metrics.rs");
    let is_registered = |name: &String| {
        let quoted = format!("\"{name}\"");
        let is_set = format!("gauge!({quoted}");
        sources.iter().any(|text| text.contains(&quoted)) || own.contains(&format!("metrics::{is_set}"))
    };
    let missing: Vec<String> = all_metrics().into_iter().filter(|name| !is_registered(name)).collect();
    assert!(missing.is_empty(), "no source registers {missing:?}");
    let undescribed: Vec<String> = metrics_in("deploy/prometheus/rules.yml")
        .into_iter()
        .filter(|name| !own.contains(name.as_str()))
        .collect();
    assert!(undescribed.is_empty(), "src/telemetry/metrics.rs does not describe {undescribed:?}");
}

/// The anchor of a heading on GitHub.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn each_alert_names_a_section_of_the_documents_and_a_command_in_it() {
    assert_eq!(anchor("When …"), "when-");
    let operations = file("docs/operations.md");
    let headings = operations.lines().filter_map(|line| line.strip_prefix('#'));
    let anchors: BTreeSet<String> = headings.map(|line| anchor(line.trim_start_matches('#'))).collect();
    let rules = file("deploy/prometheus/rules.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15, "only {} alerts", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for field in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(field), "{name} has no {field}");
        }
        let runbook =
            alert.lines().find_map(|line| line.trim().strip_prefix("runbook: \"docs/operations.md#"));
        let runbook = runbook.unwrap_or_else(|| panic!("{name} has no runbook")).trim_end_matches('"');
        let (place, command) = runbook.split_once("; run: ").unwrap_or_else(|| panic!("{name}: {runbook}"));
        let (section, paragraph) = place.split_once(", paragraph ").unwrap_or((place, ""));
        assert!(anchors.contains(section), "{name}: docs/operations.md has no heading for #{section}");
        let paragraph = paragraph.trim_matches('*');
        assert!(
            paragraph.is_empty() || operations.contains(&format!("**{paragraph}")),
            "{name}: {paragraph}"
        );
        assert!(operations.contains(command), "{name}: docs/operations.md does not name `{command}`");
        let listed = format!("`{name}`");
        assert!(operations.contains(&listed), "{name} is not in the table of docs/operations.md");
    }
}

#[test]
fn the_dashboard_is_json_with_a_unit_and_a_query_in_each_panel() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("deploy/grafana/marquee.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 12);
    for panel in panels {
        let title = &panel["title"];
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        assert!(targets.iter().all(|target| target["expr"].as_str().unwrap().contains(SELECTOR)), "{title}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_cinema_exposes_every_metric_of_alerts_and_dashboard() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let sold = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&sold, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.call(reqwest::Method::GET, "/health/ready", None, None).await.expect(200);
    let wanted: BTreeSet<String> =
        all_metrics().into_iter().filter(|name| !RARE.contains(&name.as_str())).collect();
    // Gauges are measured every 15 seconds.
    let began = Instant::now();
    loop {
        let exposed = cinema.get("/metrics", &cinema.owner()).await.text;
        let is_exposed = |name: &str| {
            let series = [format!("\n{name}{{"), format!("\n{name} "), format!("\n{name}_bucket{{")];
            series.iter().any(|series| exposed.contains(series.as_str()))
        };
        let missing: Vec<&String> = wanted.iter().filter(|name| !is_exposed(name)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(50), "not in /metrics: {missing:?}\n{exposed}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    cinema.close().await;
}
