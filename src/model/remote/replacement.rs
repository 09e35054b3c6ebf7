//! Replaced components and LoRAs that may be on the hub. Owns which files of a repository a component needs.
//! Never knows what a component computes.

use std::path::{Path, PathBuf};

use super::model::shards_of;
use super::{HubModel, Replacement};
use crate::error::{Error, Result};
use crate::hub::{MAIN, Repo, RepoRequest, named};
use crate::message;
use crate::model::checkpoint::{check_ending, file_name};
use crate::model::component::{Component, TOKENIZER_FILES};
use crate::model::weight_files::weight_names;
use crate::setting::Setting;

/// A replacement on this machine.
pub(super) struct Located {
    /// The file or the folder.
    pub path: PathBuf,
    /// The address of its page on the hub with the commit, or the file's name without its folder.
    pub name: String,
}

impl HubModel<'_> {
    /// Locates a replaced component or a LoRA. One that is on the hub is fetched.
    ///
    /// # Errors
    /// [`Error::Usage`] or [`Error::Model`] about the replacement's setting, where the hub does not have it.
    pub(super) fn locate(&self, path: &Path, replacement: Replacement) -> Result<Located> {
        self.locate_any(path, replacement).map_err(|error| {
            let setting = replacement.setting;
            error.context(setting.to(path.display())).about(setting)
        })
    }

    fn locate_any(&self, path: &Path, replacement: Replacement) -> Result<Located> {
        let text = path.to_str().filter(|_| !path.exists());
        let Some((name, revision)) = text.and_then(named) else {
            return Ok(Located {
                path: path.to_owned(),
                name: file_name(path),
            });
        };
        let pull = match &revision {
            Some(revision) => format!("{name} --revision {revision}"),
            None => name.to_string(),
        };
        let repo = || {
            self.repo(RepoRequest {
                id: &name.id,
                revision: revision.as_deref().unwrap_or(MAIN),
                offline: self.source.offline,
                // A repository of a component need not be a model, which is all that can be pulled as a whole.
                pull: name.file.as_ref().map(|_| &*pull),
            })
        };
        if let Some(file) = &name.file {
            let repo = repo()?;
            check_ending(Path::new(file))?;
            self.hub.fetch(&repo, std::slice::from_ref(file))?;
            return Ok(Located {
                path: repo.folder.join(file),
                name: name.page(&repo.commit),
            });
        }
        let Some(component) = replacement.component else {
            let example = format!("{}/FILE.safetensors", name.id);
            return Err(Error::usage(
                format!("{} is a repository, not a file", name.id),
                message!["name the file in it: ", Setting::Lora.to(example)],
            ));
        };
        let repo = repo()?;
        let name = name.page(&repo.commit);
        let path = self.fetch_component(repo, component)?;
        Ok(Located { path, name })
    }

    /// Fetches a component's files, and returns the folder of the repository.
    fn fetch_component(&self, repo: Repo, component: Component) -> Result<PathBuf> {
        let wanted = files_of(&repo, component);
        if wanted.is_empty() {
            return Err(Error::model(
                format!("{} has no {}", repo.id, component.folder()),
                "give a repository in diffusers layout, or a .safetensors file of one",
            ));
        }
        self.hub.fetch(&repo, &wanted)?;
        for index in wanted.iter().filter(|path| path.contains(".index.")) {
            self.hub.fetch(&repo, &shards_of(&repo, index)?)?;
        }
        Ok(repo.folder)
    }
}

/// The files of a component, in a model's repository or in a repository of the component alone.
fn files_of(repo: &Repo, component: Component) -> Vec<String> {
    let folder = component.folder();
    let prefixes = [format!("{folder}/"), format!("{folder}_2/"), String::new()];
    let markers = ["config.json", "tokenizer_config.json", "vocab.json"];
    let has_marker = |prefix: &&String| {
        let mut markers = markers.iter();
        markers.any(|marker| repo.has(&format!("{prefix}{marker}")))
    };
    let mut wanted = vec![];
    for prefix in prefixes.iter().filter(has_marker) {
        let small = ["config.json"].iter().chain(&TOKENIZER_FILES);
        let small = small.map(|name| format!("{prefix}{name}"));
        wanted.extend(small.filter(|path| repo.has(path)));
        let Some(stem) = component.weight_stem() else {
            continue;
        };
        let weights = weight_names(stem, None).into_iter();
        let weights: Vec<String> = weights.map(|name| format!("{prefix}{name}")).collect();
        let found = weights.iter().find(|path| repo.has(path));
        // Where only the cache is known, the first name is asked for, so that the error names it.
        let missing = weights.first().filter(|_| !repo.whole);
        wanted.extend(found.or(missing).cloned());
    }
    wanted
}
