//! The hub as far as the cache has it. Opens no connection.

use super::cache::Cache;
use super::watch::Watch;
use super::{Away, Hub, Repo, Wanted};
use crate::error::{Error, Result};

pub struct Kept<'a> {
    pub cache: Cache,
    /// The variable that keeps us from the network.
    offline: Option<&'static str>,
    watch: &'a dyn Watch,
}

impl<'a> Kept<'a> {
    pub fn new(cache: Cache, offline: Option<&'static str>, watch: &'a dyn Watch) -> Self {
        Self {
            cache,
            offline,
            watch,
        }
    }

    /// Whether, and why, the network is not to be used.
    pub fn kept_from(&self, wanted: Wanted) -> Option<Away> {
        match (wanted.offline, self.offline) {
            (true, _) => Some(Away::Flag),
            (_, Some(variable)) => Some(Away::Variable(variable)),
            _ => None,
        }
    }

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
            return Err(missing(&what, id, &away));
        };
        Ok(Repo {
            files: self.cache.files(id, &commit),
            whole: false,
            folder: self.cache.snapshot(id, &commit),
            id: id.to_owned(),
            commit,
            away: Some(away),
        })
    }

    /// Errors: model, for the first file that is not there.
    pub fn all_there(&self, repo: &Repo, paths: &[String], away: &Away) -> Result<()> {
        let lacking = paths.iter().find(|path| !repo.folder.join(path).is_file());
        lacking.map_or(Ok(()), |path| {
            let what = format!("{path} of {} is not in the cache", repo.id);
            Err(missing(&what, &repo.id, away))
        })
    }
}

impl Hub for Kept<'_> {
    fn repo(&self, wanted: Wanted) -> Result<Repo> {
        let away = self.kept_from(wanted).unwrap_or(Away::NotBuilt);
        self.repo_because(wanted, away)
    }

    fn fetch(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        let away = repo.away.clone().unwrap_or(Away::NotBuilt);
        self.all_there(repo, paths, &away)
    }

    fn note(&self, line: &str) {
        self.watch.note(line);
    }
}

fn missing(what: &str, id: &str, away: &Away) -> Error {
    match away {
        Away::Flag => Error::model(
            format!("{what}, and --offline keeps p2p from the network"),
            format!("fetch it once: p2p models pull {id}"),
        ),
        Away::Variable(name) => Error::model(
            format!("{what}, and {name} keeps p2p from the network"),
            format!("fetch it once: {name}=0 p2p models pull {id}"),
        ),
        Away::Silent(cause, cure) => Error::model(format!("{what}, and {cause}"), cure.clone()),
        Away::NotBuilt => Error::model(
            format!("{what}, and this p2p was built without the feature `hub`"),
            format!(
                "build it with its default features, or fetch it with Hugging Face's own tool: hf download {id}"
            ),
        ),
    }
}
