//! A web server with buckets, reduced to what the tests need: objects in memory that are read,
//! written, listed and assembled from parts. Any signature is valid.
//!
//! Some prefixes are special: `locked` refuses, `failing` refuses uploads, `stuck` never answers a
//! GET, `chunked` does not say how long an answer is, `headless` does not support HEAD, and `basic`
//! requires the user `u` with the password `p`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Keys in one answer: few, so that a list takes several.
const PAGE: usize = 3;
/// How long a test waits for a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server. Its threads end with the process.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By `bucket/key`.
    objects: BTreeMap<String, Vec<u8>>,
    /// By number of the upload and of the part.
    parts: BTreeMap<(usize, usize), Vec<u8>>,
    uploads: usize,
    /// `GET /bucket/key?query` and so on.
    requests: Vec<String>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    authorization: String,
    body: Vec<u8>,
}

struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
    chunked: bool,
}

impl Server {
    /// Starts it with objects, each `bucket/key` with its text.
    pub fn start(objects: &[(&str, &str)]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server =
            Server { address: listener.local_addr().unwrap(), shared: Arc::new(Shared::default()) };
        for (name, text) in objects {
            server.put(name, text.as_bytes());
        }
        let running = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = running.clone();
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        server
    }

    /// `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment for clients with `s3://` URLs.
    pub fn env(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", "someone".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "top-secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ]
    }

    /// Puts an object there.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.shared.state.lock().unwrap().objects.insert(name.to_owned(), bytes.to_vec());
    }

    /// The bytes of an object.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.shared.state.lock().unwrap().objects.get(name).cloned()
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// The number of parts of uploads that have been neither completed nor aborted.
    pub fn loose_parts(&self) -> usize {
        self.shared.state.lock().unwrap().parts.len()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// Waits for a request that begins with this.
    pub fn wait_for(&self, request: &str) {
        let state = self.shared.state.lock().unwrap();
        let missing = |state: &mut State| !state.requests.iter().any(|r| r.starts_with(request));
        let (_state, waited) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, missing).unwrap();
        assert!(!waited.timed_out(), "nobody asked {request}");
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader) {
            self.note(format!("{} {}?{}", request.method, request.path, request.query));
            let Some(answer) = self.answer(&request) else {
                // Stuck: until the other side gives up.
                let _ = reader.read(&mut [0]);
                return;
            };
            if answer.write(stream, request.method == "HEAD").is_err() {
                return;
            }
        }
    }

    fn note(&self, asked: String) {
        self.shared.state.lock().unwrap().requests.push(asked);
        self.shared.changed.notify_all();
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        let name = request.path.trim_start_matches('/');
        let method = request.method.as_str();
        match (name.split('/').next().unwrap_or_default(), method) {
            ("locked", _) | ("failing", "PUT" | "POST") => {
                Some(Answer::error("403 Forbidden", "AccessDenied"))
            }
            ("headless", "HEAD") => Some(Answer::new("405 Method Not Allowed", Vec::new())),
            ("basic", _) if request.authorization != "Basic dTpw" => {
                Some(Answer::new("401 Unauthorized", Vec::new()))
            }
            ("stuck", "GET") => None,
            _ => Some(self.usual(request, name, method)),
        }
    }

    fn usual(&self, request: &Request, name: &str, method: &str) -> Answer {
        let mut state = self.shared.state.lock().unwrap();
        let upload = request.value("uploadId").and_then(|id| id.parse().ok());
        match (method, upload) {
            ("POST", None) => {
                state.uploads += 1;
                let id = state.uploads;
                Answer::xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            ("PUT", Some(id)) => {
                let part = request.value("partNumber").unwrap().parse().unwrap();
                state.parts.insert((id, part), request.body.clone());
                Answer::new("200 OK", Vec::new())
            }
            ("POST", Some(id)) => {
                let whole =
                    state.parts.range((id, 0)..=(id, usize::MAX)).flat_map(|(_, part)| part);
                let whole = whole.copied().collect();
                state.parts.retain(|(of, _), _| *of != id);
                state.objects.insert(name.to_owned(), whole);
                Answer::xml(
                    "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>",
                )
            }
            ("DELETE", Some(id)) => {
                state.parts.retain(|(of, _), _| *of != id);
                Answer::new("204 No Content", Vec::new())
            }
            ("DELETE", None) => {
                state.objects.remove(name);
                Answer::new("204 No Content", Vec::new())
            }
            ("PUT", None) => {
                state.objects.insert(name.to_owned(), request.body.clone());
                Answer::new("200 OK", Vec::new())
            }
            _ if request.value("list-type").is_some() => state.list(request, name),
            _ => match state.objects.get(name) {
                Some(bytes) => {
                    let mut answer = Answer::new("200 OK", bytes.clone());
                    answer.chunked = name.starts_with("chunked/");
                    answer
                }
                None => Answer::error("404 Not Found", "NoSuchKey"),
            },
        }
    }
}

impl State {
    fn list(&self, request: &Request, bucket: &str) -> Answer {
        let bucket = format!("{}/", bucket.trim_end_matches('/'));
        if !self.objects.keys().any(|name| name.starts_with(&bucket)) {
            return Answer::error("404 Not Found", "NoSuchBucket");
        }
        let prefix = request.value("prefix").unwrap_or_default();
        let delimiter = request.value("delimiter");
        let after = request.value("continuation-token").unwrap_or_default();
        let keys = self.objects.keys().filter_map(|name| name.strip_prefix(&bucket));
        let mut keys = keys.filter(|key| key.starts_with(&prefix) && *key > after.as_str());
        let (mut text, mut folders, mut last) = (String::new(), BTreeSet::new(), "");
        for key in keys.by_ref().take(PAGE) {
            last = key;
            let folder = delimiter.as_ref().and_then(|delimiter| {
                let (folder, _) = key[prefix.len()..].split_once(delimiter)?;
                Some(format!("{prefix}{folder}{delimiter}"))
            });
            match folder {
                Some(folder) => drop(folders.insert(folder)),
                None => text.push_str(&format!(
                    "<Contents><Key>{key}</Key><Size>1</Size><ETag>\"x\"</ETag>\
                     <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                )),
            }
        }
        for folder in folders {
            text.push_str(&format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"));
        }
        if keys.next().is_some() {
            text.push_str(&format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"
            ));
        }
        Answer::xml(&format!("<ListBucketResult>{text}</ListBucketResult>"))
    }
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Option<Request> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            let mut pairs = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
            pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let mut body =
            vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let mut words = lines.first()?.split(' ');
        let method = words.next()?.to_owned();
        let (path, query) =
            words.next().map(|target| target.split_once('?').unwrap_or((target, "")))?;
        let authorization = header("authorization").unwrap_or_default();
        Some(Request { method, path: decoded(path), query: query.to_owned(), authorization, body })
    }

    fn value(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| decoded(value))
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8(dagrun_core::url::percent_decoded(text.as_bytes())).unwrap()
}

impl Answer {
    fn new(status: &'static str, body: Vec<u8>) -> Answer {
        let headers = "ETag: \"x\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n".to_owned();
        Answer { status, headers, body, chunked: false }
    }

    fn xml(text: &str) -> Answer {
        Answer::new("200 OK", text.into())
    }

    fn error(status: &'static str, code: &str) -> Answer {
        let text =
            format!("<Error><Code>{code}</Code><StringToSign>top-secret</StringToSign></Error>");
        Answer::new(status, text.into())
    }

    fn write(&self, mut stream: &TcpStream, head: bool) -> std::io::Result<()> {
        let mut out = format!("HTTP/1.1 {}\r\n{}", self.status, self.headers).into_bytes();
        let length = self.body.len();
        match self.chunked {
            true => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
            false => out.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes()),
        }
        match (head, self.chunked) {
            (true, _) => {}
            (false, false) => out.extend_from_slice(&self.body),
            (false, true) => {
                out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                out.extend_from_slice(&self.body);
                out.extend_from_slice(b"\r\n0\r\n\r\n");
            }
        }
        stream.write_all(&out)
    }
}
