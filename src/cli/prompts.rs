//! `--dst` and `--then`. Their order on the command line matters: `--then` edits the prompt before it. clap's
//! derive keeps the two lists apart, so this file reads their positions itself.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint};

use super::values::PromptText;

/// Edited prompts in the order they were given.
#[derive(Debug, Clone, Default)]
pub struct EditedPrompts(pub Vec<EditedPrompt>);

/// One edited prompt.
#[derive(Debug, Clone)]
pub struct EditedPrompt {
    pub prompt: String,
    /// Whether it edits the prompt before it rather than the source.
    pub chained: bool,
}

impl EditedPrompts {
    /// Whether no edited prompt was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For each prompt the index of the prompt that it edits; `None` is the source.
    pub fn bases(&self) -> impl Iterator<Item = Option<usize>> {
        let prompts = self.0.iter().enumerate();
        prompts.map(|(i, prompt)| i.checked_sub(1).filter(|_| prompt.chained))
    }
}

impl Args for EditedPrompts {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("PROMPT")
                .value_parser(clap::value_parser!(PromptText))
                .value_hint(ValueHint::Other)
                .help_heading("Edit")
                .action(ArgAction::Append)
                .help(help)
        };
        command
            .arg(flag(
                "dst",
                "Edited prompt; repeat it for several edits of one source",
            ))
            .arg(flag(
                "then",
                "Edit of the edit before it, in the same run; repeatable",
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
            let prompts = matches.get_many::<PromptText>(name).into_iter().flatten();
            let places = matches.indices_of(name).into_iter().flatten();
            found.extend(places.zip(prompts).map(|(place, prompt)| {
                let prompt = prompt.0.clone();
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
