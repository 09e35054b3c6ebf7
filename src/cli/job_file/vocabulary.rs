//! The keys of a job file. They are made from the flags of `p2p edit`, so that the two cannot differ: a key is the
//! flag's long name with underscores, a switch has its positive name (`metadata` for `--no-metadata`), and the type
//! of the flag's value says what the key's value looks like. Owns this correspondence; knows no TOML.

use std::any::TypeId;
use std::collections::BTreeMap;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, ColorChoice, Command, FromArgMatches};

use prompt_to_prompt::attention::Place;
use prompt_to_prompt::format;
use prompt_to_prompt::job::{BlendWords, MaskSource};
use prompt_to_prompt::setting::Setting;

use super::problem::FileSpan;
use crate::cli::batch::RunArgs;
use crate::cli::edits::EachEditArgs;
use crate::cli::model::LoraArg;
use crate::cli::values::{
    CrossArg, ModelName, OutputFile, PathOrName, PromptText, ThresholdArg, WeightArg, WordArg,
};
use crate::cli::{DrawArgs, OutputArgs};

/// Flags without a key, because they change the terminal's output and no file.
const NO_KEYS: [&str; 1] = ["map-show"];
/// Flags of the whole job that each edit can set too.
const ALSO_EACH: [&str; 1] = ["negative-prompt"];

/// All keys, and the parser of flags that they are made from.
#[derive(Debug)]
pub struct Vocabulary {
    command: Command,
    keys: Vec<Key>,
    /// Flags of the commands that draw jobs, spelled as keys.
    around: Vec<String>,
}

/// A key of a job file.
#[derive(Debug)]
pub struct Key {
    /// The setting that the key sets.
    pub setting: Setting,
    /// The key as a job file spells it.
    pub name: String,
    /// The flag without the hyphens before it.
    pub flag: String,
    /// The flag's id in the parser of flags.
    pub id: String,
    aliases: Vec<String>,
    /// How many values the flag takes.
    pub takes: Takes,
    /// The flag's help.
    pub about: String,
    /// All possible values, where these are few.
    pub choices: Vec<String>,
    /// Whether an edit may have its own value.
    pub each_edit: bool,
    /// What the values look like.
    pub shape: Shape,
}

/// How many values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A switch. The flag is given where the key has this value.
    Switch(bool),
    /// One value.
    One,
    /// Any number of values.
    Many,
}

/// What a key's values look like in a job file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A number or a text.
    Plain,
    /// A whole number; a grid may give a range of them, `0..3`.
    Whole,
    /// A prompt, or a file with a prompt per line.
    Prompt,
    /// A file, relative to the job file's folder.
    File,
    /// A file or folder, relative to the job file's folder, or a name.
    Path,
    /// Several values in one text, separated by commas.
    List,
    /// A value per word.
    Words,
    /// A value per word, and one for all other words, `default`.
    WordsOrDefault,
}

/// The value of a key: the values that its flag is given. A switch that is not given has none.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyValue {
    /// The values as the flag takes them.
    pub values: Vec<String>,
    /// The span in the file. `None` for values of the command line.
    pub place: Option<FileSpan>,
}

/// Values by the index of their key in the vocabulary.
pub type KeyValues = BTreeMap<usize, KeyValue>;

impl Vocabulary {
    /// The keys, made from the flags of `p2p edit`.
    ///
    /// # Panics
    /// If a flag has no setting in `src/setting.rs`.
    pub fn new() -> Self {
        let mut command = DrawArgs::augment_args(
            Command::new("job")
                .no_binary_name(true)
                .disable_help_flag(true)
                .color(ColorChoice::Never),
        );
        command.build();
        let each = EachEditArgs::augment_args(Command::new("edit"));
        let args = command.get_arguments();
        let args = args.filter(|arg| !NO_KEYS.contains(&long(arg)));
        let of_each = |arg: &Arg| {
            let id = arg.get_id();
            each.get_arguments().any(|of_each| of_each.get_id() == id)
                || ALSO_EACH.contains(&long(arg))
        };
        let keys = args.map(|arg| Key::of(arg, of_each(arg))).collect();
        let around = RunArgs::augment_args(OutputArgs::augment_args(Command::new("around")));
        let flags = around.get_arguments().filter_map(Arg::get_long);
        let around = flags.chain(NO_KEYS).map(underscored).collect();
        Self {
            command,
            keys,
            around,
        }
    }

    /// All keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key with this index.
    pub fn key(&self, index: usize) -> &Key {
        &self.keys[index]
    }

    /// The index of a key, by its name or an alias.
    pub fn find(&self, name: &str) -> Option<usize> {
        let called = |key: &Key| key.name == name || key.aliases.iter().any(|a| a == name);
        self.keys.iter().position(called)
    }

    /// Whether the name is a flag of a command, but not a setting of a job.
    pub fn is_of_the_command(&self, name: &str) -> bool {
        self.around.iter().any(|flag| flag == name)
    }

    /// The index of a setting's key.
    ///
    /// # Panics
    /// If the setting has no key.
    pub fn of(&self, setting: Setting) -> usize {
        let found = self.keys.iter().position(|key| key.setting == setting);
        found.unwrap_or_else(|| panic!("{setting:?} has no key in job files"))
    }

    /// A setting with one value, as its flag takes it.
    ///
    /// # Panics
    /// If the setting has no key.
    pub fn given(&self, setting: Setting, value: &str) -> (usize, KeyValue) {
        let values = vec![value.to_owned()];
        let place = None;
        (self.of(setting), KeyValue { values, place })
    }

    /// Checks values by themselves, whatever the other settings are. The error says what to write.
    pub fn check(&self, key: usize, values: &[String]) -> Result<(), String> {
        let value = KeyValue {
            values: values.to_vec(),
            place: None,
        };
        match self.parse(&KeyValues::from([(key, value)])) {
            Err(error) if is_about_a_value(error.kind()) => Err(value_cure(&error)),
            _ => Ok(()),
        }
    }

    /// Parses the settings as the command line's parser parses their flags.
    pub fn parse(&self, settings: &KeyValues) -> Result<DrawArgs, clap::Error> {
        let arguments = settings
            .iter()
            .flat_map(|(key, value)| self.keys[*key].arguments(&value.values));
        let mut command = self.command.clone();
        let matches = command.try_get_matches_from_mut(arguments)?;
        DrawArgs::from_arg_matches(&matches)
    }

    /// "did you mean", if a key has a similar name.
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.keys.iter().map(|key| &*key.name))
    }

    /// The index of the key with the most similar name, if one is similar.
    pub fn nearest_key(&self, name: &str) -> Option<usize> {
        format::nearest(name, self.keys.iter().map(|key| &*key.name))
            .and_then(|name| self.find(name))
    }

    /// The settings of the flags that an error of the parser of flags is about.
    pub fn settings_in(&self, error: &clap::Error, kind: ContextKind) -> Vec<Setting> {
        // The parser gives a flag with its placeholder: `--mask <FILE>`.
        let setting = |text: &String| {
            let flag = text.split([' ', '=']).next()?.trim_start_matches('-');
            let key = self.keys.iter().find(|key| key.flag == flag)?;
            Some(key.setting)
        };
        match error.get(kind) {
            Some(ContextValue::String(text)) => setting(text).into_iter().collect(),
            Some(ContextValue::Strings(texts)) => texts.iter().filter_map(setting).collect(),
            _ => vec![],
        }
    }
}

impl Key {
    fn of(arg: &Arg, each_edit: bool) -> Self {
        let flag = long(arg).to_owned();
        let takes = match arg.get_action() {
            ArgAction::SetTrue => Takes::Switch(!flag.starts_with("no-")),
            ArgAction::Append => Takes::Many,
            _ => Takes::One,
        };
        let named = match takes {
            Takes::Switch(false) => &flag["no-".len()..],
            _ => &flag,
        };
        let name = underscored(named);
        let setting = Setting::named(&name);
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string);
        Self {
            setting: setting.unwrap_or_else(|| panic!("{name} is missing in src/setting.rs")),
            name,
            aliases: aliases.into_iter().map(underscored).collect(),
            takes,
            about: help.unwrap_or_default(),
            choices: match takes {
                Takes::Switch(_) => vec![],
                Takes::One | Takes::Many => choices(arg),
            },
            each_edit,
            shape: Shape::of(arg),
            id: arg.get_id().to_string(),
            flag,
        }
    }

    /// The values as arguments of the command line.
    pub fn arguments(&self, values: &[String]) -> Vec<String> {
        let flag = &self.flag;
        match self.takes {
            Takes::Switch(_) => values.iter().map(|_| format!("--{flag}")).collect(),
            _ => values.iter().map(|v| format!("--{flag}={v}")).collect(),
        }
    }
}

impl Shape {
    /// The shape that belongs to the type of a flag's value.
    fn of(arg: &Arg) -> Self {
        let value = arg.get_value_parser().type_id();
        let is_one_of = |types: &[TypeId]| types.iter().any(|known| value == *known);
        let shapes: [(Self, &[TypeId]); 7] = [
            (Self::Prompt, &[TypeId::of::<PromptText>()]),
            (
                Self::File,
                &[TypeId::of::<OutputFile>(), TypeId::of::<MaskSource>()],
            ),
            (
                Self::Path,
                &[
                    TypeId::of::<ModelName>(),
                    TypeId::of::<PathOrName>(),
                    TypeId::of::<LoraArg>(),
                ],
            ),
            (
                Self::List,
                &[
                    TypeId::of::<BlendWords>(),
                    TypeId::of::<WordArg>(),
                    TypeId::of::<ThresholdArg>(),
                    TypeId::of::<Vec<String>>(),
                    TypeId::of::<Vec<Place>>(),
                    TypeId::of::<(f32, f32)>(),
                ],
            ),
            (Self::Words, &[TypeId::of::<WeightArg>()]),
            (Self::WordsOrDefault, &[TypeId::of::<CrossArg>()]),
            (Self::Whole, &[TypeId::of::<usize>(), TypeId::of::<u64>()]),
        ];
        let found = shapes.into_iter().find(|(_, types)| is_one_of(types));
        found.map_or(Self::Plain, |(shape, _)| shape)
    }
}

/// "did you mean", if one of the names is similar.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    format::nearest(name, names).map(|near| format!("did you mean `{near}`?"))
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

fn long(arg: &Arg) -> &str {
    arg.get_long()
        .expect("every flag of an edit has a long name")
}

fn choices(arg: &Arg) -> Vec<String> {
    let values = arg.get_possible_values();
    values.iter().map(|v| v.get_name().to_owned()).collect()
}

fn is_about_a_value(kind: ErrorKind) -> bool {
    use ErrorKind::{InvalidUtf8, InvalidValue, NoEquals, TooFewValues, TooManyValues};
    matches!(
        kind,
        ErrorKind::ValueValidation
            | InvalidValue
            | InvalidUtf8
            | NoEquals
            | TooFewValues
            | TooManyValues
            | ErrorKind::ArgumentConflict
            | ErrorKind::WrongNumberOfValues
    )
}

/// What to write instead of a value: the message of the value's parser, else the possible values.
fn value_cure(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("use one of {}", values.join(", "))
        }
        _ => "write a value".to_owned(),
    }
}
