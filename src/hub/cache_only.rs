//! The hub as far as the cache has it. Opens no connection.

#[cfg(not(feature = "hub"))]
use super::Hub;
use super::cache::Cache;
use super::content::{Cached, is_small};
use super::{Away, Repo, Wanted};
use crate::error::{Error, Result};

pub struct CacheOnly {
    pub cache: Cache,
    /// Whether large files too are checked against their hashes.
    pub checks: bool,
}

impl CacheOnly {
    #[cfg(feature = "hub")]
    pub fn known(&self, wanted: Wanted) -> bool {
        self.cache.commit(wanted.id, wanted.revision).is_some()
    }

    /// What the cache has of a repository.
    pub fn repo_because(&self, wanted: Wanted, away: Away) -> Result<Repo> {
        let Wanted { id, revision, .. } = wanted;
        let Some(commit) = self.cache.commit(id, revision) else {
            let what = match revision {
                super::MAIN => format!("{id} is not in the cache"),
                _ => format!("revision {revision} of {id} is not in the cache"),
            };
            return Err(missing(&what, id, wanted.pull, &away));
        };
        Ok(Repo {
            files: self.cache.files(id, &commit),
            whole: false,
            folder: self.cache.snapshot(id, &commit),
            id: id.to_owned(),
            commit,
            pull: wanted.pull.map(str::to_owned),
            away: Some(away),
        })
    }

    /// Errors: model, for the first file that is not there, or is damaged.
    pub fn all_there(&self, repo: &Repo, paths: &[String], away: &Away) -> Result<()> {
        for file in paths {
            let path = repo.folder.join(file);
            if !path.is_file() {
                let what = format!("{file} of {} is not in the cache", repo.id);
                return Err(missing(&what, &repo.id, repo.pull.as_deref(), away));
            }
            let is_read = |file: &Cached| self.checks || is_small(&file.content);
            if let Some(cached) = Cached::of(&path).filter(is_read)
                && !cached.is_right(&path)?
            {
                let cure = cure(&repo.id, repo.pull.as_deref(), away);
                return Err(Error::model(cached.damage(), cure));
            }
        }
        Ok(())
    }
}

/// All there is where the feature `hub` is not compiled in.
#[cfg(not(feature = "hub"))]
impl Hub for CacheOnly {
    fn repo(&self, wanted: Wanted) -> Result<Repo> {
        self.repo_because(wanted, Away::NotBuilt)
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        let away = repo.away.clone().unwrap_or(Away::NotBuilt);
        self.all_there(repo, paths, &away)
    }

    fn note(&self, _: &str) {}
}

fn missing(what: &str, id: &str, pull: Option<&str>, away: &Away) -> Error {
    let why = match away {
        Away::Flag => "--offline keeps p2p from the network",
        Away::Variable(name) => &format!("{name} keeps p2p from the network"),
        Away::Silent(cause, _) => cause,
        Away::NotBuilt => "this p2p was built without the feature `hub`",
    };
    Error::model(format!("{what}, and {why}"), cure(id, pull, away))
}

/// How what is missing or damaged is fetched.
fn cure(id: &str, pull: Option<&str>, away: &Away) -> String {
    match (away, pull) {
        (Away::Flag, Some(pull)) => format!("fetch it once: p2p models pull {pull}"),
        (Away::Flag, None) => "give the same command once without --offline".to_owned(),
        (Away::Variable(name), Some(pull)) => {
            format!("fetch it once: {name}=0 p2p models pull {pull}")
        }
        (Away::Variable(name), None) => format!("give the same command once with {name}=0"),
        (Away::Silent(_, cure), _) => cure.clone(),
        (Away::NotBuilt, _) => format!(
            "build it with its default features, or fetch it with Hugging Face's own tool: hf download {id}"
        ),
    }
}
