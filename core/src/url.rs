//! URLs in place of paths: which are supported, what they mean, and how they are shown.
//!
//! A `file://` URL is another way to write an absolute path and becomes that path as soon as it is
//! read. `s3://`, `http://` and `https://` URLs are *remote*: they remain unchanged, from the
//! pipeline file to the worker that opens them. The text of an S3 URL behind the bucket is the key,
//! byte for byte; in the other URLs, `%20` and similar sequences represent bytes.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The beginnings of the URLs that are understood, for messages.
const KNOWN: &str = "`file://`, `s3://`, `http://` and `https://`";

/// The location of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    /// At a path, absolute or not; that of a `file://` URL is absolute.
    Path(Cow<'a, [u8]>),
    /// At an `s3://`, `http://` or `https://` URL.
    Remote(&'a str),
}

/// Why something that looks like a URL is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// An unknown scheme.
    #[error("`{0}://` is not supported: use {KNOWN}")]
    Scheme(String),
    /// `file://host/path`.
    #[error("a `file://` URL is followed by an absolute path: `file:///data/x.csv`")]
    Host,
    /// A remote URL without a bucket or host.
    #[error("the URL names no {0}")]
    Incomplete(&'static str),
    /// A remote URL that is not UTF-8.
    #[error("the URL is not UTF-8 text")]
    Text,
}

impl<'a> Location<'a> {
    /// Where `text` points to. What does not begin with a scheme and `://` is a path.
    ///
    /// # Errors
    /// When it is a URL of another scheme, or lacks its bucket or host.
    pub fn of(text: &'a [u8]) -> Result<Location<'a>, UrlError> {
        let Some(scheme) = scheme(text) else { return Ok(Location::Path(Cow::Borrowed(text))) };
        let rest = &text[scheme.len() + 3..];
        match scheme {
            "file" => file_path(rest).map(|path| Location::Path(Cow::Owned(path))),
            "s3" | "http" | "https" => {
                let place = rest.split(|byte| b"/?#".contains(byte)).next().unwrap_or_default();
                if place.is_empty() {
                    let what = if scheme == "s3" { "bucket" } else { "host" };
                    return Err(UrlError::Incomplete(what));
                }
                std::str::from_utf8(text).map(Location::Remote).map_err(|_| UrlError::Text)
            }
            other => Err(UrlError::Scheme(other.to_owned())),
        }
    }
}

/// The URL that a path is, when it is a remote one: how rendered paths hold URLs.
#[must_use]
pub fn remote(path: &Path) -> Option<&str> {
    match Location::of(path.as_os_str().as_bytes()) {
        Ok(Location::Remote(url)) => Some(url),
        _ => None,
    }
}

/// The text before `://`, if it can be the scheme of a URL.
#[must_use]
pub fn scheme(text: &[u8]) -> Option<&str> {
    let end = text.windows(3).position(|window| window == b"://")?;
    let scheme = &text[..end];
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(inner);
    is_scheme.then(|| std::str::from_utf8(scheme).ok()).flatten()
}

/// The text without what may be secret: of a URL the user, the password and the query.
///
/// Texts that are not URLs are unchanged.
#[must_use]
pub fn redacted(text: &str) -> Cow<'_, str> {
    let Some(scheme) = scheme(text.as_bytes()) else { return Cow::Borrowed(text) };
    let (head, rest) = text.split_at(scheme.len() + 3);
    // A key of S3 has no query: it may hold any character.
    let query = rest.find(['?', '#']).filter(|_| scheme != "s3");
    let (rest, hidden) = query.map_or((rest, false), |at| (&rest[..at], true));
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = place.rsplit_once('@').map(|(_, host)| host);
    if host.is_none() && !hidden {
        return Cow::Borrowed(text);
    }
    let user = if host.is_some() { "***@" } else { "" };
    let query = if hidden { "?***" } else { "" };
    Cow::Owned(format!("{head}{user}{}{path}{query}", host.unwrap_or(place)))
}

/// The part of a text that slashes divide into components: a path itself, a URL without its query.
pub(crate) fn path_part(text: &[u8]) -> &Path {
    let end = match scheme(text) {
        Some("http" | "https") => text.iter().position(|byte| b"?#".contains(byte)),
        _ => None,
    };
    Path::new(OsStr::from_bytes(&text[..end.unwrap_or(text.len())]))
}

/// Bytes with `%20` and similar sequences decoded; a `%` without two hexadecimal digits after it is
/// kept.
#[must_use]
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%');
        let byte = digits.and_then(|digits| {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        });
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    out
}

/// The path of a `file://` URL, of which `rest` is what follows the scheme.
fn file_path(rest: &[u8]) -> Result<Vec<u8>, UrlError> {
    let path = rest.strip_prefix(b"localhost").unwrap_or(rest);
    if !path.starts_with(b"/") {
        return Err(UrlError::Host);
    }
    Ok(percent_decoded(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_a_path() {
        for path in ["a.txt", "/a/b", "s3:/b/k", "1s3://b/k", "a b://c", "://x", ""] {
            let expected = Location::Path(Cow::Borrowed(path.as_bytes()));
            assert_eq!(Location::of(path.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn file_urls_are_absolute_paths() {
        for (url, path) in [
            ("file:///a/b.txt", "/a/b.txt"),
            ("file://localhost/a", "/a"),
            ("file:///a%20b/100%/%zz", "/a b/100%/%zz"),
        ] {
            let expected = Location::Path(Cow::Owned(path.as_bytes().to_vec()));
            assert_eq!(Location::of(url.as_bytes()), Ok(expected), "{url}");
        }
        assert_eq!(Location::of(b"file://host/a"), Err(UrlError::Host));
        assert_eq!(Location::of(b"file://a.txt"), Err(UrlError::Host));
    }

    #[test]
    fn remote_urls_name_a_bucket_or_a_host() {
        for url in ["s3://b/k", "http://h", "https://h/x?y"] {
            assert_eq!(Location::of(url.as_bytes()), Ok(Location::Remote(url)));
            assert_eq!(remote(Path::new(url)), Some(url));
        }
        assert_eq!(Location::of(b"s3:///k"), Err(UrlError::Incomplete("bucket")));
        assert_eq!(Location::of(b"https://?x"), Err(UrlError::Incomplete("host")));
        assert_eq!(Location::of(b"s3://b/\xff"), Err(UrlError::Text));
        let error = Location::of(b"ftp://h/x").unwrap_err().to_string();
        for scheme in ["`ftp://`", "`file://`", "`s3://`", "`http://`", "`https://`"] {
            assert!(error.contains(scheme), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("https://h/x", "https://h/x"),
            ("https://u:p@h/x", "https://***@h/x"),
            ("https://h/x?X-Amz-Signature=abc&y=1", "https://h/x?***"),
            ("http://u:p@ss@h?a=b/c@d#e", "http://***@h?***"),
            ("https://h/x#token", "https://h/x?***"),
            ("s3://b/wh@t?.txt", "s3://b/wh@t?.txt"),
            ("s3://u:p@b/k", "s3://***@b/k"),
            ("ftp://u:p@h/x", "ftp://***@h/x"),
            ("a?b@c", "a?b@c"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
