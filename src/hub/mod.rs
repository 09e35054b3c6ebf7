//! The Hugging Face hub: which files a repository has, and how they come into the cache on this machine.
//! Never knows what a model needs of them.
//!
//! The cache is laid out as Python's `huggingface_hub` lays it out, and either uses what the other
//! fetched. Without the cargo feature `hub` the cache is all there is.
//!
//! # Why neither hf-hub 1.0 nor 0.5
//!
//! 1.0 restarts a broken download from its first byte, gives up on a lock after ten seconds, reads
//! neither `HF_HUB_OFFLINE` nor timeouts, and brings tokio and a transfer layer with telemetry that is on
//! by default: 284 crates. 0.5 ignores most variables, knows no locks that Python knows, and follows
//! redirects with the token. What is left to do over an HTTP client is this folder.

mod alias;
mod cache;
mod cache_only;
mod content;
mod name;
#[cfg(feature = "hub")]
mod online;
mod paths;
mod progress;
mod settings;
mod stored;

use std::path::PathBuf;

use crate::error::Result;

pub use alias::{Alias, alias, aliases, named, nearest_alias, redirected};
pub use cache::Cache;
pub use content::Cached;
pub use name::{MAIN, Name, is_commit, is_revision};
pub use paths::HubPaths;
pub use progress::{Silent, Watch};
pub use settings::{HubSettings, Proxies, Token, TokenSource};
pub use stored::{Removal, Snapshot, StoredModel};

use cache_only::CacheOnly;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// `owner/name`.
    pub id: &'a str,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
    /// Whether only the cache is to be looked at.
    pub offline: bool,
    /// What `p2p models pull` is given to fetch it, where that can.
    pub pull: Option<&'a str>,
}

/// A repository as of one commit.
#[derive(Debug, Clone)]
pub struct Repo {
    pub id: String,
    pub commit: String,
    pub files: Vec<RepoFile>,
    /// Whether `files` are all that the hub has: else those of them that the cache has.
    pub whole: bool,
    /// Where fetched files lie, under their own names.
    pub folder: PathBuf,
    /// What `p2p models pull` is given to fetch it, where that can.
    pull: Option<String>,
    /// Why the hub was not asked.
    away: Option<Away>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// With forward slashes.
    pub path: String,
    pub size: Option<u64>,
    /// What the cache calls its content.
    etag: Option<String>,
}

/// Why the hub is not asked for what the cache lacks.
#[derive(Debug, Clone)]
enum Away {
    /// `--offline`.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    Flag,
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    Variable(&'static str),
    /// It did not answer: cause and cure.
    #[cfg_attr(not(feature = "hub"), allow(dead_code))]
    Silent(String, String),
    /// The feature `hub` is not compiled in.
    #[cfg_attr(feature = "hub", allow(dead_code))]
    NotBuilt,
}

/// Where repositories come from.
pub trait Hub {
    /// Which commit a revision is, and its files.
    ///
    /// Errors: model, where there is no such thing, or no way to know.
    fn repo(&self, wanted: Wanted) -> Result<Repo>;

    /// Sees to it that files of a repository are in its folder.
    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()>;

    /// A line on what is not as it was asked for.
    fn note(&self, line: &str);
}

impl Repo {
    pub fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path == path)
    }

    pub fn file(&self, path: &str) -> Option<&RepoFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// The hub by the settings, and its cache. Whatever is wrong with the settings shows when it is used: most
/// models are folders.
pub struct Connection<'a> {
    settings: HubSettings,
    watch: &'a dyn Watch,
    checks: bool,
}

impl<'a> Connection<'a> {
    pub fn new(settings: HubSettings, watch: &'a dyn Watch) -> Self {
        Self {
            settings,
            watch,
            checks: false,
        }
    }

    /// The same, where large files too are read again, and fetched again if they are damaged.
    pub fn checking(self) -> Self {
        Self {
            checks: true,
            ..self
        }
    }

    fn open(&self) -> Result<Box<dyn Hub + 'a>> {
        let settings = &self.settings;
        let cache = settings.cache()?;
        let kept = CacheOnly {
            cache,
            checks: self.checks,
        };
        #[cfg(feature = "hub")]
        let hub = online::Online::new(settings.clone(), kept, self.watch)?;
        #[cfg(not(feature = "hub"))]
        let hub = kept;
        Ok(Box::new(hub))
    }
}

impl Hub for Connection<'_> {
    fn repo(&self, wanted: Wanted) -> Result<Repo> {
        self.open()?.repo(wanted)
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        self.open()?.fetch(repo, paths)
    }

    fn note(&self, line: &str) {
        self.watch.note(line);
    }
}
