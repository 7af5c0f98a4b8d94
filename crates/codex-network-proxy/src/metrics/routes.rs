//! What the endpoint answers: one row for each path.
//!
//! [`answer`] looks a request up in [`ROUTES`]. A new path is a row here: what it says, and whether it wants the token.
//! Nothing of a request but its method, path and token is looked at.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::token::BearerToken;
use super::{CONTENT_TYPE as OPEN_METRICS, Metrics};

/// Who may ask at an endpoint, and for what.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// Its owner, as the system sees to, for everything.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only unix has the socket"))]
    Owner,
    /// Who shows the token, for everything; anybody for what is not guarded.
    Token(BearerToken),
    /// Anybody, for what is not guarded. Nothing else is there.
    Probes,
}

/// One path.
struct Route {
    path: &'static str,
    /// Whether an endpoint with a token wants it here.
    guarded: bool,
    answer: fn(&Metrics) -> Page,
}

/// What a path says.
struct Page {
    status: StatusCode,
    content_type: &'static str,
    text: String,
}

const ROUTES: [Route; 3] = [
    Route {
        path: "/metrics",
        guarded: true,
        answer: |metrics| Page {
            status: StatusCode::OK,
            content_type: OPEN_METRICS,
            text: metrics.to_string(),
        },
    },
    // Probes of kubelets and balancers cannot hold a secret, and these two say one word each.
    Route {
        path: "/healthz",
        guarded: false,
        answer: |_| Page {
            status: StatusCode::OK,
            content_type: "text/plain",
            text: "alive\n".to_owned(),
        },
    },
    Route {
        path: "/readyz",
        guarded: false,
        answer: |metrics| {
            let (status, text) = if metrics.is_ready() {
                (StatusCode::OK, "ready\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            };
            Page {
                status,
                content_type: "text/plain",
                text: text.to_owned(),
            }
        },
    },
];

/// The answer to a request.
pub(super) fn answer<B>(
    metrics: &Metrics,
    access: &Access,
    request: &Request<B>,
) -> Response<Full<Bytes>> {
    let route = ROUTES
        .iter()
        .find(|route| route.path == request.uri().path());
    // Who has no token learns nothing, not even which paths there are.
    let guarded = route.is_none_or(|route| route.guarded);
    let route = match access {
        Access::Probes => route.filter(|route| !route.guarded),
        Access::Owner | Access::Token(_) => route,
    };
    let token = match access {
        Access::Token(token) => Some(token),
        Access::Owner | Access::Probes => None,
    };
    if guarded && token.is_some_and(|token| !token.is_in(request.headers())) {
        let mut response = plain(StatusCode::UNAUTHORIZED, "a bearer token is needed\n");
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return response;
    }
    let Some(route) = route else {
        return plain(StatusCode::NOT_FOUND, "no such page\n");
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return response;
    }
    page((route.answer)(metrics))
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    page(Page {
        status,
        content_type: "text/plain",
        text: text.to_owned(),
    })
}

fn page(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.text)));
    *response.status_mut() = page.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
