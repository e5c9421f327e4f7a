//! The documents in `docs/` are what the code makes; `INSTA_UPDATE=always` writes them anew, as it does snapshots.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{asyncapi, events, postman, typescript};

#[track_caller]
fn assert_is(file: &str, text: &str) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).position(|(kept, made)| kept != made);
    let again = "INSTA_UPDATE=always cargo test --workspace --lib only_on_purpose";
    assert!(
        kept == text,
        "{file} is out of date (line {:?}); make it anew: {again}",
        differs.map(|line| line + 1)
    );
}

#[test]
fn the_postman_collection_changes_only_on_purpose() {
    assert_is("docs/marquee.postman_collection.json", &postman());
}

#[test]
fn the_asyncapi_document_changes_only_on_purpose() {
    assert_is("docs/asyncapi.yaml", &asyncapi());
}

#[test]
fn the_table_of_events_changes_only_on_purpose() {
    assert_is("docs/events.md", &events());
}

#[test]
fn the_typescript_types_change_only_on_purpose() {
    assert_is("examples/nest/events.d.ts", &typescript());
}

#[test]
fn every_event_is_described_and_has_a_type_and_the_shown_payload_is_valid() {
    let all: BTreeSet<&str> = bus::contract::event_subjects().collect();
    let described: BTreeSet<&str> = super::events::WHEN.into_iter().map(|(event, _)| event).collect();
    assert_eq!(described, all);
    let types = typescript();
    for event in &all {
        assert!(types.contains(&format!("  '{event}': ")), "{event}");
    }
    let code = types.lines().filter(|line| !line.trim_start().starts_with('/'));
    let unknown: Vec<&str> = code.filter(|line| line.contains("unknown")).collect();
    assert!(unknown.is_empty(), "a schema is not understood: {unknown:?}");
    let checked = bus::contract::check_event("reservation.confirmed", &super::events::sample());
    assert_eq!(checked, Some(Ok(())));
}

#[test]
fn every_endpoint_is_in_the_collection_once_outside_of_the_walk() {
    let collection: Value = serde_json::from_str(&postman()).unwrap();
    let folders = collection["item"].as_array().unwrap();
    let requests: usize = folders[1..].iter().map(|folder| folder["item"].as_array().unwrap().len()).sum();
    let document = gateway::openapi();
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|verbs| verbs.as_object().unwrap().len()).sum();
    assert_eq!(requests, operations);
}

#[test]
fn every_reference_of_the_asyncapi_document_leads_somewhere() {
    let document = super::asyncapi::document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let reference = reference.split('"').next().unwrap();
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

/// Each operation of the document: its action, its domain and its subject.
fn operations() -> BTreeSet<(String, String, String)> {
    let document = super::asyncapi::document();
    let operations = document["operations"].as_object().unwrap().values();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    operations
        .map(|operation| {
            let channel = text(&operation["channel"]["$ref"]).replace("#/channels/", "");
            (text(&operation["action"]), text(&operation["tags"][0]["name"]), channel)
        })
        .collect()
}

#[test]
fn every_consumer_stands_in_the_asyncapi_document_with_every_event_that_it_handles() {
    let operations = operations();
    for domain in &actors::DOMAINS {
        let Some(consumer) = domain.consumer else { continue };
        assert_eq!(consumer.name, domain.name);
        assert!(!consumer.subjects.is_empty(), "{}", domain.name);
        for subject in consumer.subjects {
            let operation = ("receive".to_owned(), domain.name.to_owned(), (*subject).to_owned());
            assert!(operations.contains(&operation), "{operation:?}");
        }
    }
}

#[test]
fn every_event_is_published_by_one_domain_and_stands_in_the_asyncapi_document() {
    let operations = operations();
    let events: BTreeSet<&str> = bus::contract::event_subjects().collect();
    for event in &events {
        let publishers: Vec<&str> = actors::DOMAINS
            .iter()
            .filter(|domain| domain.publishes.contains(event))
            .map(|domain| domain.name)
            .collect();
        assert_eq!(publishers.len(), 1, "{event} is published by {publishers:?}");
        let operation = ("send".to_owned(), publishers[0].to_owned(), (*event).to_owned());
        assert!(operations.contains(&operation), "{operation:?}");
    }
    for domain in &actors::DOMAINS {
        let consumed = domain.consumer.map_or(&[][..], |consumer| consumer.subjects);
        for subject in domain.publishes.iter().chain(consumed) {
            assert!(events.contains(subject), "{}: {subject} is no event of the contract", domain.name);
        }
    }
}
