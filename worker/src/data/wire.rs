//! The path of each request to the network and of each answer back.
//!
//! `object_store` puts URLs and whole answers into the text of its errors. The few parts of an
//! answer that may be shown are recorded here while it passes, for the error that a caller gets.

use std::cell::RefCell;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use futures::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};

/// The address where clouds provide credentials to their machines.
const METADATA_HOST: &str = "169.254.169.254";
/// Bytes of an answer that are searched for the code of an error.
const ANSWER: usize = 64 << 10;
/// Headers of a web server's answer that are of use; any other might be malformed.
const USEFUL: [&str; 4] = ["content-length", "content-range", "etag", "location"];

/// Why the last request of a transfer failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server answered with an error.
    Status {
        /// The status code.
        status: u16,
        /// What it means.
        meaning: &'static str,
        /// The code in the answer of an S3 server.
        code: Option<String>,
    },
    /// There was no answer, for this reason.
    Silence(String),
    /// There are no credentials in the environment, and no cloud has given any.
    NoCredentials,
}

tokio::task_local! {
    static TROUBLE: RefCell<Option<Trouble>>;
}

/// Does the work, and returns an error together with the trouble recorded for it.
pub(super) async fn listening<T>(
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, (object_store::Error, Option<Trouble>)> {
    let work = async {
        let result = work.await;
        result.map_err(|error| (error, TROUBLE.with(|trouble| trouble.borrow_mut().take())))
    };
    TROUBLE.scope(RefCell::new(None), work).await
}

fn note(trouble: Option<Trouble>) {
    // Outside of a transfer nothing is recorded.
    let _ = TROUBLE.try_with(|noted| *noted.borrow_mut() = trouble);
}

/// The last cause of an error: the system's words, without what led there.
pub(super) fn root(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Makes clients that record troubles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Wire { client, web: false, authorization: None }))
    }
}

/// Returns an existing client, for a web server.
#[derive(Clone, Debug)]
pub(super) struct Web {
    pub(super) client: HttpClient,
    /// Sent with every request.
    pub(super) authorization: Option<HeaderValue>,
}

impl HttpConnector for Web {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let (client, authorization) = (self.client.clone(), self.authorization.clone());
        Ok(HttpClient::new(Wire { client, web: true, authorization }))
    }
}

#[derive(Debug)]
struct Wire {
    client: HttpClient,
    web: bool,
    authorization: Option<HeaderValue>,
}

impl HttpService for Wire {
    fn call<'wire, 'call>(
        &'wire self,
        mut request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'wire: 'call,
        Self: 'call,
    {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert("authorization", authorization.clone());
        }
        Box::pin(async move {
            let metadata = request.uri().host() == Some(METADATA_HOST);
            let answer = self.client.execute(request).await;
            let trouble = match &answer {
                Ok(answer) if answer.status().is_success() => None,
                _ if metadata => Some(Trouble::NoCredentials),
                Ok(answer) => Some(Trouble::Status {
                    status: answer.status().as_u16(),
                    meaning: answer.status().canonical_reason().unwrap_or("an unknown status"),
                    code: None,
                }),
                Err(error) => Some(Trouble::Silence(silence(error))),
            };
            match trouble {
                None => {
                    note(None);
                    answer.map(|answer| if self.web { tidy(answer) } else { answer })
                }
                Some(Trouble::Status { status, meaning, .. }) => {
                    let (answer, code) = take_code(answer?).await;
                    note(Some(Trouble::Status { status, meaning, code }));
                    Ok(answer)
                }
                trouble => {
                    note(trouble);
                    answer
                }
            }
        })
    }
}

fn silence(error: &HttpError) -> String {
    match error.kind() {
        HttpErrorKind::Timeout => "no answer in time".to_owned(),
        _ => root(error),
    }
}

/// Web servers need not give the length of an answer, and some send malformed headers.
fn tidy(mut answer: HttpResponse) -> HttpResponse {
    let headers = answer.headers_mut();
    let others: Vec<_> =
        headers.keys().filter(|name| !USEFUL.contains(&name.as_str())).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    if !headers.contains_key("content-length") {
        headers.insert("content-length", HeaderValue::from_static("0"));
        // Without a length a broken transfer cannot be resumed.
        headers.remove("etag");
    }
    answer
}

/// The code of the error in an answer. The rest of its body is dropped.
async fn take_code(answer: HttpResponse) -> (HttpResponse, Option<String>) {
    let (parts, body) = answer.into_parts();
    let mut text = Vec::new();
    let mut stream = body.bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        text.extend_from_slice(&bytes);
        if text.len() > ANSWER {
            break;
        }
    }
    let code = code(&String::from_utf8_lossy(&text));
    let body = HttpResponseBody::from(code.clone().unwrap_or_default());
    (HttpResponse::from_parts(parts, body), code)
}

/// The content of `<Code>` in an S3 server's answer.
fn code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.len() <= 64;
    (plain && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_code_is_taken_from_an_answer() {
        let answer = "<Error><Code>NoSuchKey</Code><Resource>/b/k?sig=1</Resource></Error>";
        assert_eq!(code(answer).as_deref(), Some("NoSuchKey"));
        for other in ["", "<Code></Code>", "<Code>a b</Code>", "<Code>x", "<html>"] {
            assert_eq!(code(other), None);
        }
    }
}
