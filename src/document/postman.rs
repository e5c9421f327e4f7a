//! A Postman collection (2.1) from the OpenAPI document: a folder for each domain with every endpoint, and in front a walk
//! from a showtime to a ticket whose steps test what they were answered. CI runs the walk with newman.

use serde_json::{Map, Value, json};

const WALK: &str = "From a showtime to a ticket";

/// One step of the walk.
struct Step {
    /// The document's `operationId`, whose method, path and headers it takes.
    operation: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<Value>,
    /// Postman's JavaScript, run after the answer; `body` is its JSON.
    tests: &'static [&'static str],
}

fn walk() -> Vec<Step> {
    let step = |operation, tests| Step { operation, query: &[], body: None, tests };
    vec![
        Step {
            // Each run is somebody new.
            body: Some(
                json!({"email": "walk-{{$guid}}@example.org", "password": "correct horse", "name": "Ada"}),
            ),
            ..step("register", &["answered(201);", "keep('email', body.user.email);"])
        },
        Step {
            body: Some(json!({"email": "{{email}}", "password": "correct horse"})),
            ..step("login", &["answered(200);", "keep('token', body.accessToken);"])
        },
        Step {
            query: &[("from", "{{soon}}"), ("pageSize", "100")],
            ..step(
                "listShowtimes",
                &[
                    "answered(200);",
                    "pm.test('something is on', () => pm.expect(body.items).not.empty);",
                    "keep('showtimeId', body.items[Math.floor(Math.random() * body.items.length)].id);",
                ],
            )
        },
        step(
            "getSeatMap",
            &["answered(200);", "pm.test('the hall has seats', () => pm.expect(body.seats).not.empty);"],
        ),
        Step {
            body: Some(json!({"showtimeId": "{{showtimeId}}", "bestAvailable": {"count": 2}})),
            ..step(
                "createReservation",
                &[
                    "answered(201);",
                    "pm.test('two seats are held', () => pm.expect(body.seats).lengthOf(2));",
                    "pm.test('it is not paid yet', () => pm.expect(body.status).equal('PENDING'));",
                    "keep('reservationId', body.id);",
                ],
            )
        },
        Step {
            body: Some(json!({"reservationId": "{{reservationId}}", "paymentMethod": "pm_card_visa"})),
            ..step("createPayment", &["answered(201);", "keep('paymentId', body.id);"])
        },
        Step {
            query: &[("wait", "30")],
            ..step(
                "getReservation",
                &[
                    "answered(200);",
                    "pm.test('the seats are ours', () => pm.expect(body.status).equal('CONFIRMED'));",
                ],
            )
        },
        step(
            "getPayment",
            &["answered(200);", "pm.test('it is paid', () => pm.expect(body.status).equal('SUCCEEDED'));"],
        ),
    ]
}

/// What each step's tests may use.
const PRELUDE: &[&str] = &[
    "const body = pm.response.json();",
    "const answered = status => pm.test(`answered ${status}`, () => pm.response.to.have.status(status));",
    "const keep = (name, value) => pm.collectionVariables.set(name, value);",
];

/// The collection of an OpenAPI document.
pub fn collection(document: &Value) -> Value {
    let operations = operations(document);
    let steps: Vec<Value> = walk().into_iter().map(|step| walk_item(&operations, step)).collect();
    let mut folders = vec![json!({
        "name": WALK,
        "description": "Run the folder: it registers somebody, holds two seats, pays, and waits until they are theirs.",
        "item": steps,
    })];
    for tag in document["tags"].as_array().into_iter().flatten() {
        let of_tag = operations.iter().filter(|operation| *operation.tag == tag["name"]);
        let items: Vec<Value> = of_tag.map(|operation| operation.item()).collect();
        folders.push(json!({"name": tag["name"], "description": tag["description"], "item": items}));
    }
    let variable = |key: &str, value: &str| json!({"key": key, "value": value});
    json!({
        "info": {
            "name": "Marquee",
            "description": document["info"]["description"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "event": [{"listen": "prerequest", "script": {"type": "text/javascript", "exec": [
            "// An hour from now: shows that have not begun.",
            "pm.collectionVariables.set('soon', new Date(Date.now() + 3600000).toISOString());",
        ]}}],
        "variable": [
            variable("baseUrl", "http://127.0.0.1:8080"), variable("token", ""), variable("email", ""), variable("soon", ""),
            variable("showtimeId", ""), variable("reservationId", ""), variable("paymentId", ""),
        ],
        "item": folders,
    })
}

/// One endpoint of the document.
struct Operation<'a> {
    verb: String,
    path: &'a str,
    tag: &'a Value,
    spec: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let verbs =
        paths.flat_map(|(path, verbs)| verbs.as_object().into_iter().flatten().map(move |verb| (path, verb)));
    verbs
        .map(|(path, (verb, spec))| Operation {
            verb: verb.to_uppercase(),
            path,
            tag: &spec["tags"][0],
            spec,
        })
        .collect()
}

fn walk_item(operations: &[Operation<'_>], step: Step) -> Value {
    let operation = operations.iter().find(|operation| operation.spec["operationId"] == step.operation);
    let operation =
        operation.unwrap_or_else(|| panic!("the walk's {} is no operation any more", step.operation));
    let mut item = operation.item();
    let body = step.body.unwrap_or_else(|| operation.example());
    operation.fill(&mut item, step.query, &body);
    let script: Vec<&str> = PRELUDE.iter().chain(step.tests).copied().collect();
    item["event"] = json!([{"listen": "test", "script": {"type": "text/javascript", "exec": script}}]);
    item
}

impl Operation<'_> {
    fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        let all = self.spec["parameters"].as_array().into_iter().flatten();
        all.filter(move |parameter| parameter["in"] == place)
    }

    fn example(&self) -> Value {
        self.spec["requestBody"]["content"]["application/json"]["example"].clone()
    }

    fn item(&self) -> Value {
        let description = self.spec["description"].as_str().unwrap_or_default();
        let mut request = json!({"method": self.verb, "description": description});
        if self.spec.get("security").is_none() {
            request["auth"] = json!({"type": "noauth"});
        }
        let mut item = json!({"name": self.spec["summary"], "request": request});
        self.fill(&mut item, &[], &self.example());
        item
    }

    /// Writes address, headers and body; query parameters that are not given are there, switched off.
    fn fill(&self, item: &mut Value, query: &[(&str, &str)], body: &Value) {
        let path: Vec<String> =
            self.path.trim_start_matches('/').split('/').map(|part| self.segment(part)).collect();
        let described = |parameter: &Value, value: &str, disabled: bool| {
            let mut field = Map::from_iter([
                ("key".to_owned(), parameter["name"].clone()),
                ("value".to_owned(), value.into()),
            ]);
            if let Some(description) = parameter.get("description") {
                field.insert("description".into(), description.clone());
            }
            if disabled {
                field.insert("disabled".into(), true.into());
            }
            Value::Object(field)
        };
        let queries: Vec<Value> = self
            .parameters("query")
            .map(|parameter| {
                let given = query.iter().find(|(name, _)| parameter["name"] == *name);
                described(parameter, given.map_or("", |(_, value)| value), given.is_none())
            })
            .collect();
        let raw_query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let question = if raw_query.is_empty() { "" } else { "?" };
        let raw = format!("{{{{baseUrl}}}}/{}{question}{}", path.join("/"), raw_query.join("&"));
        item["request"]["url"] = json!({"raw": raw, "host": ["{{baseUrl}}"], "path": path, "query": queries});
        let mut headers: Vec<Value> = self
            .parameters("header")
            .map(|parameter| {
                let value = if parameter["name"] == bus::service::IDEMPOTENCY_KEY { "{{$guid}}" } else { "" };
                described(parameter, value, parameter["required"] != true)
            })
            .collect();
        if body.is_object() {
            headers.push(json!({"key": "Content-Type", "value": "application/json"}));
            let raw = serde_json::to_string_pretty(body).unwrap_or_default();
            item["request"]["body"] =
                json!({"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}});
        } else if self.spec.pointer("/requestBody/content/multipart~1form-data").is_some() {
            item["request"]["body"] =
                json!({"mode": "formdata", "formdata": [{"key": "file", "type": "file", "src": []}]});
        }
        item["request"]["header"] = headers.into();
    }

    /// `{id}` below `/v1/showtimes` is the variable `showtimeId`, so that what the walk kept can be used everywhere.
    fn segment(&self, part: &str) -> String {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            return part.to_owned();
        };
        let before =
            self.path.split("/{").next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let singular = before.strip_suffix('s').unwrap_or(before);
        if name == "id" { format!("{{{{{singular}Id}}}}") } else { format!("{{{{{name}}}}}") }
    }
}
