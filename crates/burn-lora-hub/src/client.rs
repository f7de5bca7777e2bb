//! Requests: redirects followed, the token kept to the hub, refusals turned into errors.

use std::io::Read;
use std::time::Duration;

use ureq::http::header::{ETAG, LOCATION};
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::{Agent, Body};

use crate::url::{Origin, endpoint_without_secrets, hidden, join, shown};
use crate::{HubError, HubId, HubOptions};

/// The entity tag of what a redirect leads to, which the hub adds for files in large-file storage.
pub(crate) const LINKED_ETAG: &str = "x-linked-etag";

/// How often a request of a file is made again after failures in a row.
pub(crate) const RETRIES: u32 = 5;

const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Speaks HTTP with one hub, and with the servers it redirects to.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    /// As it is asked, which may be with a user and a password.
    endpoint: Secret,
    /// As errors name it.
    named: String,
    origin: Origin,
    token: Option<Secret>,
    pause: Duration,
}

/// A header's value, an address. Its own type, so that it is never shown.
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Client {
    pub(crate) fn new(options: &HubOptions) -> Result<Self, HubError> {
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        let named = hidden(&endpoint_without_secrets(&endpoint), options.token.as_deref());
        let bad = |problem| HubError::BadEndpoint { endpoint: named.clone(), problem };
        let url: Uri = endpoint.parse().map_err(|_| bad("it is no URL"))?;
        let origin = Origin::of(&url).ok_or_else(|| bad("it is no http:// or https:// URL"))?;
        if url.query().is_some() {
            return Err(bad("it has a query"));
        }
        let token = match &options.token {
            Some(token) if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) => {
                return Err(HubError::BadToken);
            }
            token => token.as_ref().map(|token| Secret(format!("Bearer {token}"))),
        };
        // Redirects are followed here, where the token can be taken off. A compressed answer has another
        // length, and cannot be resumed.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(concat!("burn-lora/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        let endpoint = Secret(endpoint);
        Ok(Self { agent, endpoint, named, origin, token, pause: options.pause })
    }

    /// Asks for what is at a path of the hub, from byte `from` on, following redirects wherever they lead.
    pub(crate) fn get(&self, path: &str, from: Option<u64>) -> Result<Answer, HubError> {
        self.follow(Method::GET, path, from)
    }

    /// Asks for the headers alone. A redirect to another server is the answer itself if it tells the
    /// file's entity tag, because that server's headers are not the hub's.
    pub(crate) fn head(&self, path: &str) -> Result<Answer, HubError> {
        self.follow(Method::HEAD, path, None)
    }

    fn follow(&self, method: Method, path: &str, from: Option<u64>) -> Result<Answer, HubError> {
        let Secret(endpoint) = &self.endpoint;
        let named = || format!("{}{path}", self.named);
        let mut url: Uri = format!("{endpoint}{path}").parse().map_err(|_| HubError::Protocol {
            url: named(),
            problem: "the address is no URL".to_owned(),
        })?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(&method, url, from)?;
            if !answer.response.status().is_redirection() {
                return Ok(answer);
            }
            let lost = |problem: &str| HubError::Protocol {
                url: shown(&answer.url),
                problem: problem.to_owned(),
            };
            let location =
                answer.header(LOCATION.as_str()).ok_or_else(|| lost("a redirect to nowhere"))?;
            let target = join(&answer.url, location).ok_or_else(|| lost("a redirect to no URL"))?;
            let [here, there] = [Origin::of(&answer.url), Origin::of(&target)];
            let there = there.ok_or_else(|| lost("a redirect to no http:// or https:// URL"))?;
            if here.as_ref().is_some_and(Origin::is_https) && !there.is_https() {
                return Err(lost("a redirect from https:// to http://"));
            }
            if method == Method::HEAD && here.as_ref() != Some(&there) && answer.etag().is_some() {
                return Ok(answer);
            }
            url = target;
        }
        Err(HubError::Protocol {
            url: named(),
            problem: format!("more than {MAX_REDIRECTS} redirects"),
        })
    }

    fn send(&self, method: &Method, url: Uri, from: Option<u64>) -> Result<Answer, HubError> {
        let origin = Origin::of(&url);
        let from_hub = origin.as_ref() == Some(&self.origin);
        let mut request = Request::builder().method(method).uri(url.clone());
        if let (Some(Secret(bearer)), true) = (&self.token, from_hub) {
            request = request.header("Authorization", bearer);
        }
        if let Some(from) = from.filter(|from| *from > 0) {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let sent = match request.body(()) {
            Ok(request) => self.agent.run(request),
            Err(error) => Err(error.into()),
        };
        let response = sent.map_err(|error| HubError::Unreachable {
            endpoint: origin.map_or_else(|| shown(&url), |origin| origin.to_string()),
            source: Box::new(error),
        })?;
        Ok(Answer { url, from_hub, response })
    }

    /// Passes an answer with success or a `HEAD`'s redirect on; a refusal becomes the error that says
    /// what it means for this model, or for this file of it.
    pub(crate) fn check(
        &self,
        answer: Answer,
        id: &HubId,
        file: Option<&str>,
    ) -> Result<Answer, HubError> {
        let status = answer.status();
        if status < 400 {
            return Ok(answer);
        }
        let said = |name| answer.header(name).unwrap_or_default();
        let (code, reason) = (said("x-error-code"), said("x-error-message").to_owned());
        let (id, endpoint) = (id.clone(), self.named.clone());
        let with_token = self.token.is_some();
        if !answer.from_hub {
            return Err(HubError::Status { url: shown(&answer.url), status, reason });
        }
        // Without a token, the hub answers 401 for a model that does not exist, too.
        Err(match (status, code) {
            (_, "RevisionNotFound") => HubError::RevisionNotFound { id },
            (_, "GatedRepo") => HubError::Gated { id, endpoint, with_token },
            (_, "RepoNotFound") => HubError::NotFound { id, endpoint, with_token },
            (404, _) => match file {
                Some(file) => HubError::FileNotFound { id, file: file.to_owned() },
                None => HubError::NotFound { id, endpoint, with_token },
            },
            (401 | 403, _) => HubError::Unauthorised { id, endpoint, status, reason, with_token },
            _ => HubError::Status { url: shown(&answer.url), status, reason },
        })
    }

    /// An error without the token, which a server may have sent back in whatever it says.
    pub(crate) fn hiding_token(&self, error: HubError) -> HubError {
        let token = self.token.as_ref().and_then(|Secret(bearer)| bearer.strip_prefix("Bearer "));
        error.with_texts(|text| hidden(text, token))
    }

    /// Makes a request again, after a while, as long as what fails may pass.
    pub(crate) fn patiently<T>(
        &self,
        mut request: impl FnMut() -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            match request() {
                Err(error) if error.is_transient() && failures < RETRIES => {
                    failures += 1;
                    self.wait(failures);
                }
                result => return result,
            }
        }
    }

    /// Waits before the attempt that follows so many failures in a row.
    pub(crate) fn wait(&self, failures: u32) {
        let doublings = failures.saturating_sub(1).min(RETRIES);
        std::thread::sleep(self.pause.saturating_mul(1 << doublings));
    }
}

/// What a server answered, with its body yet to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What was asked for in the end.
    pub(crate) url: Uri,
    from_hub: bool,
    response: Response<Body>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn is_redirect(&self) -> bool {
        self.response.status().is_redirection()
    }

    /// A header's value, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers: &HeaderMap = self.response.headers();
        headers.get(name)?.to_str().ok()
    }

    /// The entity tag of the file in the repository.
    pub(crate) fn etag(&self) -> Option<&str> {
        self.header(LINKED_ETAG).or_else(|| self.header(ETAG.as_str()))
    }

    /// The body as it comes.
    pub(crate) fn into_reader(self) -> impl Read {
        self.response.into_body().into_reader()
    }

    /// The whole body, if it has no more than `limit` bytes.
    pub(crate) fn read_all(self, limit: u64) -> Result<Vec<u8>, HubError> {
        let url = shown(&self.url);
        let mut bytes = Vec::new();
        let read = self.into_reader().take(limit + 1).read_to_end(&mut bytes);
        let problem = match read {
            Ok(length) if length as u64 <= limit => return Ok(bytes),
            Ok(_) => format!("the answer is longer than {limit} bytes"),
            Err(error) => format!("the answer was cut off: {error}"),
        };
        Err(HubError::Protocol { url, problem })
    }
}
