//! A picture to draw again: its recorded settings, and the model that drew it. Owns how that model is found and
//! compared with the one that is opened; it must never draw.

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
use crate::cli::{JobRequest, KeyValues, Repeat, RepeatArgs, Vocabulary};

/// A recorded picture, and the request that draws it again.
pub struct RecordedRun {
    /// The path of the picture, for messages.
    pub name: String,
    /// The bytes of the picture's file.
    pub bytes: Vec<u8>,
    /// The picture's metadata.
    pub metadata: Metadata,
    /// The job that draws the picture again.
    pub request: JobRequest,
    /// The model to draw with.
    pub model: ModelSource,
    /// Whether the user named the model.
    model_named: bool,
    /// Whether the user named the model or one of its components, and so may want a different model.
    is_another_meant: bool,
}

impl RecordedRun {
    /// Reads a picture and applies `changes`, each `KEY=VALUE`.
    ///
    /// # Errors
    /// A usage error if p2p did not draw the picture, or if a change is not valid.
    pub fn new(args: &RepeatArgs, changes: &[String], no_metadata: bool) -> Result<Self> {
        let picture = PictureFile::open(&args.file)?;
        let name = args.file.display().to_string();
        let metadata = match picture.found {
            PictureMetadata::Ours(metadata) => *metadata,
            PictureMetadata::Foreign(foreign) => {
                return Err(Error::usage(
                    format!("{name} was drawn by {}, not by p2p", foreign.tool),
                    "`p2p info` shows its prompt, which you can use with `p2p edit --src`",
                ));
            }
        };
        let request = job_request(args, &metadata, changes, no_metadata);
        let request = request.map_err(|(cause, cure)| Error::usage(cause, cure))?;
        // Metadata has no local paths, so the user must give local components again.
        let drawn = &request.args.job.picture;
        let mut model = args.parts.or(&drawn.parts).source(&drawn.model.0);
        let model_named = args.model.is_some() || model.model != STORYBOOK;
        let is_another_meant = model_named || names_something(&model);
        if let Some(origin) = metadata.model.origin.as_ref().filter(|_| !model_named) {
            take_origin(&mut model, &metadata.model, origin);
        }
        // Metadata records a dtype only if it is not f32, so the default of this machine does not apply.
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
            request,
        })
    }

    /// Opens the model, and compares it with the one that drew the picture.
    ///
    /// # Errors
    /// A model error if the model is not available, or if it is another one and the user did not ask for that.
    pub fn folder(&self, console: &Console) -> Result<ModelFolder> {
        let Self { name, metadata, .. } = self;
        let id = &metadata.model.id;
        if self.model.model == STORYBOOK && !self.model_named && id != STORYBOOK {
            return Err(Error::model(
                format!("{name} was drawn by the model \"{id}\", which is not the embedded one"),
                "give its folder or file with --model PATH",
            ));
        }
        let missing_flags = self.missing_flags().join(" ");
        let folder = open(&self.model, Need::Weights, console);
        let folder = folder.inspect_err(|_| {
            if !missing_flags.is_empty() {
                console.warn(format!("{name} was drawn with {missing_flags}"));
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
            self.check_difference_allowed(what, &missing_flags)?;
            let with = match &*missing_flags {
                "" => String::new(),
                missing_flags => format!("; it was drawn with {missing_flags}"),
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

    /// Checks whether the user may want a model that differs from the recorded one in `what`.
    ///
    /// # Errors
    /// A model error if the user most likely wants the recorded model.
    fn check_difference_allowed(&self, what: &str, missing_flags: &str) -> Result<()> {
        let Self { name, metadata, .. } = self;
        let id = &metadata.model.id;
        // A user who names another model may want it. A missing LoRA was most likely forgotten.
        if !missing_flags.is_empty() && (!self.model_named || what == "LoRAs") {
            return Err(Error::model(
                format!("{name} was drawn with {missing_flags}"),
                format!("give it with {missing_flags}; of files here only the names are known"),
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

    /// The flags that the picture was drawn with and that are not given now.
    fn missing_flags(&self) -> Vec<String> {
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

    /// The error for a picture that was drawn again with other pixels.
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

/// Whether a source names a revision, a variant, a component or a LoRA.
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

/// Sets the model, revision, components and LoRAs that the metadata records. The hub keeps every revision, so the model
/// is the one that drew the picture even if it has changed since.
fn take_origin(model: &mut ModelSource, drawn: &ModelId, origin: &Origin) {
    // A local folder of the same name is a different model, so the full address is used.
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

/// The job that draws the picture again, with the changes.
fn job_request(
    args: &RepeatArgs,
    metadata: &Metadata,
    changes: &[String],
    no_metadata: bool,
) -> std::result::Result<JobRequest, (String, String)> {
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
    let request = repeat.job_request();
    request.map_err(|problem| (problem.cause, problem.cure))
}
