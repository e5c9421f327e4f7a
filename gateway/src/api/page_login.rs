//! Logging in from a web page: as in `auth.rs`, with the refresh token in a cookie that no script can read.
//!
//! Invariant: a refresh token of these endpoints is never in a body. The cookie is sent to these paths only (`Path`), from
//! pages of this site only (`SameSite=Strict`), and is valid only with a header that a form of another site cannot send.
//! With https its name has the prefix `__Secure-`, so a page without https cannot set it. A page of a sibling domain still
//! can, so every cookie of the name is tried: a planted one logs nobody out.
//! A second cookie shows that there was a login on this device before (`deviceToken`) and proves nothing else. Access tokens
//! are in the body, as everywhere.

use std::sync::Arc;

use bus::contract::auth::{Login, Logout, RefreshPage, Register, ResetPasswordPage, Session, User};
use bus::contract::{Problem, Request as Question};
use poem::http::{HeaderValue, header};
use poem::{FromRequest, IntoResponse, Request, RequestBody, Response};
use poem_openapi::param::Header;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::{ApiResponse, OpenApi};
use schemars::JsonSchema;
use serde::Serialize;

use super::Domain;
use crate::hosts::{Hosts, validate};
use crate::payload::{Answer, Body, Caller, Done};
use crate::problem::Refused;

/// The header that must be `true` here.
pub const REFRESH_COOKIE: &str = "X-Refresh-Cookie";
const NAME: &str = "marquee_refresh";
const DEVICE: &str = "marquee_device";
/// The prefix of cookies that browsers accept over https only (RFC 6265bis, 4.1.3.1).
const SECURE: &str = "__Secure-";
/// Refresh cookies of one request that are tried: each is a request to the auth host.
const TRIED_MAX: usize = 5;
/// Browsers keep no cookie longer (RFC 6265bis, 5.5).
const DEVICE_SECONDS: u32 = 400 * 24 * 60 * 60;
const PATH: &str = "/v1/auth/cookie";
/// The lifetime of a refresh token at the auth host: a month.
const SECONDS: u32 = 30 * 24 * 60 * 60;

/// The endpoints.
pub struct PageLogins {
    pub hosts: Arc<dyn Hosts>,
    /// Users connect by https, so the cookie must be secure.
    pub is_secure: bool,
}

/// The body after a login by cookie: [`Session`] without the refresh token.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageSession {
    user: User,
    access_token: String,
    expires_in: u64,
}

/// An answer that sets cookies.
pub struct WithCookies<const STATUS: u16 = 200> {
    answer: Answer<PageSession, STATUS>,
    cookies: Vec<HeaderValue>,
}

impl<const STATUS: u16> IntoResponse for WithCookies<STATUS> {
    fn into_response(self) -> Response {
        let mut response = self.answer.into_response();
        for cookie in self.cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

impl<const STATUS: u16> ApiResponse for WithCookies<STATUS> {
    fn meta() -> MetaResponses {
        Answer::<PageSession, STATUS>::meta()
    }
    fn register(registry: &mut Registry) {
        Answer::<PageSession, STATUS>::register(registry);
    }
}

/// An answer that deletes the cookie.
pub struct CookieDeleted(HeaderValue);

impl IntoResponse for CookieDeleted {
    fn into_response(self) -> Response {
        let mut response = Done::<204>.into_response();
        response.headers_mut().insert(header::SET_COOKIE, self.0);
        response
    }
}

impl ApiResponse for CookieDeleted {
    fn meta() -> MetaResponses {
        Done::<204>::meta()
    }
    fn register(_: &mut Registry) {}
}

/// Every cookie of the request, in the browser's order.
pub struct Cookies(Vec<(String, String)>);

impl<'a> FromRequest<'a> for Cookies {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let given = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = given.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl PageLogins {
    /// Submits a request whose answer is a session, and moves the refresh token from the body to a cookie.
    async fn begin<R, const STATUS: u16>(
        &self,
        page: Header<Option<bool>>,
        caller: &Caller,
        request: R,
    ) -> Result<WithCookies<STATUS>, Refused>
    where
        R: Question<Answer = Session>,
    {
        is_page(page)?;
        let answer = self.hosts.submit(caller, request).await?;
        let session: Session = serde_json::from_slice(&answer).map_err(|error| {
            tracing::error!(%error, asks = R::SUBJECT, "the session in the host's answer is not readable");
            Problem::internal()
        })?;
        let Session { user, access_token, refresh_token, expires_in, device_token } = session;
        let body = serde_json::to_vec(&PageSession { user, access_token, expires_in })
            .expect("a session is plain data and always serializes");
        let mut cookies = vec![self.cookie(NAME, &refresh_token, SECONDS)?];
        if let Some(token) = device_token {
            cookies.push(self.cookie(DEVICE, &token, DEVICE_SECONDS)?);
        }
        Ok(WithCookies { answer: Answer::new(body.into()), cookies })
    }

    fn cookie(&self, name: &str, token: &str, seconds: u32) -> Result<HeaderValue, Problem> {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let name = self.name(name);
        let cookie =
            format!("{name}={token}; HttpOnly; SameSite=Strict; Path={PATH}; Max-Age={seconds}{secure}");
        HeaderValue::try_from(cookie).map_err(|_| Problem::internal())
    }

    fn name(&self, name: &str) -> String {
        let prefix = if self.is_secure { SECURE } else { "" };
        format!("{prefix}{name}")
    }

    /// The values of one of our cookies, in the order of the request.
    fn values(&self, cookies: Cookies, name: &str) -> impl Iterator<Item = String> + use<> {
        let name = self.name(name);
        cookies.0.into_iter().filter(move |(given, _)| *given == name).map(|(_, value)| value)
    }
}

fn is_page(page: Header<Option<bool>>) -> Result<(), Problem> {
    if page.0 == Some(true) {
        return Ok(());
    }
    Err(Problem::new(400, "refresh-cookie", format!("The header {REFRESH_COOKIE} must be true here.")))
}

#[OpenApi(tag = "Domain::Auth")]
impl PageLogins {
    /// Open an account from a web page
    ///
    /// As `register`; the refresh token is set as a cookie that scripts cannot read, and is not in the body.
    #[oai(path = "/v1/auth/cookie/register", method = "post")]
    async fn register(
        &self,
        caller: Caller,
        /// Must be `true`: no other site's form can send it.
        #[oai(name = "X-Refresh-Cookie")]
        page: Header<Option<bool>>,
        body: Body<Register>,
    ) -> Result<WithCookies<201>, Refused> {
        self.begin(page, &caller, body.request).await
    }

    /// Log in from a web page
    ///
    /// As `login`; the refresh token is set as a cookie that scripts cannot read, and is not in the body.
    #[oai(path = "/v1/auth/cookie/login", method = "post")]
    async fn login(
        &self,
        caller: Caller,
        /// Must be `true`: no other site's form can send it.
        #[oai(name = "X-Refresh-Cookie")]
        page: Header<Option<bool>>,
        cookies: Cookies,
        body: Body<Login>,
    ) -> Result<WithCookies, Refused> {
        let device_token = body.request.device_token.or_else(|| self.values(cookies, DEVICE).next());
        // A foreign cookie of the name must not be a reason to refuse the login.
        let device_token = device_token.filter(|token| token.len() <= 200);
        self.begin(page, &caller, Login { device_token, ..body.request }).await
    }

    /// Set a new password from a web page
    ///
    /// As `resetPassword`, and logs in: the refresh token is set as a cookie that scripts cannot read, and is not in the body.
    #[oai(path = "/v1/auth/cookie/reset", method = "post")]
    async fn reset(
        &self,
        caller: Caller,
        /// Must be `true`: no other site's form can send it.
        #[oai(name = "X-Refresh-Cookie")]
        page: Header<Option<bool>>,
        body: Body<ResetPasswordPage>,
    ) -> Result<WithCookies, Refused> {
        self.begin(page, &caller, body.request).await
    }

    /// Continue the login of this browser
    ///
    /// As `refresh`, with the cookie: it works once and is replaced. Since a page may be left before it has the answer, the same
    /// cookie works again for ten seconds, unless its replacement was used. Without a cookie: 401.
    #[oai(path = "/v1/auth/cookie/refresh", method = "post")]
    async fn refresh(
        &self,
        caller: Caller,
        /// Must be `true`: no other site's form can send it.
        #[oai(name = "X-Refresh-Cookie")]
        page: Header<Option<bool>>,
        cookies: Cookies,
    ) -> Result<WithCookies, Refused> {
        is_page(Header(page.0))?;
        let mut refused = Problem::unauthorized("refresh-cookie", "There is no login in this browser.");
        for refresh_token in self.values(cookies, NAME).take(TRIED_MAX) {
            match self.begin(Header(page.0), &caller, RefreshPage { refresh_token }).await {
                Err(Refused(problem)) if [401, 422].contains(&problem.status) => refused = problem,
                answer => return answer,
            }
        }
        Err(Refused(Problem { status: 401, ..refused }))
    }

    /// Log out from a web page
    ///
    /// As `logout`, with the cookie, which is deleted.
    #[oai(path = "/v1/auth/cookie/logout", method = "post")]
    async fn logout(
        &self,
        caller: Caller,
        /// Must be `true`: no other site's form can send it.
        #[oai(name = "X-Refresh-Cookie")]
        page: Header<Option<bool>>,
        cookies: Cookies,
    ) -> Result<CookieDeleted, Refused> {
        is_page(page)?;
        for refresh_token in self.values(cookies, NAME).take(TRIED_MAX) {
            let logout = Logout { refresh_token };
            // An invalid token has no login to end.
            if validate(&logout).is_ok() {
                self.hosts.request(&logout, &caller.0).await?;
            }
        }
        Ok(CookieDeleted(self.cookie(NAME, "", 0)?))
    }
}
