//! NG over HTTP and WebSocket, as Kamailio (`ws://`) and drachtio speak it, and as it gets through a load balancer.
//!
//! ```text
//! POST /ng          <cookie> <dictionary>      GET /ping  pong
//! POST /ng-plain    <dictionary>
//! WebSocket on any path, by its sub-protocol: ng.rtpengine.com with cookies, ng-plain.rtpengine.com without
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use super::tcp::bind;
use crate::daemon::Daemon;
use crate::ng::{Frame, MAX_MESSAGE, Proxy};

/// The sub-protocol with cookies.
const WITH_COOKIE: &str = "ng.rtpengine.com";
/// The one without.
const PLAIN: &str = "ng-plain.rtpengine.com";
/// The type of what `POST` sends and gets.
const CONTENT_TYPE: &str = "application/x-rtpengine-ng";

/// A bound TCP socket of HTTP.
#[derive(Debug)]
pub struct Http(TcpListener);

/// NG over HTTP and WebSocket.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn http(addr: SocketAddr) -> anyhow::Result<Http> {
    Ok(Http(bind(addr, "listen-http").await?))
}

impl Http {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>) {
        let router = Router::new()
            .route("/ping", get(async || "pong\n"))
            .route("/ng", post(with_cookie))
            .route("/ng-plain", post(plain))
            .fallback(get(websocket))
            .layer(DefaultBodyLimit::max(MAX_MESSAGE))
            .with_state(daemon);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(self.0, service).await {
            tracing::error!(%error, "the HTTP listener has ended");
        }
    }
}

async fn with_cookie(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    match daemon.datagram(&body, Proxy::Host(client.ip())) {
        Some(reply) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], reply).into_response(),
        None => (StatusCode::BAD_REQUEST, "a cookie, a space and a dictionary are expected\n").into_response(),
    }
}

async fn plain(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Response {
    let reply = daemon.message(&Frame::without_cookie(body.trim_ascii()), Proxy::Host(client.ip()));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], reply).into_response()
}

async fn websocket(
    State(daemon): State<Arc<Daemon>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return (StatusCode::NOT_FOUND, "POST /ng, POST /ng-plain, GET /ping, or a WebSocket\n").into_response();
    };
    let upgrade = upgrade.protocols([WITH_COOKIE, PLAIN]).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    let Some(has_cookie) = upgrade.selected_protocol().map(|chosen| chosen == WITH_COOKIE) else {
        let text = format!("the sub-protocol must be {WITH_COOKIE} or {PLAIN}\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    upgrade.on_upgrade(move |socket| serve_client(socket, daemon, Proxy::Host(client.ip()), has_cookie))
}

/// One connection: requests one after another, each answered by a message of its own kind.
async fn serve_client(mut socket: WebSocket, daemon: Arc<Daemon>, proxy: Proxy, has_cookie: bool) {
    let reply = |request: &[u8]| match has_cookie {
        true => daemon.datagram(request, proxy),
        false => Some(daemon.message(&Frame::without_cookie(request.trim_ascii()), proxy)),
    };
    while let Some(Ok(message)) = socket.recv().await {
        let answer = match message {
            Message::Binary(request) => reply(&request).map(|reply| Message::Binary(reply.into())),
            // Text that is not UTF-8 would break the connection; SDP may be anything.
            Message::Text(request) => reply(request.as_bytes()).map(|reply| match String::from_utf8(reply) {
                Ok(text) => Message::Text(text.into()),
                Err(other) => Message::Binary(other.into_bytes().into()),
            }),
            Message::Ping(_) | Message::Pong(_) => None,
            // The next reception ends, when leave has been taken.
            Message::Close(_) => None,
        };
        if let Some(answer) = answer
            && socket.send(answer).await.is_err()
        {
            return;
        }
    }
}
