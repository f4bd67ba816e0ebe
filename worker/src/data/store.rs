//! The operations on a URL, in terms of `object_store`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine;
use bytes::{Bytes, BytesMut};
use dagrun_core::url::{percent_decoded, scheme};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use glob::{MatchOptions, Pattern};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, HeaderValue, MultipartUpload, ObjectStore,
    ObjectStoreExt, RetryConfig,
};
use tokio::task::spawn_blocking;

use super::wire::{Connector, Trouble, Web, listening, root};
use super::{DataError, DataErrorKind};

/// Files longer than this go to S3 in parts of this size, in bytes, of which there may be 10,000;
/// the parts of larger files are larger.
const PART: u64 = 8 << 20;
const MAX_PARTS: u64 = 10_000;
/// This many parts are under way at once.
const PARTS_AT_ONCE: usize = 4;
/// Bytes that are written to a file at once.
const CHUNK: usize = 1 << 20;

const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take to begin, or pause. It includes sending a part, so it is not short.
const ANSWER: Duration = Duration::from_secs(120);

/// As in file systems: `*` does not match `/`, nor the dot of a hidden file.
const GLOB: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Requests are retried for some seconds after a broken connection or an answer that permits it.
fn retry() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 5, retry_timeout: Duration::from_secs(180) }
}

fn options() -> ClientOptions {
    // The first caller to install a provider of cryptography decides; it does not matter which.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(ANSWER)
}

/// An object at a URL.
struct Object {
    url: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    is_s3: bool,
}

impl Object {
    /// Opens no connection yet. `write`: it will be written.
    fn open(url: &str, write: bool) -> Result<Object, DataError> {
        let url = url.to_owned();
        if scheme(url.as_bytes()) != Some("s3") {
            let store = web(&url, write)?;
            return Ok(Object { url, store, path: Path::ROOT, is_s3: false });
        }
        let (bucket, key) = bucket_and_key(&url);
        let path = parse_key(&url, key)?;
        if path.is_root() {
            return Err(unsupported(&url, "the URL names no key in the bucket"));
        }
        Ok(Object { store: bucket_store(&url, bucket)?, path, is_s3: true, url })
    }

    fn explain<T>(
        &self,
        result: Result<T, (object_store::Error, Option<Trouble>)>,
    ) -> Result<T, DataError> {
        result.map_err(|(error, trouble)| explain(&self.url, &error, trouble))
    }
}

fn unsupported(url: &str, reason: impl Into<String>) -> DataError {
    DataError::new(url, DataErrorKind::Unsupported, reason)
}

fn bucket_and_key(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    rest.split_once('/').unwrap_or((rest, ""))
}

fn parse_key(url: &str, key: &str) -> Result<Path, DataError> {
    // The crate would drop the slash, and the result is a different key.
    if key.starts_with('/') || key.ends_with('/') {
        return Err(unsupported(url, "a key neither begins nor ends with `/`"));
    }
    Path::parse(key).map_err(|_| unsupported(url, "a key has no empty part, no `.` and no `..`"))
}

/// The store of a bucket, which keeps its connections and credentials.
fn bucket_store(url: &str, bucket: &str) -> Result<Arc<dyn ObjectStore>, DataError> {
    static BUCKETS: OnceLock<Mutex<HashMap<String, Arc<AmazonS3>>>> = OnceLock::new();
    if bucket.contains(['@', ':']) {
        let reason = "credentials belong into the environment (AWS_ACCESS_KEY_ID and so on)";
        return Err(unsupported(url, reason));
    }
    let mut buckets =
        BUCKETS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = buckets.get(bucket) {
        return Ok(store.clone());
    }
    let store = build_bucket(bucket).map_err(|error| unsupported(url, root(&error)))?;
    let store = Arc::new(store);
    buckets.insert(bucket.to_owned(), store.clone());
    Ok(store)
}

fn build_bucket(bucket: &str) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new().with_client_options(options());
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let key = name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse());
        if let Some(Ok(key)) = key {
            builder = builder.with_config(key, value);
        }
    }
    let keys = [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint];
    let mut endpoints = keys.iter().filter_map(|key| builder.get_config_value(key));
    if endpoints.any(|endpoint| endpoint.starts_with("http://")) {
        // An `http://` endpoint is deliberate.
        builder =
            builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    // One object at a time is removed here, and not every server supports bulk removal.
    let builder = builder.with_disable_bulk_delete(true).with_bucket_name(bucket);
    builder.with_retry(retry()).with_http_connector(Connector).build()
}

/// The one client for all web servers, so that connections are kept. Writing has a client of its
/// own, since its time for an answer includes the time for sending.
fn web_client(write: bool) -> object_store::Result<HttpClient> {
    static CLIENTS: [OnceLock<HttpClient>; 2] = [OnceLock::new(), OnceLock::new()];
    let known = &CLIENTS[usize::from(write)];
    if let Some(client) = known.get() {
        return Ok(client.clone());
    }
    let options = options().with_allow_http(true);
    let options = if write { options.with_read_timeout_disabled() } else { options };
    let client = object_store::client::ReqwestConnector::default().connect(&options)?;
    Ok(known.get_or_init(|| client).clone())
}

/// A store with a single object, at a URL of a web server.
fn web(url: &str, write: bool) -> Result<Arc<dyn ObjectStore>, DataError> {
    let malformed = |_| unsupported(url, "the URL is malformed");
    let mut parsed = reqwest::Url::parse(url).map_err(malformed)?;
    let authorization = match (parsed.username(), parsed.password()) {
        ("", None) => None,
        (user, password) => {
            let text = [user.as_bytes(), b":", password.unwrap_or_default().as_bytes()].concat();
            let code = base64::engine::general_purpose::STANDARD.encode(percent_decoded(&text));
            HeaderValue::from_str(&format!("Basic {code}")).ok()
        }
    };
    // The credentials are in the header; they must not be in any message.
    let _ = parsed.set_username("").and_then(|()| parsed.set_password(None));
    parsed.set_fragment(None);
    let client = web_client(write).map_err(|error| unsupported(url, root(&error)))?;
    let store = HttpBuilder::new()
        .with_url(parsed.as_str())
        .with_retry(retry())
        .with_http_connector(Web { client, authorization })
        .build()
        .map_err(|error| unsupported(url, root(&error)))?;
    Ok(Arc::new(store))
}

/// The error that a caller gets.
fn explain(url: &str, error: &object_store::Error, trouble: Option<Trouble>) -> DataError {
    let (kind, reason) = match trouble {
        Some(Trouble::Status { status, meaning, code }) => {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let kind = match status {
                404 | 410 => DataErrorKind::Missing,
                401 | 403 | 407 => DataErrorKind::Denied,
                _ => DataErrorKind::Refused,
            };
            (kind, format!("the server answered {status} {meaning}{code}"))
        }
        Some(Trouble::Silence(cause)) => {
            (DataErrorKind::Unreachable, format!("cannot reach the server: {cause}"))
        }
        Some(Trouble::NoCredentials) => {
            let reason = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                          AWS_SKIP_SIGNATURE=true for a public bucket";
            (DataErrorKind::Denied, reason.to_owned())
        }
        None => match error {
            object_store::Error::NotFound { .. } => {
                (DataErrorKind::Missing, "there is nothing".to_owned())
            }
            _ => (DataErrorKind::Unreachable, root(error)),
        },
    };
    DataError::new(url, kind, reason)
}

pub(super) async fn exists(url: String) -> Result<bool, DataError> {
    let object = Object::open(&url, false)?;
    let head = object.explain(listening(object.store.head(&object.path)).await);
    let head = match head {
        // Some servers do not support HEAD, and a signed URL is valid for GET only.
        Err(_) if !object.is_s3 => {
            object.explain(listening(object.store.get(&object.path)).await).map(drop)
        }
        head => head.map(drop),
    };
    match head {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == DataErrorKind::Missing => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn list(pattern: String) -> Result<Vec<String>, DataError> {
    if scheme(pattern.as_bytes()) != Some("s3") {
        let reason = "a web server lists nothing: patterns are for `s3://`, `file://` and paths";
        return Err(unsupported(&pattern, reason));
    }
    let (bucket, wanted) = bucket_and_key(&pattern);
    let wanted = Pattern::new(wanted)
        .map_err(|error| unsupported(&pattern, format!("malformed pattern: {}", error.msg)))?;
    let parts: Vec<_> = wanted.as_str().split('/').collect();
    let fixed = parts.iter().take_while(|part| !part.contains(['*', '?', '['])).count();
    let fixed = fixed.min(parts.len().saturating_sub(1));
    let prefix = parse_key(&pattern, &parts[..fixed].join("/"))?;
    let prefix = (!prefix.is_root()).then_some(prefix);
    let store = bucket_store(&pattern, bucket)?;
    let keys = async {
        // A single level is listed without the levels below it.
        if parts.len() == fixed + 1 && parts[fixed] != "**" {
            let found = store.list_with_delimiter(prefix.as_ref()).await?;
            return Ok(found.objects.into_iter().map(|object| object.location).collect());
        }
        let mut keys: Vec<Path> = Vec::new();
        let mut found = store.list(prefix.as_ref());
        while let Some(object) = found.next().await {
            keys.push(object?.location);
        }
        Ok(keys)
    };
    let keys =
        listening(keys).await.map_err(|(error, trouble)| explain(&pattern, &error, trouble))?;
    let matching = keys.iter().filter(|key| wanted.matches_with(key.as_ref(), GLOB));
    let mut urls: Vec<_> = matching.map(|key| format!("s3://{bucket}/{key}")).collect();
    urls.sort_unstable();
    urls.dedup();
    Ok(urls)
}

pub(super) async fn read(url: String) -> Result<Bytes, DataError> {
    let object = Object::open(&url, false)?;
    let bytes = async {
        let mut stream = object.store.get(&object.path).await?.into_stream();
        let mut all = BytesMut::new();
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all.freeze())
    };
    object.explain(listening(bytes).await)
}

pub(super) async fn download(url: String, mut file: File) -> Result<(), DataError> {
    let object = Object::open(&url, false)?;
    let answer = object.explain(listening(object.store.get(&object.path)).await)?;
    let mut stream = answer.into_stream();
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let bytes = object.explain(listening(async { stream.next().await.transpose() }).await)?;
        let last = bytes.is_none();
        chunk.extend_from_slice(&bytes.unwrap_or_default());
        if last || chunk.len() >= CHUNK {
            (file, chunk) = on_disk(&url, move || {
                file.write_all(&chunk)?;
                chunk.clear();
                Ok((file, chunk))
            })
            .await?;
        }
        if last {
            return Ok(());
        }
    }
}

pub(super) async fn write(url: String, bytes: Bytes) -> Result<(), DataError> {
    let object = Object::open(&url, true)?;
    let mut left = bytes;
    if !object.is_s3 || left.len() as u64 <= PART {
        return put(&object, left).await;
    }
    let part = part_size(left.len() as u64);
    in_parts(&object, async move |_| {
        let size = usize::try_from(part).unwrap_or(usize::MAX).min(left.len());
        Ok(left.split_to(size))
    })
    .await
}

pub(super) async fn upload(url: String, file: File) -> Result<(), DataError> {
    let object = Object::open(&url, true)?;
    let about = file.metadata().map_err(|error| local(&url, &error))?;
    if !about.is_file() {
        return Err(DataError::new(&url, DataErrorKind::File, "what was written is no file"));
    }
    let size = about.len();
    if !object.is_s3 || size <= PART {
        let (_, bytes) = read_part(&url, file, u64::MAX).await?;
        return put(&object, bytes).await;
    }
    let part = part_size(size);
    let mut file = Some(file);
    in_parts(&object, async move |url: &str| {
        let Some(open) = file.take() else { return Ok(Bytes::new()) };
        let (open, bytes) = read_part(url, open, part).await?;
        file = Some(open);
        Ok(bytes)
    })
    .await
}

pub(super) async fn remove(url: String) -> Result<(), DataError> {
    let object = Object::open(&url, true)?;
    match object.explain(listening(object.store.delete(&object.path)).await) {
        Err(error) if error.kind() != DataErrorKind::Missing => Err(error),
        _ => Ok(()),
    }
}

async fn put(object: &Object, bytes: Bytes) -> Result<(), DataError> {
    let put = object.store.put(&object.path, bytes.into());
    object.explain(listening(put).await).map(drop)
}

fn part_size(size: u64) -> u64 {
    size.div_ceil(MAX_PARTS).max(PART)
}

/// Sends parts, which `next` returns one after the other, with an empty one at the end. There is
/// nothing at the URL until all have arrived.
async fn in_parts(
    object: &Object,
    mut next: impl AsyncFnMut(&str) -> Result<Bytes, DataError>,
) -> Result<(), DataError> {
    let started = object.explain(listening(object.store.put_multipart(&object.path)).await)?;
    let mut upload = Upload(Some(started));
    let mut sent = FuturesUnordered::new();
    loop {
        let bytes = next(&object.url).await?;
        let Some(started) = upload.0.as_mut().filter(|_| !bytes.is_empty()) else { break };
        sent.push(listening(started.put_part(bytes.into())));
        if sent.len() >= PARTS_AT_ONCE
            && let Some(part) = sent.next().await
        {
            object.explain(part)?;
        }
    }
    while let Some(part) = sent.next().await {
        object.explain(part)?;
    }
    if let Some(started) = upload.0.as_mut() {
        object.explain(listening(started.complete()).await)?;
    }
    upload.0 = None;
    Ok(())
}

/// An upload in parts that is not complete: when it is dropped, it is aborted at the server.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Drop for Upload {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), runtime) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}

fn local(url: &str, error: &std::io::Error) -> DataError {
    DataError::new(url, DataErrorKind::File, error.to_string())
}

/// Does work on files, outside the thread of the transfers.
async fn on_disk<T: Send + 'static>(
    url: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, DataError> {
    let done = spawn_blocking(work).await.map_err(std::io::Error::other);
    done.flatten().map_err(|error| local(url, &error))
}

/// The next `most` bytes of a file.
async fn read_part(url: &str, mut file: File, most: u64) -> Result<(File, Bytes), DataError> {
    on_disk(url, move || {
        let mut bytes = Vec::new();
        (&mut file).take(most).read_to_end(&mut bytes)?;
        Ok((file, Bytes::from(bytes)))
    })
    .await
}
