//! Models of the hub: which of a repository's files a model needs, fetched and named as files of this
//! machine. What comes out is a [`ModelSource`] that leads nowhere else. Never reads a tensor.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Family, check_ending};
use super::config::Config;
use super::embedded::STORYBOOK;
use super::lora;
use super::mistakes::{are_for_files_here, is_there, mistaken};
use super::pipeline;
use super::source::ModelSource;
use super::weight_files::{
    Component, TEXT, TEXT_2, UNET, VAE, candidates, check_variant, names, shards, variant_of,
};
use crate::error::{Error, Result};
use crate::hub::{Hub, MAIN, Name, Repo, Wanted, alias, is_commit, redirected};

/// What a model is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its configs and tokenizers, to plan with.
    Plan,
    /// Its weights too.
    Weights,
}

/// Where a model of the hub came from: enough to fetch the same again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The commit.
    pub revision: String,
    /// Of its weight files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A source whose parts are all on this machine.
pub struct Located {
    pub source: ModelSource,
    /// What the model is called and where it came from, where that was the hub.
    pub origin: Option<(String, Origin)>,
}

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
/// Of a tokenizer, as far as it has them.
const TOKENIZER: [&str; 5] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

impl Located {
    /// Errors: model, where the hub has no such thing or cannot be asked.
    pub fn new(source: &ModelSource, hub: &dyn Hub, need: Need) -> Result<Self> {
        let mut located = Self {
            source: source.clone(),
            origin: None,
        };
        let hub = Asked { hub, source, need };
        // First what is small and may be mistyped: the model may take an hour.
        let parts = &mut located.source;
        let given = [
            (&mut parts.vae, VAE),
            (&mut parts.text_encoder, TEXT),
            (&mut parts.tokenizer, ("tokenizer", "")),
        ];
        for (path, part) in given {
            if let Some(given) = path {
                *given = hub.part(given, part)?;
                is_there(given, part)?;
            }
        }
        for lora in &mut parts.loras {
            lora.path = hub.part(&lora.path, ("", ""))?;
            lora::check_file(&lora.path)?;
        }
        if let Some((name, revision)) = hub.model()? {
            let (path, origin) = hub.located(&name, &revision)?;
            located.source.model = path.to_string_lossy().into_owned();
            let file = name.file.as_ref().map(|file| format!("/{file}"));
            let id = format!("{}{}", name.id, file.unwrap_or_default());
            located.origin = Some((id, origin));
        } else {
            are_for_files_here(source)?;
        }
        Ok(located)
    }
}

/// What is asked of the hub, and for which model.
struct Asked<'a> {
    hub: &'a dyn Hub,
    source: &'a ModelSource,
    need: Need,
}

impl Asked<'_> {
    /// The model on the hub, and which revision of it; `None` where it is none of the hub.
    fn model(&self) -> Result<Option<(Name, String)>> {
        let model = &*self.source.model;
        if model == STORYBOOK || Path::new(model).exists() {
            return Ok(None);
        }
        // As it is copied from a browser.
        let page = model.strip_prefix("https://huggingface.co/");
        let model = page.map_or(model, |page| page.trim_end_matches('/'));
        let alias = alias(model);
        let named = match alias {
            Some(alias) => Name::parse(&alias.id),
            None => Name::parse(model),
        };
        if let Some(error) = mistaken(model).filter(|_| named.is_none()) {
            return Err(error);
        }
        let revision = self.source.revision.as_deref();
        let usual = alias.map_or(MAIN, |alias| &alias.revision);
        Ok(named.map(|name| (name, revision.unwrap_or(usual).to_owned())))
    }

    fn wanted<'w>(&self, id: &'w str, revision: &'w str) -> Wanted<'w> {
        Wanted {
            id,
            revision,
            offline: self.source.offline,
        }
    }

    /// The repository of a model; of one that is gone the one it went to, unless the cache has it.
    fn repo(&self, id: &str, revision: &str) -> Result<Repo> {
        if let Some((to, line)) = redirected(id) {
            let kept = Wanted {
                offline: true,
                ..self.wanted(id, revision)
            };
            if let Ok(repo) = self.hub.repo(kept) {
                return Ok(repo);
            }
            self.hub.note(&line);
            return self.hub.repo(self.wanted(to, revision));
        }
        self.hub.repo(self.wanted(id, revision))
    }

    /// A commit never changes: where the cache has all of it, the hub need not be asked.
    fn located(&self, name: &Name, revision: &str) -> Result<(PathBuf, Origin)> {
        if is_commit(revision) && !self.source.offline {
            let kept = Wanted {
                offline: true,
                ..self.wanted(&name.id, revision)
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
        let repo = self.repo(&name.id, revision)?;
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
            self.hub.fetch(repo, std::slice::from_ref(file))?;
            return Ok((repo.folder.join(file), origin));
        }
        self.check(repo)?;
        let components = self.components(repo)?;
        let weights = match self.need {
            Need::Weights => self.weights(repo, &components)?,
            Need::Plan => vec![],
        };
        let (indexes, whole): (Vec<_>, Vec<_>) = weights
            .iter()
            .cloned()
            .partition(|path| path.ends_with(".json"));
        self.hub.fetch(repo, &indexes)?;
        let shards: Vec<String> = indexes
            .iter()
            .map(|index| shards_of(repo, index))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let small = small(repo, &components);
        self.hub.fetch(repo, &[small, whole, shards].concat())?;
        let variant = weights.iter().find_map(|path| variant_of(path));
        origin.variant = variant.map(str::to_owned).or(match self.need {
            Need::Plan => self.source.variant.clone(),
            Need::Weights => None,
        });
        Ok((repo.folder.clone(), origin))
    }

    /// That it is a model that can be drawn with, before much is fetched.
    fn check(&self, repo: &Repo) -> Result<()> {
        if repo.whole && !repo.has(INDEX) {
            let files = repo.files.iter().map(|file| &file.path);
            let single: Vec<&String> = files.filter(|p| p.ends_with(".safetensors")).collect();
            let cure = match single.as_slice() {
                [] => "give the id of a Stable Diffusion model in diffusers layout".to_owned(),
                [file] => format!("give its checkpoint: --model {}/{file}", repo.id),
                [first, ..] => format!(
                    "give one of its {} .safetensors files, such as --model {}/{first}",
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
        let elsewhere = |component: &Component| match *component {
            VAE => self.source.vae.is_some(),
            TEXT | TEXT_2 => self.source.text_encoder.is_some(),
            _ => false,
        };
        let own = components.iter().filter(|component| !elsewhere(component));
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

    /// A part of a model, or a LoRA, that may be on the hub.
    fn part(&self, path: &Path, (folder, stem): Component) -> Result<PathBuf> {
        let text = path.to_str().filter(|_| !path.exists());
        let Some(name) = text.and_then(Name::parse) else {
            return Ok(path.to_owned());
        };
        if name.file.is_none() && folder.is_empty() {
            return Err(Error::usage(
                format!("--lora {} is a repository, not a file", name.id),
                format!("name the file in it: --lora {}/FILE.safetensors", name.id),
            ));
        }
        let repo = self.repo(&name.id, MAIN)?;
        if let Some(file) = name.file {
            check_ending(Path::new(&file))?;
            self.hub.fetch(&repo, std::slice::from_ref(&file))?;
            return Ok(repo.folder.join(file));
        }
        // A model's folder, or the part alone.
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
            let weights = names(stem, None).into_iter();
            let mut weights = weights.map(|name| format!("{before}{name}"));
            wanted.extend(weights.find(|path| !stem.is_empty() && repo.has(path)));
        }
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
        Ok(repo.folder)
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
fn shards_of(repo: &Repo, index: &str) -> Result<Vec<String>> {
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

/// The family of a model by its UNet's config alone, where that is there.
pub fn family_of(folder: &Path) -> Option<&'static str> {
    let text = std::fs::read(folder.join("unet/config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    match config.get("cross_attention_dim")?.as_u64()? {
        768 => Some(Family::Sd1.name()),
        1024 => Some(Family::Sd2.name()),
        2048 => Some(Family::Sdxl.name()),
        _ => None,
    }
}
