//! NG over HTTP and WebSocket, as Kamailio (`ws://`) and drachtio speak it, and as it gets through a load balancer.
//!
//! ```text
//! POST /ng          <cookie> <dictionary>      GET /ping     pong
//! POST /ng-plain    <dictionary>               GET /metrics  as Prometheus reads them
//! WebSocket on any path, by its sub-protocol: ng.rtpengine.com with cookies, ng-plain.rtpengine.com without
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use super::guests::Guests;
use super::places::Place;
use super::tcp::{Door, bind};
use crate::daemon::{Daemon, Spoken};
use crate::metrics::{CONTENT_TYPE as CONTENT_TYPE_METRICS, Metrics};
use calls::ng::{Frame, MAX_MESSAGE, Proxy, Transport};

/// The sub-protocol with cookies.
const WITH_COOKIE: &str = "ng.rtpengine.com";
/// The one without.
const PLAIN: &str = "ng-plain.rtpengine.com";
/// The type of what `POST` sends and gets.
const CONTENT_TYPE: &str = "application/x-rtpengine-ng";

/// How long the head of a request, the next request on a connection, and the body of one may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a silent WebSocket is asked whether it still lives, and how many questions may stay without an answer.
const PING: Duration = Duration::from_secs(30);
const PINGS: u32 = 2;

/// A bound TCP socket of HTTP.
#[derive(Debug)]
pub struct Http(TcpListener, Guests);

/// NG over HTTP and WebSocket.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn http(addr: SocketAddr, guests: Guests) -> anyhow::Result<Http> {
    Ok(Http(bind(addr, "listen-http").await?, guests))
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    addr: SocketAddr,
    local: SocketAddr,
    pub(crate) place: Arc<Place>,
}

impl Client {
    fn spoken(&self, has_cookie: bool) -> Spoken {
        Spoken { client: self.addr, local: self.local, is_stream: true, has_cookie, at: SystemTime::now() }
    }
}

impl Http {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, daemon: Arc<Daemon>, metrics: Metrics) {
        let router = Router::new()
            .route("/ping", get(async || "pong\n"))
            .route("/metrics", get(move || told(metrics.clone())))
            .route("/ng", post(with_cookie))
            .route("/ng-plain", post(plain))
            .fallback(get(websocket))
            .layer(DefaultBodyLimit::max(MAX_MESSAGE))
            .layer(middleware::from_fn(guard))
            .with_state(daemon);
        serve_http(Door::new(self.0, self.1), router).await;
    }
}

/// A bound TCP socket where metrics are told, and nothing else.
#[derive(Debug)]
pub struct Scraped(TcpListener, Guests);

/// Metrics over HTTP.
///
/// # Errors
/// When the address is not this host's, or its port in use.
pub async fn scraped(addr: SocketAddr, guests: Guests) -> anyhow::Result<Scraped> {
    Ok(Scraped(bind(addr, "listen-metrics").await?, guests))
}

impl Scraped {
    /// Serves the socket until the daemon ends.
    pub async fn serve(self, metrics: Metrics) {
        let router =
            Router::new().route("/metrics", get(move || told(metrics.clone()))).layer(middleware::from_fn(guard));
        serve_http(Door::new(self.0, self.1), router).await;
    }
}

async fn told(metrics: Metrics) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE_METRICS)], metrics.tell())
}

/// Serves whoever comes.
pub(crate) async fn serve_http(mut door: Door, router: Router) {
    let router = router.layer(middleware::from_fn(take_turn));
    loop {
        let (stream, addr, place) = door.accept().await;
        let local = stream.local_addr().unwrap_or(addr);
        let client = Client { addr, local, place: Arc::new(place) };
        let place = Arc::clone(&client.place);
        let service = TowerToHyperService::new(router.clone().layer(Extension(client)));
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::select! {
                served = connection => {
                    if let Err(error) = served {
                        tracing::debug!(%error, %addr, "an HTTP client's connection ended");
                    }
                }
                () = place.lost() => tracing::debug!(%addr, "an HTTP client's connection ended: others needed the place"),
            }
        });
    }
}

/// Has others served between two requests, of which a client may send very many at once, and notes who has got what it asked for. Who was
/// refused, and who has only opened a WebSocket, has asked for nothing yet.
async fn take_turn(request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().cloned();
    tokio::task::yield_now().await;
    let response = next.run(request).await;
    if let Some(client) = client
        && response.status().is_success()
    {
        client.place.asked(Instant::now());
    }
    response
}

/// Turns web pages away, which a browser on this host or in its network would let command the relay, and ends what takes too long.
async fn guard(request: Request, next: Next) -> Response {
    // A browser says whose page it is that sends, or that it is a browser; proxies and programs say neither.
    let is_page = ["origin", "sec-fetch-site"].iter().any(|name| request.headers().contains_key(*name));
    if is_page {
        return (StatusCode::FORBIDDEN, "web pages may not command the relay\n").into_response();
    }
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
    }
}

async fn with_cookie(State(daemon): State<Arc<Daemon>>, Extension(client): Extension<Client>, body: Bytes) -> Response {
    client.place.asked(Instant::now());
    let spoken = client.spoken(true);
    let reply = daemon.datagram(&body, Proxy::host(client.addr.ip(), Transport::Http)).await;
    daemon.spoken(&spoken, &body, reply.as_ref());
    match reply {
        Some(reply) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], reply).into_response(),
        None => (StatusCode::BAD_REQUEST, "a cookie, a space and a dictionary are expected\n").into_response(),
    }
}

async fn plain(State(daemon): State<Arc<Daemon>>, Extension(client): Extension<Client>, body: Bytes) -> Response {
    client.place.asked(Instant::now());
    let spoken = client.spoken(false);
    let reply =
        daemon.message(&Frame::without_cookie(body.trim_ascii()), Proxy::host(client.addr.ip(), Transport::Http)).await;
    daemon.spoken(&spoken, &body, Some(&reply));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], reply).into_response()
}

async fn websocket(
    State(daemon): State<Arc<Daemon>>,
    Extension(client): Extension<Client>,
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
    upgrade.on_upgrade(move |socket| serve_client(socket, daemon, client, has_cookie))
}

/// One connection: requests one after another, each answered by a message of its own kind.
async fn serve_client(mut socket: WebSocket, daemon: Arc<Daemon>, client: Client, has_cookie: bool) {
    let proxy = Proxy::host(client.addr.ip(), Transport::WebSocket);
    let reply = async |request: &[u8]| {
        client.place.asked(Instant::now());
        let spoken = client.spoken(has_cookie);
        let reply = match has_cookie {
            true => daemon.datagram(request, proxy).await,
            false => Some(daemon.message(&Frame::without_cookie(request.trim_ascii()), proxy).await),
        };
        daemon.spoken(&spoken, request, reply.as_ref());
        reply
    };
    let mut unanswered = 0;
    loop {
        let message = tokio::select! {
            message = tokio::time::timeout(PING, socket.recv()) => message,
            () = client.place.lost() => return,
        };
        let answer = match message {
            Ok(Some(Ok(message))) => {
                unanswered = 0;
                match message {
                    Message::Binary(request) => reply(&request).await.map(Message::Binary),
                    // Text that is not UTF-8 would break the connection; SDP may be anything.
                    Message::Text(request) => {
                        reply(request.as_bytes()).await.map(|reply| match Utf8Bytes::try_from(reply.clone()) {
                            Ok(text) => Message::Text(text),
                            Err(_) => Message::Binary(reply),
                        })
                    }
                    Message::Ping(_) | Message::Pong(_) => None,
                    // The next reception ends, when leave has been taken.
                    Message::Close(_) => None,
                }
            }
            Ok(Some(Err(_)) | None) => return,
            Err(_) if unanswered == PINGS => return,
            Err(_) => {
                unanswered += 1;
                Some(Message::Ping(Bytes::new()))
            }
        };
        // A client that does not read gives its place up.
        if let Some(answer) = answer
            && !matches!(tokio::time::timeout(PATIENCE, socket.send(answer)).await, Ok(Ok(())))
        {
            return;
        }
    }
}
