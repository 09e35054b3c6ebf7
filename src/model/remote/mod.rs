//! Models of the hub: which files of a repository a model needs. The result is a [`ModelSource`] whose paths are
//! all on this machine. Never reads a tensor.
//!
//! [`model`] owns the model itself, [`replacement`] the replaced components and LoRAs.

mod model;
mod replacement;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Family, check_configs, file_name};
use super::component::Component;
use super::embedded::STORYBOOK;
use super::lora;
use super::source::{ComponentOverrides, ModelSource};
use super::source_checks::{check_local, check_one_revision, check_replacement, misspelt_model};
use crate::error::Result;
use crate::hub::{Hub, MAIN, Name, Repo, RepoRequest, named, redirected};
use crate::setting::Setting;

/// What a model is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Planning, which needs configs and tokenizers.
    Plan,
    /// Drawing, which needs weights too.
    Weights,
}

/// Where a model of the hub came from: enough to fetch the same files again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The commit.
    pub revision: String,
    /// The variant of the weight files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A source whose paths are all on this machine.
pub struct LocatedModel {
    /// The source.
    pub source: ModelSource,
    /// The id and the origin of a model of the hub.
    pub origin: Option<(String, Origin)>,
    /// The components that do not come from the model itself.
    pub overrides: ComponentOverrides,
}

/// What a user can replace or add.
#[derive(Debug, Clone, Copy)]
struct Replacement {
    /// The setting that names it.
    setting: Setting,
    /// The component. `None` for a LoRA.
    component: Option<Component>,
}

impl LocatedModel {
    /// Finds all files of a source, and fetches those that are on the hub.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) about a setting that leads nowhere;
    /// [`Error::Model`](crate::error::Error::Model) where the hub does not deliver a file.
    pub fn new(source: &ModelSource, hub: &dyn Hub, need: Need) -> Result<Self> {
        let mut located = Self {
            source: source.clone(),
            origin: None,
            overrides: ComponentOverrides::new(),
        };
        let hub = HubModel { hub, source, need };
        // Replacements are small and easily mistyped, the model may take an hour.
        located.locate_replacements(&hub)?;
        match hub.model()? {
            Some((name, revision)) => {
                let (path, origin) = hub.located(&name, &revision)?;
                located.source.model = path.to_string_lossy().into_owned();
                located.origin = Some((name.to_string(), origin));
            }
            None => check_local(source)?,
        }
        Ok(located)
    }

    fn locate_replacements(&mut self, hub: &HubModel) -> Result<()> {
        let source = &mut self.source;
        let replaced = [
            (Setting::Vae, Component::Vae, &mut source.vae),
            (
                Setting::TextEncoder,
                Component::TextEncoder,
                &mut source.text_encoder,
            ),
            (
                Setting::Tokenizer,
                Component::Tokenizer,
                &mut source.tokenizer,
            ),
        ];
        for (setting, component, path) in replaced {
            let replacement = Replacement {
                setting,
                component: Some(component),
            };
            if let Some(path) = path {
                let found = hub.locate(path, replacement)?;
                check_replacement(&found.path, setting)?;
                self.overrides.insert(setting.name().to_owned(), found.name);
                *path = found.path;
            }
        }
        if let Some(config) = &source.config {
            check_configs(config)?;
        }
        let config = source.config.as_deref().map(file_name);
        let prediction = source
            .prediction
            .map(|prediction| prediction.name().to_owned());
        for (setting, value) in [
            (Setting::Config, config),
            (Setting::PredictionType, prediction),
        ] {
            let named = value.map(|value| (setting.name().to_owned(), value));
            self.overrides.extend(named);
        }
        let lora = Replacement {
            setting: Setting::Lora,
            component: None,
        };
        for source in &mut source.loras {
            source.path = hub.locate(&source.path, lora)?.path;
            lora::check_file(&source.path)?;
        }
        Ok(())
    }
}

/// A hub, and the source that is looked up there.
struct HubModel<'a> {
    hub: &'a dyn Hub,
    source: &'a ModelSource,
    need: Need,
}

impl HubModel<'_> {
    /// The model's name on the hub, and the revision. `None` for a model on this machine.
    fn model(&self) -> Result<Option<(Name, String)>> {
        let model = &*self.source.model;
        if model == STORYBOOK || Path::new(model).exists() {
            return Ok(None);
        }
        let Some((name, default_revision)) = named(model) else {
            return misspelt_model(model).map_or(Ok(None), Err);
        };
        check_one_revision(model, self.source.revision.as_deref())?;
        let revision = self.source.revision.clone().or(default_revision);
        Ok(Some((name, revision.unwrap_or_else(|| MAIN.to_owned()))))
    }

    /// A repository. Where the hub no longer has it, that is the repository that replaced it, unless the cache has
    /// the old one.
    fn repo(&self, wanted: RepoRequest) -> Result<Repo> {
        let Some((to, line)) = redirected(wanted.id) else {
            return self.hub.repo(wanted);
        };
        let cached = RepoRequest {
            offline: true,
            ..wanted
        };
        if let Ok(repo) = self.hub.repo(cached) {
            return Ok(repo);
        }
        self.hub.note(&line);
        self.hub.repo(RepoRequest { id: to, ..wanted })
    }
}

/// The family of a diffusers folder, told from the UNet's config. `None` where the config is missing or of
/// another family.
pub fn family_of(folder: &Path) -> Option<&'static str> {
    let text = std::fs::read(folder.join(Component::Unet.config())).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    match config.get("cross_attention_dim")?.as_u64()? {
        768 => Some(Family::Sd1.name()),
        1024 => Some(Family::Sd2.name()),
        2048 => Some(Family::Sdxl.name()),
        _ => None,
    }
}
