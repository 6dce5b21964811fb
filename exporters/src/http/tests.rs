mod openapi;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::fixture;

/// A server on the loopback with an owner that answers from the fixture.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    ready: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
    _detail: watch::Sender<Detail>,
}

async fn owner(mut requests: mpsc::Receiver<Request>, snapshot: Arc<Snapshot>) {
    while let Some(request) = requests.recv().await {
        match request {
            Request::Snapshot(answer) | Request::Numbers(answer) => {
                drop(answer.send(Arc::clone(&snapshot)));
            }
            Request::Reload(answer) => drop(answer.send(Err("line 3: no such key".to_owned()))),
            Request::Incidents(answer) => drop(answer.send(Ok(Vec::new()))),
            Request::Silences(answer) => drop(answer.send(vec![fixture::silence()])),
            Request::Silence(request, answer) => {
                let now = jiff::Timestamp::UNIX_EPOCH;
                let made = request.accept("0123456789abcdef".to_owned(), now);
                let named = made.map(|silence| silence.id);
                drop(answer.send(named.map_err(SilenceError::Refused)));
            }
            Request::Unsilence(id, answer) => {
                drop(answer.send(Ok(id == "0123456789abcdef")));
            }
            Request::Evidence(id, answer) => {
                let packets = (id == "0123abcd").then(|| Bytes::from_static(b"\x0a\x0d\x0d\x0a"));
                drop(answer.send(packets));
            }
            Request::History(name, answer) => {
                drop(answer.send((name == "a/b").then(fixture::history)));
            }
            Request::Probe(request, answer) => {
                let reply = match request.target.host.as_str() {
                    "allowed" => ProbeReply::Answered(Box::new(ProbeAnswer {
                        success: true,
                        duration: request.deadline,
                        report: fixture::report(),
                    })),
                    "broken" => ProbeReply::Failed("no vantage".to_owned()),
                    _ => ProbeReply::NotAllowed,
                };
                drop(answer.send(reply));
            }
        }
    }
}

async fn start_with(limits: Limits, snapshot: Snapshot) -> Running {
    start_behind(Web::open(), limits, snapshot).await
}

async fn start_behind(web: Web, limits: Limits, snapshot: Snapshot) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, received) = mpsc::channel(QUEUE);
    let (ready, is_ready) = watch::channel(false);
    let (detail_sender, detail) = watch::channel(Detail::Full);
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(owner(received, Arc::new(snapshot)));
    let api =
        Api { requests, metrics: fixture::metrics(), ready: is_ready, detail, web: Arc::new(web) };
    let shutdown = async {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve_within(listener, api, shutdown, limits));
    Running { address, ready, stop: Some(stop), server, _detail: detail_sender }
}

/// A server behind these doors.
pub(super) async fn behind(web: Web) -> Running {
    start_behind(web, Limits::default(), fixture::snapshot()).await
}

async fn start() -> Running {
    start_with(Limits::default(), fixture::snapshot()).await
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads to the end of the connection.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    pub(super) async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "").await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
        );
        self.exchange(&request).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A server that drops a client may reset the connection; what came before counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn every_path_answers_with_its_status() {
    let running = start().await;
    let table = [
        ("GET", "/-/healthy", "200", "healthy"),
        ("GET", "/-/ready", "503", "not ready"),
        ("GET", "/metrics", "200", "reachd_target_up"),
        ("HEAD", "/metrics", "200", "version=0.0.4"),
        ("GET", "/", "200", "suspected blackhole"),
        ("GET", "/api/v1/targets", "200", "\"severity\":\"critical\""),
        ("GET", "/api/v1/incidents", "200", "{\"incidents\":[]}"),
        ("GET", "/api/v1/incidents/0123ABCD/evidence.pcapng", "200", "application/x-pcapng"),
        ("GET", "/api/v1/incidents/ffff/evidence.pcapng", "404", "no packets kept"),
        ("GET", "/api/v1/incidents/..%2f..%2fetc/evidence.pcapng", "404", "no packets kept"),
        ("GET", "/api/v1/targets/a%2Fb/history", "200", "\"availability\":0.5"),
        ("GET", "/api/v1/targets/nobody/history", "404", "no history of this target"),
        ("POST", "/-/reload", "500", "line 3: no such key"),
        ("PUT", "/-/reload", "500", "the old plan runs on"),
        ("GET", "/-/reload", "405", "another method"),
        ("POST", "/metrics", "405", "another method"),
        ("GET", "/nothing", "404", "no such path"),
        ("GET", "/probe?target=allowed&module=full", "200", "probe_success 1"),
        ("GET", "/probe?target=allowed&module=full&debug=true", "200", "\"packets_sent\""),
        ("GET", "/probe?target=other&module=full", "403", "[probe_api]"),
        ("GET", "/probe?target=broken&module=full", "503", "no vantage"),
        ("GET", "/probe?target=allowed", "400", "icmp, tcp_connect"),
        ("GET", "/probe?target=allowed&module=http_2xx", "400", "icmp, tcp_connect"),
    ];
    for (method, path, expected, part) in table {
        let answer = running.ask(method, path, "").await;
        assert_eq!(status(&answer), expected, "{method} {path}: {answer}");
        assert!(answer.contains(part), "{method} {path}: {answer}");
    }
    running.ready.send(true).unwrap();
    assert_eq!(status(&running.get("/-/ready").await), "200");
}

#[tokio::test]
async fn the_page_is_negotiated_and_whole() {
    let running = start().await;
    let accept = "accept: application/openmetrics-text;version=1.0.0\r\n";
    let answer = running.ask("GET", "/metrics", accept).await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("# EOF\n"));
    let plain = running.get("/metrics").await;
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(plain.contains("reachd_scrapes_total{outcome=\"served\"} 2\n"));
}

#[tokio::test]
async fn a_web_page_of_somebody_else_cannot_reload() {
    let running = start().await;
    for foreign in ["http://evil.example", "null", "http://localhost.evil.example"] {
        let headers = format!("origin: {foreign}\r\n");
        assert_eq!(status(&running.ask("POST", "/-/reload", &headers).await), "403", "{foreign}");
    }
    let answer = running.ask("POST", "/-/reload", "sec-fetch-site: cross-site\r\n").await;
    assert_eq!(status(&answer), "403");
}

#[tokio::test]
async fn too_large_requests_are_refused() {
    let running = start().await;
    let header = format!("x: {}\r\n", "a".repeat(20_000));
    assert_eq!(status(&running.ask("GET", "/metrics", &header).await), "431");
    let many: String = (0..100).map(|number| format!("x-{number}: a\r\n")).collect();
    assert_eq!(status(&running.ask("GET", "/metrics", &many).await), "431");
    let path = format!("/{}", "a".repeat(5000));
    assert_eq!(status(&running.get(&path).await), "414");
    let answer = running.ask("POST", "/-/reload", "content-length: 1000000\r\n").await;
    assert_eq!(status(&answer), "413");
    assert_eq!(status(&running.exchange("nonsense\r\n\r\n").await), "400");
}

#[tokio::test]
async fn slow_clients_are_dropped_and_others_served() {
    let client_timeout = Duration::from_millis(200);
    let limits = Limits { connections: 2, client_timeout, ..Limits::default() };
    let running = start_with(limits, fixture::snapshot()).await;
    let mut slow = [running.connect().await, running.connect().await];
    for stream in &mut slow {
        stream.write_all(b"GET /metrics HTT").await.unwrap();
    }
    // Both slots are taken; the third client waits until they are free again.
    assert_eq!(status(&running.get("/-/healthy").await), "200");
    for stream in &mut slow {
        assert!(!read_all(stream).await.contains(" 200 "));
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_dropped() {
    let mut snapshot = fixture::snapshot();
    let row = snapshot.probes[0].clone();
    snapshot.probes = vec![row; 20_000].into();
    let client_timeout = Duration::from_millis(200);
    let limits = Limits { connections: 1, client_timeout, ..Limits::default() };
    let running = start_with(limits, snapshot).await;
    let mut slow = running.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The only slot becomes free although the first client never reads on.
    assert_eq!(status(&running.get("/-/healthy").await), "200");
    let page = read_all(&mut slow).await;
    assert!(!page.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn scrapes_at_the_same_time_all_get_the_whole_page() {
    let mut snapshot = fixture::snapshot();
    let row = snapshot.targets[0].clone();
    snapshot.targets = vec![row; 500];
    let running = Arc::new(start_with(Limits::default(), snapshot).await);
    let scrapes: Vec<_> = (0..30)
        .map(|_| {
            let running = Arc::clone(&running);
            tokio::spawn(async move { running.get("/metrics").await })
        })
        .collect();
    for scrape in scrapes {
        let answer = scrape.await.unwrap();
        assert_eq!(status(&answer), "200");
        assert_eq!(answer.matches("reachd_target_up{").count(), 500);
        assert!(answer.ends_with("0\r\n\r\n"));
    }
}

#[tokio::test]
async fn stopping_lets_idle_clients_go_and_ends() {
    let mut running = start().await;
    let mut idle = running.connect().await;
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0u8; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    running.stop.take().unwrap().send(()).unwrap();
    running.server.await.unwrap();
    read_all(&mut idle).await;
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_back() {
    let limits = Limits { requests: 0, ..Limits::default() };
    let running = start_with(limits, fixture::snapshot()).await;
    let answer = running.get("/-/healthy").await;
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("come back"));
}

#[tokio::test]
async fn a_busy_or_stopping_owner_is_an_answer_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, received) = mpsc::channel(1);
    let (_ready, ready) = watch::channel(true);
    let (_detail, detail) = watch::channel(Detail::Full);
    let (answer, _answered) = oneshot::channel();
    requests.try_send(Request::Incidents(answer)).unwrap();
    let api =
        Api { requests, metrics: fixture::metrics(), ready, detail, web: Arc::new(Web::open()) };
    tokio::spawn(serve(listener, api, std::future::pending()));
    let get = async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        read_all(&mut stream).await
    };
    let answer = get().await;
    assert!(status(&answer) == "503" && answer.contains("busy"), "{answer}");
    drop(received);
    let answer = get().await;
    assert!(status(&answer) == "503" && answer.contains("stopping"), "{answer}");
}

/// A page that fits into no socket's buffers, and a client that began to take it.
async fn with_a_page_under_way(bounds: Bounds) -> (Running, TcpStream) {
    let mut snapshot = fixture::snapshot();
    let row = snapshot.probes[0].clone();
    snapshot.probes = vec![row; 20_000].into();
    let running = start_with(Limits { long_answers: bounds, ..Limits::default() }, snapshot).await;
    let mut slow = running.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0_u8; 12];
    slow.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    (running, slow)
}

#[tokio::test]
async fn who_finds_no_place_for_a_long_answer_is_told_when_to_come_back() {
    let none_waits = Bounds { places: 1, waiting: 0, ..Bounds::default() };
    let short = Bounds { places: 1, patience: Duration::from_millis(10), ..Bounds::default() };
    for bounds in [none_waits, short] {
        let (running, _slow) = with_a_page_under_way(bounds).await;
        for path in ["/metrics", "/api/v1/targets"] {
            let answer = running.get(path).await;
            assert_eq!(status(&answer), "503");
            assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
        }
        assert_eq!(status(&running.get("/-/healthy").await), "200");
    }
}

#[tokio::test]
async fn a_slow_client_loses_its_place_to_those_who_wait() {
    let bounds = Bounds { places: 1, time: Duration::from_secs(2), ..Bounds::default() };
    let (running, mut slow) = with_a_page_under_way(bounds).await;
    let answer = running.get("/metrics").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("0\r\n\r\n"));
    let cut = read_all(&mut slow).await;
    assert!(!cut.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_goes_leaves_its_place_at_once() {
    let (running, slow) = with_a_page_under_way(Bounds { places: 1, ..Bounds::default() }).await;
    drop(slow);
    assert_eq!(status(&running.get("/metrics").await), "200");
}
