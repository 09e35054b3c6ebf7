//! The flags of `p2p edit` on the command lines of `p2p batch` and `p2p sweep`, collected as settings. They override
//! the settings of a job file ([`Overrides`]), or they are the base of a sweep ([`Base`]). It must never know what a
//! setting does.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use prompt_to_prompt::error::Error;

use super::vocabulary::{Key, KeyValue, KeyValues, Takes, Vocabulary};
use crate::cli::DrawArgs;

/// Settings that override those of a job file. Their flags are hidden in the help of `p2p batch`.
#[derive(Debug, Clone, Default)]
pub struct Overrides(pub KeyValues);

impl Overrides {
    /// Checks the values. The parser accepts any text for these flags, because it does not know their types.
    ///
    /// # Errors
    /// A usage error if a flag does not accept its value.
    pub fn check(&self, vocabulary: &Vocabulary) -> Result<(), Error> {
        self.0.iter().try_for_each(|(index, setting)| {
            let refused = |cure: String| {
                let (flag, typed) = (&vocabulary.key(*index).flag, setting.values.join(" "));
                Error::usage(format!("--{flag} cannot be {typed:?}"), cure)
            };
            vocabulary.check(*index, &setting.values).map_err(refused)
        })
    }
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let vocabulary = Vocabulary::new();
        let flags = vocabulary.keys().iter().map(|key| {
            let arg = Arg::new(key.flag.clone()).long(key.flag.clone()).hide(true);
            match key.takes {
                Takes::Switch(_) => arg.action(ArgAction::SetTrue),
                Takes::One => arg.action(ArgAction::Set).allow_hyphen_values(true),
                Takes::Many => arg.action(ArgAction::Append).allow_hyphen_values(true),
            }
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(matches, |key| key.flag.clone())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags of `p2p edit` with their help, collected as settings. None is required, because any of them may be the
/// one that varies.
#[derive(Debug, Clone, Default)]
pub struct Base(pub KeyValues);

impl Args for Base {
    fn augment_args(command: Command) -> Command {
        DrawArgs::augment_args(command).mut_arg("src", |src| src.required(false))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Base {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(matches, |key| key.id.clone())))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The settings that were typed. Default values are left out.
fn given(matches: &ArgMatches, id: impl Fn(&Key) -> String) -> KeyValues {
    let vocabulary = Vocabulary::new();
    let mut settings = KeyValues::new();
    for (index, key) in vocabulary.keys().iter().enumerate() {
        let id = id(key);
        if matches.value_source(&id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let raw = matches.get_raw(&id).into_iter().flatten();
        let values: Vec<String> = match key.takes {
            Takes::Switch(_) => vec![String::new()],
            _ => raw
                .map(|value| value.to_string_lossy().into_owned())
                .collect(),
        };
        let place = None;
        settings.insert(index, KeyValue { values, place });
    }
    settings
}
