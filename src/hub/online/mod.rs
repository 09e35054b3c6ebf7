//! The hub over the network: repositories are listed by the hub, and their files are downloaded into
//! the cache. When the hub cannot be reached, the cache answers. It must never know which files a model
//! needs.

mod download;
mod lock;
mod redirect;
mod refusal;
mod transport;

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use self::refusal::{Refusal, Target};
use self::transport::{Method, Response, Transport, TransportError};
use super::cache_only::CacheOnly;
use super::name::{is_commit, is_etag, is_file};
use super::progress::ProgressReporter;
use super::settings::HubSettings;
use super::{Hub, OfflineReason, Repo, RepoFile, RepoRequest};
use crate::error::{Error, Result};

/// Attempts at a request that makes no progress.
const ATTEMPTS: u32 = 5;
/// The longest wait that the hub may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Size limit of a repository's list of files, in bytes.
const LONGEST_LIST: u64 = 64 << 20;
const UNESCAPED_IN_NAMES: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const UNESCAPED_IN_PATHS: AsciiSet = UNESCAPED_IN_NAMES.remove(b'/');

/// The hub and the cache that it fills.
pub struct Online<'a> {
    settings: HubSettings,
    transport: Transport,
    cache_only: CacheOnly,
    reporter: &'a dyn ProgressReporter,
}

/// Why a request failed after all attempts.
enum Failure {
    /// The hub refused it, or the run was interrupted.
    Final(Error),
    /// The hub cannot be reached. Files in the cache can stand in.
    Unreachable(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// The fields of the hub's repository information that are used here.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl<'a> Online<'a> {
    /// The hub of these settings.
    ///
    /// # Errors
    /// A usage error if the environment names something that cannot be used.
    pub fn new(
        settings: HubSettings,
        cache_only: CacheOnly,
        reporter: &'a dyn ProgressReporter,
    ) -> Result<Self> {
        Ok(Self {
            transport: Transport::new(&settings)?,
            settings,
            cache_only,
            reporter,
        })
    }

    fn list(&self, request: RepoRequest) -> std::result::Result<Repo, Failure> {
        let RepoRequest { id, revision, .. } = request;
        let url = format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.settings.endpoint,
            encoded(id),
            // A slash in a branch's name must not separate parts of the URL.
            utf8_percent_encode(revision, &UNESCAPED_IN_NAMES)
        );
        let file = None;
        let target = Target { id, revision, file };
        // With a copy in the cache, one failed attempt is enough to fall back to it.
        let attempts = if self.cache_only.has(request) {
            1
        } else {
            ATTEMPTS
        };
        let text = self.request(Method::Get, &url, target, attempts, |response| {
            let body = response.body.with_config().limit(LONGEST_LIST);
            let text = body.read_to_string();
            text.map_err(|e| TransportError::Connection(e.to_string()))
        })?;
        let listing: std::result::Result<Listing, _> = serde_json::from_str(&text);
        let listing = listing.ok().filter(|listing| is_commit(&listing.sha));
        let listing = listing.ok_or_else(|| {
            Error::model(
                format!("{} does not answer like a model hub", self.settings.shown()),
                "check HF_ENDPOINT, and whether this network requires a sign-in first",
            )
        })?;
        self.remember(id, revision, &listing.sha)?;
        Ok(Repo {
            files: listing.siblings.into_iter().filter_map(repo_file).collect(),
            whole: true,
            folder: self.cache_only.cache.snapshot(id, &listing.sha),
            commit: listing.sha,
            id: id.to_owned(),
            pull: request.pull.map(str::to_owned),
            offline_reason: None,
        })
    }

    /// Records the commit of a revision. A read-only cache is no error while it has the snapshot already.
    fn remember(&self, id: &str, revision: &str, commit: &str) -> Result<()> {
        match self.cache_only.cache.remember(id, revision, commit) {
            Err(_) if self.cache_only.cache.snapshot(id, commit).is_dir() => Ok(()),
            written => written,
        }
    }

    /// Sends a request until `read` gets what it needs out of a response.
    fn request<T>(
        &self,
        method: Method,
        url: &str,
        target: Target,
        attempts: u32,
        read: impl Fn(&mut Response) -> std::result::Result<T, TransportError>,
    ) -> std::result::Result<T, Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.transport.send(method, url, 0, self.reporter);
            let content = response.and_then(|mut response| match response.status {
                200..=299 => Ok(Ok(read(&mut response)?)),
                // A file in another store: the redirect's own headers have the ETag.
                300..=399 if method == Method::Head => Ok(Ok(read(&mut response)?)),
                _ => Ok(Err(Refusal::new(&response, target, &self.settings))),
            });
            let (error, wait) = match content {
                Ok(Ok(content)) => return Ok(content),
                Ok(Err(Refusal::Final(error))) => return Err(Failure::Final(error)),
                Ok(Err(Refusal::Temporary(error, wait))) => (error, wait),
                Err(TransportError::Stopped(error)) => return Err(Failure::Final(error)),
                Err(TransportError::Connection(why)) => (self.unreachable(&why), None),
            };
            if attempt >= attempts || wait.is_some_and(|wait| wait > LONGEST_WAIT) {
                return Err(Failure::Unreachable(error));
            }
            self.wait_before_retry(attempt, wait)?;
        }
    }

    /// Waits as long as the hub asks for, else longer after each attempt.
    fn wait_before_retry(&self, attempt: u32, requested: Option<Duration>) -> Result<()> {
        const TICK: Duration = Duration::from_millis(50);
        let mut left = requested.unwrap_or(self.settings.pause * 2u32.pow(attempt.min(6) - 1));
        if left > Duration::from_secs(2) {
            let line = format!("trying again in {} s", left.as_secs());
            self.reporter.note(&line);
        }
        while !left.is_zero() {
            self.reporter.check_interrupted()?;
            std::thread::sleep(left.min(TICK));
            left = left.saturating_sub(TICK);
        }
        Ok(())
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::model(
            format!("cannot reach {} ({why})", self.settings.shown()),
            "check the network and HTTPS_PROXY, or set HF_ENDPOINT to a mirror; models in folders and in the \
             cache (p2p models ls) need no network",
        )
    }

    /// The ETag and the size of a file: from the list of files, else by a request of their own.
    fn etag_and_size(&self, repo: &Repo, file: &RepoFile) -> Result<(String, Option<u64>)> {
        if let Some(etag) = &file.etag {
            return Ok((etag.clone(), file.size));
        }
        let target = file_target(repo, &file.path);
        let url = self.file_url(repo, &file.path);
        let found = self.request(Method::Head, &url, target, ATTEMPTS, |response| {
            let etag = response
                .header("x-linked-etag")
                .or_else(|| response.header("etag"));
            let etag = etag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
            let size = response.header("x-linked-size").or_else(|| {
                // The length of a redirect is that of its own body.
                let is_file = response.status < 300;
                response.header("content-length").filter(|_| is_file)
            });
            Ok((etag, size.and_then(|size| size.parse().ok())))
        });
        let (etag, size) = found.map_err(Failure::error)?;
        let etag = etag.filter(|etag| is_etag(etag)).ok_or_else(|| {
            Error::model(
                format!("{} sends no ETag for {}", self.settings.shown(), file.path),
                "check HF_ENDPOINT: a mirror or a proxy removes a header that the cache needs",
            )
        })?;
        Ok((etag, file.size.or(size)))
    }

    fn file_url(&self, repo: &Repo, path: &str) -> String {
        let (endpoint, id) = (&self.settings.endpoint, encoded(&repo.id));
        format!("{endpoint}/{id}/resolve/{}/{}", repo.commit, encoded(path))
    }
}

impl Failure {
    fn error(self) -> Error {
        match self {
            Self::Final(error) | Self::Unreachable(error) => error,
        }
    }
}

impl Hub for Online<'_> {
    fn repo(&self, request: RepoRequest) -> Result<Repo> {
        let variable = self.settings.offline.map(OfflineReason::Variable);
        let setting = request.offline.then_some(OfflineReason::Setting);
        if let Some(reason) = setting.or(variable) {
            return self.cache_only.cached_repo(request, reason);
        }
        match self.list(request) {
            Ok(repo) => Ok(repo),
            Err(Failure::Unreachable(error)) if self.cache_only.has(request) => {
                let report = error.report();
                let line = format!(
                    "{}; using the files of {} in the cache",
                    report.cause, request.id
                );
                self.reporter.warn(&line);
                let reason = OfflineReason::Unreachable(report);
                self.cache_only.cached_repo(request, reason)
            }
            Err(failure) => Err(failure.error()),
        }
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        match &repo.offline_reason {
            Some(reason) => self.cache_only.check_files(repo, paths, reason),
            None => self.download(repo, paths),
        }
    }

    fn note(&self, line: &str) {
        self.reporter.note(line);
    }
}

fn file_target<'b>(repo: &'b Repo, path: &'b str) -> Target<'b> {
    Target {
        id: &repo.id,
        revision: &repo.commit,
        file: Some(path),
    }
}

fn encoded(path: &str) -> String {
    utf8_percent_encode(path, &UNESCAPED_IN_PATHS).to_string()
}

/// A listed file. Names that could lead out of the cache's folder are dropped.
fn repo_file(sibling: Sibling) -> Option<RepoFile> {
    let (hash, lfs_size) = match sibling.lfs {
        Some(lfs) => (lfs.sha256, lfs.size),
        None => (sibling.blob_id, None),
    };
    is_file(&sibling.rfilename).then_some(RepoFile {
        path: sibling.rfilename,
        size: lfs_size.or(sibling.size),
        etag: hash.filter(|etag| is_etag(etag)),
    })
}
