//! Requests and answers. Owns redirects, so that the token goes to the hub and to nobody else, proxies and
//! certificates. Never knows what an answer means.

use std::io::Read;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ureq::http::{HeaderMap, Request, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use crate::error::{Error, Result};
use crate::hub::progress::Watch;
use crate::hub::settings::{HubSettings, Token};

/// Redirects of one request at most.
const HOPS: usize = 10;
/// How often a wait asks whether to go on.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of a file that are handed on at once.
const PIECE: usize = 256 << 10;
const AGENT: &str = concat!("p2p/", env!("CARGO_PKG_VERSION"));

#[derive(Clone)]
pub struct Wire {
    settings: HubSettings,
    roots: RootCerts,
}

/// An answer whose body is not read yet.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
    /// Who gave it, where that is not the hub.
    pub elsewhere: Option<String>,
}

/// A request that got no answer, or less than a whole one.
#[derive(Debug)]
pub enum Broken {
    /// Why, in the middle of a sentence.
    Line(String),
    Stopped(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    /// What another host would answer is not asked for.
    Head,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Wire {
    /// Errors: usage, where the environment names certificates or a token that cannot be used.
    pub fn new(settings: &HubSettings) -> Result<Self> {
        if let Some(token) = &settings.token {
            let plain = |c: char| c.is_ascii_graphic();
            if !token.secret().chars().all(plain) {
                return Err(Error::usage(
                    format!(
                        "the access token of {} has signs that no token has",
                        token.source
                    ),
                    "copy it again from the hub's settings; it begins with hf_",
                ));
            }
        }
        let address = settings.endpoint.parse::<Uri>().ok();
        let usable = |uri: &Uri| {
            uri.host().is_some()
                && ["http", "https"].contains(&uri.scheme_str().unwrap_or_default())
        };
        if !address.as_ref().is_some_and(usable) {
            return Err(Error::usage(
                format!("HF_ENDPOINT is no address: {}", settings.shown()),
                "write https://HOST, or unset it",
            ));
        }
        Ok(Self {
            settings: settings.clone(),
            roots: roots(settings)?,
        })
    }

    /// Waits for the answer; `watch` may end the wait.
    pub fn send(
        &self,
        method: Method,
        url: &str,
        from: u64,
        watch: &dyn Watch,
    ) -> std::result::Result<Answer, Broken> {
        let (wire, url) = (self.clone(), url.to_owned());
        let (sender, answers) = mpsc::channel();
        // A name may be looked up for long, and nothing ends that wait but leaving it.
        std::thread::spawn(move || {
            // Nobody may wait any more.
            let _ = sender.send(wire.follow(method, &url, from));
        });
        patiently(&answers, watch)?
            .ok_or_else(|| Broken::Line("the connection broke".to_owned()))?
            .map_err(Broken::Line)
    }

    fn follow(&self, method: Method, url: &str, from: u64) -> std::result::Result<Answer, String> {
        let mut uri: Uri = url
            .parse()
            .map_err(|_| "the hub's address is none".to_owned())?;
        let hub = origin(&uri);
        for _ in 0..HOPS {
            let at_hub = origin(&uri) == hub;
            let token = self.settings.token.as_ref().filter(|_| at_hub);
            let mut answer = self.once(method, &uri, from, token)?;
            answer.elsewhere = uri.host().filter(|_| !at_hub).map(str::to_owned);
            let to = answer.header("location");
            let Some(to) = to.filter(|_| (300..400).contains(&answer.status)) else {
                return Ok(answer);
            };
            let next = joined(&uri, to).ok_or("the hub redirects to what is no address")?;
            if method == Method::Head && origin(&next) != hub {
                return Ok(answer);
            }
            uri = next;
        }
        Err(format!("the hub redirects more than {HOPS} times"))
    }

    fn once(
        &self,
        method: Method,
        uri: &Uri,
        from: u64,
        token: Option<&Token>,
    ) -> std::result::Result<Answer, String> {
        let mut request = Request::builder().uri(uri).method(match method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        });
        if let Some(token) = token {
            let value = format!("Bearer {}", token.secret());
            request = request.header(header::AUTHORIZATION, value);
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let request = request.body(()).map_err(|e| e.to_string())?;
        let host = uri.host().unwrap_or_default();
        let (agent, by_proxy) = self.agent(uri)?;
        let by = if by_proxy { " by way of the proxy" } else { "" };
        let response = agent.run(request);
        let response = response.map_err(|e| format!("{host}{by}: {}", said(&e)))?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            elsewhere: None,
        })
    }

    /// And whether it goes by a proxy.
    fn agent(&self, uri: &Uri) -> std::result::Result<(Agent, bool), String> {
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host());
        let proxy = self
            .settings
            .proxies
            .on_the_way(scheme, host.unwrap_or_default());
        // The address of a proxy may hold a password.
        let proxy = proxy.map(Proxy::new).transpose();
        let proxy =
            proxy.map_err(|_| format!("the proxy for {scheme}:// has no usable address"))?;
        let by_proxy = proxy.is_some();
        let answer = Some(self.settings.answer_timeout);
        let config = Agent::config_builder()
            .proxy(proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(AGENT)
            // A part of a file must be a part of the file itself.
            .accept_encoding("identity")
            .timeout_resolve(answer)
            .timeout_connect(answer)
            .timeout_recv_response(answer)
            .timeout_per_read(Some(self.settings.read_timeout))
            .tls_config(TlsConfig::builder().root_certs(self.roots.clone()).build());
        Ok((config.build().into(), by_proxy))
    }
}

/// A body piece by piece; `watch` may end the wait for one.
///
/// Errors: of `take`, and where the connection breaks.
pub fn pieces(
    body: Body,
    watch: &dyn Watch,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> std::result::Result<(), Broken> {
    let (sender, received) = mpsc::sync_channel(4);
    std::thread::spawn(move || {
        let mut reader = body.into_reader();
        loop {
            let mut piece = vec![0; PIECE];
            let read = reader.read(&mut piece).map(|n| {
                piece.truncate(n);
                piece
            });
            let last = !matches!(&read, Ok(piece) if !piece.is_empty());
            // Nobody waits any more.
            if sender.send(read).is_err() || last {
                return;
            }
        }
    });
    loop {
        match patiently(&received, watch)? {
            None => return Err(Broken::Line("the connection broke".to_owned())),
            Some(Err(e)) => return Err(Broken::Line(format!("the connection broke: {e}"))),
            Some(Ok(piece)) if piece.is_empty() => return Ok(()),
            Some(Ok(piece)) => take(&piece)?,
        }
    }
}

/// The next message; `None` where none can come.
fn patiently<T>(messages: &mpsc::Receiver<T>, watch: &dyn Watch) -> Result<Option<T>> {
    loop {
        match messages.recv_timeout(TICK) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => watch.go_on()?,
        }
    }
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> (String, String, u16) {
    let scheme = uri.scheme_str().unwrap_or_default().to_lowercase();
    let usual = if scheme == "http" { 80 } else { 443 };
    let host = uri.host().unwrap_or_default().to_lowercase();
    (scheme, host, uri.port_u16().unwrap_or(usual))
}

/// Where a `Location` leads; the hub's are whole addresses or whole paths.
fn joined(from: &Uri, to: &str) -> Option<Uri> {
    let text = match to {
        to if to.starts_with("//") => format!("{}:{to}", from.scheme_str()?),
        to if to.starts_with('/') => format!("{}://{}{to}", from.scheme_str()?, from.authority()?),
        to => to.to_owned(),
    };
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?;
    ["http", "https"].contains(&scheme).then_some(uri)
}

fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        // Its text would name the proxy.
        ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => {
            "the proxy refused".to_owned()
        }
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
}

/// Certificates that are trusted: those of Mozilla's list, or of the file that the environment names.
fn roots(settings: &HubSettings) -> Result<RootCerts> {
    let Some(path) = &settings.certificates else {
        return Ok(RootCerts::WebPki);
    };
    let unusable = |why: String| {
        Error::usage(
            format!(
                "the certificates of {} cannot be used: {why}",
                path.display()
            ),
            "mend or unset SSL_CERT_FILE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE",
        )
    };
    let pem = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = items.collect();
    match certificates.is_empty() {
        true => Err(unusable("it has none in PEM form".to_owned())),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}
