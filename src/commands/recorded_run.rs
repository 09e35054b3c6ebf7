//! A picture that is to be drawn again: what it records, and the model that drew it, as far as that can be had.

use std::path::{Path, PathBuf};

use prompt_to_prompt::device::DtypeChoice;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::hub::Name;
use prompt_to_prompt::job::ModelId;
use prompt_to_prompt::kernels::family;
use prompt_to_prompt::metadata::{Metadata, PictureMetadata, PixelDifference};
use prompt_to_prompt::model::{
    LoraId, LoraSource, ModelFolder, ModelSource, Need, Origin, Prediction, STORYBOOK,
};
use prompt_to_prompt::report::console::Console;
use prompt_to_prompt::setting::Setting;

use super::info::PictureFile;
use super::open::open;
use crate::cli::{KeyValues, Order, Repeat, RepeatArgs, Vocabulary};

/// Its metadata, and what draws it again.
pub struct RecordedRun {
    pub name: String,
    pub bytes: Vec<u8>,
    pub metadata: Metadata,
    pub order: Order,
    pub model: ModelSource,
    /// Whether the user names the model.
    model_named: bool,
    /// Whether the user names it, or something of it: then another may be meant.
    is_another_meant: bool,
}

impl RecordedRun {
    pub fn new(args: &RepeatArgs, changes: &[String], no_metadata: bool) -> Result<Self> {
        let picture = PictureFile::open(&args.file)?;
        let name = args.file.display().to_string();
        let metadata = match picture.found {
            PictureMetadata::Ours(metadata) => *metadata,
            PictureMetadata::Foreign(foreign) => {
                return Err(Error::usage(
                    format!("{name} was drawn by {}, not by p2p", foreign.tool),
                    "`p2p info` shows its prompt, to be used with `p2p edit --src`",
                ));
            }
        };
        let order = order(args, &metadata, changes, no_metadata);
        let order = order.map_err(|(cause, cure)| Error::usage(cause, cure))?;
        // A picture tells no path: what its model was put together from is said again.
        let drawn = &order.args.job.picture;
        let mut model = args.parts.or(&drawn.parts).source(&drawn.model.0);
        let model_named = args.model.is_some() || model.model != STORYBOOK;
        let is_another_meant = model_named || names_something(&model);
        if let Some(origin) = metadata.model.origin.as_ref().filter(|_| !model_named) {
            take_origin(&mut model, &metadata.model, origin);
        }
        // What records no other was drawn in f32, whatever is usual here.
        if model.compute.dtype == DtypeChoice::Auto {
            model.compute.dtype = DtypeChoice::F32;
        }
        Ok(Self {
            model_named,
            is_another_meant,
            model,
            bytes: picture.bytes,
            name,
            metadata,
            order,
        })
    }

    /// The model, which is the one that drew the picture unless the user says otherwise.
    pub fn folder(&self, console: &Console) -> Result<ModelFolder> {
        let Self { name, metadata, .. } = self;
        let id = &metadata.model.id;
        if self.model.model == STORYBOOK && !self.model_named && id != STORYBOOK {
            return Err(Error::model(
                format!("{name} was drawn by the model \"{id}\", which is not the embedded one"),
                "give its folder or file with --model PATH",
            ));
        }
        let lacking = self.lacking().join(" ");
        let folder = open(&self.model, Need::Weights, console);
        let folder = folder.inspect_err(|_| {
            if !lacking.is_empty() {
                console.warn(format!("{name} was drawn with {lacking}"));
            }
        })?;
        let (weights, configs) = folder.hashes()?;
        let of_lora = |lora: &LoraId| (lora.sha256.clone(), lora.scale);
        let (drawn, here) = (metadata.model.loras.iter(), folder.loras().iter());
        let same_loras = drawn.map(of_lora).eq(here.map(of_lora));
        let differing = match (
            weights == metadata.model.weights_sha256,
            configs == metadata.model.configs_sha256,
            same_loras,
        ) {
            (true, true, true) => None,
            (false, ..) => Some("weights"),
            (true, false, _) => Some("configs"),
            (true, true, false) => Some("LoRAs"),
        };
        if let Some(what) = differing {
            self.excuse(what, &lacking)?;
            let with = match &*lacking {
                "" => String::new(),
                lacking => format!("; it was drawn with {lacking}"),
            };
            console.warn(format!(
                "this is not the model that drew {name}: its {what} differ{with}"
            ));
        }
        if let Some(how) = metadata.drawn_otherwise(family(&folder.compute)) {
            console.warn(format!("{name}: {how}; the bytes may differ"));
        }
        Ok(folder)
    }

    /// That another model than the one that drew the picture is meant.
    ///
    /// Errors: model, where it seems not to be.
    fn excuse(&self, what: &str, lacking: &str) -> Result<()> {
        let Self { name, metadata, .. } = self;
        let id = &metadata.model.id;
        // Whoever names another model may mean it; a LoRA is rather forgotten.
        if !lacking.is_empty() && (!self.model_named || what == "LoRAs") {
            return Err(Error::model(
                format!("{name} was drawn with {lacking}"),
                format!("give it with {lacking}; of files here only the names are known"),
            ));
        }
        if self.is_another_meant {
            return Ok(());
        }
        let (cause, cure) = match &metadata.model.origin {
            None => (
                format!("{name} was drawn by another \"{id}\": its {what} differ"),
                "give that model with --model PATH, or --model storybook to draw it with this one all the same"
                    .to_owned(),
            ),
            Some(_) => (
                format!("{name} was drawn by {id}, but its {what} differ from those that drew it"),
                format!("p2p models pull {} checks the copy in the cache", self.model.pull_arguments()),
            ),
        };
        Err(Error::model(cause, cure))
    }

    /// Flags that the picture was drawn with, and that are not given.
    fn lacking(&self) -> Vec<String> {
        let (drawn, model) = (&self.metadata.model, &self.model);
        let given = |flag: &str| match flag {
            "vae" => model.vae.is_some(),
            "text_encoder" => model.text_encoder.is_some(),
            "tokenizer" => model.tokenizer.is_some(),
            "config" => model.config.is_some(),
            _ => model.prediction.is_some(),
        };
        let overrides = drawn.overrides.iter().filter(|(flag, _)| !given(flag));
        let overrides =
            overrides.map(|(flag, from)| format!("--{} {from}", flag.replace('_', "-")));
        let loras = drawn.loras.iter().filter(|_| model.loras.is_empty());
        overrides
            .chain(loras.map(|lora| format!("--lora {lora}")))
            .collect()
    }

    pub fn differs(&self, difference: &PixelDifference, folder: &ModelFolder) -> Error {
        let ([red, green, blue], (differing, all)) = (difference.largest, difference.bytes);
        let cause = format!(
            "{} does not reproduce: it is off by at most {red} red, {green} green, {blue} blue of 255, \
             in {differing} of its {all} bytes",
            self.name,
        );
        let cure = self.metadata.drawn_otherwise(family(&folder.compute));
        let changed = "its pixels were changed after it was drawn, or another model drew them";
        Error::run(cause, cure.unwrap_or_else(|| changed.to_owned()))
    }
}

/// Whether a user says which of a model's files, or what of it is to come from elsewhere.
fn names_something(model: &ModelSource) -> bool {
    let ModelSource {
        revision,
        variant,
        config,
        vae,
        text_encoder,
        tokenizer,
        prediction,
        loras,
        ..
    } = model;
    let texts = [revision, variant].into_iter().any(Option::is_some);
    let paths = [config, vae, text_encoder, tokenizer];
    let paths = paths.into_iter().any(Option::is_some);
    texts || paths || prediction.is_some() || !loras.is_empty()
}

/// The hub has a model as it was when it drew, whatever it has become; so with what came from elsewhere there.
fn take_origin(model: &mut ModelSource, drawn: &ModelId, origin: &Origin) {
    // A folder here that is called the same is another.
    let here = Path::new(&drawn.id).exists();
    let name = Name::parse(&drawn.id).filter(|_| here);
    let revision = || origin.revision.clone();
    let revision = model.revision.get_or_insert_with(revision);
    model.model = name.map_or_else(|| drawn.id.clone(), |name| name.page(revision));
    model.variant = model.variant.take().or_else(|| origin.variant.clone());
    let of_hub = |address: &str| Name::of_page(address).map(|_| PathBuf::from(address));
    let part = |flag: &str| drawn.overrides.get(flag).and_then(|name| of_hub(name));
    model.vae = model.vae.take().or_else(|| part("vae"));
    model.text_encoder = model.text_encoder.take().or_else(|| part("text_encoder"));
    model.tokenizer = model.tokenizer.take().or_else(|| part("tokenizer"));
    let predicts = drawn.overrides.get("prediction_type");
    let predicts = predicts.and_then(|name| Prediction::named(name));
    model.prediction = model.prediction.or(predicts);
    let lora = |lora: &LoraId| {
        let path = of_hub(&lora.name)?;
        let scale = lora.scale;
        Some(LoraSource { path, scale })
    };
    let loras: Option<Vec<LoraSource>> = drawn.loras.iter().map(lora).collect();
    if let Some(loras) = loras.filter(|_| model.loras.is_empty()) {
        model.loras = loras;
    }
}

fn order(
    args: &RepeatArgs,
    metadata: &Metadata,
    changes: &[String],
    no_metadata: bool,
) -> std::result::Result<Order, (String, String)> {
    let vocabulary = Vocabulary::new();
    let mut flags = KeyValues::new();
    flags.extend(
        args.model
            .as_ref()
            .map(|model| vocabulary.given(Setting::Model, model)),
    );
    flags.extend(no_metadata.then(|| vocabulary.given(Setting::Metadata, "")));
    let mut repeat = Repeat::new(&metadata.settings, &vocabulary)?.with(&flags);
    changes.iter().try_for_each(|text| repeat.set(text))?;
    let order = repeat.order();
    order.map_err(|problem| (problem.cause, problem.cure))
}
