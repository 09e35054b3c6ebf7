//! The hub over the network. What it cannot be asked for is looked up in the cache, which it fills.

mod answer;
mod download;
mod lock;
mod wire;

use crate::message::Keys;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use self::answer::{Asked, Refusal};
use self::wire::{Answer, Broken, Method, Wire};
use super::cache_only::CacheOnly;
use super::name::{is_commit, is_etag, is_file};
use super::progress::Watch;
use super::settings::HubSettings;
use super::{Away, Hub, Repo, RepoFile, Wanted};
use crate::error::{Error, Result};

/// Tries of one request that brings nothing.
const TRIES: u32 = 5;
/// What the hub may ask us to wait for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Bytes of an answer that lists a repository, at most.
const LONGEST_LIST: u64 = 64 << 20;
const KEPT_IN_NAMES: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const KEPT_IN_PATHS: AsciiSet = KEPT_IN_NAMES.remove(b'/');

pub struct Online<'a> {
    settings: HubSettings,
    wire: Wire,
    kept: CacheOnly,
    watch: &'a dyn Watch,
}

/// A request that failed for good, or for now.
enum Failure {
    Final(Error),
    /// The hub is out of reach: what the cache has will do.
    Away(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// What the hub says of a repository, as far as it counts here.
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
    pub fn new(settings: HubSettings, kept: CacheOnly, watch: &'a dyn Watch) -> Result<Self> {
        Ok(Self {
            wire: Wire::new(&settings)?,
            settings,
            kept,
            watch,
        })
    }

    fn list(&self, wanted: Wanted) -> std::result::Result<Repo, Failure> {
        let Wanted { id, revision, .. } = wanted;
        let url = format!(
            "{}/api/models/{}/revision/{}?blobs=true",
            self.settings.endpoint,
            encoded(id),
            // A slash in a branch is no slash of the address.
            utf8_percent_encode(revision, &KEPT_IN_NAMES)
        );
        let file = None;
        let asked = Asked { id, revision, file };
        // Who has a copy does not wait for long.
        let tries = if self.kept.known(wanted) { 1 } else { TRIES };
        let text = self.ask(Method::Get, &url, asked, tries, |answer| {
            let body = answer.body.with_config().limit(LONGEST_LIST);
            body.read_to_string()
                .map_err(|e| Broken::Line(e.to_string()))
        })?;
        let listing: std::result::Result<Listing, _> = serde_json::from_str(&text);
        let listing = listing.ok().filter(|listing| is_commit(&listing.sha));
        let listing = listing.ok_or_else(|| {
            Error::model(
                format!(
                    "{} does not answer as a model hub does",
                    self.settings.shown()
                ),
                "check HF_ENDPOINT, and whether this network asks to sign in first",
            )
        })?;
        self.remember(id, revision, &listing.sha)?;
        Ok(Repo {
            files: listing.siblings.into_iter().filter_map(file_of).collect(),
            whole: true,
            folder: self.kept.cache.snapshot(id, &listing.sha),
            commit: listing.sha,
            id: id.to_owned(),
            pull: wanted.pull.map(str::to_owned),
            away: None,
        })
    }

    /// A cache that cannot be written is no fault while all is there.
    fn remember(&self, id: &str, revision: &str, commit: &str) -> Result<()> {
        match self.kept.cache.remember(id, revision, commit) {
            Err(_) if self.kept.cache.snapshot(id, commit).is_dir() => Ok(()),
            done => done,
        }
    }

    /// Asks until there is an answer that `read` can read whole.
    fn ask<T>(
        &self,
        method: Method,
        url: &str,
        asked: Asked,
        tries: u32,
        read: impl Fn(&mut Answer) -> std::result::Result<T, Broken>,
    ) -> std::result::Result<T, Failure> {
        let mut tried = 0;
        loop {
            tried += 1;
            let answer = self.wire.send(method, url, 0, self.watch);
            let content = answer.and_then(|mut answer| match answer.status {
                200..=299 => Ok(Ok(read(&mut answer)?)),
                // The way of a file that lies elsewhere.
                300..=399 if method == Method::Head => Ok(Ok(read(&mut answer)?)),
                _ => Ok(Err(Refusal::new(&answer, asked, &self.settings))),
            });
            let (error, wait) = match content {
                Ok(Ok(content)) => return Ok(content),
                Ok(Err(Refusal::Final(error))) => return Err(Failure::Final(error)),
                Ok(Err(Refusal::Passing(error, wait))) => (error, wait),
                Err(Broken::Stopped(error)) => return Err(Failure::Final(error)),
                Err(Broken::Line(why)) => (self.unreachable(&why), None),
            };
            if tried >= tries || wait.is_some_and(|wait| wait > LONGEST_WAIT) {
                return Err(Failure::Away(error));
            }
            self.pause(tried, wait)?;
        }
    }

    /// Before another try.
    fn pause(&self, tried: u32, asked: Option<Duration>) -> Result<()> {
        const TICK: Duration = Duration::from_millis(50);
        let mut left = asked.unwrap_or(self.settings.pause * 2u32.pow(tried.min(6) - 1));
        if left > Duration::from_secs(2) {
            let line = format!("trying again in {} s", left.as_secs());
            self.watch.note(&line);
        }
        while !left.is_zero() {
            self.watch.go_on()?;
            std::thread::sleep(left.min(TICK));
            left = left.saturating_sub(TICK);
        }
        Ok(())
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::model(
            format!("{} cannot be reached ({why})", self.settings.shown()),
            "check the network and HTTPS_PROXY, or name a mirror in HF_ENDPOINT; models in the cache, which p2p \
             models ls lists, and those in folders need no network",
        )
    }

    /// What the cache calls the content of a file, and its size: from the list, else asked for.
    fn content(&self, repo: &Repo, file: &RepoFile) -> Result<(String, Option<u64>)> {
        if let Some(etag) = &file.etag {
            return Ok((etag.clone(), file.size));
        }
        let asked = asked(repo, &file.path);
        let url = self.address(repo, &file.path);
        let found = self.ask(Method::Head, &url, asked, TRIES, |answer| {
            let tag = answer
                .header("x-linked-etag")
                .or_else(|| answer.header("etag"));
            let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
            let size = answer.header("x-linked-size").or_else(|| {
                let whole = answer.status < 300;
                answer.header("content-length").filter(|_| whole)
            });
            Ok((tag, size.and_then(|size| size.parse().ok())))
        });
        let (tag, size) = found.map_err(Failure::error)?;
        let tag = tag.filter(|tag| is_etag(tag)).ok_or_else(|| {
            Error::model(
                format!("{} gives {} no ETag", self.settings.shown(), file.path),
                "check HF_ENDPOINT: a mirror or a proxy leaves out what the cache goes by",
            )
        })?;
        Ok((tag, file.size.or(size)))
    }

    fn address(&self, repo: &Repo, path: &str) -> String {
        let (endpoint, id) = (&self.settings.endpoint, encoded(&repo.id));
        format!("{endpoint}/{id}/resolve/{}/{}", repo.commit, encoded(path))
    }
}

impl Failure {
    fn error(self) -> Error {
        match self {
            Self::Final(error) | Self::Away(error) => error,
        }
    }
}

impl Hub for Online<'_> {
    fn repo(&self, wanted: Wanted) -> Result<Repo> {
        let away = match (wanted.offline, self.settings.offline) {
            (true, _) => Some(Away::Flag),
            (_, variable) => variable.map(Away::Variable),
        };
        if let Some(away) = away {
            return self.kept.repo_because(wanted, away);
        }
        match self.list(wanted) {
            Ok(repo) => Ok(repo),
            Err(Failure::Away(error)) if self.kept.known(wanted) => {
                let (cause, cure) = error.parts(&Keys);
                let line = format!("{cause}: going by what the cache has of {}", wanted.id);
                self.watch.warn(&line);
                self.kept.repo_because(wanted, Away::Silent(cause, cure))
            }
            Err(failure) => Err(failure.error()),
        }
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        match &repo.away {
            Some(away) => self.kept.all_there(repo, paths, away),
            None => self.download(repo, paths),
        }
    }

    fn note(&self, line: &str) {
        self.watch.note(line);
    }
}

fn asked<'b>(repo: &'b Repo, path: &'b str) -> Asked<'b> {
    Asked {
        id: &repo.id,
        revision: &repo.commit,
        file: Some(path),
    }
}

fn encoded(path: &str) -> String {
    utf8_percent_encode(path, &KEPT_IN_PATHS).to_string()
}

/// Names that could lead out of the cache are passed over.
fn file_of(sibling: Sibling) -> Option<RepoFile> {
    let (sha256, large) = match sibling.lfs {
        Some(lfs) => (lfs.sha256, lfs.size),
        None => (sibling.blob_id, None),
    };
    is_file(&sibling.rfilename).then_some(RepoFile {
        path: sibling.rfilename,
        size: large.or(sibling.size),
        etag: sha256.filter(|etag| is_etag(etag)),
    })
}
