//! Parts of a model that come from elsewhere, and LoRAs.

use std::path::{Path, PathBuf};

use super::model::shards_of;
use super::{Asked, TOKENIZER};
use crate::error::{Error, Result};
use crate::hub::{MAIN, Repo, RepoRequest, named};
use crate::model::checkpoint::{check_ending, file_name};
use crate::model::weight_files::{Component, names};

impl Asked<'_> {
    /// A part of a model, or a LoRA, that may be on the hub.
    /// Its path here, and what it is called: the address of its page, as of its commit, else the name of its file.
    pub(super) fn part(&self, path: &Path, (folder, stem): Component) -> Result<(PathBuf, String)> {
        let text = path.to_str().filter(|_| !path.exists());
        let Some((name, revision)) = text.and_then(named) else {
            return Ok((path.to_owned(), file_name(path)));
        };
        let asked = match &revision {
            Some(revision) => format!("{name} --revision {revision}"),
            None => name.to_string(),
        };
        if name.file.is_none() && folder.is_empty() {
            return Err(Error::usage(
                format!("{} is a repository, not a file", name.id),
                format!("name the file in it: --lora {}/FILE.safetensors", name.id),
            ));
        }
        let repo = self.repo(RepoRequest {
            id: &name.id,
            revision: revision.as_deref().unwrap_or(MAIN),
            offline: self.source.offline,
            // A part need not be a model.
            pull: name.file.as_ref().map(|_| &*asked),
        })?;
        let called = name.page(&repo.commit);
        if let Some(file) = name.file {
            check_ending(Path::new(&file))?;
            self.hub.fetch(&repo, std::slice::from_ref(&file))?;
            return Ok((repo.folder.join(file), called));
        }
        let wanted = of_part(&repo, (folder, stem));
        if wanted.is_empty() {
            return Err(Error::model(
                format!("{} has no {folder}", repo.id),
                "give a repository in diffusers layout, or a .safetensors file of one",
            ));
        }
        self.hub.fetch(&repo, &wanted)?;
        for index in wanted.iter().filter(|path| path.contains(".index.")) {
            self.hub.fetch(&repo, &shards_of(&repo, index)?)?;
        }
        Ok((repo.folder, called))
    }
}

/// The files of a part: of a model's folder, or of a repository that is the part alone.
fn of_part(repo: &Repo, (folder, stem): Component) -> Vec<String> {
    let within = |folder: &str| match folder {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let marks = ["config.json", "tokenizer_config.json", "vocab.json"];
    let folders = [folder, &format!("{folder}_2"), ""].map(within);
    let there = |before: &&String| {
        marks
            .iter()
            .any(|mark| repo.has(&format!("{before}{mark}")))
    };
    let of_it = folders.iter().filter(there);
    let mut wanted = vec![];
    for before in of_it {
        let small = marks[..1].iter().chain(&TOKENIZER);
        let small = small.map(|name| format!("{before}{name}"));
        wanted.extend(small.filter(|path| repo.has(path)));
        if stem.is_empty() {
            continue;
        }
        let weights = names(stem, None).into_iter();
        let weights: Vec<String> = weights.map(|name| format!("{before}{name}")).collect();
        // By the cache alone it is missed by its name.
        let missing = weights.first().filter(|_| !repo.whole);
        wanted.extend(
            weights
                .iter()
                .find(|path| repo.has(path))
                .or(missing)
                .cloned(),
        );
    }
    wanted
}
