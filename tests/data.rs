//! Data at URLs, as functions read, write and list it.

#[path = "../worker/tests/common/bucket.rs"]
#[allow(dead_code, unreachable_pub)]
mod bucket;

use std::process::Command;

use bucket::Server;
use dagrun::data::{self, DataErrorKind};

/// Runs an ignored test of this program as a program of its own, with the server's environment:
/// credentials are read from there.
#[track_caller]
fn with_bucket(server: &Server, test: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args(["--ignored", "--exact", test, "--nocapture"])
        .envs(server.env())
        .env("SERVER", server.url())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
fn keys_are_listed_read_and_written() {
    let server = Server::start(&[("b/d/a.txt", "A"), ("b/d/b c.txt", "B")]);
    for name in ["b/d/e.csv", "b/d/.h.txt", "b/d/sub/x.txt", "b/f.txt", "b/d/100%.txt"] {
        server.put(name, b"-");
    }
    with_bucket(&server, "in_the_bucket");
    assert_eq!(server.get("b/out/new").unwrap(), b"written");
    let large = server.get("b/out/large").unwrap();
    assert_eq!(large.len(), 20 << 20);
    assert!(large.iter().zip(0u32..).all(|(byte, at)| *byte == (at >> 10) as u8));
    assert_eq!(server.loose_parts(), 0);
}

#[test]
#[ignore = "a part of keys_are_listed_read_and_written"]
fn in_the_bucket() {
    let list = |pattern: &str| data::list(pattern).unwrap();
    let all = ["s3://b/d/100%.txt", "s3://b/d/a.txt", "s3://b/d/b c.txt"];
    assert_eq!(list("s3://b/d/*.txt"), all);
    assert_eq!(list("s3://b/d/?.txt"), ["s3://b/d/a.txt"]);
    assert_eq!(list("s3://b/*"), ["s3://b/f.txt"]);
    assert_eq!(list("s3://b/*/[ab]*.txt"), all[1..]);
    assert_eq!(list("s3://b/**/x.txt"), ["s3://b/d/sub/x.txt"]);
    assert_eq!(list("s3://b/d/a.txt"), ["s3://b/d/a.txt"]);
    assert_eq!(list("s3://b/none/*"), [""; 0]);
    for url in all {
        assert!(!data::read(url).unwrap().is_empty(), "{url}");
    }
    assert_eq!(data::read("s3://b/d/b c.txt").unwrap(), "B");
    data::write("s3://b/out/new", "written").unwrap();
    let large: Vec<u8> = (0u32..20 << 20).map(|at| (at >> 10) as u8).collect();
    data::write("s3://b/out/large", large).unwrap();
    assert_eq!(data::read("s3://b/out/large").unwrap().len(), 20 << 20);
}

#[test]
fn refusals_have_a_reason_and_no_secrets() {
    let server = Server::start(&[("b/x", "x")]);
    with_bucket(&server, "refused");
}

#[test]
#[ignore = "a part of refusals_have_a_reason_and_no_secrets"]
fn refused() {
    let check = |url: &str, kind, reason: &str| {
        let error = data::read(url).unwrap_err();
        assert_eq!((error.kind(), error.reason()), (kind, reason), "{url}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    };
    let missing = "the server answered 404 Not Found (NoSuchKey)";
    check("s3://b/none", DataErrorKind::Missing, missing);
    let denied = "the server answered 403 Forbidden (AccessDenied)";
    check("s3://locked/x", DataErrorKind::Denied, denied);
    let credentials = "credentials belong into the environment (AWS_ACCESS_KEY_ID and so on)";
    check("s3://me:secret@b/x", DataErrorKind::Unsupported, credentials);
    let server = std::env::var("SERVER").unwrap();
    let signed = server.replace("http://", "http://me:secret@") + "/locked/x?signature=secret";
    check(&signed, DataErrorKind::Denied, denied);
    check("s3://b", DataErrorKind::Unsupported, "the URL names no key in the bucket");
    check("s3://b/a//b", DataErrorKind::Unsupported, "a key has no empty part, no `.` and no `..`");
    let error = data::list("s3://none/*").unwrap_err();
    assert_eq!(error.reason(), "the server answered 404 Not Found (NoSuchBucket)");
    assert_eq!(error.kind(), DataErrorKind::Missing);
}

#[test]
fn web_servers_of_all_sorts_are_read() {
    let server = Server::start(&[("web/a b.txt", "A"), ("chunked/x", "in pieces")]);
    for name in ["headless/x", "basic/x"] {
        server.put(name, b"X");
    }
    let url = |path: &str| format!("{}/{path}", server.url());
    assert_eq!(data::read(&url("web/a%20b.txt")).unwrap(), "A");
    assert_eq!(data::read(&url("web/a%20b.txt?signature=1&x=a%2Fb#part")).unwrap(), "A");
    assert!(server.requests().contains(&"GET /web/a b.txt?signature=1&x=a%2Fb".to_owned()));
    assert_eq!(data::read(&url("chunked/x")).unwrap(), "in pieces");
    let with_user = url("basic/x").replace("http://", "http://u:p@");
    assert_eq!(data::read(&with_user).unwrap(), "X");
    assert_eq!(data::read(&url("basic/x")).unwrap_err().kind(), DataErrorKind::Denied);
    for (path, there) in [("headless/x", true), ("headless/y", false), ("web/c", false)] {
        assert_eq!(dagrun_worker::data::exists(&url(path)), Ok(there), "{path}");
    }
    data::write(&url("web/new.txt"), "new").unwrap();
    assert_eq!(server.get("web/new.txt").unwrap(), b"new");
    assert_eq!(data::list(&url("web/*")).unwrap_err().kind(), DataErrorKind::Unsupported);
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    // Bound and never served: a port that refuses once it is closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = data::read(&format!("http://127.0.0.1:{port}/x?secret=1")).unwrap_err();
    assert_eq!(error.kind(), DataErrorKind::Unreachable);
    assert!(error.to_string().contains("onnection refused"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn paths_and_file_urls_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/a.txt").display().to_string();
    data::write(&format!("file://{path}"), "a").unwrap();
    assert_eq!(data::read(&path).unwrap(), "a");
    let pattern = format!("file://{}/*/*.txt", dir.path().display());
    assert_eq!(data::list(&pattern).unwrap(), [path]);
    let error = data::read(&format!("file://{}/b", dir.path().display())).unwrap_err();
    assert_eq!(error.kind(), DataErrorKind::Missing);
    let error = data::read("ftp://host/x").unwrap_err();
    assert_eq!(error.kind(), DataErrorKind::Unsupported);
    assert!(error.reason().contains("`s3://`"), "{error}");
}

#[tokio::test]
async fn futures_do_the_same_without_blocking() {
    let server = Server::start(&[("web/a", "A")]);
    let url = format!("{}/web/a", server.url());
    assert_eq!(data::read_async(&url).await.unwrap(), "A");
    data::write_async(&url, "B").await.unwrap();
    assert_eq!(server.get("web/a").unwrap(), b"B");
    // The blocking forms work inside of a runtime, too.
    assert_eq!(data::read(&url).unwrap(), "B");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a").display().to_string();
    data::write_async(&path, "a").await.unwrap();
    assert_eq!(data::list_async(&path).await.unwrap(), std::slice::from_ref(&path));
    assert_eq!(data::read_async(&path).await.unwrap(), "a");
}
