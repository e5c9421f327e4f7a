//! The table of endpoints: for each the request that answers it, the required role, and what a request may contain.
//!
//! The guard checks requests by the row, and the OpenAPI document is completed from it, so both agree. A new endpoint is
//! a row here and its typed signature in `api/`; a test compares the two.

use bus::contract::auth::{
    ChangePassword, CreateGuest, EraseMe, EraseUser, ForgotPassword, GetKeys, ListAudit, ListUsers, Login,
    Logout, LogoutEverywhere, Me, Refresh, RefreshPage, Register, ResendVerification, ResetPassword,
    ResetPasswordPage, SetDisabled, SetRole, UpdateMe, VerifyEmail,
};
use bus::contract::dead_letter::{DropDeadLetter, GetDeadLetter, ListDeadLetters, ReplayDeadLetter};
use bus::contract::event_feed::WatchEvents;
use bus::contract::media::BeginMedia;
use bus::contract::movie::{
    CancelShowtime, CreateAuditorium, CreateGenre, CreateMovie, CreatePriceCard, CreateShowtime,
    CreateShowtimes, CreateTicketType, DeleteAuditorium, DeleteGenre, DeleteMovie, DeletePriceCard,
    DeleteTicketType, GetAuditorium, GetMovie, GetShowtime, ListAuditoriums, ListGenres, ListMovies,
    ListPlannedShowtimes, ListPriceCards, ListShowtimes, ListTicketTypes, MatchPriceCard, PublishShowtime,
    PublishShowtimes, UpdateAuditorium, UpdateGenre, UpdateMovie, UpdatePriceCard, UpdateShowtime,
    UpdateTicketType,
};
use bus::contract::notification::{
    GetNotification, ListNotifications, PrintReceipt, PrintTickets, ResendFailed, ResendNotification,
};
use bus::contract::payment::{
    GetPayment, GetReceipts, ListPayments, Pay, ReportRevenue, ResumePayment, SetBuyer, Webhook,
};
use bus::contract::reservation::{
    CancelReservation, CreateReservation, ExchangeReservation, FindBestSeats, GetReservation, GetSaga,
    GetSeatMap, GetShowtimeCancellation, GetTariff, GetTickets, ListHolders, ListReservations, ListSagas,
    MergeOrders, PlanCancellation, PlanExchange, QuoteTickets, ReportOccupancy, ReportSales, ReportTickets,
    RequestRefund, ResumeSaga, SetCustomer, UpdateReservation,
};
use bus::contract::site::{GetSite, ListSites, UpdateSite};
use bus::contract::{Access, Request};
use poem::http::Method;
use uuid::Uuid;

use crate::limit::Rate;

/// Most JSON bodies are a few hundred bytes; this leaves room for the longest texts.
const SMALL: usize = 16 * 1024;
/// A hall of 2,000 seats is some 70 KiB.
const LAYOUT: usize = 256 * 1024;
/// Stripe's events are some KiB; its own libraries set no maximum.
const WEBHOOK: usize = 256 * 1024;
/// A poster: a photograph of 24 million pixels.
pub const PICTURE_MAX: usize = 10 * 1024 * 1024;
/// A trailer: three minutes at 4 Mbit/s, and the most that Cloudinary takes in one request.
pub const FILM_MAX: usize = 100 * 1024 * 1024;

/// The body that a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    None,
    /// JSON of at most so many bytes.
    Json(usize),
    /// The same, or no body.
    OptionalJson(usize),
    /// At most so many bytes of any kind, signed by the payment provider.
    Signed(usize),
    /// A form with a file of at most so many bytes, which the endpoint reads in chunks.
    Upload(usize),
}

/// Whether a request may have an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// A read, or a write that needs no key.
    None,
    Optional,
    Required,
}

/// The `Location` of a 201.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// The path of the request and the id of the created resource.
    BelowPath,
    /// Another path and the id of the created resource.
    Below(&'static str),
    At(&'static str),
    /// What was created has no address.
    Nowhere,
}

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub verb: Verb,
    /// As in the document, `/v1/movies/{id}`.
    pub path: &'static str,
    /// The document's `operationId`.
    pub operation: &'static str,
    /// The subject of the request that answers it, for the log; none where the gateway answers by itself.
    pub subject: Option<&'static str>,
    pub access: Access,
    /// The token of an order permits it, too.
    pub is_open_by_order: bool,
    pub body: Body,
    pub idempotency: Idempotency,
    /// `None`: by the method.
    own_rate: Option<Rate>,
    /// The challenge is checked before the body is read; see [`crate::challenge`].
    pub is_challenged: bool,
    /// The answer may be cached for some seconds; see [`crate::etag`].
    pub is_cacheable: bool,
    location: Location,
    /// Statuses of problems that only this endpoint has; see [`Row::problems`] for all.
    own_problems: &'static [u16],
}

/// A method that can be used in constants, unlike [`Method`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }

    /// HEAD is answered like GET, without the body (RFC 9110, 9.3.2).
    pub fn serves(self, method: &Method) -> bool {
        self.method() == *method || (self == Self::Get && method == Method::HEAD)
    }

    pub fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Every endpoint of the document.
pub const ROWS: &[Row] = &[
    post::<Register>("/v1/auth/register", "register")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login)
        .challenged()
        .location(Location::At("/v1/me"))
        .refuses(&[401, 409]),
    post::<CreateGuest>("/v1/auth/guest", "createGuest").counted_as(Rate::Guest).location(Location::Nowhere),
    post::<Login>("/v1/auth/login", "login").body(Body::Json(SMALL)).counted_as(Rate::Login).refuses(&[401]),
    post::<Refresh>("/v1/auth/refresh", "refresh")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login)
        .refuses(&[401]),
    post::<Logout>("/v1/auth/logout", "logout").body(Body::Json(SMALL)),
    post::<Register>("/v1/auth/cookie/register", "registerPage")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login)
        .challenged()
        .location(Location::At("/v1/me"))
        .refuses(&[401, 409]),
    post::<Login>("/v1/auth/cookie/login", "loginPage")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login)
        .refuses(&[401]),
    post::<RefreshPage>("/v1/auth/cookie/refresh", "refreshPage")
        .counted_as(Rate::Login)
        .refuses(&[400, 401]),
    post::<Logout>("/v1/auth/cookie/logout", "logoutPage").refuses(&[400]),
    post::<ResetPasswordPage>("/v1/auth/cookie/reset", "resetPasswordPage")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login)
        .refuses(&[400]),
    post::<LogoutEverywhere>("/v1/auth/logout-everywhere", "logoutEverywhere"),
    post::<ForgotPassword>("/v1/auth/password/forgot", "forgotPassword")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login),
    post::<ResetPassword>("/v1/auth/password/reset", "resetPassword")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login),
    post::<VerifyEmail>("/v1/auth/verify", "verifyEmail").body(Body::Json(SMALL)).counted_as(Rate::Login),
    post::<ResendVerification>("/v1/auth/verify/resend", "resendVerification").counted_as(Rate::Login),
    get::<Me>("/v1/me", "getMe"),
    patch::<UpdateMe>("/v1/me", "updateMe").body(Body::Json(SMALL)),
    delete::<EraseMe>("/v1/me", "eraseMe")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login)
        .refuses(&[403, 404, 409]),
    own("/v1/me/export", "exportMe")
        .of(Access::Guest)
        .open_by_order()
        .counted_as(Rate::Export)
        .refuses(&[403, 404]),
    post::<ChangePassword>("/v1/me/password", "changePassword")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Login),
    get::<ListUsers>("/v1/users", "listUsers"),
    put::<SetRole>("/v1/users/{id}/role", "setRole").body(Body::Json(SMALL)).refuses(&[409]),
    put::<SetDisabled>("/v1/users/{id}/disabled", "setDisabled").body(Body::Json(SMALL)).refuses(&[409]),
    post::<EraseUser>("/v1/users/{id}/erase", "eraseUser").body(Body::Json(SMALL)).refuses(&[409]),
    get::<ListAudit>("/v1/admin/audit", "listAudit"),
    get::<GetKeys>("/.well-known/jwks.json", "getKeys"),
    get::<ListMovies>("/v1/movies", "listMovies").cacheable(),
    post::<CreateMovie>("/v1/movies", "createMovie").body(Body::Json(SMALL)).key(Idempotency::Optional),
    get::<GetMovie>("/v1/movies/{id}", "getMovie").cacheable(),
    patch::<UpdateMovie>("/v1/movies/{id}", "updateMovie").body(Body::Json(SMALL)).key(Idempotency::Optional),
    delete::<DeleteMovie>("/v1/movies/{id}", "deleteMovie").key(Idempotency::Optional),
    put::<BeginMedia>("/v1/movies/{id}/poster", "putPoster").body(Body::Upload(PICTURE_MAX)).refuses(&[409]),
    put::<BeginMedia>("/v1/movies/{id}/trailer", "putTrailer").body(Body::Upload(FILM_MAX)).refuses(&[409]),
    get::<ListGenres>("/v1/genres", "listGenres").cacheable(),
    post::<CreateGenre>("/v1/genres", "createGenre")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    patch::<UpdateGenre>("/v1/genres/{id}", "updateGenre").body(Body::Json(SMALL)).key(Idempotency::Optional),
    delete::<DeleteGenre>("/v1/genres/{id}", "deleteGenre").key(Idempotency::Optional),
    get::<ListAuditoriums>("/v1/auditoriums", "listAuditoriums").cacheable(),
    post::<CreateAuditorium>("/v1/auditoriums", "createAuditorium")
        .body(Body::Json(LAYOUT))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    get::<GetAuditorium>("/v1/auditoriums/{id}", "getAuditorium").cacheable(),
    patch::<UpdateAuditorium>("/v1/auditoriums/{id}", "updateAuditorium")
        .body(Body::Json(LAYOUT))
        .key(Idempotency::Optional),
    delete::<DeleteAuditorium>("/v1/auditoriums/{id}", "deleteAuditorium").key(Idempotency::Optional),
    get::<ListShowtimes>("/v1/showtimes", "listShowtimes").cacheable(),
    post::<CreateShowtime>("/v1/showtimes", "createShowtime")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    post::<CreateShowtimes>("/v1/showtimes/bulk", "createShowtimes")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional),
    get::<GetShowtime>("/v1/showtimes/{id}", "getShowtime").cacheable(),
    patch::<UpdateShowtime>("/v1/showtimes/{id}", "updateShowtime")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional),
    post::<PublishShowtime>("/v1/showtimes/{id}/publish", "publishShowtime")
        .key(Idempotency::Optional)
        .refuses(&[409]),
    post::<PublishShowtimes>("/v1/showtimes/publish", "publishShowtimes")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional),
    get::<ListPlannedShowtimes>("/v1/admin/showtimes", "listPlannedShowtimes"),
    delete::<CancelShowtime>("/v1/showtimes/{id}", "cancelShowtime").key(Idempotency::Optional),
    get::<ListTicketTypes>("/v1/ticket-types", "listTicketTypes").cacheable(),
    post::<CreateTicketType>("/v1/ticket-types", "createTicketType")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    put::<UpdateTicketType>("/v1/ticket-types/{id}", "updateTicketType")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional),
    delete::<DeleteTicketType>("/v1/ticket-types/{id}", "deleteTicketType").key(Idempotency::Optional),
    get::<ListPriceCards>("/v1/price-cards", "listPriceCards"),
    post::<CreatePriceCard>("/v1/price-cards", "createPriceCard")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional),
    get::<MatchPriceCard>("/v1/price-cards/match", "matchPriceCard"),
    put::<UpdatePriceCard>("/v1/price-cards/{id}", "updatePriceCard")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional),
    delete::<DeletePriceCard>("/v1/price-cards/{id}", "deletePriceCard").key(Idempotency::Optional),
    own("/v1/programme", "getProgramme").counted_as(Rate::Read).cacheable(),
    own("/v1/rating-schemes", "listRatingSchemes").counted_as(Rate::Read).cacheable(),
    get::<GetSite>("/v1/site", "getSite").cacheable(),
    get::<ListSites>("/v1/sites", "listSites"),
    put::<UpdateSite>("/v1/sites/{id}", "updateSite").body(Body::Json(SMALL)).key(Idempotency::Optional),
    put::<BeginMedia>("/v1/sites/{id}/logo", "putLogo").body(Body::Upload(PICTURE_MAX)).refuses(&[409]),
    own("/v1/currencies", "listCurrencies").counted_as(Rate::Read).cacheable(),
    get::<GetSeatMap>("/v1/showtimes/{id}/seats", "getSeatMap"),
    get::<GetSeatMap>("/v1/showtimes/{id}/seats/events", "watchSeatMap"),
    get::<FindBestSeats>("/v1/showtimes/{id}/seats/best", "findBestSeats").refuses(&[409, 422]),
    get::<GetTariff>("/v1/showtimes/{id}/tariff", "getTariff"),
    // It reads, like a GET with a body.
    post::<QuoteTickets>("/v1/showtimes/{id}/quote", "quoteTickets")
        .body(Body::Json(SMALL))
        .counted_as(Rate::Read),
    get::<ListReservations>("/v1/reservations", "listReservations"),
    post::<CreateReservation>("/v1/reservations", "createReservation")
        .body(Body::Json(SMALL))
        .key(Idempotency::Required)
        .challenged()
        .refuses(&[404, 409]),
    get::<GetReservation>("/v1/reservations/{id}", "getReservation"),
    patch::<UpdateReservation>("/v1/reservations/{id}", "updateReservation")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    put::<SetCustomer>("/v1/reservations/{id}/customer", "setCustomer")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    post::<MergeOrders>("/v1/reservations/merge", "mergeOrders").body(Body::Json(SMALL)).refuses(&[409]),
    post::<CancelReservation>("/v1/reservations/{id}/cancel", "cancelReservation")
        .body(Body::OptionalJson(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[403, 409]),
    get::<PlanCancellation>("/v1/reservations/{id}/cancellation", "planCancellation").refuses(&[409, 422]),
    post::<ExchangeReservation>("/v1/reservations/{id}/exchange", "exchangeReservation")
        .body(Body::Json(SMALL))
        .key(Idempotency::Required)
        .location(Location::Below("/v1/reservations"))
        .refuses(&[404, 409]),
    get::<PlanExchange>("/v1/reservations/{id}/exchange", "planExchange").refuses(&[409, 422]),
    get::<GetTickets>("/v1/reservations/{id}/tickets", "getTickets").refuses(&[409]),
    get::<PrintTickets>("/v1/reservations/{id}/tickets.pdf", "printTickets").refuses(&[409]),
    get::<GetReceipts>("/v1/reservations/{id}/receipt", "getReceipts").refuses(&[409]),
    get::<PrintReceipt>("/v1/reservations/{id}/receipt.pdf", "printReceipt").refuses(&[409, 422]),
    post::<SetBuyer>("/v1/reservations/{id}/invoice", "setBuyer").body(Body::Json(SMALL)).refuses(&[409]),
    get::<ListHolders>("/v1/admin/holds", "listHolders"),
    get::<ListSagas>("/v1/admin/sagas", "listSagas"),
    get::<GetSaga>("/v1/admin/sagas/{reservationId}", "getSaga"),
    post::<ResumeSaga>("/v1/admin/sagas/{reservationId}/resume", "resumeSaga")
        .key(Idempotency::Optional)
        .refuses(&[409]),
    get::<GetShowtimeCancellation>("/v1/admin/showtimes/{id}/cancellation", "getShowtimeCancellation"),
    get::<ReportOccupancy>("/v1/admin/reports/occupancy", "reportOccupancy"),
    get::<ReportTickets>("/v1/admin/reports/tickets", "reportTickets").refuses(&[422]),
    get::<ReportSales>("/v1/admin/reports/sales", "reportSales").refuses(&[422]),
    post::<Pay>("/v1/payments", "createPayment")
        .body(Body::Json(SMALL))
        .key(Idempotency::Required)
        .refuses(&[402, 404, 409]),
    get::<ListPayments>("/v1/payments", "listPayments"),
    get::<GetPayment>("/v1/payments/{id}", "getPayment"),
    post::<ResumePayment>("/v1/admin/payments/{id}/resume", "resumePayment"),
    get::<ReportRevenue>("/v1/admin/reports/revenue", "reportRevenue").refuses(&[422]),
    post::<RequestRefund>("/v1/payments/{id}/refund", "refundPayment")
        .body(Body::Json(SMALL))
        .key(Idempotency::Optional)
        .refuses(&[409]),
    post::<Webhook>("/v1/payments/webhook", "receiveWebhook")
        .body(Body::Signed(WEBHOOK))
        // All webhooks come from a few addresses, and after a refusal a payment stays unknown for minutes. A request without
        // a plausible signature is refused here; what limits the others is WEBHOOKS_IN_WORK_MAX.
        .counted_as(Rate::Free),
    get::<ListNotifications>("/v1/notifications", "listNotifications"),
    post::<ResendFailed>("/v1/notifications/resend", "resendFailedNotifications").body(Body::Json(SMALL)),
    get::<GetNotification>("/v1/notifications/{id}", "getNotification"),
    post::<ResendNotification>("/v1/notifications/{id}/resend", "resendNotification")
        .key(Idempotency::Optional)
        .refuses(&[409]),
    get::<WatchEvents>("/v1/admin/events", "watchEvents"),
    get::<ListDeadLetters>("/v1/admin/dead-letters", "listDeadLetters"),
    get::<GetDeadLetter>("/v1/admin/dead-letters/{sequence}", "getDeadLetter"),
    delete::<DropDeadLetter>("/v1/admin/dead-letters/{sequence}", "dropDeadLetter"),
    post::<ReplayDeadLetter>("/v1/admin/dead-letters/{sequence}/replay", "replayDeadLetter").refuses(&[409]),
];

const fn get<R: Request>(path: &'static str, operation: &'static str) -> Row {
    let (subject, access, is_open_by_order) = (Some(R::SUBJECT), R::ACCESS, R::BY_ORDER_TOKEN);
    Row { operation, subject, access, is_open_by_order, ..Row::page(path) }
}

/// An endpoint that the gateway answers by itself.
const fn own(path: &'static str, operation: &'static str) -> Row {
    Row { operation, ..Row::page(path) }
}

const fn post<R: Request>(path: &'static str, operation: &'static str) -> Row {
    Row { verb: Verb::Post, ..get::<R>(path, operation) }
}

const fn delete<R: Request>(path: &'static str, operation: &'static str) -> Row {
    Row { verb: Verb::Delete, ..get::<R>(path, operation) }
}

const fn put<R: Request>(path: &'static str, operation: &'static str) -> Row {
    Row { verb: Verb::Put, ..get::<R>(path, operation) }
}

const fn patch<R: Request>(path: &'static str, operation: &'static str) -> Row {
    Row { verb: Verb::Patch, ..get::<R>(path, operation) }
}

impl Row {
    /// A page that the gateway answers by itself, outside of the document.
    pub const fn page(path: &'static str) -> Self {
        Self {
            verb: Verb::Get,
            path,
            operation: "",
            subject: None,
            access: Access::Public,
            is_open_by_order: false,
            body: Body::None,
            idempotency: Idempotency::None,
            own_rate: None,
            is_challenged: false,
            is_cacheable: false,
            location: Location::BelowPath,
            own_problems: &[],
        }
    }

    /// The same with another required role.
    pub const fn of(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The token of an order permits it, too.
    const fn open_by_order(self) -> Self {
        Self { is_open_by_order: true, ..self }
    }

    const fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    const fn key(self, idempotency: Idempotency) -> Self {
        Self { idempotency, ..self }
    }

    const fn counted_as(self, rate: Rate) -> Self {
        Self { own_rate: Some(rate), ..self }
    }

    const fn challenged(self) -> Self {
        Self { is_challenged: true, ..self }
    }

    const fn cacheable(self) -> Self {
        Self { is_cacheable: true, ..self }
    }

    const fn location(self, location: Location) -> Self {
        Self { location, ..self }
    }

    const fn refuses(self, own_problems: &'static [u16]) -> Self {
        Self { own_problems, ..self }
    }

    /// Which quota a request counts against.
    pub fn rate(&self) -> Rate {
        self.own_rate.unwrap_or(match self.verb {
            // The gateway's own pages: monitoring may read health and metrics at any rate.
            _ if self.subject.is_none() => Rate::Free,
            Verb::Get => Rate::Read,
            _ => Rate::Write,
        })
    }

    /// The `Location` of a 201, given the id of the created resource.
    pub fn location_of(&self, id: Option<Uuid>) -> Option<String> {
        match self.location {
            // A path with a parameter has no resources below it.
            Location::BelowPath if self.path.contains('{') => None,
            Location::BelowPath => id.map(|id| format!("{}/{id}", self.path)),
            Location::Below(path) => id.map(|id| format!("{path}/{id}")),
            Location::At(path) => Some(path.to_owned()),
            Location::Nowhere => None,
        }
    }

    /// The status of every problem that this endpoint may answer with, possibly with duplicates.
    pub fn problems(&self) -> Vec<u16> {
        let mut statuses = self.own_problems.to_vec();
        statuses.extend([500, 503]);
        if self.rate() != Rate::Free {
            statuses.push(429);
        }
        match self.access {
            Access::Public | Access::Internal => {}
            Access::Guest => statuses.push(401),
            Access::User => statuses.extend([401, 403]),
            Access::Admin | Access::SuperAdmin => statuses.extend([401, 403]),
        }
        match self.body {
            Body::None if self.verb == Verb::Get => {}
            // A body with fields is refused.
            Body::None => statuses.extend([400, 413, 422]),
            Body::Json(_) | Body::OptionalJson(_) | Body::Upload(_) => statuses.extend([400, 413, 415, 422]),
            Body::Signed(_) => statuses.extend([400, 413]),
        }
        match self.idempotency {
            Idempotency::None => {}
            Idempotency::Optional | Idempotency::Required => statuses.extend([400, 409, 422]),
        }
        if self.path.contains('{') {
            statuses.extend([400, 404]);
        }
        statuses
    }
}

/// The row of an endpoint.
pub fn row(verb: &Method, path: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.path == path && row.verb.method() == *verb)
}
