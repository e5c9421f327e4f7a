//! Settings as an operator writes them, and the messages about wrong ones.

use super::*;

fn read(settings: &[(&str, &str)]) -> (Settings, Option<String>) {
    let mut e = Environment::default().or("AMQP_URL", "amqp://u:s3cret@rabbit:5673/cinema");
    for (name, value) in settings {
        e.set(name, *value);
    }
    let settings = Settings::read(&mut e);
    (settings, e.check().err().map(|error| error.to_string()))
}

#[test]
fn by_default_all_events_are_published_and_only_movie_created_is_accepted() {
    let (settings, problem) = read(&[]);
    assert_eq!(problem, None);
    assert_eq!(settings.outbound.len(), contract::event_schemas().len());
    assert_eq!(settings.inbound, ["movie.created"]);
    assert_eq!(settings.raw_exchange.as_deref(), Some("marquee.events.raw"));
    assert_eq!(settings.rpc[0], ("movie.showtimes".into(), "rpc.movie.list_showtimes".into()));
    assert_eq!(settings.url.vhost, "cinema");
    assert_eq!(settings.url.query.heartbeat, Some(10));
}

#[test]
fn an_address_may_have_an_ipv6_host_and_any_password() {
    let url = |url| read(&[("AMQP_URL", url)]).0.url;
    let six = url("amqp://u:a,b;c@[::1]:5673/%2f?heartbeat=30");
    assert_eq!((six.authority.host.as_str(), six.authority.port, six.vhost.as_str()), ("::1", 5673, "/"));
    assert_eq!((six.authority.userinfo.password.as_str(), six.query.heartbeat), ("a,b;c", Some(30)));
    assert_eq!((url("amqp://rabbit").vhost.as_str(), url("amqps://rabbit").authority.port), ("/", 5671));
    assert_eq!(url("amqp://u:a%2Fb@10.0.0.7/").authority.host, "10.0.0.7");
}

#[test]
fn a_url_of_nest_with_a_slash_at_its_end_is_the_default_virtual_host() {
    for text in ["amqp://u:p@rabbit:5672", "amqp://u:p@rabbit:5672/", "amqp://u:p@rabbit/?heartbeat=5"] {
        assert_eq!(read(&[("AMQP_URL", text)]).0.url.vhost, "/", "{text}");
    }
    assert_eq!(read(&[("AMQP_URL", "amqp://u:p@rabbit/cinema")]).0.url.vhost, "cinema");
}

#[test]
fn a_blank_setting_turns_its_feature_off() {
    let (settings, problem) = read(&[("AMQP_RAW_EXCHANGE", ""), ("AMQP_INBOUND", " "), ("AMQP_RPC", "")]);
    assert_eq!(problem, None);
    assert_eq!((settings.raw_exchange, settings.inbound.len(), settings.rpc.len()), (None, 0, 0));
}

#[test]
fn one_message_lists_every_problem_and_no_value() {
    let (_, problem) = read(&[
        ("AMQP_URL", "s3cret"),
        ("AMQP_EXCHANGE", "amq.s3cret"),
        ("AMQP_OUTBOUND", "s3cret.*"),
        ("AMQP_INBOUND", "movie*"),
        ("AMQP_SERVICE_QUEUES", "[{\"name\": \"q\", \"event\": []}]"),
        ("AMQP_RPC", "a=s3cret"),
        ("AMQP_WINDOW", "0"),
        ("AMQP_RETRY_DELAYS", "5,0"),
    ]);
    let problem = problem.unwrap();
    for name in [
        "AMQP_URL",
        "AMQP_EXCHANGE",
        "AMQP_OUTBOUND",
        "AMQP_INBOUND",
        "AMQP_SERVICE_QUEUES",
        "AMQP_RPC",
        "AMQP_WINDOW",
        "AMQP_RETRY_DELAYS",
    ] {
        assert!(problem.contains(name), "{name}: {problem}");
    }
    assert!(!problem.contains("s3cret"), "{problem}");
}

#[test]
fn a_service_queue_accepts_only_events_that_are_published() {
    let queues =
        r#"[{"name":"notifications_queue","events":["reservation.*"],"arguments":{"x-max-length":10}}]"#;
    let (settings, problem) = read(&[("AMQP_SERVICE_QUEUES", queues)]);
    assert_eq!(problem, None);
    let queue = &settings.service_queues[0];
    assert!(queue.events.contains(&"reservation.confirmed".to_owned()) && !queue.declare && queue.durable);
    assert!(queue.field_table().contains_key("x-max-length"));
    let (_, problem) = read(&[("AMQP_SERVICE_QUEUES", queues), ("AMQP_OUTBOUND", "movie.created")]);
    assert!(problem.unwrap().contains("events of AMQP_OUTBOUND for queue 1"));
}
