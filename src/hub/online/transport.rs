//! HTTP requests and responses. Owns the connection pool of the process, redirects, proxies, certificates,
//! and that the access token is sent to the hub and to no other host. It must never know what a response
//! means.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ureq::http::{HeaderMap, Request, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::redirect::{UrlOrigin, resolve};
use crate::error::{Error, Result};
use crate::hub::progress::ProgressReporter;
use crate::hub::settings::{HubSettings, Token};

/// The most redirects that one request follows.
const MAX_REDIRECTS: usize = 10;
/// Bytes of a redirect's body that are read, so that its connection can serve the next request.
const MAX_REDIRECT_BODY: u64 = 64 << 10;
/// How often a wait checks for an interruption.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of a body that are passed on at once.
const CHUNK: usize = 256 << 10;
const USER_AGENT: &str = concat!("p2p/", env!("CARGO_PKG_VERSION"));

/// Sends requests with the settings of one connection to the hub.
#[derive(Clone)]
pub struct Transport {
    settings: HubSettings,
    tls: TlsConfig,
}

/// A response whose body is not read yet.
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
    /// The host that sent it, if that is not the hub.
    pub other_host: Option<String>,
}

/// Why a request got no response, or only a part of one.
#[derive(Debug)]
pub enum TransportError {
    /// The connection failed, for this reason. Another attempt may succeed.
    Connection(String),
    /// The user interrupted it, or the caller could not use the bytes.
    Stopped(Error),
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    /// Headers only. Redirects to other hosts are not followed: the hub's own response has the ETag.
    Head,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Transport {
    /// A transport that talks to the hub of these settings.
    ///
    /// # Errors
    /// A usage error if the environment names certificates, a token or an endpoint that cannot be used.
    pub fn new(settings: &HubSettings) -> Result<Self> {
        if let Some(token) = &settings.token {
            check_token(token)?;
        }
        let endpoint = settings.endpoint.parse::<Uri>().ok();
        let is_usable = |uri: &Uri| {
            uri.host().is_some()
                && ["http", "https"].contains(&uri.scheme_str().unwrap_or_default())
        };
        if !endpoint.as_ref().is_some_and(is_usable) {
            return Err(Error::usage(
                format!("HF_ENDPOINT is not a URL: {}", settings.shown()),
                "set it to https://HOST, or unset it",
            ));
        }
        let roots = root_certificates(settings)?;
        Ok(Self {
            settings: settings.clone(),
            tls: TlsConfig::builder().root_certs(roots).build(),
        })
    }

    /// Sends a request for the bytes from `start` on, and waits for the response.
    ///
    /// # Errors
    /// [`TransportError::Connection`] if no response arrives, [`TransportError::Stopped`] if `reporter`
    /// ends the wait.
    pub fn send(
        &self,
        method: Method,
        url: &str,
        start: u64,
        reporter: &dyn ProgressReporter,
    ) -> std::result::Result<Response, TransportError> {
        let (transport, url) = (self.clone(), url.to_owned());
        let (sender, responses) = mpsc::channel();
        // A name lookup can block for long and cannot be cancelled: an interruption leaves its thread behind.
        std::thread::spawn(move || {
            // An error means that the caller stopped waiting.
            let _ = sender.send(transport.follow_redirects(method, &url, start));
        });
        wait_for(&responses, reporter)?
            .ok_or_else(|| TransportError::Connection("the connection broke".to_owned()))?
            .map_err(TransportError::Connection)
    }

    fn follow_redirects(
        &self,
        method: Method,
        url: &str,
        start: u64,
    ) -> std::result::Result<Response, String> {
        let mut uri: Uri = url
            .parse()
            .map_err(|_| "the hub's address is not a URL".to_owned())?;
        let hub = UrlOrigin::of(&uri);
        for _ in 0..MAX_REDIRECTS {
            let is_hub = UrlOrigin::of(&uri) == hub;
            let token = self.settings.token.as_ref().filter(|_| is_hub);
            let mut response = self.send_once(method, &uri, start, token)?;
            response.other_host = uri.host().filter(|_| !is_hub).map(str::to_owned);
            let location = response.header("location");
            let Some(location) = location.filter(|_| (300..400).contains(&response.status)) else {
                return Ok(response);
            };
            let next = resolve(&uri, location).ok_or("the hub redirects to an invalid URL")?;
            if method == Method::Head && UrlOrigin::of(&next) != hub {
                return Ok(response);
            }
            // A connection goes back to the pool when its body is read. A failure only costs the reuse.
            let body = response.body.into_with_config();
            let _ = body.limit(MAX_REDIRECT_BODY).read_to_vec();
            uri = next;
        }
        Err(format!("the hub redirects more than {MAX_REDIRECTS} times"))
    }

    fn send_once(
        &self,
        method: Method,
        uri: &Uri,
        start: u64,
        token: Option<&Token>,
    ) -> std::result::Result<Response, String> {
        let mut request = Request::builder().uri(uri).method(match method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        });
        if let Some(token) = token {
            let value = format!("Bearer {}", token.secret());
            request = request.header(header::AUTHORIZATION, value);
        }
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let request = request.body(()).map_err(|e| e.to_string())?;
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host());
        let host = host.unwrap_or_default();
        let proxy = self.proxy(scheme, host)?;
        let through = if proxy.is_some() {
            " through the proxy"
        } else {
            ""
        };
        let timeout = Some(self.settings.answer_timeout);
        let agent = agent(&self.tls);
        let request = agent
            .configure_request(request)
            .proxy(proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(Some(self.settings.read_timeout))
            .tls_config(self.tls.clone())
            .build();
        let response = agent.run(request);
        let response = response.map_err(|e| format!("{host}{through}: {}", reason(&e)))?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            other_host: None,
        })
    }

    fn proxy(&self, scheme: &str, host: &str) -> std::result::Result<Option<Proxy>, String> {
        let proxy = self.settings.proxies.proxy_for(scheme, host);
        // The message leaves the address out: it can hold a password.
        let unusable = |_| format!("the address of the proxy for {scheme}:// is not a URL");
        proxy.map(Proxy::new).transpose().map_err(unusable)
    }
}

/// The agent of this process. It holds the pool of open connections, so that consecutive requests to a host
/// share one. Each request brings its own proxy and timeouts. A request with other certificates than
/// the first one's opens a connection of its own.
fn agent(tls: &TlsConfig) -> &'static Agent {
    static AGENT: OnceLock<Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let config = Agent::config_builder()
            .user_agent(USER_AGENT)
            // Byte ranges count bytes of the file itself, so it must not arrive compressed.
            .accept_encoding("identity")
            .tls_config(tls.clone());
        config.build().into()
    })
}

/// Passes a body to `take` chunk by chunk. `reporter` can end the wait for a chunk.
///
/// # Errors
/// Those of `take` and of `reporter`, and [`TransportError::Connection`] if the connection breaks.
pub fn read_chunks(
    body: Body,
    reporter: &dyn ProgressReporter,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> std::result::Result<(), TransportError> {
    let (sender, received) = mpsc::sync_channel(4);
    std::thread::spawn(move || {
        let mut reader = body.into_reader();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = reader.read(&mut chunk).map(|n| {
                chunk.truncate(n);
                chunk
            });
            let is_last = !matches!(&read, Ok(chunk) if !chunk.is_empty());
            // A send fails when the caller stopped waiting.
            if sender.send(read).is_err() || is_last {
                return;
            }
        }
    });
    let broken = |why: String| Err(TransportError::Connection(why));
    loop {
        match wait_for(&received, reporter)? {
            None => return broken("the connection broke".to_owned()),
            Some(Err(e)) => return broken(format!("the connection broke: {e}")),
            Some(Ok(chunk)) if chunk.is_empty() => return Ok(()),
            Some(Ok(chunk)) => take(&chunk)?,
        }
    }
}

/// The next message, or `None` if the sender is gone.
fn wait_for<T>(messages: &mpsc::Receiver<T>, reporter: &dyn ProgressReporter) -> Result<Option<T>> {
    loop {
        match messages.recv_timeout(TICK) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => reporter.check_interrupted()?,
        }
    }
}

fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        // The text of these errors would show the proxy's address.
        ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => {
            "the proxy refused".to_owned()
        }
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
}

/// Refuses a token that cannot stand in a header.
fn check_token(token: &Token) -> Result<()> {
    if token.secret().chars().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "the access token from {} contains characters that no token has",
            token.source
        ),
        "copy it again from your settings on the hub; it starts with hf_",
    ))
}

/// The certificates to trust: Mozilla's list, or the file that the environment names.
fn root_certificates(settings: &HubSettings) -> Result<RootCerts> {
    let Some(path) = &settings.certificates else {
        return Ok(RootCerts::WebPki);
    };
    let unusable = |why: String| {
        Error::usage(
            format!("cannot use the certificates in {}: {why}", path.display()),
            "correct or unset SSL_CERT_FILE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE",
        )
    };
    let pem = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = items.collect();
    if certificates.is_empty() {
        return Err(unusable("it has no certificate in PEM form".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
