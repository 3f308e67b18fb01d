//! The page's server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use calls::intent::Intent;
use calls::outcome::Outcome;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{stream, watch as looking};
use crate::daemon::Daemon;
use crate::listen::{Client, Door, Guests, bind, serve_http};
use crate::orders::Asks;
use crate::view::{CallView, Itself};

const PAGE: &str = include_str!("assets/index.html");
const SCRIPT: &str = include_str!("assets/dashboard.js");
const STYLE: &str = include_str!("assets/dashboard.css");
const PLOT: &str = include_str!("assets/uplot.js");
const PLOT_STYLE: &str = include_str!("assets/uplot.css");

/// What the page may do, as browsers understand it: load from here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A bound socket.
#[derive(Debug)]
pub struct Dashboard(TcpListener, Guests);

/// The page over HTTP.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn dashboard(addr: SocketAddr, guests: Guests) -> anyhow::Result<Dashboard> {
    Ok(Dashboard(bind(addr, "listen-dashboard").await?, guests))
}

#[derive(Clone)]
struct Shown {
    daemon: Arc<Daemon>,
    asks: Asks,
    told: Arc<watch::Sender<Bytes>>,
    /// Whoever has it may drain; `None`: nobody.
    token: Option<Arc<str>>,
}

impl Dashboard {
    /// Serves the page until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>, itself: Arc<Itself>, asks: Asks, token: Option<Arc<str>>) {
        let told = Arc::new(watch::Sender::new(Bytes::new()));
        let looking = looking::look(Arc::clone(&daemon), itself, Arc::clone(&told));
        let asset = |kind: &'static str, text: &'static str| get(async move || ([(header::CONTENT_TYPE, kind)], text));
        let (script, style) = ("text/javascript; charset=utf-8", "text/css; charset=utf-8");
        let router = Router::new()
            .route("/", asset("text/html; charset=utf-8", PAGE))
            .route("/dashboard.js", asset(script, SCRIPT))
            .route("/dashboard.css", asset(style, STYLE))
            .route("/uplot.js", asset(script, PLOT))
            .route("/uplot.css", asset(style, PLOT_STYLE))
            .route("/events", get(events))
            .route("/call", get(call))
            .route("/drain", post(drain))
            .layer(middleware::from_fn(guard))
            .with_state(Shown { daemon, asks, told, token });
        tokio::join!(serve_http(Door::new(self.0, self.1), router), looking);
    }
}

async fn events(State(shown): State<Shown>, Extension(client): Extension<Client>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")],
        stream::events(shown.told.subscribe(), client.place),
    )
        .into_response()
}

/// Which call.
#[derive(Deserialize)]
struct Which {
    id: String,
}

async fn call(State(shown): State<Shown>, Query(Which { id }): Query<Which>) -> Response {
    let gone = || (StatusCode::NOT_FOUND, "there is no such call any more\n").into_response();
    let Some(call_id) = shown.daemon.call_id(&id) else { return gone() };
    match shown.daemon.ask(Intent::Query { call_id: call_id.clone() }) {
        Some(Outcome::Call(account)) => axum::Json(CallView::new(&call_id, &account)).into_response(),
        Some(_) | None => gone(),
    }
}

async fn drain(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let Some(token) = &shown.token else {
        return (StatusCode::FORBIDDEN, "no dashboard-token is configured: intertrunk drain\n").into_response();
    };
    let said = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let said = said.strip_prefix(b"Bearer ").unwrap_or_default();
    if !bool::from(said.ct_eq(token.as_bytes())) {
        tracing::warn!("somebody has tried to drain by the dashboard with a wrong token");
        return (StatusCode::UNAUTHORIZED, "the token is another one\n").into_response();
    }
    match shown.asks.drain().await {
        Ok(()) => "no new calls are taken\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error).into_response(),
    }
}

/// Lets this page's own requests in, those of people and of programs, and of no other page of the web: neither by its own name nor by one that it has had
/// lead to this host.
async fn guard(request: Request<Body>, next: Next) -> Response {
    if !may_come(request.headers()) {
        let why = "the dashboard is for no other page, and is found by address or as localhost\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}

fn may_come(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = header("host").unwrap_or_default();
    let is_own = header("origin").is_none_or(|origin| origin.split_once("://").is_some_and(|(_, of)| of == host));
    let is_near = header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    is_own && is_near && is_address(host)
}

/// Whether a host is named by its address, or as this one: other names may lead anywhere tomorrow.
fn is_address(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_names_that_nobody_can_give_away() {
        for (host, expected) in [
            ("127.0.0.1:8080", true),
            ("192.0.2.1", true),
            ("[2001:db8::1]:8080", true),
            ("[::1]", true),
            ("localhost:8080", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_address(host), expected, "{host}");
        }
    }
}
