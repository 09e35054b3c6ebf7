//! One job of a file: how its settings become a [`Job`], what its folder is called, and where in the file an
//! error about it belongs.

use clap::error::ContextKind;

use prompt_to_prompt::error::Report;
use prompt_to_prompt::job::{EditSettings, Job};
use prompt_to_prompt::message;
use prompt_to_prompt::message::{Message, Piece};
use prompt_to_prompt::setting::Setting;

use super::grid::Point;
use super::name::{self, Values};
use super::problem::{FileSpan, Problem};
use super::unreadable::Unreadable;
use super::vocabulary::{KeyValue, KeyValues, Vocabulary};
use crate::cli::DrawArgs;

/// The seed of jobs without one, so that the same file always gives the same pictures.
pub const SEED: u64 = 0;

/// A text of the file and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub text: String,
    pub place: Option<FileSpan>,
}

/// One job of a file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The job's name, a template.
    pub name: Option<Named>,
    /// The name of the job's folder, a template.
    pub folder: Option<Named>,
    /// The span of the job's table.
    pub place: Option<FileSpan>,
    /// The settings of the job.
    pub settings: KeyValues,
    /// For each `[[job.edit]]` its span and all settings that apply to it.
    pub edits: Vec<(Option<FileSpan>, KeyValues)>,
    /// The values that a grid gives to the job.
    pub point: Point,
    /// What could not be read. Such a job is checked and never drawn.
    pub unreadable: Unreadable,
}

/// A job to draw.
#[derive(Debug)]
pub struct JobRequest {
    /// The job.
    pub job: Job,
    /// The flags beside the job: the model and the outputs.
    pub args: DrawArgs,
    /// The job's folder, relative to the output folder.
    pub folder: String,
}

impl Entry {
    /// A cell of a sweep, in a folder whose name says what varies.
    pub fn cell(settings: KeyValues, point: Vec<(String, String)>) -> Self {
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
            unreadable: Unreadable::default(),
        }
    }

    /// The name of a cell's folder.
    pub fn folder_name(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.text)
    }

    /// The job to draw. `over` are the settings of the command line, which win.
    ///
    /// # Errors
    /// A problem of the file.
    pub fn job_request(
        &self,
        vocabulary: &Vocabulary,
        over: &KeyValues,
    ) -> Result<JobRequest, Problem> {
        let whole = with(&self.settings, vocabulary, over);
        let mut tables = self.edits.iter();
        let job_alone = (self.place.clone(), self.settings.clone());
        let first = tables.next().unwrap_or(&job_alone);
        let (args, mut job) = self.parsed(first, vocabulary, over, &[])?;
        for table in tables {
            let (_, more) = self.parsed(table, vocabulary, over, &job.edits)?;
            job.edits.extend(more.edits);
        }
        // The negative prompt of a single edit is not that of the job.
        let negative = whole.get(&vocabulary.of(Setting::NegativePrompt));
        let negative = negative.and_then(|value| value.values.first());
        job.negative_prompt = negative.cloned().unwrap_or_default();
        let folder = self.folder(&job)?;
        Ok(JobRequest { job, args, folder })
    }

    /// The job with the edits of one table. `before` are the edits of the tables before it.
    fn parsed(
        &self,
        (place, settings): &(Option<FileSpan>, KeyValues),
        vocabulary: &Vocabulary,
        over: &KeyValues,
        before: &[EditSettings],
    ) -> Result<(DrawArgs, Job), Problem> {
        let settings = with(settings, vocabulary, over);
        let (settings, chained) = unchained(&settings, vocabulary, !before.is_empty());
        let args = vocabulary.parse(&settings).map_err(|error| {
            let report = describe_parse_error(&error, &settings, vocabulary);
            self.blame(&[&settings], vocabulary, report)
        })?;
        let mut job = args.job.job(SEED).map_err(|error| {
            let problem = self.blame(&[&settings], vocabulary, error.report());
            // What is wrong with an edit as a whole belongs to the edit's table.
            match place {
                Some(_) if problem.place == self.place => Problem {
                    place: place.clone(),
                    ..problem
                },
                _ => problem,
            }
        })?;
        let negative = vocabulary.of(Setting::NegativePrompt);
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

    /// The path of the job's folder inside the output folder.
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
                    let cause = format!("{text:?} cannot be the name of a folder: {fault}");
                    Err(Problem::new(
                        named.place.clone(),
                        cause,
                        "choose another name",
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

    /// A report about the job as a problem of the file. The place is that of the setting that the error is about.
    pub fn blamed(&self, vocabulary: &Vocabulary, report: Report) -> Problem {
        let edits = self.edits.iter().rev().map(|(_, settings)| settings);
        let tables: Vec<&KeyValues> = edits.chain([&self.settings]).collect();
        self.blame(&tables, vocabulary, report)
    }

    /// A report as a problem. The first of the tables that sets the report's setting has the place; if the report
    /// names a word, the first whose value contains it.
    fn blame(&self, tables: &[&KeyValues], vocabulary: &Vocabulary, report: Report) -> Problem {
        let named = report.cause.settings().chain(report.cure.settings());
        let place = report.about.into_iter().chain(named).find_map(|setting| {
            let mut keys = vocabulary.keys().iter();
            let key = keys.position(|key| key.setting == setting)?;
            let values = || tables.iter().filter_map(|table| table.get(&key));
            let word = report.word.as_deref().unwrap_or_default();
            let holds = |value: &&KeyValue| value.values.iter().any(|text| text.contains(word));
            let value = values().find(holds).or_else(|| values().next())?;
            value.place.clone()
        });
        let place = place.or_else(|| self.place.clone());
        Problem::new(place, report.cause, report.cure)
    }
}

/// Settings with those of the command line on top.
fn with(settings: &KeyValues, vocabulary: &Vocabulary, over: &KeyValues) -> KeyValues {
    let mut settings = settings.clone();
    lay_over(&mut settings, over, vocabulary);
    settings
}

/// Lays settings over others. Edited prompts replace all edited prompts, of either key.
pub fn lay_over(settings: &mut KeyValues, over: &KeyValues, vocabulary: &Vocabulary) {
    let prompts = [Setting::Dst, Setting::Then].map(|setting| vocabulary.of(setting));
    if prompts.iter().any(|key| over.contains_key(key)) {
        settings.retain(|key, _| !prompts.contains(key));
    }
    settings.extend(over.iter().map(|(key, value)| (*key, value.clone())));
}

/// Turns the first `then` of a table without `dst` into a `dst`, and returns whether it did: such a table edits the
/// edit before it.
fn unchained(settings: &KeyValues, vocabulary: &Vocabulary, may: bool) -> (KeyValues, bool) {
    let [dst, then] = [Setting::Dst, Setting::Then].map(|setting| vocabulary.of(setting));
    let mut settings = settings.clone();
    let chained = may && !settings.contains_key(&dst) && settings.contains_key(&then);
    if chained {
        let mut value = settings.remove(&then).expect("checked above");
        let place = value.place.clone();
        let rest = value.values.split_off(1.min(value.values.len()));
        settings.insert(dst, value);
        let rest = KeyValue {
            values: rest,
            place,
        };
        settings.insert(then, rest);
    }
    (settings, chained)
}

/// An error of the flag parser as a report that names settings instead of flags.
pub fn describe_parse_error(
    error: &clap::Error,
    settings: &KeyValues,
    vocabulary: &Vocabulary,
) -> Report {
    let args = vocabulary.settings_in(error, ContextKind::InvalidArg);
    let beside = vocabulary.settings_in(error, ContextKind::PriorArg);
    let about = args.first().copied();
    let report = match (args.is_empty(), beside.is_empty()) {
        (false, false) => Report::new(
            names(&args)
                .then(" cannot be combined with ")
                .then(names(&beside)),
            "leave one of them out",
        ),
        (false, true) => match needing(settings, vocabulary, &args) {
            Some(setting) => Report::new(
                message![setting, " has no effect without "].then(names(&args)),
                names(&args)
                    .after("add ")
                    .then(message![", or leave ", setting, " out"]),
            ),
            None => Report::new(
                names(&args).after("the job has no "),
                "add it to the job or to [defaults]",
            ),
        },
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Report::new(line.trim_start_matches("error: "), "correct the job")
        }
    };
    Report { about, ..report }
}

/// Settings with commas between them.
fn names(settings: &[Setting]) -> Message {
    let comma = |i: usize| Piece::from(if i == 0 { "" } else { ", " });
    let named = settings.iter().enumerate();
    named
        .flat_map(|(i, setting)| [comma(i), Piece::from(*setting)])
        .collect()
}

/// The setting that needs others. The parser does not say which one, so each is tried without the others.
fn needing(settings: &KeyValues, vocabulary: &Vocabulary, missing: &[Setting]) -> Option<Setting> {
    let src = vocabulary.of(Setting::Src);
    let src = settings.get_key_value(&src)?;
    let needs = |key: &&usize| {
        let with = [src, (*key, &settings[*key])].map(|(key, value)| (*key, value.clone()));
        let error = vocabulary.parse(&KeyValues::from(with)).err();
        error.is_some_and(|error| {
            let lacks = vocabulary.settings_in(&error, ContextKind::InvalidArg);
            missing.iter().all(|setting| lacks.contains(setting))
        })
    };
    let key = settings.keys().find(needs)?;
    Some(vocabulary.key(*key).setting)
}
