//! One job of a file, and what it amounts to: settings to a [`Job`], its folder, and where in the file
//! an error about it belongs.

use clap::error::{ContextKind, ContextValue};

use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{EditSpec, Job};

use super::grid::Point;
use super::name::{self, Values};
use super::problem::{Place, Problem};
use super::vocabulary::{Setting, Settings, Vocabulary};
use crate::cli::DrawArgs;

/// Jobs of a file without a seed have this one: the same file gives the same pictures.
pub const SEED: u64 = 0;

/// A text of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub text: String,
    pub place: Option<Place>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub name: Option<Named>,
    /// A template.
    pub folder: Option<Named>,
    pub place: Option<Place>,
    pub settings: Settings,
    /// Of single edits: all that holds for each.
    pub edits: Vec<(Option<Place>, Settings)>,
    /// What a grid gave it.
    pub point: Point,
}

/// What is to be drawn.
#[derive(Debug)]
pub struct Order {
    pub job: Job,
    /// Flags beside the job: the model, and what is kept.
    pub args: DrawArgs,
    /// In the output folder.
    pub folder: String,
}

impl Entry {
    /// A cell of a sweep, in a folder that says what varies.
    pub fn cell(settings: Settings, point: Vec<(String, String)>) -> Self {
        let named = point
            .iter()
            .map(|(name, value)| format!("{name}-{}", name::plain(value)));
        let text = named.collect::<Vec<_>>().join("_");
        Self {
            name: Some(Named { text, place: None }),
            folder: None,
            place: None,
            settings,
            edits: vec![],
            point: Point(point),
        }
    }

    /// What its folder is called, of a cell.
    pub fn folder_name(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.text)
    }

    /// `over` is what the command line says.
    pub fn order(&self, vocabulary: &Vocabulary, over: &Settings) -> Result<Order, Problem> {
        let whole = self.with(&self.settings, vocabulary, over);
        let mut tables = self.edits.iter();
        let first = tables
            .next()
            .map_or(&self.settings, |(_, settings)| settings);
        let (args, mut job) = self.parsed(&self.with(first, vocabulary, over), vocabulary, &[])?;
        for (_, settings) in tables {
            let settings = self.with(settings, vocabulary, over);
            let (_, more) = self.parsed(&settings, vocabulary, &job.edits)?;
            job.edits.extend(more.edits);
        }
        // An edit's own settings are not the job's.
        job.negative_prompt = self.parsed_negative(&whole, vocabulary);
        let folder = self.folder(&job)?;
        Ok(Order { job, args, folder })
    }

    /// The command line's settings on top; edited prompts replace all edited prompts.
    fn with(&self, settings: &Settings, vocabulary: &Vocabulary, over: &Settings) -> Settings {
        let mut settings = settings.clone();
        lay_over(&mut settings, over, vocabulary);
        settings
    }

    /// The job with the edits of one table; `before` are those of the tables before it.
    fn parsed(
        &self,
        settings: &Settings,
        vocabulary: &Vocabulary,
        before: &[EditSpec],
    ) -> Result<(DrawArgs, Job), Problem> {
        let (settings, chained) = unchained(settings, vocabulary, !before.is_empty());
        let blame = |cause: &str, cure: &str| self.problem(&settings, vocabulary, cause, cure);
        let args = vocabulary.parse(&settings).map_err(|error| {
            let (cause, cure) = told(&error);
            blame(&cause, &cure)
        })?;
        let mut job = args
            .job
            .job(SEED)
            .map_err(|error| self.blame(&settings, vocabulary, &error))?;
        let negative = vocabulary.find("negative_prompt").expect("a key");
        let own = settings.get(&negative) != self.settings.get(&negative);
        for edit in &mut job.edits {
            edit.of = match edit.of {
                Some(of) => Some(of + before.len()),
                None if chained => Some(before.len() - 1),
                None => None,
            };
            if own {
                edit.negative_prompt = Some(job.negative_prompt.clone());
            }
        }
        Ok((args, job))
    }

    fn parsed_negative(&self, settings: &Settings, vocabulary: &Vocabulary) -> String {
        let key = vocabulary.find("negative_prompt").expect("a key");
        let given = settings
            .get(&key)
            .and_then(|setting| setting.values.first());
        given.cloned().unwrap_or_default()
    }

    fn folder(&self, job: &Job) -> Result<String, Problem> {
        let dsts: Vec<&str> = job
            .edits
            .iter()
            .filter_map(|edit| edit.dst.as_deref())
            .collect();
        let mut values = Values {
            src: &job.src,
            dsts: &dsts,
            seed: job.seed,
            name: None,
            point: &self.point.0,
        };
        let filled = |named: &Named, values: &Values| {
            let text = name::fill(&named.text, values).map_err(|cause| {
                let cure = "use {name}, {src}, {dst}, {seed} or a key of the job's grid, such as {cross_steps}";
                Problem::new(named.place.clone(), format!("{:?}: {cause}", named.text), cure)
            })?;
            match name::fault(&text) {
                Some(fault) => {
                    let cause = format!("{text:?} can be no folder: {fault}");
                    Err(Problem::new(
                        named.place.clone(),
                        cause,
                        "give it another name",
                    ))
                }
                None => Ok(text),
            }
        };
        let name = match &self.name {
            Some(named) => filled(named, &values)?,
            None => job.slug(),
        };
        values.name = Some(&name);
        self.folder
            .as_ref()
            .map_or(Ok(name.clone()), |named| filled(named, &values))
    }

    /// Where an error about flags belongs, and in the file's words.
    pub fn blame(&self, settings: &Settings, vocabulary: &Vocabulary, error: &Error) -> Problem {
        let (cause, cure) = error.parts();
        self.problem(settings, vocabulary, &cause, cure.unwrap_or_default())
    }

    /// The same of the whole job.
    pub fn blamed(&self, vocabulary: &Vocabulary, error: &Error) -> Problem {
        let mut settings = self.settings.clone();
        for (_, edit) in &self.edits {
            settings.extend(edit.clone());
        }
        self.blame(&settings, vocabulary, error)
    }

    fn problem(
        &self,
        settings: &Settings,
        vocabulary: &Vocabulary,
        cause: &str,
        cure: &str,
    ) -> Problem {
        // A quoted word points better than a flag: it may stand in another setting.
        let named = vocabulary.named_in(cause);
        let place = named
            .iter()
            .find_map(|key| settings.get(key)?.place.clone());
        let place = place.or_else(|| quoted(cause).find_map(|word| holding(settings, word)));
        Problem::new(
            place.or_else(|| self.place.clone()),
            vocabulary.in_keys(cause),
            vocabulary.in_keys(cure),
        )
    }
}

/// Settings over others: edited prompts replace all edited prompts, of either kind.
pub fn lay_over(settings: &mut Settings, over: &Settings, vocabulary: &Vocabulary) {
    let prompts = ["dst", "then"].map(|name| vocabulary.find(name).expect("a key"));
    if prompts.iter().any(|key| over.contains_key(key)) {
        settings.retain(|key, _| !prompts.contains(key));
    }
    settings.extend(over.iter().map(|(key, setting)| (*key, setting.clone())));
}

/// A table that begins with `then` goes on from the edit before it: its first prompt becomes an
/// edited prompt like any other, and whether it did.
fn unchained(settings: &Settings, vocabulary: &Vocabulary, may: bool) -> (Settings, bool) {
    let [dst, then] = ["dst", "then"].map(|name| vocabulary.find(name).expect("a key"));
    let mut settings = settings.clone();
    let chained = may && !settings.contains_key(&dst) && settings.contains_key(&then);
    if chained {
        let mut setting = settings.remove(&then).expect("seen above");
        let place = setting.place.clone();
        let rest = setting.values.split_off(1.min(setting.values.len()));
        settings.insert(dst, setting);
        let rest = Setting {
            values: rest,
            place,
        };
        settings.insert(then, rest);
    }
    (settings, chained)
}

/// What stands between quotes in a message.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

fn holding(settings: &Settings, word: &str) -> Option<Place> {
    let holds = |setting: &&Setting| setting.values.iter().any(|value| value.contains(word));
    settings.values().find(holds)?.place.clone()
}

/// Cause and cure of what the parser of flags says.
fn told(error: &clap::Error) -> (String, String) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => vec![],
    };
    let flag = |text: &String| text.split([' ', '=']).next().unwrap_or_default().to_owned();
    let args: Vec<String> = text(ContextKind::InvalidArg).iter().map(flag).collect();
    let prior: Vec<String> = text(ContextKind::PriorArg).iter().map(flag).collect();
    match (args.is_empty(), prior.is_empty()) {
        (false, false) => (
            format!(
                "{} cannot stand beside {}",
                args.join(", "),
                prior.join(", ")
            ),
            "leave one of them out".to_owned(),
        ),
        (false, true) => (
            format!("the job has no {}", args.join(", ")),
            "add it to the job or to [defaults]".to_owned(),
        ),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            (
                line.trim_start_matches("error: ").to_owned(),
                "mend the job".to_owned(),
            )
        }
    }
}
