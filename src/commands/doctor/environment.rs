//! The environment variables that p2p reads: one list for `p2p doctor` and for the manual page. Owns which of
//! them are secret. It must never know how they are used.

use std::env;

use prompt_to_prompt::device::{DEVICE_VARIABLE, DTYPE_VARIABLE};
use serde::Serialize;

/// An environment variable and its purpose.
pub struct Variable {
    pub name: &'static str,
    pub purpose: &'static str,
    /// Whether the value is secret. Then only the fact that it is set is shown.
    secret: bool,
}

const fn variable(name: &'static str, purpose: &'static str) -> Variable {
    Variable {
        name,
        purpose,
        secret: false,
    }
}

/// All environment variables that p2p reads.
pub const VARIABLES: [Variable; 35] = [
    variable(
        "RAYON_NUM_THREADS",
        "Number of worker threads, unless --threads is given.",
    ),
    variable(
        "P2P_KERNELS",
        "Limits the instruction set of the CPU kernels, for tests: portable, avx2 or avx512.",
    ),
    variable(
        DEVICE_VARIABLE,
        "Device of UNet and VAE, unless --device is given: auto, cpu, cuda:0 or metal.",
    ),
    variable(
        DTYPE_VARIABLE,
        "Dtype of the UNet, unless --dtype is given: auto, f32, f16 or bf16.",
    ),
    variable(
        "P2P_METADATA",
        "If it is none, pictures are written without metadata, as with --no-metadata.",
    ),
    variable("NO_COLOR", "If it is set, output has no colours."),
    variable(
        "TERM",
        "Type of the terminal. It decides whether lines are redrawn and how --show prints pictures.",
    ),
    variable(
        "TERM_PROGRAM",
        "Name of the terminal. It decides how --show prints pictures.",
    ),
    variable("LC_TERMINAL", "Name of the terminal, passed on by ssh."),
    variable(
        "KONSOLE_VERSION",
        "Version of Konsole, if the terminal is one. It decides how --show prints pictures.",
    ),
    variable("COLORTERM", "Whether the terminal has 24-bit colours."),
    variable("LC_ALL", "Locale. Only p2p doctor reads it."),
    variable("LC_CTYPE", "Locale, unless LC_ALL is set."),
    variable("LANG", "Locale, unless LC_ALL or LC_CTYPE is set."),
    variable("HF_HOME", "Folder of all Hugging Face tools."),
    variable(
        "HF_HUB_CACHE",
        "Folder of downloaded models [default: hub in HF_HOME].",
    ),
    variable("HUGGINGFACE_HUB_CACHE", "Older name of HF_HUB_CACHE."),
    variable(
        "XDG_CACHE_HOME",
        "Parent of the folder huggingface, unless HF_HOME is set.",
    ),
    variable(
        "HF_TOKEN_PATH",
        "File of the access token [default: token in HF_HOME].",
    ),
    variable(
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "If it is 1, no token is sent, even if there is one.",
    ),
    Variable {
        name: "HF_ENDPOINT",
        purpose: "Address of the hub, for example of a mirror. It can contain a password.",
        secret: true,
    },
    variable(
        "HF_HUB_OFFLINE",
        "If it is 1, only the cache is used, as with --offline.",
    ),
    variable("TRANSFORMERS_OFFLINE", "Other name of HF_HUB_OFFLINE."),
    variable(
        "HF_HUB_ETAG_TIMEOUT",
        "Seconds to wait for an answer of the hub [default: 10].",
    ),
    variable(
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "Seconds to wait for the next part of a file [default: 10].",
    ),
    variable(
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "If it is 1, downloads show no progress bars.",
    ),
    Variable {
        name: "HF_TOKEN",
        purpose: "Access token. p2p doctor says only whether it is set.",
        secret: true,
    },
    Variable {
        name: "HUGGING_FACE_HUB_TOKEN",
        purpose: "Older name of HF_TOKEN.",
        secret: true,
    },
    Variable {
        name: "HTTPS_PROXY",
        purpose: "Proxy for https:// addresses. It can contain a password.",
        secret: true,
    },
    Variable {
        name: "HTTP_PROXY",
        purpose: "Proxy for http:// addresses.",
        secret: true,
    },
    Variable {
        name: "ALL_PROXY",
        purpose: "Proxy, unless HTTPS_PROXY or HTTP_PROXY is set.",
        secret: true,
    },
    variable("NO_PROXY", "Hosts that need no proxy."),
    variable(
        "SSL_CERT_FILE",
        "File of certificates to trust instead of the built-in ones.",
    ),
    variable(
        "REQUESTS_CA_BUNDLE",
        "Name of SSL_CERT_FILE in Python's requests.",
    ),
    variable("CURL_CA_BUNDLE", "Name of SSL_CERT_FILE in curl."),
];

/// A variable and its current value.
#[derive(Serialize)]
pub struct EnvironmentSetting {
    pub name: &'static str,
    pub set: bool,
    /// The value. `None` if the variable is not set, or is secret.
    pub value: Option<String>,
}

/// The current values of all variables.
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

/// The value of a variable. `None` if it is not set, or is empty.
pub fn value(name: &str) -> Option<String> {
    let value = env::var_os(name)?.to_string_lossy().into_owned();
    Some(value).filter(|value| !value.is_empty())
}
