//! The dashboard in a browser (Chromium), while calls are carried. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use loadtest::rig::host::{Host, in_namespace};
use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::Process;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// More than are looked at in a few seconds; `bench observe` has twenty thousand.
const STANDING: usize = 4000;
const PAGE: &str = "http://127.0.0.1:9724/";
const TOKEN: &str = "0123456789abcdef";
/// For what is no matter of time: a browser beside everything else of a small machine is slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// Says when the page showed a troubled call, by the clock of the browser: what its driver takes to tell is not the relay's.
const WHEN_TROUBLED: &str = "new MutationObserver(() => { if (document.getElementById('troubled').textContent !== '0') window.foundAt ??= Date.now(); })
    .observe(document.getElementById('troubled'), { childList: true, characterData: true, subtree: true });";
/// Widths and heights of a telephone and of a wall.
const SIZES: [(&str, u32, u32); 2] = [("phone", 390, 844), ("wall", 1920, 1080)];

fn scene(args: &[&str]) -> Scene {
    let args =
        [&["--listen-dashboard", "127.0.0.1:9724", "--dashboard-token", TOKEN, "--delete-delay", "0"], args].concat();
    Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap()
}

/// A browser on the relay's host. The driver ends it with itself.
fn with_browser<T: Send + 'static>(
    (host, folder): (&Host, &Path),
    work: impl AsyncFnOnce(&Client) -> Result<T, fantoccini::error::CmdError> + Send + 'static,
) -> T {
    let mut command = host.command("chromedriver");
    command.arg("--port=9515");
    let mut driver = Process::start("chromedriver", command, &folder.join("chromedriver.log")).unwrap();
    driver.wait_for_output("started successfully", Duration::from_secs(20)).unwrap();
    let profile = folder.join("profile");
    let done = in_namespace(host, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", format!("--user-data-dir={}", profile.display())]});
            let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
            let client = ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect("http://127.0.0.1:9515").await.unwrap();
            let done = work(&client).await;
            client.close().await.unwrap();
            done.unwrap()
        }))
    });
    // The browser has closed already; a driver that does not hear the first signal is killed, and that is no finding about the relay.
    let _killed = driver.stop();
    done.unwrap()
}

/// Has very many calls stand beside those that one looks at, in which nobody wants to hear anything.
fn stand(scene: &mut Scene) {
    let quiet = |addr: &str, port: u16| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 {addr}\r\ns=-\r\nc=IN IP4 {addr}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=inactive\r\n"
        )
    };
    let (from, to) = (quiet("192.0.2.10", 3998), quiet("198.51.100.10", 5998));
    for number in 0..STANDING {
        let id = format!("standing-{number}");
        let offer = json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": from,
            "direction": [Trunk::Pbx1.name(), Trunk::Gateway.name()]});
        assert_eq!(scene.ng.request(&offer).unwrap()["result"], "ok");
        let answer = json!({"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b", "sdp": to});
        assert_eq!(scene.ng.request(&answer).unwrap()["result"], "ok");
    }
}

async fn text(client: &Client, id: &str) -> Result<String, fantoccini::error::CmdError> {
    client.find(Locator::Id(id)).await?.text().await
}

/// Waits until an element says something that will do; what it says.
async fn until(client: &Client, id: &str, is_it: impl Fn(&str) -> bool) -> Result<String, fantoccini::error::CmdError> {
    let start = Instant::now();
    loop {
        let found = text(client, id).await?;
        if is_it(&found) {
            return Ok(found);
        }
        assert!(start.elapsed() < PATIENCE, "{id}: {found}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn picture(
    client: &Client,
    (name, width, height): (&str, u32, u32),
    folder: &Path,
) -> Result<(), fantoccini::error::CmdError> {
    client.set_window_size(width, height).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // What is wider than the screen is scrolled in its own box, and never the page. The charts follow the window when they are told.
    let start = Instant::now();
    while client.execute("return document.documentElement.scrollWidth > window.innerWidth", Vec::new()).await?
        != Value::Bool(false)
    {
        assert!(start.elapsed() < PATIENCE, "{name}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let picture = client.screenshot().await?;
    assert!(picture.len() > 5000, "{name}");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    Ok(())
}

#[test]
#[ignore = "privileged: namespaces, BPF, Chromium"]
fn a_call_that_turns_bad_is_seen_within_five_seconds_and_its_page_tells_all() {
    let mut scene = scene(&["--port-min", "1024", "--port-max", "65535"]);
    stand(&mut scene);
    let mut parties = Vec::new();
    for number in 0..5_u16 {
        let [caller, callee] = [(Trunk::Pbx1, 4000), (Trunk::Gateway, 6000)]
            .map(|(trunk, port)| Party::new(&scene.trunks, trunk, port + 2 * number).unwrap());
        // A name that a page must not take for more.
        let id = format!("<b>call&amp;{number}</b>");
        let call = Call::set_up(&mut scene.ng, &id, (&caller, Trunk::Pbx1), (&callee, Trunk::Gateway), &[]).unwrap();
        parties.push((call, caller, callee));
    }
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_bad = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let speaking = {
        let (is_over, is_bad) = (std::sync::Arc::clone(&is_over), std::sync::Arc::clone(&is_bad));
        std::thread::spawn(move || {
            use std::sync::atomic::Ordering::Relaxed;
            // By the clock, not by pauses: however busy the machine is, a party speaks fifty times a second.
            let start = Instant::now();
            for turn in 1_u32.. {
                if is_over.load(Relaxed) {
                    break;
                }
                for (number, (call, caller, callee)) in parties.iter_mut().enumerate() {
                    caller.speak(call.for_caller).unwrap();
                    if number != 3 || !is_bad.load(Relaxed) {
                        callee.speak(call.for_callee).unwrap();
                    }
                }
                std::thread::sleep(
                    (start + Duration::from_millis(20) * turn).saturating_duration_since(Instant::now()),
                );
            }
        })
    };
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
    let began = std::sync::Arc::clone(&is_bad);
    let found = with_browser((&scene.trunks.relay, scene.folder.path()), async move |client| {
        client.set_window_size(1920, 1080).await?;
        client.goto(PAGE).await?;
        until(client, "calls", |text| text.replace('\u{202f}', "") == (STANDING + 5).to_string()).await?;
        until(client, "fast", |text| text.parse().is_ok_and(|rate: u64| (400..600).contains(&rate))).await?;
        until(client, "troubled", |text| text == "0").await?;
        client.execute(WHEN_TROUBLED, Vec::new()).await?;
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        began.store(true, std::sync::atomic::Ordering::Relaxed);
        until(client, "troubled", |text| text == "1").await?;
        let found = client.execute("return window.foundAt", Vec::new()).await?.as_u64().unwrap();
        let found = Duration::from_millis(found).saturating_sub(start);
        let worst = until(client, "worst", |text| text.contains("is not heard any more")).await?;
        assert!(worst.contains("<b>call&amp;3</b>"), "{worst}");
        for size in SIZES {
            picture(client, size, &pictures).await?;
        }
        // The order of the worst may change between the look and the click.
        let start = Instant::now();
        while let Err(error) = client.find(Locator::LinkText("<b>call&amp;3</b>")).await?.click().await {
            assert!(start.elapsed() < PATIENCE, "{error}");
        }
        until(client, "callid", |text| text == "<b>call&amp;3</b>").await?;
        until(client, "callstate", |text| text.contains("one way: callee is not heard any more")).await?;
        until(client, "legs", |text| text.contains("192.0.2.10:4006") && text.contains("fast")).await?;
        until(client, "descriptions", |text| text.contains("offer of") && text.contains("m=audio 4006 RTP/AVP"))
            .await?;
        picture(client, ("call", 1920, 1080), &pictures).await?;
        Ok(found)
    });
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    speaking.join().unwrap();
    // Five, and what the browser takes to show it.
    assert!(found < Duration::from_millis(6000), "{found:?}");
}

#[test]
#[ignore = "privileged: namespaces, BPF, Chromium"]
fn the_page_goes_on_with_the_next_daemon_and_drains_with_the_token() {
    let mut scene = scene(&[]);
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 5).unwrap();
    let (seen, sees) = std::sync::mpsc::channel();
    let Scene { daemon, trunks, folder, ng } = &mut scene;
    std::thread::scope(|scope| {
        let browser = scope.spawn(|| {
            with_browser((&trunks.relay, folder.path()), async move |client| {
                client.goto(PAGE).await?;
                until(client, "calls", |text| text == "1").await?;
                seen.send("the call").unwrap();
                until(client, "state", |text| text.starts_with("the daemon does not answer")).await?;
                seen.send("that the daemon is gone").unwrap();
                until(client, "state", |text| text.starts_with("xdp, version")).await?;
                until(client, "calls", |text| text == "1").await?;
                // The wrong token first.
                for (token, is_right) in [("0123456789abcdeF", false), (TOKEN, true)] {
                    client.find(Locator::Id("drain")).await?.click().await?;
                    client.find(Locator::Id("token")).await?.send_keys(token).await?;
                    client.find(Locator::Id("really")).await?.click().await?;
                    if !is_right {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        assert_eq!(client.get_alert_text().await?, "the token is another one\n");
                        client.dismiss_alert().await?;
                    }
                }
                until(client, "state", |text| text == "draining: no new calls are taken, 1 are left").await?;
                seen.send("the drain").unwrap();
                Ok(())
            });
        });
        assert_eq!(sees.recv(), Ok("the call"));
        daemon.kill().unwrap();
        assert_eq!(sees.recv(), Ok("that the daemon is gone"));
        daemon.restart().unwrap();
        assert_eq!(sees.recv(), Ok("the drain"));
        browser.join().unwrap();
    });
    let offer = json!({"command": "offer", "call-id": "next", "from-tag": "a", "sdp": caller.sdp()});
    assert_eq!(ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    call.converse(&mut caller, &mut callee, 5).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn no_other_page_of_the_web_reads_the_dashboard_or_drains_by_it() {
    let scene = scene(&[]);
    let say = |request: &str| {
        let request = format!("{request}Connection: close\r\nContent-Length: 0\r\n\r\n");
        let answer = in_namespace(&scene.trunks.relay, move || {
            use std::io::{Read as _, Write as _};
            let mut stream = TcpStream::connect("127.0.0.1:9724")?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        answer.unwrap()
    };
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:9724\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nSec-Fetch-Site: none\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nSec-Fetch-Site: same-origin\r\n", "200"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nSec-Fetch-Site: cross-site\r\n", "403"),
        ("GET /call?id=a HTTP/1.1\r\nHost: evil.example\r\n", "403"),
        ("GET /events HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nOrigin: http://evil.example\r\n", "403"),
        ("GET /call?id=none HTTP/1.1\r\nHost: 127.0.0.1:9724\r\n", "404"),
        ("POST /drain HTTP/1.1\r\nHost: 127.0.0.1:9724\r\n", "401"),
        ("POST /drain HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nAuthorization: Bearer 0123456789abcdeF\r\n", "401"),
        (
            "POST /drain HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nOrigin: http://evil.example\r\nAuthorization: Bearer 0123456789abcdef\r\n",
            "403",
        ),
        ("GET /drain HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nAuthorization: Bearer 0123456789abcdef\r\n", "405"),
    ] {
        let answer = say(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{request}: {answer}");
    }
    let page = say("GET / HTTP/1.1\r\nHost: 127.0.0.1:9724\r\n");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    // And whoever has it: a daemon without calls ends.
    let answer = say("POST /drain HTTP/1.1\r\nHost: 127.0.0.1:9724\r\nAuthorization: Bearer 0123456789abcdef\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn without_a_token_nobody_drains_by_the_dashboard() {
    let args = ["--listen-dashboard", "127.0.0.1:9724"];
    let scene = Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap();
    for token in ["", "Authorization: Bearer \r\n", "Authorization: Bearer 0123456789abcdef\r\n"] {
        let answer = in_namespace(&scene.trunks.relay, move || {
            let mut stream = TcpStream::connect("127.0.0.1:9724")?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let head = format!(
                "POST /drain HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("no dashboard-token is configured"), "{answer}");
    }
}
