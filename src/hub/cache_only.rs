//! Repositories as the cache has them, for runs without a network. It must never open a connection.

#[cfg(not(feature = "hub"))]
use super::Hub;
use super::cache::Cache;
use super::content::{Cached, is_small};
use super::{OfflineReason, Repo, RepoRequest};
use crate::error::{Error, Result};
use crate::message;
use crate::message::Message;
use crate::setting::Setting;

/// The cache, and how carefully its files are checked.
pub struct CacheOnly {
    pub cache: Cache,
    /// Whether large files are hashed too. Small ones always are.
    pub checks: bool,
}

impl CacheOnly {
    /// Whether the cache has a snapshot of the requested revision.
    #[cfg(feature = "hub")]
    pub fn has(&self, request: RepoRequest) -> bool {
        let RepoRequest { id, revision, .. } = request;
        self.cache.commit(id, revision).is_some()
    }

    /// The cached files of a repository. `reason` says why the hub is not asked.
    ///
    /// # Errors
    /// A model error if the cache has nothing of the revision.
    pub fn cached_repo(&self, request: RepoRequest, reason: OfflineReason) -> Result<Repo> {
        let RepoRequest { id, revision, .. } = request;
        let Some(commit) = self.cache.commit(id, revision) else {
            let what = if revision == super::MAIN {
                format!("{id} is not in the cache")
            } else {
                format!("revision {revision} of {id} is not in the cache")
            };
            return Err(missing(&what, id, request.pull, &reason));
        };
        Ok(Repo {
            files: self.cache.files(id, &commit),
            whole: false,
            folder: self.cache.snapshot(id, &commit),
            id: id.to_owned(),
            commit,
            pull: request.pull.map(str::to_owned),
            offline_reason: Some(reason),
        })
    }

    /// Checks that files are in the cache and undamaged.
    ///
    /// # Errors
    /// A model error for the first file that is missing or damaged.
    pub fn check_files(&self, repo: &Repo, paths: &[String], reason: &OfflineReason) -> Result<()> {
        for file in paths {
            let path = repo.folder.join(file);
            if !path.is_file() {
                let what = format!("{file} of {} is not in the cache", repo.id);
                return Err(missing(&what, &repo.id, repo.pull.as_deref(), reason));
            }
            let is_hashed = |file: &Cached| self.checks || is_small(&file.content);
            if let Some(cached) = Cached::of(&path).filter(is_hashed)
                && !cached.is_right(&path)?
            {
                let cure = cure(&repo.id, repo.pull.as_deref(), reason);
                return Err(Error::model(cached.damage(), cure));
            }
        }
        Ok(())
    }
}

/// The whole hub of a program without the feature `hub`.
#[cfg(not(feature = "hub"))]
impl Hub for CacheOnly {
    fn repo(&self, request: RepoRequest) -> Result<Repo> {
        self.cached_repo(request, OfflineReason::NotBuilt)
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        let reason = repo.offline_reason.clone();
        self.check_files(repo, paths, &reason.unwrap_or(OfflineReason::NotBuilt))
    }

    fn note(&self, _: &str) {}
}

fn missing(what: &str, id: &str, pull: Option<&str>, reason: &OfflineReason) -> Error {
    let why = match reason {
        OfflineReason::Setting => message![Setting::Offline, " keeps p2p off the network"],
        OfflineReason::Variable(name) => format!("{name} keeps p2p off the network").into(),
        OfflineReason::Unreachable(report) => report.cause.clone(),
        OfflineReason::NotBuilt => "this p2p was built without the feature `hub`".into(),
    };
    Error::model(why.after(format!("{what}, and ")), cure(id, pull, reason))
}

/// How to download what is missing or damaged.
fn cure(id: &str, pull: Option<&str>, reason: &OfflineReason) -> Message {
    match (reason, pull) {
        (OfflineReason::Setting, Some(pull)) => {
            format!("download it once: p2p models pull {pull}").into()
        }
        (OfflineReason::Setting, None) => {
            message!["run the same command once without ", Setting::Offline]
        }
        (OfflineReason::Variable(name), Some(pull)) => {
            format!("download it once: {name}=0 p2p models pull {pull}").into()
        }
        (OfflineReason::Variable(name), None) => {
            format!("run the same command once with {name}=0").into()
        }
        (OfflineReason::Unreachable(report), _) => report.cure.clone(),
        (OfflineReason::NotBuilt, _) => format!(
            "build it with its default features, or download the model with Hugging Face's tool: hf download {id}"
        )
        .into(),
    }
}
