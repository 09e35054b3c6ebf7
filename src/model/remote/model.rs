//! The files of a model of the hub: a folder in diffusers layout, or a single file. Owns which of them are fetched
//! for a plan and for a run. Never knows replaced components but by what need not be fetched.

use std::path::{Path, PathBuf};

use super::{HubModel, Need, Origin};
use crate::error::{Error, Result};
use crate::hub::{Name, Repo, RepoRequest, is_commit};
use crate::message;
use crate::model::checkpoint::check_ending;
use crate::model::component::{Component, MODEL_INDEX, TOKENIZER_FILES};
use crate::model::config::Config;
use crate::model::pipeline;
use crate::model::source_checks::variant_of_one_file;
use crate::model::weight_files::{candidates, check_variant, shards_in, variant_of};
use crate::setting::Setting;

impl HubModel<'_> {
    /// The model's folder or file on this machine, and its origin. A commit never changes, so the hub is not asked
    /// for one that the cache has completely.
    pub(super) fn located(&self, name: &Name, revision: &str) -> Result<(PathBuf, Origin)> {
        let pull = self.source.pull_arguments();
        let wanted = RepoRequest {
            id: &name.id,
            revision,
            offline: self.source.offline,
            pull: Some(&pull),
        };
        if is_commit(revision) && !self.source.offline {
            let cached = RepoRequest {
                offline: true,
                ..wanted
            };
            let found = self.hub.repo(cached);
            match found.and_then(|repo| self.fetched(&repo, name)) {
                Ok((path, origin)) if origin.variant == self.source.variant => {
                    return Ok((path, origin));
                }
                _ => {}
            }
        }
        let repo = self.repo(wanted)?;
        self.fetched(&repo, name)
    }

    /// Fetches the folder or the file.
    fn fetched(&self, repo: &Repo, name: &Name) -> Result<(PathBuf, Origin)> {
        let mut origin = Origin {
            revision: repo.commit.clone(),
            variant: None,
        };
        if let Some(file) = &name.file {
            check_ending(Path::new(file))?;
            if self.source.variant.is_some() {
                return Err(variant_of_one_file(&self.source.model));
            }
            self.hub.fetch(repo, std::slice::from_ref(file))?;
            return Ok((repo.folder.join(file), origin));
        }
        self.check(repo)?;
        let components = Self::components(repo);
        // A plan reports missing weights too, where the hub has listed the repository.
        let weights = if self.need == Need::Weights || repo.whole {
            self.weights(repo, &components)?
        } else {
            vec![]
        };
        let needed = weights.iter().filter(|_| self.need == Need::Weights);
        let (indexes, whole): (Vec<_>, Vec<_>) =
            needed.cloned().partition(|path| path.ends_with(".json"));
        self.hub.fetch(repo, &indexes)?;
        let shards: Vec<String> = indexes
            .iter()
            .map(|index| shards_of(repo, index))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let small = small_files(repo, &components);
        self.hub.fetch(repo, &[small, whole, shards].concat())?;
        let variant = weights.iter().find_map(|path| variant_of(path));
        // A plan by the cache alone knows no weight files, so the origin has the variant that the user names.
        let asked = || self.source.variant.clone().filter(|_| weights.is_empty());
        origin.variant = variant.map(str::to_owned).or_else(asked);
        Ok((repo.folder.clone(), origin))
    }

    /// Checks that the repository is a supported model, before large files are fetched.
    fn check(&self, repo: &Repo) -> Result<()> {
        if repo.whole && !repo.has(MODEL_INDEX) {
            let files = repo.files.iter().map(|file| &file.path);
            let single: Vec<&String> = files.filter(|p| p.ends_with(".safetensors")).collect();
            let cure = match single.as_slice() {
                [] => "give the id of a Stable Diffusion model in diffusers layout".to_owned(),
                [file] => format!("give its checkpoint: {}/{file}", repo.id),
                [first, ..] => format!(
                    "give one of its {} .safetensors files, such as {}/{first}",
                    single.len(),
                    repo.id
                ),
            };
            let what = format!(
                "{} is no diffusers folder: it has no model_index.json",
                repo.id
            );
            return Err(Error::model(what, cure));
        }
        self.hub.fetch(repo, &[MODEL_INDEX.to_owned()])?;
        let index = self.index(repo)?;
        pipeline::check(&index, &format!("{} (model_index.json)", repo.id))
    }

    fn index(&self, repo: &Repo) -> Result<Config> {
        let name = format!("{MODEL_INDEX} of {}", repo.id);
        let text = std::fs::read(repo.folder.join(MODEL_INDEX));
        let text =
            text.map_err(|e| Error::model(format!("cannot read {name}: {e}"), "check the disk"))?;
        Config::parse(&name, &text)
    }

    /// The model's components with weights. A second text encoder is one where the repository has its config.
    fn components(repo: &Repo) -> Vec<Component> {
        let config = Component::TextEncoder2.config();
        let has_second = repo.has(&config) || !repo.whole && repo.folder.join(&config).is_file();
        Component::with_weights(has_second)
    }

    /// The weight files of the components that are not replaced.
    fn weights(&self, repo: &Repo, components: &[Component]) -> Result<Vec<String>> {
        let variant = self.source.variant.as_deref();
        let is_replaced = |component: &Component| match component {
            Component::Vae => self.source.vae.is_some(),
            Component::TextEncoder | Component::TextEncoder2 => self.source.text_encoder.is_some(),
            _ => false,
        };
        let own = components
            .iter()
            .filter(|component| !is_replaced(component));
        let mut chosen = vec![];
        for component in own {
            let names = candidates(*component, variant);
            let found = names.iter().find(|name| repo.has(name));
            chosen.push(match found {
                Some(name) => name.clone(),
                // Where only the cache is known, the fetch fails with the error for any missing file.
                None if !repo.whole => {
                    self.hub.fetch(repo, &names[..1])?;
                    names[0].clone()
                }
                None => return Err(no_weights(repo, *component, variant)),
            });
        }
        let names = repo.files.iter().map(|file| &*file.path);
        check_variant(variant, &chosen, names, &repo.id)?;
        Ok(chosen)
    }
}

/// The small files that opening a model needs. Required files are listed even where the repository lacks them, so
/// that the error names them.
fn small_files(repo: &Repo, components: &[Component]) -> Vec<String> {
    let has_second = components.contains(&Component::TextEncoder2);
    let tokenizers = Component::TEXT_ENCODERS.into_iter();
    let tokenizers = tokenizers.filter(|(encoder, _)| components.contains(encoder));
    let tokenizer_files =
        tokenizers.flat_map(|(_, tokenizer)| TOKENIZER_FILES.map(|name| tokenizer.path(name)));
    let optional = tokenizer_files.chain(["p2p.json".to_owned()]);
    let required = [
        Component::Unet,
        Component::Vae,
        Component::TextEncoder,
        Component::Scheduler,
    ];
    let required = required.into_iter();
    let required = required.chain(has_second.then_some(Component::TextEncoder2));
    required
        .map(Component::config)
        .chain(optional.filter(|path| repo.has(path)))
        .collect()
}

/// Paths of the shards that an index names.
///
/// # Errors
/// [`Error::Model`] where the index is damaged.
pub(super) fn shards_of(repo: &Repo, index: &str) -> Result<Vec<String>> {
    let text = std::fs::read(repo.folder.join(index)).ok();
    let names = text.and_then(|text| shards_in(&text)).ok_or_else(|| {
        Error::model(
            format!("{index} of {} names no shards in its own folder", repo.id),
            "the file is damaged on the hub: use another revision or variant",
        )
    })?;
    let (folder, _) = index.rsplit_once('/').unwrap_or(("", index));
    let path = |name: String| match folder {
        "" => name,
        folder => format!("{folder}/{name}"),
    };
    Ok(names.into_iter().map(path).collect())
}

/// The error that a repository has no weight file of a component that can be loaded.
fn no_weights(repo: &Repo, component: Component, variant: Option<&str>) -> Error {
    let (id, folder) = (&repo.id, component.folder());
    let stem = component.weight_stem().unwrap_or_default();
    let paths = || repo.files.iter().map(|file| &*file.path);
    let weights = paths().filter(|path| path.starts_with(&component.path(&format!("{stem}."))));
    let variants: Vec<&str> = weights.filter_map(variant_of).collect();
    let has_ending = |ending: &str| {
        let mut inside = paths().filter(|path| path.starts_with(&format!("{folder}/")));
        inside.any(|path| path.ends_with(ending))
    };
    let others = [".bin", ".ckpt", ".pt", ".msgpack"];
    if variants.is_empty() && others.into_iter().any(has_ending) {
        return Error::model(
            format!(
                "{id} has the weights of its {folder} only as a pickle or for Flax; p2p loads only .safetensors, \
                 which cannot run code"
            ),
            "use another revision or a copy that has them, or convert it: in Python, load the pipeline and \
             save_pretrained(.., safe_serialization=True)",
        );
    }
    match (variants.as_slice(), variant) {
        ([], _) => Error::model(
            format!("{id} has no weights of its {folder}"),
            "give a model in diffusers layout, with unet/, vae/ and text_encoder/",
        ),
        (variants, Some(variant)) => {
            let has = format!("it has {}: name one with ", variants.join(", "));
            let cause = format!("{id} has no variant {variant}");
            Error::model(cause, message![has, Setting::Variant]).about(Setting::Variant)
        }
        (variants, None) => {
            let names = variants.iter().map(|variant| Setting::Variant.to(variant));
            let mut cure = crate::message::Message::from("name one: ");
            for (i, name) in names.enumerate() {
                cure = cure.then(if i > 0 { " or " } else { "" }).then(name);
            }
            let cause = format!("{id} has weights of its {folder} only as variants");
            Error::model(cause, cure).about(Setting::Variant)
        }
    }
}
