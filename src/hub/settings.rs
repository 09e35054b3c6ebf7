//! What the environment says about the hub: the variables of Python's `huggingface_hub`, with the same
//! meaning. Owns the access token, which must never be shown; it must never send a request.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cache::Cache;
use super::paths::HubPaths;
use crate::error::{Error, Result};
use crate::message;
use crate::setting::Setting;

/// The hub to ask if `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";
/// Python's default timeout.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the second attempt at a request. It doubles with each further attempt.
const PAUSE: Duration = Duration::from_millis(400);

/// Settings of the hub.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The hub's URL, without a slash at its end.
    pub endpoint: String,
    /// The cache and the token's file, if there is a home folder or a variable.
    pub paths: Option<HubPaths>,
    /// The access token.
    pub token: Option<Token>,
    /// The variable that forbids network access, if one is set.
    pub offline: Option<&'static str>,
    /// Time limit for a connection to be made, and then for the hub to answer.
    pub answer_timeout: Duration,
    /// Time limit for each read of a file's bytes.
    pub read_timeout: Duration,
    /// The wait before the second attempt at a request.
    pub pause: Duration,
    /// Proxies to send requests through.
    pub proxies: Proxies,
    /// A file of certificates to trust in place of the built-in ones.
    pub certificates: Option<PathBuf>,
}

/// An access token of the hub. Its text is visible only to the code that sends it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    /// Where the token was found.
    pub source: TokenSource,
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// An environment variable.
    Variable(&'static str),
    /// A file.
    File(PathBuf),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(from {})", self.source)
    }
}

impl Token {
    #[cfg(feature = "hub")]
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }
}

/// Proxies by the scheme of the requested URL.
#[derive(Clone, Default)]
pub struct Proxies {
    /// The proxy for `http://` URLs.
    pub http: Option<String>,
    /// The proxy for `https://` URLs.
    pub https: Option<String>,
    /// Hosts that are reached without a proxy.
    pub direct: Vec<String>,
}

impl fmt::Debug for Proxies {
    /// Addresses of proxies are left out: they can contain passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, https, .. } = self;
        write!(
            f,
            "Proxies(http {}, https {})",
            http.is_some(),
            https.is_some()
        )
    }
}

impl HubSettings {
    /// The settings of this process.
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// The settings of an environment. An empty variable counts as unset.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>, user_home: Option<PathBuf>) -> Self {
        let paths = HubPaths::new(&variable, user_home);
        let text = |name: &str| {
            let value = variable(name)?.to_string_lossy().trim().to_owned();
            Some(value).filter(|value| !value.is_empty())
        };
        let is_on = |name: &str| {
            let value = text(name).unwrap_or_default().to_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&&*value)
        };
        let seconds = |name: &str| {
            let seconds = text(name).and_then(|text| text.parse::<f64>().ok());
            let seconds = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            seconds.filter(|s| !s.is_zero()).unwrap_or(TIMEOUT)
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        let certificates = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
        let is_anonymous = is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: if is_anonymous {
                None
            } else {
                token(text, paths.as_ref())
            },
            paths,
            offline: offline.into_iter().find(|name| is_on(name)),
            answer_timeout: seconds("HF_HUB_ETAG_TIMEOUT"),
            read_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
            pause: PAUSE,
            proxies: Proxies::new(text),
            certificates: certificates.into_iter().find_map(text).map(PathBuf::from),
        }
    }

    /// The cache of models.
    ///
    /// # Errors
    /// A usage error if neither a variable nor a home folder says where the cache is.
    pub fn cache(&self) -> Result<Cache> {
        let paths = self.paths.as_ref().ok_or_else(|| {
            Error::usage(
                "there is no home folder for the cache of models",
                message![
                    "set HF_HOME, or give the path of a folder or a file in ",
                    Setting::Model
                ],
            )
            .about(Setting::Model)
        })?;
        Ok(Cache::new(&paths.cache))
    }

    /// The hub's URL for messages: without a user name and a password.
    pub fn shown(&self) -> String {
        match (
            self.endpoint.split_once("://"),
            self.endpoint.rsplit_once('@'),
        ) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            _ => self.endpoint.clone(),
        }
    }
}

fn token(text: impl Fn(&str) -> Option<String>, paths: Option<&HubPaths>) -> Option<Token> {
    const VARIABLES: [&str; 2] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
    let set = VARIABLES
        .into_iter()
        .find_map(|name| Some((name, text(name)?)));
    if let Some((name, secret)) = set {
        let source = TokenSource::Variable(name);
        return Some(Token { secret, source });
    }
    let path = &paths?.token;
    let secret = std::fs::read_to_string(path).ok()?.trim().to_owned();
    let source = TokenSource::File(path.clone());
    (!secret.is_empty()).then_some(Token { secret, source })
}

impl Proxies {
    /// The proxies that variables name, in lower case or in upper case.
    fn new(text: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| text(&name.to_lowercase()).or_else(|| text(name));
        let all = either("ALL_PROXY");
        let direct = either("NO_PROXY").unwrap_or_default();
        let entries = direct.split(',').map(|entry| entry.trim().to_lowercase());
        Self {
            http: either("HTTP_PROXY").or_else(|| all.clone()),
            https: either("HTTPS_PROXY").or(all),
            direct: entries.filter(|entry| !entry.is_empty()).collect(),
        }
    }

    /// The proxy for requests to a host. `scheme` is that of the requested URL.
    pub fn proxy_for(&self, scheme: &str, host: &str) -> Option<&str> {
        let host = host.to_lowercase();
        let is_direct = |entry: &String| {
            let entry = entry.split(':').next().unwrap_or_default();
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == domain || host.ends_with(&format!(".{domain}"))
        };
        if self.direct.iter().any(is_direct) {
            return None;
        }
        match scheme {
            "http" => self.http.as_deref(),
            _ => self.https.as_deref(),
        }
    }
}
