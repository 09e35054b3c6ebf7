//! Where Hugging Face's tools keep models and the access token on this machine, by the rules of Python's
//! `huggingface_hub`. Owns paths; it must never read or write what is at them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Paths that the environment determines. They need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubPaths {
    /// The home folder of Hugging Face's tools: `HF_HOME`, else `huggingface` in `XDG_CACHE_HOME`, else in
    /// `~/.cache`.
    pub home: PathBuf,
    /// The cache of models: `HF_HUB_CACHE`, else the older `HUGGINGFACE_HUB_CACHE`, else `hub` in `home`.
    pub cache: PathBuf,
    /// The file with the access token: `HF_TOKEN_PATH`, else `token` in `home`.
    pub token: PathBuf,
}

impl HubPaths {
    /// The paths for this process. `None` if there is neither a variable nor a home folder.
    pub fn from_env() -> Option<Self> {
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// The paths for an environment. An empty variable counts as unset; `~` and `$VARIABLE` are expanded.
    pub fn new(
        variable: impl Fn(&str) -> Option<OsString>,
        user_home: Option<PathBuf>,
    ) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(|value| expand(value, &set, user_home.as_deref()));
        let default = || {
            let cache = path("XDG_CACHE_HOME").or(Some(user_home.as_ref()?.join(".cache")));
            Some(cache?.join("huggingface"))
        };
        let home = path("HF_HOME").or_else(default)?;
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        Some(Self {
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token: path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token")),
            home,
        })
    }
}

fn expand(
    value: OsString,
    variable: &impl Fn(&str) -> Option<OsString>,
    user_home: Option<&Path>,
) -> PathBuf {
    // A path that is not Unicode is left as it is.
    let Some(text) = value.to_str() else {
        return value.into();
    };
    let home = || Some(user_home?.to_str()?.to_owned());
    let variable = |name: &str| variable(name)?.into_string().ok();
    shellexpand::full_with_context_no_errors(text, home, variable)
        .into_owned()
        .into()
}
