//! Models of the hub: which of a repository's files a model needs, fetched and named as files of this
//! machine. What comes out is a [`ModelSource`] that leads nowhere else. Never reads a tensor.
//!
//! [`model`] is the model itself, [`part`] what comes from elsewhere.

mod component;
mod model;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{Family, file_name, has_configs};
use super::embedded::STORYBOOK;
use super::lora;
use super::source::{ComponentOverrides, ModelSource};
use super::source_checks::{are_for_files_here, is_there, mistaken, says_one_revision};
use super::weight_files::{Component, TEXT, VAE};
use crate::error::{Error, Result};
use crate::hub::{Hub, MAIN, Name, Repo, RepoRequest, named, redirected};

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
pub struct LocatedModel {
    pub source: ModelSource,
    /// What the model is called and where it came from, where that was the hub.
    pub origin: Option<(String, Origin)>,
    /// What of it is not the model's own.
    pub overrides: ComponentOverrides,
}

/// Of a tokenizer, as far as it has them.
const TOKENIZER: [&str; 5] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

impl LocatedModel {
    /// Errors: model, where the hub has no such thing or cannot be asked.
    pub fn new(source: &ModelSource, hub: &dyn Hub, need: Need) -> Result<Self> {
        let mut located = Self {
            source: source.clone(),
            origin: None,
            overrides: ComponentOverrides::new(),
        };
        let hub = Asked { hub, source, need };
        // First what is small and may be mistyped: the model may take an hour.
        located.find_parts(&hub)?;
        match hub.model()? {
            Some((name, revision)) => {
                let (path, origin) = hub.located(&name, &revision)?;
                located.source.model = path.to_string_lossy().into_owned();
                located.origin = Some((name.to_string(), origin));
            }
            None => are_for_files_here(source)?,
        }
        Ok(located)
    }

    fn find_parts(&mut self, hub: &Asked) -> Result<()> {
        let source = &mut self.source;
        let given = [
            ("vae", &mut source.vae, VAE),
            ("text_encoder", &mut source.text_encoder, TEXT),
            ("tokenizer", &mut source.tokenizer, ("tokenizer", "")),
        ];
        for (flag, path, part) in given {
            if let Some(given) = path {
                let (found, name) = hub.given_part(flag, given, part)?;
                is_there(&found, part)?;
                self.overrides.insert(flag.to_owned(), name);
                *given = found;
            }
        }
        if let Some(config) = &source.config {
            has_configs(config)?;
        }
        let config = source.config.as_deref().map(file_name);
        let prediction = source
            .prediction
            .map(|prediction| prediction.name().to_owned());
        for (flag, value) in [("config", config), ("prediction_type", prediction)] {
            let of_flag = value.map(|value| (flag.to_owned(), value));
            self.overrides.extend(of_flag);
        }
        for lora in &mut source.loras {
            (lora.path, _) = hub.given_part("lora", &lora.path, ("", ""))?;
            lora::check_file(&lora.path)?;
        }
        Ok(())
    }
}

/// What is asked of the hub, and for which model.
struct Asked<'a> {
    hub: &'a dyn Hub,
    source: &'a ModelSource,
    need: Need,
}

impl Asked<'_> {
    /// The same as [`part`](Self::part), whose errors name its flag.
    fn given_part(&self, flag: &str, path: &Path, part: Component) -> Result<(PathBuf, String)> {
        let flag = flag.replace('_', "-");
        let about = |error: Error| error.context(format!("--{flag} {}", path.display()));
        self.part(path, part).map_err(about)
    }

    /// The model on the hub, and which revision of it; `None` where it is none of the hub.
    fn model(&self) -> Result<Option<(Name, String)>> {
        let model = &*self.source.model;
        if model == STORYBOOK || Path::new(model).exists() {
            return Ok(None);
        }
        let Some((name, usual)) = named(model) else {
            return mistaken(model).map_or(Ok(None), Err);
        };
        says_one_revision(model, self.source.revision.as_deref())?;
        let revision = self.source.revision.clone().or(usual);
        Ok(Some((name, revision.unwrap_or_else(|| MAIN.to_owned()))))
    }

    /// The repository of a model; of one that is gone the one it went to, unless the cache has it.
    fn repo(&self, wanted: RepoRequest) -> Result<Repo> {
        let Some((to, line)) = redirected(wanted.id) else {
            return self.hub.repo(wanted);
        };
        let kept = RepoRequest {
            offline: true,
            ..wanted
        };
        if let Ok(repo) = self.hub.repo(kept) {
            return Ok(repo);
        }
        self.hub.note(&line);
        self.hub.repo(RepoRequest { id: to, ..wanted })
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
