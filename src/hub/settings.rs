//! What the environment says about the hub: Python's variables with Python's meaning. Owns the token,
//! which is never shown.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cache::Cache;
use super::paths::HubPaths;
use crate::error::{Error, Result};

/// The hub that is asked where none is named.
const ENDPOINT: &str = "https://huggingface.co";
/// Seconds, as in Python.
const TIMEOUT: u64 = 10;
/// After which a try is followed by another, doubled each time.
const PAUSE: Duration = Duration::from_millis(400);

#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Without a slash at its end.
    pub endpoint: String,
    pub paths: Option<HubPaths>,
    pub token: Option<Token>,
    /// The variable that keeps us from the network.
    pub offline: Option<&'static str>,
    /// Until a connection stands and the hub answers.
    pub answer_timeout: Duration,
    /// Between two pieces of a file.
    pub read_timeout: Duration,
    /// Before a second try.
    pub pause: Duration,
    pub proxies: Proxies,
    /// A file of certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
}

/// The access token. Only whoever sends it sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    pub source: TokenSource,
}

/// Where a token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    Variable(&'static str),
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

/// Proxies by the scheme of what is asked for.
#[derive(Clone, Default)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// Hosts that are reached without one.
    pub direct: Vec<String>,
}

impl fmt::Debug for Proxies {
    /// Their addresses may hold passwords.
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
    /// Those of this process.
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// Those of an environment. A variable that is empty counts as not set.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>, user_home: Option<PathBuf>) -> Self {
        let paths = HubPaths::new(&variable, user_home);
        let text = |name: &str| {
            let value = variable(name)?.to_string_lossy().trim().to_owned();
            Some(value).filter(|value| !value.is_empty())
        };
        let on = |name: &str| {
            let value = text(name).unwrap_or_default().to_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&&*value)
        };
        let seconds = |name: &str| {
            let seconds = text(name).and_then(|text| text.parse::<f64>().ok());
            let seconds = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            let asked = seconds.filter(|seconds| !seconds.is_zero());
            asked.unwrap_or(Duration::from_secs(TIMEOUT))
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        let certificates = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: match on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
                true => None,
                false => token(text, paths.as_ref()),
            },
            paths,
            offline: offline.into_iter().find(|name| on(name)),
            answer_timeout: seconds("HF_HUB_ETAG_TIMEOUT"),
            read_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
            pause: PAUSE,
            proxies: Proxies::new(text),
            certificates: certificates.into_iter().find_map(text).map(PathBuf::from),
        }
    }

    /// Errors: usage, where nothing says where the cache is.
    pub fn cache(&self) -> Result<Cache> {
        let paths = self.paths.as_ref().ok_or_else(|| {
            Error::usage(
                "there is no home folder to keep models in",
                "set HF_HOME, or give a folder or a file with --model PATH",
            )
        })?;
        Ok(Cache::new(&paths.cache))
    }

    /// The hub's address for people: without a password that may stand in it.
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
    /// In either case of letters.
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

    /// The proxy on the way to a host.
    pub fn on_the_way(&self, scheme: &str, host: &str) -> Option<&str> {
        let host = host.to_lowercase();
        let direct = |entry: &String| {
            let entry = entry.split(':').next().unwrap_or_default();
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == domain || host.ends_with(&format!(".{domain}"))
        };
        if self.direct.iter().any(direct) {
            return None;
        }
        match scheme {
            "http" => self.http.as_deref(),
            _ => self.https.as_deref(),
        }
    }
}
