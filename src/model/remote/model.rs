//! The model itself: a folder in diffusers layout, or a single file.

use std::path::{Path, PathBuf};

use super::{Asked, Need, Origin, TOKENIZER};
use crate::error::{Error, Result};
use crate::hub::{Name, Repo, RepoRequest, is_commit};
use crate::model::checkpoint::check_ending;
use crate::model::config::Config;
use crate::model::pipeline;
use crate::model::source_checks::of_one_file;
use crate::model::weight_files::{
    Component, TEXT, TEXT_2, UNET, VAE, candidates, check_variant, shards, variant_of,
};

const INDEX: &str = "model_index.json";
/// Small files of a model with one text encoder.
const SMALL: [&str; 4] = [
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
];
/// Of a second one besides.
const SMALL_2: &str = "text_encoder_2/config.json";
impl Asked<'_> {
    /// A commit never changes: where the cache has all of it, the hub need not be asked.
    pub(super) fn located(&self, name: &Name, revision: &str) -> Result<(PathBuf, Origin)> {
        let pull = self.source.pull();
        let wanted = RepoRequest {
            id: &name.id,
            revision,
            offline: self.source.offline,
            pull: Some(&pull),
        };
        if is_commit(revision) && !self.source.offline {
            let kept = RepoRequest {
                offline: true,
                ..wanted
            };
            let found = self
                .hub
                .repo(kept)
                .and_then(|repo| self.fetched(&repo, name));
            match found {
                Ok(found) if found.1.variant == self.source.variant => return Ok(found),
                _ => {}
            }
        }
        let repo = self.repo(wanted)?;
        self.fetched(&repo, name)
    }

    /// The folder or the file, all there.
    fn fetched(&self, repo: &Repo, name: &Name) -> Result<(PathBuf, Origin)> {
        let mut origin = Origin {
            revision: repo.commit.clone(),
            variant: None,
        };
        if let Some(file) = &name.file {
            check_ending(Path::new(file))?;
            if self.source.variant.is_some() {
                return Err(of_one_file("--variant", &self.source.model));
            }
            self.hub.fetch(repo, std::slice::from_ref(file))?;
            return Ok((repo.folder.join(file), origin));
        }
        self.check(repo)?;
        let components = self.components(repo)?;
        // What is missing shows in a plan too, where the hub has listed its files.
        let weights = match self.need == Need::Weights || repo.whole {
            true => self.weights(repo, &components)?,
            false => vec![],
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
        let small = small(repo, &components);
        self.hub.fetch(repo, &[small, whole, shards].concat())?;
        let variant = weights.iter().find_map(|path| variant_of(path));
        // Of a plan by the cache alone it is what is asked for.
        let asked = || self.source.variant.clone().filter(|_| weights.is_empty());
        origin.variant = variant.map(str::to_owned).or_else(asked);
        Ok((repo.folder.clone(), origin))
    }

    /// That it is a model that can be drawn with, before much is fetched.
    fn check(&self, repo: &Repo) -> Result<()> {
        if repo.whole && !repo.has(INDEX) {
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
                "{} has no model_index.json: it is no diffusers folder",
                repo.id
            );
            return Err(Error::model(what, cure));
        }
        self.hub.fetch(repo, &[INDEX.to_owned()])?;
        let index = self.index(repo)?;
        pipeline::check(&index, &format!("{} (model_index.json)", repo.id))
    }

    fn index(&self, repo: &Repo) -> Result<Config> {
        let name = format!("{INDEX} of {}", repo.id);
        let text = std::fs::read(repo.folder.join(INDEX));
        let text =
            text.map_err(|e| Error::model(format!("cannot read {name}: {e}"), "check the disk"))?;
        Config::parse(&name, &text)
    }

    /// What it is made of: a second text encoder where its index and its files have one.
    fn components(&self, repo: &Repo) -> Result<Vec<Component>> {
        let second = repo.has(SMALL_2) || !repo.whole && repo.folder.join(SMALL_2).is_file();
        Ok(match second {
            true => vec![UNET, VAE, TEXT, TEXT_2],
            false => vec![UNET, VAE, TEXT],
        })
    }

    /// The weight files of those components that don't come from elsewhere.
    fn weights(&self, repo: &Repo, components: &[Component]) -> Result<Vec<String>> {
        let variant = self.source.variant.as_deref();
        let overridden = |component: &Component| match *component {
            VAE => self.source.vae.is_some(),
            TEXT | TEXT_2 => self.source.text_encoder.is_some(),
            _ => false,
        };
        let own = components.iter().filter(|component| !overridden(component));
        let mut chosen = vec![];
        for component in own {
            let names = candidates(*component, variant);
            let found = names.iter().find(|name| repo.has(name));
            chosen.push(match found {
                Some(name) => name.clone(),
                // The hub is not asked: what is missing is said as for any other file.
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

/// The small files that a model is opened with.
fn small(repo: &Repo, components: &[Component]) -> Vec<String> {
    let second = components.contains(&TEXT_2);
    let tokenizers = ["tokenizer", "tokenizer_2"];
    let tokenizers = tokenizers.into_iter().take(if second { 2 } else { 1 });
    let tokenizer = tokenizers.flat_map(|folder| TOKENIZER.map(|name| format!("{folder}/{name}")));
    let there = tokenizer.chain(["p2p.json".to_owned()]);
    let there = there.filter(|path| repo.has(path));
    // What must be there is asked for in any case, to be missed by its name.
    let needed = SMALL.iter().chain(Some(&SMALL_2).filter(|_| second));
    needed.map(|path| (*path).to_owned()).chain(there).collect()
}

/// The shards that an index names, in its folder.
pub(super) fn shards_of(repo: &Repo, index: &str) -> Result<Vec<String>> {
    let text = std::fs::read(repo.folder.join(index)).ok();
    let names = text.and_then(|text| shards(&text)).ok_or_else(|| {
        Error::model(
            format!("{index} of {} names no shards beside it", repo.id),
            "it is broken on the hub: take another revision or variant",
        )
    })?;
    let (folder, _) = index.rsplit_once('/').unwrap_or(("", index));
    let path = |name: String| match folder {
        "" => name,
        folder => format!("{folder}/{name}"),
    };
    Ok(names.into_iter().map(path).collect())
}

fn no_weights(repo: &Repo, (folder, stem): Component, variant: Option<&str>) -> Error {
    let others: Vec<&str> = repo
        .files
        .iter()
        .filter(|file| file.path.starts_with(&format!("{folder}/{stem}.")))
        .filter_map(|file| variant_of(&file.path))
        .collect();
    let inside = |ending: &str| {
        let of_folder = repo.files.iter().map(|file| &file.path);
        let mut of_folder = of_folder.filter(|path| path.starts_with(&format!("{folder}/")));
        of_folder.any(|path| path.ends_with(ending))
    };
    if others.is_empty() && [".bin", ".ckpt", ".pt", ".msgpack"].into_iter().any(inside) {
        return Error::model(
            format!(
                "{} has the weights of its {folder} only as a pickle or for Flax; p2p loads .safetensors alone, \
                 which cannot run code",
                repo.id
            ),
            "take another revision or a copy that has them, or convert it: in Python, load the pipeline and \
             save_pretrained(.., safe_serialization=True)",
        );
    }
    match (others.as_slice(), variant) {
        ([], _) => Error::model(
            format!("{} has no weights of its {folder}", repo.id),
            "give a model in diffusers layout, with unet/, vae/ and text_encoder/",
        ),
        (others, Some(variant)) => Error::model(
            format!("{} has no variant {variant}", repo.id),
            format!("it has {}: name one with --variant", others.join(", ")),
        ),
        (others, None) => Error::model(
            format!("{} has weights of its {folder} only as variants", repo.id),
            format!("name one: --variant {}", others.join(" or --variant ")),
        ),
    }
}
