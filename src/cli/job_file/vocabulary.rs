//! The keys of a job file, read off the flags of `p2p edit` so that the two cannot drift apart: a
//! flag's long name with underscores, a switch by its positive name (`metadata` for `--no-metadata`).
//! Owns that correspondence both ways; knows no TOML.

use std::collections::BTreeMap;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, ColorChoice, Command, FromArgMatches};
use prompt_to_prompt::format;

use super::problem::FileSpan;
use crate::cli::batch::RunArgs;
use crate::cli::edits::EachEditArgs;
use crate::cli::{DrawArgs, OutputArgs, PROMPT};

/// Flags that act on the terminal rather than on what is drawn.
const NO_KEYS: [&str; 1] = ["map-show"];
/// Flags of the whole job that an edit may nevertheless have of its own.
const ALSO_EACH: [&str; 1] = ["negative-prompt"];

#[derive(Debug)]
pub struct Vocabulary {
    command: Command,
    keys: Vec<Key>,
    /// Flags of the commands around a job, as a job file would spell them.
    around: Vec<String>,
}

#[derive(Debug)]
pub struct Key {
    /// As a job file spells it.
    pub name: String,
    /// As the command line spells it, without the hyphens before it.
    pub flag: String,
    /// As the parser of flags knows it.
    pub id: String,
    aliases: Vec<String>,
    pub takes: Takes,
    /// The flag's help.
    pub about: String,
    /// All it can be, where those are few.
    pub choices: Vec<String>,
    /// Whether an edit may have its own.
    pub each_edit: bool,
    pub shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// On or off; the flag is given where the key is this.
    Switch(bool),
    One,
    Many,
}

/// What its values look like beyond plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Prompt,
    File,
    /// A file or a folder, or what is known by a name.
    Path,
    /// Several in one value, with commas between them.
    List,
    /// Per word.
    Words,
    /// Per word, and one for all the others, `default`.
    WordsOrDefault,
}

/// What a key is set to: the values its flag is given, none for a switch that is not given.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub values: Vec<String>,
    /// `None` on the command line.
    pub place: Option<FileSpan>,
}

/// Settings by the key's place in the vocabulary.
pub type Settings = BTreeMap<usize, Setting>;

impl Vocabulary {
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

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn key(&self, index: usize) -> &Key {
        &self.keys[index]
    }

    /// By name, or by a name that others use.
    pub fn find(&self, name: &str) -> Option<usize> {
        let called = |key: &Key| key.name == name || key.aliases.iter().any(|a| a == name);
        self.keys.iter().position(called)
    }

    /// Whether it is a flag that says how a command runs, not what a job is.
    pub fn is_of_the_command(&self, name: &str) -> bool {
        self.around.iter().any(|flag| flag == name)
    }

    /// A key of that name, set to one value as a flag takes it.
    ///
    /// # Panics
    /// Where there is no such key.
    pub fn given(&self, name: &str, value: &str) -> (usize, Setting) {
        let values = vec![value.to_owned()];
        let place = None;
        (self.find(name).expect("a key"), Setting { values, place })
    }

    /// By the flag, without the hyphens before it.
    pub fn of_flag(&self, flag: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.flag == flag)
    }

    /// What is wrong with the values alone, whatever stands beside them.
    pub fn check(&self, key: usize, values: &[String]) -> Result<(), String> {
        let setting = Setting {
            values: values.to_vec(),
            place: None,
        };
        match self.parse(&Settings::from([(key, setting)])) {
            Err(error) if is_about_a_value(error.kind()) => Err(said(&error)),
            _ => Ok(()),
        }
    }

    /// The flags that the settings amount to, as the command line's own parser reads them.
    pub fn parse(&self, settings: &Settings) -> Result<DrawArgs, clap::Error> {
        let arguments = settings
            .iter()
            .flat_map(|(key, setting)| self.keys[*key].arguments(&setting.values));
        let mut command = self.command.clone();
        let matches = command.try_get_matches_from_mut(arguments)?;
        DrawArgs::from_arg_matches(&matches)
    }

    /// "did you mean", where one is near.
    pub fn nearest(&self, name: &str) -> Option<String> {
        nearest(name, self.keys.iter().map(|key| &*key.name))
    }

    /// The key that a name is near to.
    pub fn nearest_key(&self, name: &str) -> Option<usize> {
        format::nearest(name, self.keys.iter().map(|key| &*key.name))
            .and_then(|name| self.find(name))
    }

    /// A message about flags, about keys.
    pub fn in_keys(&self, text: &str) -> String {
        let (mut out, mut done) = (String::new(), 0);
        for (at, flag) in flags_in(text) {
            let Some(key) = self.of_flag(flag).map(|key| &self.keys[key]) else {
                continue;
            };
            out += &text[done..at];
            out += &match key.takes {
                Takes::Switch(false) => format!("`{} = false`", key.name),
                _ => format!("`{}`", key.name),
            };
            done = at + "--".len() + flag.len();
        }
        out + &text[done..]
    }

    /// The keys whose flags a message names, in its order.
    pub fn named_in(&self, text: &str) -> Vec<usize> {
        let flags = flags_in(text).filter_map(|(_, flag)| self.of_flag(flag));
        flags.collect()
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
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string);
        Self {
            name: underscored(named),
            aliases: aliases.into_iter().map(underscored).collect(),
            takes,
            about: help.unwrap_or_default(),
            choices: match takes {
                Takes::Switch(_) => vec![],
                _ => choices(arg),
            },
            each_edit,
            shape: Shape::of(arg),
            id: arg.get_id().to_string(),
            flag,
        }
    }

    /// As the command line takes them.
    pub fn arguments(&self, values: &[String]) -> Vec<String> {
        let flag = &self.flag;
        match self.takes {
            Takes::Switch(_) => values.iter().map(|_| format!("--{flag}")).collect(),
            _ => values.iter().map(|v| format!("--{flag}={v}")).collect(),
        }
    }
}

impl Shape {
    fn of(arg: &Arg) -> Self {
        let names = arg.get_value_names().unwrap_or_default();
        let name = names.first().map_or("", |name| name.as_str());
        match name {
            "FILE" => Self::File,
            "PATH" | "DIR" | "MODEL" => Self::Path,
            _ if name.starts_with("FILE[") => Self::Path,
            PROMPT => Self::Prompt,
            _ if name.starts_with("[WORD=]") => Self::WordsOrDefault,
            _ if name.starts_with("WORD=") => Self::Words,
            "WORDS" | "PLACES" => Self::List,
            _ if name.contains(',') => Self::List,
            _ => Self::Plain,
        }
    }
}

/// Where flags stand in a text, and their names. Not inside a word: names of folders have hyphens too.
fn flags_in(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let inside = |c: char| c.is_alphanumeric() || "-_/".contains(c);
    let starts = text.match_indices("--").map(|(at, _)| at);
    // A command that is to be pasted keeps its flags.
    let command = text.find("p2p models").unwrap_or(text.len());
    let starts = starts.filter(move |at| *at < command && !text[..*at].ends_with(inside));
    starts.map(|at| {
        let rest = &text[at + "--".len()..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        (at, &rest[..end.unwrap_or(rest.len())])
    })
}

/// "did you mean", where one is near.
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

/// What the value's own parser says, else what it may be.
fn said(error: &clap::Error) -> String {
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
