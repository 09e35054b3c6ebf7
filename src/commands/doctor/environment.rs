//! The environment variables that p2p reads, one list for `p2p doctor` and the manual page. Owns which of
//! them are secrets.

use std::env;

use prompt_to_prompt::device::{DEVICE_VARIABLE, DTYPE_VARIABLE};
use serde::Serialize;

/// A variable, and what it is for.
pub struct Variable {
    pub name: &'static str,
    pub purpose: &'static str,
    /// Never shown, only whether it is set.
    secret: bool,
}

const fn variable(name: &'static str, purpose: &'static str) -> Variable {
    Variable {
        name,
        purpose,
        secret: false,
    }
}

pub const VARIABLES: [Variable; 35] = [
    variable(
        "RAYON_NUM_THREADS",
        "Worker threads, where --threads is not given.",
    ),
    variable(
        "P2P_KERNELS",
        "Lowers the kernels' instruction set, for tests: portable, avx2 or avx512.",
    ),
    variable(
        DEVICE_VARIABLE,
        "The device of UNet and VAE, where --device is not given: auto, cpu, cuda:0, metal.",
    ),
    variable(
        DTYPE_VARIABLE,
        "The numbers of the UNet, where --dtype is not given: auto, f32, f16, bf16.",
    ),
    variable(
        "P2P_METADATA",
        "none leaves the pictures' metadata out, as --no-metadata does.",
    ),
    variable("NO_COLOR", "No colours, if set to anything."),
    variable(
        "TERM",
        "The terminal's kind: whether lines may be redrawn, which pictures --show may draw.",
    ),
    variable(
        "TERM_PROGRAM",
        "The terminal's name: which pictures --show may draw.",
    ),
    variable(
        "LC_TERMINAL",
        "The terminal's name, where ssh passes it on.",
    ),
    variable(
        "KONSOLE_VERSION",
        "Whether the terminal is a Konsole that draws pictures.",
    ),
    variable("COLORTERM", "Whether half-blocks may have 24-bit colours."),
    variable("LC_ALL", "The locale, looked at by p2p doctor only."),
    variable("LC_CTYPE", "The locale, where LC_ALL is not set."),
    variable("LANG", "The locale, where neither is set."),
    variable("HF_HOME", "Where Hugging Face's tools keep everything."),
    variable(
        "HF_HUB_CACHE",
        "Where they keep models, else hub in HF_HOME.",
    ),
    variable("HUGGINGFACE_HUB_CACHE", "The older name of HF_HUB_CACHE."),
    variable(
        "XDG_CACHE_HOME",
        "The folder of huggingface, where HF_HOME is not set.",
    ),
    variable(
        "HF_TOKEN_PATH",
        "The file of the access token, else token in HF_HOME.",
    ),
    variable(
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "Whether no token is sent, though there is one.",
    ),
    Variable {
        name: "HF_ENDPOINT",
        purpose: "The hub's address, such as that of a mirror; it may hold a password.",
        secret: true,
    },
    variable(
        "HF_HUB_OFFLINE",
        "Whether only the cache is used, as under --offline.",
    ),
    variable("TRANSFORMERS_OFFLINE", "The same, under another name."),
    variable(
        "HF_HUB_ETAG_TIMEOUT",
        "Seconds until the hub must answer, else 10.",
    ),
    variable(
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "Seconds between two pieces of a file at most, else 10.",
    ),
    variable(
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "Whether downloads show no bars.",
    ),
    Variable {
        name: "HF_TOKEN",
        purpose: "The access token itself; p2p doctor says only whether it is set.",
        secret: true,
    },
    Variable {
        name: "HUGGING_FACE_HUB_TOKEN",
        purpose: "The older name of HF_TOKEN.",
        secret: true,
    },
    Variable {
        name: "HTTPS_PROXY",
        purpose: "The proxy on the way to https:// addresses; it may hold a password.",
        secret: true,
    },
    Variable {
        name: "HTTP_PROXY",
        purpose: "The proxy on the way to http:// addresses.",
        secret: true,
    },
    Variable {
        name: "ALL_PROXY",
        purpose: "The proxy where neither is set.",
        secret: true,
    },
    variable("NO_PROXY", "Hosts that are reached without a proxy."),
    variable(
        "SSL_CERT_FILE",
        "Certificates to trust instead of the built-in ones.",
    ),
    variable(
        "REQUESTS_CA_BUNDLE",
        "The same, as Python's requests call it.",
    ),
    variable("CURL_CA_BUNDLE", "The same, as curl calls it."),
];

/// What a variable is set to.
#[derive(Serialize)]
pub struct EnvironmentSetting {
    pub name: &'static str,
    pub set: bool,
    /// `None` where it is not set, or a secret.
    pub value: Option<String>,
}

/// All of them as they are.
pub fn settings() -> Vec<EnvironmentSetting> {
    let setting = |variable: &Variable| {
        let value = env::var_os(variable.name);
        let shown = value.as_ref().filter(|_| !variable.secret);
        EnvironmentSetting {
            name: variable.name,
            set: value.is_some(),
            value: shown.map(|value| value.to_string_lossy().into_owned()),
        }
    };
    VARIABLES.iter().map(setting).collect()
}

/// The value of a variable, if it is set to something.
pub fn value(name: &str) -> Option<String> {
    let value = env::var_os(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}
