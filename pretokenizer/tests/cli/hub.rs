//! Datasets that are fetched: against a server on this machine that speaks the hub's API.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use expect_test::expect;
use serde_json::json;

use crate::workplace::{Outcome, Workplace};

/// What the server has, and what it does wrong.
struct Hub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// How many answers with a file are still to be cut in their middle.
    cuts: Arc<AtomicUsize>,
}

/// The dataset's one file.
fn content() -> String {
    (0..2000).map(|n| format!("{}\n", json!({"text": format!("text {n}")}))).collect()
}

impl Hub {
    fn start(cuts: usize, etag: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let cuts = Arc::new(AtomicUsize::new(cuts));
        let hub = Self {
            endpoint: format!("http://{address}"),
            requests: Arc::clone(&requests),
            cuts: Arc::clone(&cuts),
        };
        let sha256 = shards::hash::sha256(content().as_bytes());
        let etag = etag.map_or(sha256, String::from);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (requests, cuts, etag) =
                    (Arc::clone(&requests), Arc::clone(&cuts), etag.clone());
                thread::spawn(move || {
                    answer(stream.expect("a connection"), &requests, &cuts, &etag)
                });
            }
        });
        hub
    }

    /// A run whose datasets come from here.
    fn run(&self, workplace: &Workplace, variables: &[(&str, &str)]) -> Outcome {
        let mut command = workplace.command(&["--configs", "a", "--write_json"]);
        command.env("HF_ENDPOINT", &self.endpoint).env("HF_HUB_CACHE", "cache");
        command.env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE").env("HF_HOME", "home");
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        Outcome::of(command.output().expect("the program can be started"))
    }
}

/// Answers one request: a listing, a file or a part of it, or an error.
fn answer(mut stream: TcpStream, requests: &Mutex<Vec<String>>, cuts: &AtomicUsize, etag: &str) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut path, mut range, mut token) = (String::new(), None, String::new());
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        let lower = line.trim().to_lowercase();
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some(value) = lower.strip_prefix("range: bytes=") {
            range = Some(value.to_owned());
        } else if let Some(value) = lower.strip_prefix("authorization: ") {
            token = value.to_owned();
        }
        line.clear();
    }
    let shown = format!("{path} {}", range.as_deref().unwrap_or("-"));
    requests.lock().expect("no panic").push(shown);
    let mut send = |status: &str, headers: &str, body: &[u8], length: usize| {
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    };
    if path.contains("gated") && token != "bearer secret" {
        return send("401 Unauthorized", "", b"", 0);
    }
    if path.starts_with("/api/datasets/") && !path.contains("missing") {
        let files = ["README.md", "train.jsonl"].map(|name| json!({"rfilename": name}));
        let listing = json!({"sha": "abc123", "siblings": files}).to_string();
        return send(
            "200 OK",
            "content-type: application/json\r\n",
            listing.as_bytes(),
            listing.len(),
        );
    }
    let (content, etag) = match path.rsplit_once("/resolve/main/") {
        Some((_, "train.jsonl")) => (content(), etag),
        Some((_, "README.md")) => {
            ("---\nconfigs:\n- {config_name: all, data_files: 'train.*'}\n---\n".into(), "0")
        }
        _ => return send("404 Not Found", "", b"", 0),
    };
    let (start, end) = range.as_deref().and_then(|it| it.split_once('-')).unwrap_or(("0", ""));
    let start: usize = start.parse().expect("a number");
    let end = end.parse().map_or(content.len(), |end: usize| end + 1);
    let headers = format!(
        "etag: \"{etag}\"\r\nx-repo-commit: abc123\r\ncontent-range: bytes {start}-{}/{}\r\n",
        end - 1,
        content.len()
    );
    let body = &content.as_bytes()[start..end];
    let is_cut = body.len() > 100
        && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
    let sent = if is_cut { &body[..body.len() / 2] } else { body };
    send("206 Partial Content", &headers, sent, body.len());
}

fn workplace(name: &str) -> Workplace {
    Workplace::with_datasets(&format!("[text: {{name: t, path: {name}, val_split: 0}}]"))
}

#[test]
fn a_dataset_is_fetched_once_and_a_cut_connection_goes_on() {
    let hub = Hub::start(1, None);
    let workplace = workplace("org/name");
    hub.run(&workplace, &[]).ok();
    let texts = workplace.read("out/a-train.jsonl");
    assert_eq!(texts.iter().filter(|byte| **byte == b'\n').count(), 2000);
    assert_eq!(
        workplace.read("cache/datasets--org--name/snapshots/abc123/train.jsonl"),
        content().as_bytes()
    );
    assert_eq!(hub.cuts.load(Ordering::SeqCst), 0);
    let requests = hub.requests.lock().expect("no panic").clone();
    let half = format!("/datasets/org/name/resolve/main/train.jsonl {}-", content().len() / 2);
    assert!(requests.contains(&half), "{requests:?}");
    // Again, without a request.
    hub.run(&workplace, &[]).ok();
    assert_eq!(*hub.requests.lock().expect("no panic"), requests);
    assert_eq!(workplace.read("out/a-train.jsonl"), texts);
}

#[test]
fn a_download_that_ended_goes_on_in_the_next_run() {
    let hub = Hub::start(6, None);
    let workplace = workplace("org/name");
    let outcome = hub.run(&workplace, &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    assert!(outcome.err.contains("the connection broke again and again"), "{}", outcome.err);
    assert!(workplace.files("out").is_empty());
    let n_before = hub.requests.lock().expect("no panic").len();
    hub.run(&workplace, &[]).ok();
    assert_eq!(
        workplace.read("cache/datasets--org--name/snapshots/abc123/train.jsonl"),
        content().as_bytes()
    );
    let requests = hub.requests.lock().expect("no panic").clone();
    let starts_anew = |it: &String| it.ends_with("train.jsonl 0-");
    assert!(!requests[n_before..].iter().any(starts_anew), "{requests:?}");
}

#[test]
fn what_cannot_be_fetched_says_why_and_what_would_do() {
    let hub = Hub::start(0, None);
    let error = |name: &str, variables: &[(&str, &str)]| {
        let outcome = hub.run(&workplace(name), variables);
        assert_eq!(outcome.code, Some(2), "{}", outcome.err);
        outcome.err.replace(&hub.endpoint, "ENDPOINT")
    };
    expect![[r#"
        error: configs/a.yaml:2:14: `t`: the dataset `org/missing` is not here and cannot be fetched: the hub answers 404: there is no such dataset
        hint: a folder `org/missing` below the working directory would do instead
    "#]].assert_eq(&error("org/missing", &[]));
    expect![[r#"
        error: configs/a.yaml:2:14: `t`: the dataset `org/gated` is not here and cannot be fetched: the hub answers 401: it is private or gated, or there is no such dataset; `HF_TOKEN` must hold a token that may read it
        hint: a folder `org/gated` below the working directory would do instead
    "#]].assert_eq(&error("org/gated", &[]));
    expect![[r#"
        error: configs/a.yaml:2:14: `t`: the dataset `org/name` is neither here nor in the cache of Hugging Face, and `HF_HUB_OFFLINE` is set
        hint: a folder `org/name` below the working directory would do instead
    "#]].assert_eq(&error("org/name", &[("HF_HUB_OFFLINE", "1")]));
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr();
    let nobody = format!("http://{}", nobody.expect("it has one"));
    let refused = error("org/name", &[("HF_ENDPOINT", &nobody)]);
    assert!(refused.contains("hint: a folder `org/name` below the working directory"), "{refused}");
    hub.run(&workplace("org/gated"), &[("HF_TOKEN", "secret")]).ok();
}

#[test]
fn a_damaged_file_is_not_used() {
    let hub = Hub::start(0, Some(&"0".repeat(64)));
    let workplace = workplace("org/name");
    for _ in 0..2 {
        let outcome = hub.run(&workplace, &[]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.err);
        let expected = "`train.jsonl` came damaged: its SHA-256 is not the one that the hub names";
        assert!(outcome.err.contains(expected), "{}", outcome.err);
    }
}

#[test]
fn orca_chat_fetches_orca_best_where_neither_folder_is_there() {
    let hub = Hub::start(0, None);
    let workplace = Workplace::with_datasets("[orca-chat]");
    hub.run(&workplace, &[]);
    let requests = hub.requests.lock().expect("no panic").clone();
    assert_eq!(requests[0], "/api/datasets/shahules786/orca-best/revision/main -");
}
