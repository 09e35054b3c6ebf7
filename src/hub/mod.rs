//! The Hugging Face hub: the files of a repository, and their download into the cache of this machine. It
//! must never know which files a model needs.
//!
//! The cache has the layout of Python's `huggingface_hub`, and each uses what the other downloaded. Without
//! the cargo feature `hub`, models are read from the cache only.
//!
//! # Why ureq carries the requests
//!
//! Hugging Face's own client, `hf-hub` 1.0 (`default-features = false`), was measured as the transport below
//! this cache: repository information, file metadata, ranged streams and Xet. `cargo build -j2` of an
//! empty program with the client and the profile of this crate took:
//!
//! | client | crates | user CPU time | |
//! |---|---|---|---|
//! | ureq 3.5, `rustls`, `socks-proxy` | 26 | 50 s | used here |
//! | hf-hub 1.0 | 236 | 734 s | |
//! | hf-hub 0.5, `ureq`, `rustls-tls` | 58 | 102 s | |
//! | hf-hub 0.5 without features | 7 | 2 s | the cache only; used by the tests |
//!
//! A cold `cargo test --no-run` of this crate takes about 1,000 s of CPU time, so hf-hub 1.0 would add more than
//! half.
//!
//! What hf-hub 1.0 could not do for this cache, by its source:
//!
//! - File metadata comes through a second client without a timeout, which takes neither our certificates nor
//!   our proxy rules (`client.rs`, `no_redirect_client`).
//! - A ranged stream needs the end of the range, and sends a HEAD before each GET.
//! - Its own downloads into the cache restart from the first byte, and give up on a locked file after ten
//!   seconds.
//! - Xet sends telemetry unless `HF_HUB_DISABLE_TELEMETRY`, `DISABLE_TELEMETRY`, `DO_NOT_TRACK` or
//!   `HF_HUB_OFFLINE` is set. A library cannot set variables safely once threads run.
//!
//! Files of Xet repositories arrive over plain HTTP too: the hub redirects to a bridge that serves byte
//! ranges. The test `shared_cache` proves with hf-hub's cache that each side reads what the other wrote, and
//! `tests/reference/hub.py` proves the same with Python's `huggingface_hub`.

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

use crate::error::{Report, Result};

pub use alias::{Alias, alias, aliases, named, nearest_alias, redirected};
pub use cache::Cache;
pub use content::Cached;
pub use name::{MAIN, Name, is_commit, is_revision};
pub use paths::HubPaths;
pub use progress::{ProgressReporter, Silent};
pub use settings::{HubSettings, Proxies, Token, TokenSource};
pub use stored::{Removal, Snapshot, StoredModel};

use cache_only::CacheOnly;

/// A request for a repository.
#[derive(Debug, Clone, Copy)]
pub struct RepoRequest<'a> {
    /// The repository, `owner/name`.
    pub id: &'a str,
    /// A branch, a tag or a commit.
    pub revision: &'a str,
    /// Whether only the cache is asked.
    pub offline: bool,
    /// The arguments of `p2p models pull` that download the same, for messages. `None` if no arguments do.
    pub pull: Option<&'a str>,
}

/// A repository at one commit.
#[derive(Debug, Clone)]
pub struct Repo {
    /// The repository, `owner/name`.
    pub id: String,
    /// The commit's hash.
    pub commit: String,
    /// The files of the repository, or the cached ones among them.
    pub files: Vec<RepoFile>,
    /// Whether `files` is the hub's complete list.
    pub whole: bool,
    /// The folder of the downloaded files.
    pub folder: PathBuf,
    /// As in [`RepoRequest::pull`].
    pull: Option<String>,
    /// Why the hub was not asked, if it was not.
    offline_reason: Option<OfflineReason>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// The path in the repository, with forward slashes.
    pub path: String,
    /// Size in bytes, if the list of files has it.
    pub size: Option<u64>,
    /// The name of its content in the cache: a hash of its bytes.
    etag: Option<String>,
}

/// Why the hub is not asked for what the cache lacks.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
enum OfflineReason {
    /// The setting `offline`.
    Setting,
    /// This environment variable.
    Variable(&'static str),
    /// The hub did not answer.
    Unreachable(Report),
    /// The cargo feature `hub` is off.
    #[cfg_attr(feature = "hub", allow(dead_code))]
    NotBuilt,
}

/// A source of repositories.
pub trait Hub {
    /// Finds the commit of a revision, and its files.
    ///
    /// # Errors
    /// A model error if there is no such repository or revision, or if that cannot be found out.
    fn repo(&self, request: RepoRequest) -> Result<Repo>;

    /// Downloads those files of a repository that are not in its folder.
    ///
    /// # Errors
    /// A model error if a file is missing or damaged, or cannot be downloaded.
    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()>;

    /// Tells the user that the request was not taken literally.
    fn note(&self, line: &str);
}

impl Repo {
    /// Whether a file is in the list.
    pub fn has(&self, path: &str) -> bool {
        self.file(path).is_some()
    }

    /// The file of the list with a path.
    pub fn file(&self, path: &str) -> Option<&RepoFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// The hub and the cache that settings describe. Errors in the settings are reported at the first use, because
/// most models are folders and need no hub.
pub struct Connection<'a> {
    settings: HubSettings,
    reporter: &'a dyn ProgressReporter,
    checks: bool,
}

impl<'a> Connection<'a> {
    /// A connection that reports downloads to `reporter`. Opens nothing yet.
    pub fn new(settings: HubSettings, reporter: &'a dyn ProgressReporter) -> Self {
        Self {
            settings,
            reporter,
            checks: false,
        }
    }

    /// The connection with a check of large files too: they are hashed, and downloaded again if damaged.
    pub fn checking(self) -> Self {
        Self {
            checks: true,
            ..self
        }
    }

    fn open(&self) -> Result<Box<dyn Hub + 'a>> {
        let settings = &self.settings;
        let cache = settings.cache()?;
        let cache_only = CacheOnly {
            cache,
            checks: self.checks,
        };
        #[cfg(feature = "hub")]
        let hub = online::Online::new(settings.clone(), cache_only, self.reporter)?;
        #[cfg(not(feature = "hub"))]
        let hub = cache_only;
        Ok(Box::new(hub))
    }
}

impl Hub for Connection<'_> {
    fn repo(&self, request: RepoRequest) -> Result<Repo> {
        self.open()?.repo(request)
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        self.open()?.fetch(repo, paths)
    }

    fn note(&self, line: &str) {
        self.reporter.note(line);
    }
}
