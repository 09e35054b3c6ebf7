//! One job of a file, and what it amounts to: settings to a [`Job`], its folder, and where in the file
//! an error about it belongs.

use clap::error::{ContextKind, ContextValue};
use prompt_to_prompt::message::Flags;

use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{EditSpec, Job};

use super::grid::Point;
use super::name::{self, Values};
use super::problem::{FileSpan, Problem};
use super::unreadable::Unreadable;
use super::vocabulary::{Setting, Settings, Shape, Vocabulary};
use crate::cli::DrawArgs;

/// Jobs of a file without a seed have this one: the same file gives the same pictures.
pub const SEED: u64 = 0;

/// A text of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub text: String,
    pub place: Option<FileSpan>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub name: Option<Named>,
    /// A template.
    pub folder: Option<Named>,
    pub place: Option<FileSpan>,
    pub settings: Settings,
    /// Of single edits: all that holds for each.
    pub edits: Vec<(Option<FileSpan>, Settings)>,
    /// What a grid gave it.
    pub point: Point,
    /// What could not be read of it: then it is checked, never drawn.
    pub lost: Unreadable,
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
            lost: Unreadable::default(),
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
        let job_alone = (self.place.clone(), self.settings.clone());
        let first = tables.next().unwrap_or(&job_alone);
        let (args, mut job) = self.parsed(first, vocabulary, over, &[])?;
        for table in tables {
            let (_, more) = self.parsed(table, vocabulary, over, &job.edits)?;
            job.edits.extend(more.edits);
        }
        // An edit's own settings are not the job's.
        job.negative_prompt = self.parsed_negative(&whole, vocabulary);
        let folder = self.folder(&job)?;
        Ok(Order { job, args, folder })
    }

    /// What is about the whole of an edit's table belongs there.
    fn moved(&self, problem: Problem, place: &Option<FileSpan>) -> Problem {
        match (place, problem.place == self.place) {
            (Some(_), true) => Problem {
                place: place.clone(),
                ..problem
            },
            _ => problem,
        }
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
        (place, settings): &(Option<FileSpan>, Settings),
        vocabulary: &Vocabulary,
        over: &Settings,
        before: &[EditSpec],
    ) -> Result<(DrawArgs, Job), Problem> {
        let settings = self.with(settings, vocabulary, over);
        let (settings, chained) = unchained(&settings, vocabulary, !before.is_empty());
        let blame = |cause: &str, cure: &str| self.problem(&settings, vocabulary, cause, cure);
        let args = vocabulary.parse(&settings).map_err(|error| {
            let (cause, cure) = told(&error, &settings, vocabulary);
            blame(&cause, &cure)
        })?;
        let mut job = args.job.job(SEED).map_err(|error| {
            let problem = self.blame(&settings, vocabulary, &error);
            self.moved(problem, place)
        })?;
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

    /// Whether a problem of it is one in any case, not only for as long as something could not be read.
    pub fn is_sure(&self, vocabulary: &Vocabulary, problem: &Problem) -> bool {
        !self.lost.explains(vocabulary, problem)
    }

    /// Where an error about flags belongs, and in the file's words.
    pub fn blame(&self, settings: &Settings, vocabulary: &Vocabulary, error: &Error) -> Problem {
        let (cause, cure) = error.parts(&Flags);
        self.problem(settings, vocabulary, &cause, &cure)
    }

    /// The same of the whole job.
    pub fn blamed(&self, vocabulary: &Vocabulary, error: &Error) -> Problem {
        let mut settings = self.settings.clone();
        for (_, edit) in &self.edits {
            settings.extend(edit.clone());
        }
        self.blame(&settings, vocabulary, error)
    }

    /// The same, where nothing in it says whose fault it is but that of a key.
    pub fn blamed_on(&self, name: &str, vocabulary: &Vocabulary, error: &Error) -> Problem {
        let problem = self.blamed(vocabulary, error);
        let setting = vocabulary
            .find(name)
            .and_then(|key| self.settings.get(&key));
        match setting.and_then(|setting| setting.place.clone()) {
            Some(place) if problem.place == self.place => Problem {
                place: Some(place),
                ..problem
            },
            _ => problem,
        }
    }

    fn problem(
        &self,
        settings: &Settings,
        vocabulary: &Vocabulary,
        cause: &str,
        cure: &str,
    ) -> Problem {
        let named = |text: &str| {
            let mut keys = vocabulary.named_in(text).into_iter();
            keys.find_map(|key| settings.get(&key)?.place.clone())
        };
        let quoted = || quoted(cause).find_map(|text| holding(settings, vocabulary, text));
        let place = named(cause).or_else(quoted).or_else(|| named(cure));
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

/// The setting that holds a text; prompts hold every word that others are about.
fn holding(settings: &Settings, vocabulary: &Vocabulary, text: &str) -> Option<FileSpan> {
    // The beginning of a long prompt stands for it.
    let text = text.trim_end_matches(" ...");
    let holds = |(_, setting): &(&usize, &Setting)| {
        !text.is_empty() && setting.values.iter().any(|value| value.contains(text))
    };
    let is_prompt = |(key, _): &(&usize, &Setting)| vocabulary.key(**key).shape == Shape::Prompt;
    let (prompts, others): (Vec<_>, Vec<_>) = settings.iter().filter(holds).partition(is_prompt);
    let (_, setting) = others.into_iter().chain(prompts).next()?;
    setting.place.clone()
}

/// Cause and cure of what the parser of flags says.
pub fn told(error: &clap::Error, settings: &Settings, vocabulary: &Vocabulary) -> (String, String) {
    let args = flags(error, ContextKind::InvalidArg);
    let prior = flags(error, ContextKind::PriorArg);
    let (missing, beside) = (args.join(", "), prior.join(", "));
    match (args.is_empty(), prior.is_empty()) {
        (false, false) => (
            format!("{missing} cannot stand beside {beside}"),
            "leave one of them out".to_owned(),
        ),
        (false, true) => match needing(settings, vocabulary, &args) {
            Some(flag) => (
                format!("{flag} does nothing without {missing}"),
                format!("add {missing}, or leave {flag} out"),
            ),
            None => (
                format!("the job has no {missing}"),
                "add it to the job or to [defaults]".to_owned(),
            ),
        },
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

/// Flags that an error of the parser is about, without their values.
fn flags(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    let flag = |text: &String| text.split([' ', '=']).next().unwrap_or_default().to_owned();
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![flag(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(flag).collect(),
        _ => vec![],
    }
}

/// The flag that needs these: the parser doesn't say, so each is tried without the others.
fn needing(settings: &Settings, vocabulary: &Vocabulary, missing: &[String]) -> Option<String> {
    let src = vocabulary.find("src").expect("a key");
    let src = settings.get_key_value(&src)?;
    let needs = |key: &&usize| {
        let with = [src, (*key, &settings[*key])].map(|(key, setting)| (*key, setting.clone()));
        let error = vocabulary.parse(&Settings::from(with)).err();
        error.is_some_and(|error| {
            let lacks = flags(&error, ContextKind::InvalidArg);
            missing.iter().all(|flag| lacks.contains(flag))
        })
    };
    let key = settings.keys().find(needs)?;
    Some(format!("--{}", vocabulary.key(*key).flag))
}
