//! `--dst` and `--then`, whose order on the command line means something: a `--then` is an edit of
//! the prompt before it. clap's derive keeps two lists apart, so this reads their places itself.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use super::PROMPT;

/// Edited prompts in the order they were given.
#[derive(Debug, Clone, Default)]
pub struct EditedPrompts(pub Vec<EditedPrompt>);

#[derive(Debug, Clone)]
pub struct EditedPrompt {
    pub prompt: String,
    /// Of the prompt before it rather than of the source.
    pub chained: bool,
}

impl EditedPrompts {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Per prompt the place of the prompt it is an edit of; `None` is the source.
    pub fn bases(&self) -> impl Iterator<Item = Option<usize>> {
        let base = |(i, prompt): (usize, &EditedPrompt)| match prompt.chained {
            true => i.checked_sub(1),
            false => None,
        };
        self.0.iter().enumerate().map(base)
    }
}

impl Args for EditedPrompts {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name(PROMPT)
                .value_hint(ValueHint::Other)
                .help_heading("Edit")
                .action(ArgAction::Append)
                .help(help)
        };
        command
            .arg(flag(
                "dst",
                "An edited prompt; repeat for several edits of one source",
            ))
            .arg(flag(
                "then",
                "An edit of the edit before it, in the same run; repeatable",
            ))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for EditedPrompts {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found: Vec<(usize, EditedPrompt)> = vec![];
        for (name, chained) in [("dst", false), ("then", true)] {
            let prompts = matches.get_many::<String>(name).into_iter().flatten();
            let places = matches.indices_of(name).into_iter().flatten();
            found.extend(places.zip(prompts).map(|(place, prompt)| {
                let prompt = prompt.clone();
                (place, EditedPrompt { prompt, chained })
            }));
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(Self(found.into_iter().map(|(_, prompt)| prompt).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
