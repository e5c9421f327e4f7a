//! GET requests: single objects, and lists with the newest first.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::form::Form;
use crate::model::{Dispute, Event, Object, Refund, Session};
use crate::store::{Row, Store, Table};
use crate::{checkout, rules};

/// Parameters of every list.
const PAGING: [&str; 4] = ["limit", "starting_after", "created", "expand"];

/// Event types that one request may name.
const TYPES_MAX: usize = 20;

/// Answers `GET /v1/<segments>`; `public_url` is the current address of the pay page.
pub fn answer(store: &Store, segments: &[&str], form: &Form, public_url: &str) -> Result<Value, Fault> {
    let show = |object: Object| object.show(public_url);
    let show_event = |event: &Event| event.show(public_url, u8::from(!store.is_settled(&event.id)));
    match segments {
        ["payment_intents", id] => Ok(show(Object::Intent(rules::find_intent(store, id)?.clone()))),
        ["checkout", "sessions", id] => Ok(show(Object::Session(checkout::find(store, id)?.clone()))),
        ["refunds", id] => match store.refunds.get(id) {
            Some(refund) => Ok(show(Object::Refund(refund.clone()))),
            None => Err(Fault::missing(404, "refund", id, "id")),
        },
        ["disputes", id] => match store.disputes.get(id) {
            Some(dispute) => Ok(show(Object::Dispute(dispute.clone()))),
            None => Err(Fault::missing(404, "dispute", id, "id")),
        },
        ["disputes"] => {
            form.only(&[&PAGING[..], &["payment_intent"]].concat())?;
            let of = form.get("payment_intent");
            let keep = |row: &Dispute| of.is_none_or(|id| row.payment_intent == id);
            list(&store.disputes, form, "disputes", keep, |row| show(Object::Dispute(row)))
        }
        ["events", id] => match store.events.get(id) {
            Some(event) => Ok(show_event(event)),
            None => Err(Fault::missing(404, "event", id, "id")),
        },
        ["payment_intents"] => {
            form.only(&PAGING)?;
            list(&store.intents, form, "payment_intents", |_| true, |row| show(Object::Intent(row)))
        }
        ["checkout", "sessions"] => {
            form.only(&[&PAGING[..], &["payment_intent"]].concat())?;
            let of = form.get("payment_intent");
            let keep = |row: &Session| of.is_none_or(|id| row.payment_intent.as_deref() == Some(id));
            list(&store.sessions, form, "checkout/sessions", keep, |row| show(Object::Session(row)))
        }
        ["refunds"] => {
            form.only(&[&PAGING[..], &["payment_intent"]].concat())?;
            let of = form.get("payment_intent");
            let keep = |row: &Refund| of.is_none_or(|id| row.payment_intent == id);
            list(&store.refunds, form, "refunds", keep, |row| show(Object::Refund(row)))
        }
        ["events"] => {
            form.only(&[&PAGING[..], &["type", "types"]].concat())?;
            let (kind, kinds) = (form.get("type"), form.list("types"));
            if kind.is_some() && !kinds.is_empty() {
                return Err(Fault::invalid("You may only specify one of these parameters: type, types."));
            }
            if kinds.len() > TYPES_MAX {
                return Err(Fault::invalid("You may list at most 20 types.").param("types"));
            }
            let keep = |row: &Event| {
                kind.is_none_or(|kind| row.kind == kind)
                    && (kinds.is_empty() || kinds.contains(&row.kind.as_ref()))
            };
            list(&store.events, form, "events", keep, |row| show_event(&row))
        }
        _ => Err(Fault::no_route("GET", &format!("/v1/{}", segments.join("/")))),
    }
}

fn list<T: Row>(
    table: &Table<T>,
    form: &Form,
    path: &str,
    keep: impl Fn(&T) -> bool,
    show: impl Fn(Arc<T>) -> Value,
) -> Result<Value, Fault> {
    let (rows, has_more) = table.page(form, keep)?;
    let rows: Vec<Value> = rows.into_iter().map(show).collect();
    Ok(json!({"object": "list", "data": rows, "has_more": has_more, "url": format!("/v1/{path}")}))
}
