//! Where Hugging Face's tools keep models and the access token on this machine: the rules of Python's
//! `huggingface_hub`, so that nothing is fetched twice. Only paths; never reads what they lead to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Paths by the environment; nothing need exist there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubPaths {
    /// `HF_HOME`, else `huggingface` in `XDG_CACHE_HOME`, else in `~/.cache`.
    pub home: PathBuf,
    /// Downloaded models: `HF_HUB_CACHE`, else the older `HUGGINGFACE_HUB_CACHE`, else `hub` in `home`.
    pub cache: PathBuf,
    /// The file of the access token: `HF_TOKEN_PATH`, else `token` in `home`.
    pub token: PathBuf,
}

impl HubPaths {
    /// Those of this process. `None` where there is neither a variable nor a home folder to go by.
    pub fn from_env() -> Option<Self> {
        Self::new(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// Those of an environment. A variable that is empty counts as not set; `~` and `$VARIABLE` in one
    /// are expanded.
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
    // What is no Unicode holds no `~` or `$` that anybody typed.
    let Some(text) = value.to_str() else {
        return value.into();
    };
    let home = || Some(user_home?.to_str()?.to_owned());
    let variable = |name: &str| variable(name)?.into_string().ok();
    shellexpand::full_with_context_no_errors(text, home, variable)
        .into_owned()
        .into()
}
