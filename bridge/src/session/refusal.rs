//! Why RabbitMQ refuses a connection, in words for an operator.

use bus::tls;
use lapin::uri::AMQPUri;

/// Why the broker refuses the connection for good, in words that name the setting and never the password; `None` if it is
/// unavailable or may accept a later attempt.
pub(super) fn refusal(error: &lapin::Error, url: &AMQPUri) -> Option<String> {
    let AMQPUri { authority, vhost, .. } = url;
    let (user, host, port) = (&authority.userinfo.username, &authority.host, authority.port);
    match error.kind() {
        lapin::ErrorKind::ProtocolError(refused) => match refused.get_id() {
            403 => Some(format!(
                "RabbitMQ refuses the login of the user {user}: check name and password in AMQP_URL"
            )),
            // 530: a virtual host that does not exist or is not accessible; 402 is the older code for it.
            402 | 530 => Some(format!(
                "RabbitMQ refuses the user {user} on the virtual host {vhost} (AMQP_URL): {}",
                refused.get_message()
            )),
            _ => None,
        },
        lapin::ErrorKind::InvalidProtocolVersion(_) | lapin::ErrorKind::ParsingError(_) => Some(format!(
            "the server at {host}:{port} (AMQP_URL) is not RabbitMQ, or expects TLS, for which the URL begins with amqps:// ({error})"
        )),
        _ if tls::is_plain_server(error) => Some(format!(
            "the server at {host}:{port} (AMQP_URL) does not speak TLS: amqps:// needs RabbitMQ's port for TLS (usually \
             5671), amqp:// is for the other one"
        )),
        _ => tls::refusal(error),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPHardError, AMQPSoftError};

    use super::*;

    #[test]
    fn a_refusal_names_the_user_and_the_setting_and_never_the_password() {
        let url: AMQPUri = "amqps://mailer:s3cret@rabbit:5672/cinema".parse().unwrap();
        let answered = |kind: lapin::ErrorKind| refusal(&kind.into(), &url);
        let login =
            AMQPError::new(AMQPSoftError::ACCESSREFUSED.into(), "ACCESS_REFUSED - Login was refused".into());
        let host =
            AMQPError::new(AMQPHardError::NOTALLOWED.into(), "NOT_ALLOWED - vhost cinema not found".into());
        for (kind, words) in [
            (
                lapin::ErrorKind::ProtocolError(login),
                "refuses the login of the user mailer: check name and password",
            ),
            (
                lapin::ErrorKind::ProtocolError(host),
                "mailer on the virtual host cinema (AMQP_URL): NOT_ALLOWED - vhost",
            ),
        ] {
            let why = answered(kind).unwrap();
            assert!(why.contains(words) && why.contains("AMQP_URL") && !why.contains("s3cret"), "{why}");
        }
        let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(answered(lapin::ErrorKind::IOError(away.into())), None);
    }
}
