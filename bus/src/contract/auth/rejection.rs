//! Why auth rejects a request.

use crate::contract::{Problem, Rule};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    EmailTaken,
    /// The same for an unknown mail and a wrong password.
    Credentials,
    /// Answered only to the right password, so that nobody else learns that the account is disabled.
    Disabled,
    /// A refresh token that is unknown, expired, or was spent before.
    RefreshToken,
    /// More logins at once than the password pool takes.
    Busy,
    /// Too many wrong passwords; the seconds until the next try.
    Throttled(u64),
    OldPassword,
    /// A token to a new password that is unknown, used or expired.
    ResetToken,
    /// A link that proves an address is unknown or expired.
    VerifyToken,
    /// More links than an account may request within an hour.
    VerificationLimit,
    LastSuperAdmin,
    /// No user has this id.
    UnknownUser,
    /// The token of an order opens nothing any more, or is of another kind.
    OrderToken,
    /// The order's guest has other orders with another address.
    GuestOrders,
    /// The order belongs to an account already.
    NoGuest,
    /// A guest's order has another address than the new account.
    OrderEmail,
    /// The password of an account that is to be erased.
    PasswordWrong,
    /// An order, a refund or a dispute of a user who is to be erased is open.
    ErasureOpen,
    /// Only a SUPER_ADMIN erases staff.
    EraseStaff,
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::EmailTaken => {
                Problem::new(409, "email-taken", "There is already an account with this e-mail.")
            }
            Rejection::Credentials => {
                Problem::new(401, "credentials", "The e-mail or the password is wrong.")
            }
            Rejection::Disabled => {
                Problem::new(401, "account-disabled", "This account is disabled. Please contact the cinema.")
            }
            Rejection::RefreshToken => Problem::new(
                401,
                "refresh-token",
                "The refresh token is unknown, expired or was used before.",
            ),
            Rejection::Busy => Problem::unavailable("Too many logins at once. Please try again shortly."),
            Rejection::Throttled(seconds) => Problem::new(
                429,
                "login-throttled",
                format!("Too many wrong passwords. The next try is possible in {seconds} s."),
            )
            .with_retry_after(seconds),
            Rejection::OldPassword => Problem {
                errors: Problem::invalid_field("oldPassword", Rule::PasswordWrong).errors,
                ..Problem::new(422, "old-password", "The old password is wrong.")
            },
            Rejection::ResetToken => {
                Problem::new(422, "reset-token", "The token is unknown, expired or was used before.")
            }
            Rejection::VerifyToken => Problem::new(422, "verify-token", "The token is unknown or expired."),
            Rejection::VerificationLimit => Problem::new(
                429,
                "mails-limit",
                "Too many links were requested. Please try again in an hour.",
            )
            .with_retry_after(60 * 60),
            Rejection::LastSuperAdmin => Problem::new(
                409,
                "last-super-admin",
                "This is the last SUPER_ADMIN. Promote another one first.",
            ),
            Rejection::UnknownUser => Problem::not_found("user"),
            Rejection::OrderToken => Problem::unauthorized("token-invalid", "The order's link is not valid."),
            Rejection::GuestOrders => Problem::new(
                409,
                "guest-orders",
                "The guest has orders with several addresses. Register without the link, then add the order to the account.",
            ),
            Rejection::NoGuest => {
                Problem::new(409, "order-has-account", "The order belongs to an account already.")
            }
            Rejection::PasswordWrong => Problem {
                errors: Problem::invalid_field("password", Rule::PasswordWrong).errors,
                ..Problem::new(403, "password-wrong", "The password is wrong.")
            },
            Rejection::ErasureOpen => Problem::new(
                409,
                "erasure-open",
                "An order, a refund or a dispute is not finished yet. Please try again when it is.",
            ),
            Rejection::EraseStaff => {
                Problem::new(403, "role", "Only a SUPER_ADMIN erases the accounts of staff.")
            }
            Rejection::OrderEmail => Problem {
                errors: Problem::invalid_field("email", Rule::OrderEmail).errors,
                ..Problem::new(422, "order-email", "The e-mail must be the one that the order was made with.")
            },
        }
    }
}
