//! From the text of a job file to entries, with everything that is wrong with it, not the first
//! thing only. Owns the shape of the file: `include`, `output`, `[defaults]`, `[[job]]`,
//! `[[job.edit]]`, `[job.grid]`. What a job means is not known here.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use prompt_to_prompt::message::Message;
use prompt_to_prompt::setting::Setting;

use super::entry::{Entry, Named, lay_over};
use super::grid::{Axis, MOST, Point, product};
use super::problem::{FileSpan, Problem, Sources};
use super::text::{self, Unread};
use super::unknown::{unknown, unknown_at_the_top};
use super::unreadable::Unreadable;
use super::value::{Wrong, values};
use super::vocabulary::{Key, KeyValue, KeyValues, Vocabulary};

/// A job file as read, with those that it includes.
#[derive(Debug, Default)]
pub struct JobFile {
    pub entries: Vec<Entry>,
    /// Where the file wants its results, from its own folder.
    pub output: Option<PathBuf>,
    pub sources: Sources,
    pub problems: Vec<Problem>,
}

/// Reads a job file; what is wrong with it is in it.
pub fn read(path: &Path, vocabulary: &Vocabulary) -> JobFile {
    let mut reader = Reader {
        vocabulary,
        file: JobFile::default(),
        including: vec![],
        at: At::default(),
        unreadable: Unreadable::default(),
    };
    reader.read(path, Defaults::default(), None);
    let file = &mut reader.file;
    if file.entries.is_empty() && file.problems.is_empty() {
        let cause = format!("{} holds no job", path.display());
        let cure = "write one under [[job]]; `p2p job init` shows how";
        file.problems.push(Problem::new(None, cause, cure));
    }
    reader.file
}

/// What holds for the jobs of a file.
#[derive(Debug, Clone, Default)]
struct Defaults {
    settings: KeyValues,
    names: Names,
    /// Of what they were meant to say.
    unreadable: Unreadable,
}

impl Defaults {
    /// What could be read of them may be anything.
    fn broken(mut self) -> Self {
        self.unreadable.anything();
        self
    }
}

#[derive(Debug, Clone, Default)]
struct Names {
    name: Option<Named>,
    folder: Option<Named>,
}

/// The file that is being read.
#[derive(Debug, Clone, Default)]
pub(super) struct At {
    source: usize,
    pub(super) folder: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum TableKind {
    Defaults,
    Job,
    Edit,
    Grid,
}

pub(super) struct Reader<'v> {
    pub(super) vocabulary: &'v Vocabulary,
    file: JobFile,
    including: Vec<PathBuf>,
    pub(super) at: At,
    /// What the table that is being read says and could not be read.
    unreadable: Unreadable,
}

type Written<'a, 'i> = &'a Spanned<DeString<'i>>;
pub(super) type Span = std::ops::Range<usize>;

impl Reader<'_> {
    /// Its defaults, on top of those around it.
    fn read(&mut self, path: &Path, around: Defaults, included_at: Option<FileSpan>) -> Defaults {
        let text = match text::load(path) {
            Ok(text) => text,
            Err(unread) => {
                self.unread(path, unread, included_at);
                return around.broken();
            }
        };
        let outer = self.at.clone();
        self.at = At {
            source: self
                .file
                .sources
                .add(path.display().to_string(), text.clone()),
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        };
        self.including.push(path.canonicalize().unwrap_or_default());
        let (root, errors) = DeTable::parse_recoverable(&text);
        for fault in text::faults(&errors, &text) {
            self.problem(fault.span, fault.cause, fault.cure);
        }
        let defaults = match errors.is_empty() {
            true => self.document(root.get_ref(), around),
            false => around.broken(),
        };
        self.including.pop();
        self.at = outer;
        defaults
    }

    fn unread(&mut self, path: &Path, unread: Unread, included_at: Option<FileSpan>) {
        let name = path.display().to_string();
        let cause = match (&included_at, &unread.shown) {
            (Some(_), None) => format!("`include`: {}", unread.cause),
            _ => unread.cause,
        };
        let place = match unread.shown {
            Some((text, at)) => Some(FileSpan {
                source: self.file.sources.add(name, text),
                span: at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
            }),
            None => included_at,
        };
        let problem = Problem::new(place, cause, unread.cure);
        self.file.problems.push(problem);
    }

    fn document(&mut self, root: &DeTable, around: Defaults) -> Defaults {
        let mut defaults = around;
        if let Some(include) = root.get("include") {
            defaults = self.include(include, defaults);
        }
        if let Some(table) = root.get("defaults") {
            match table.get_ref() {
                DeValue::Table(table) => self.defaults(table, &mut defaults),
                _ => {
                    self.problem(table.span(), "`defaults` is no table", "write [defaults]");
                    defaults.unreadable.anything();
                }
            }
        }
        for (key, value) in root.iter() {
            match key.get_ref().as_ref() {
                "include" | "defaults" => {}
                "output" => match value.get_ref() {
                    DeValue::String(folder) if !folder.is_empty() && !folder.contains('\0') => {
                        self.file.output = Some(self.at.folder.join(folder.as_ref()));
                    }
                    _ => self.problem(
                        value.span(),
                        "`output` is no folder",
                        "write output = \"FOLDER\"",
                    ),
                },
                "job" => match tables(value) {
                    Some(jobs) => jobs.for_each(|(place, job)| self.job(place, job, &defaults)),
                    None => self.problem(
                        key.span(),
                        "`job` is no list of tables",
                        "write [[job]], in two brackets",
                    ),
                },
                name => {
                    let (cause, cure) = unknown_at_the_top(self.vocabulary, name);
                    self.problem(key.span(), cause, cure);
                }
            }
        }
        defaults
    }

    fn include(&mut self, value: &Spanned<DeValue>, around: Defaults) -> Defaults {
        let files: Option<Vec<&Spanned<DeValue>>> = match value.get_ref() {
            DeValue::String(_) => Some(vec![value]),
            DeValue::Array(items) => Some(items.iter().collect()),
            _ => None,
        };
        let mut defaults = around;
        for file in files.unwrap_or(vec![value]) {
            let name = file.get_ref().as_str();
            let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('\0')) else {
                let cure = "write include = \"other.toml\" or a list of such";
                self.problem(file.span(), "`include` names no file", cure);
                defaults.unreadable.anything();
                continue;
            };
            let (path, place) = (self.at.folder.join(name), self.place(file.span()));
            if path
                .canonicalize()
                .is_ok_and(|path| self.including.contains(&path))
            {
                let cause = format!("`include`: {name} includes itself");
                self.problem(file.span(), cause, "leave one of the includes out");
                defaults.unreadable.anything();
                continue;
            }
            defaults = self.read(&path, defaults, Some(place));
        }
        defaults
    }

    fn defaults(&mut self, table: &DeTable, defaults: &mut Defaults) {
        self.unreadable = Unreadable::default();
        for (key, value) in table.iter() {
            if self.named(key, value, &mut defaults.names) {
                continue;
            }
            if let Some((index, setting)) = self.setting(TableKind::Defaults, key, value) {
                defaults.settings.insert(index, setting);
            }
        }
        defaults.unreadable.add(&self.unreadable);
    }

    fn job(&mut self, span: Span, table: &DeTable, defaults: &Defaults) {
        let (mut settings, mut names) = (KeyValues::new(), Names::default());
        let (mut edits, mut axes) = (vec![], vec![]);
        self.unreadable = defaults.unreadable.clone();
        for (key, value) in table.iter() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("grid", DeValue::Table(grid)) => {
                    let before = self.file.problems.len();
                    axes = self.grid(grid);
                    if self.file.problems.len() > before {
                        self.unreadable.anything();
                    }
                }
                ("grid", _) => {
                    self.problem(value.span(), "`grid` is no table", "write [job.grid]");
                    self.unreadable.anything();
                }
                ("edit", DeValue::Array(_)) => match tables(value) {
                    Some(of) => edits = of.map(|(span, edit)| self.edit(span, edit)).collect(),
                    None => {
                        let cure = "write [[job.edit]]";
                        self.problem(value.span(), "`edit` is no list of tables", cure);
                        self.unreadable.anything();
                    }
                },
                ("edit", DeValue::Table(_)) => {
                    let cure = "write [[job.edit]], in two brackets";
                    self.problem(key.span(), "`edit` is one table", cure);
                    self.unreadable.anything();
                }
                _ if self.named(key, value, &mut names) => {}
                _ => settings.extend(self.setting(TableKind::Job, key, value)),
            }
        }
        let cells: usize = axes.iter().map(|axis: &Axis| axis.values.len()).product();
        if cells > MOST {
            let cause = format!("`grid` makes {cells} jobs, more than {MOST}");
            self.problem(span.clone(), cause, "take fewer values, or divide it");
            return;
        }
        // What is left of such a job may well have faults that its mending mends.
        let src = self.vocabulary.of(Setting::Src);
        let has_src = settings.contains_key(&src) || defaults.settings.contains_key(&src);
        if self.unreadable.is_anything() || (self.unreadable.is_something() && !has_src) {
            return;
        }
        self.expand(span, &settings, names, &edits, &axes, defaults);
    }

    /// An entry for each point of the grid.
    fn expand(
        &mut self,
        span: Span,
        settings: &KeyValues,
        names: Names,
        edits: &[(Option<FileSpan>, KeyValues)],
        axes: &[Axis],
        defaults: &Defaults,
    ) {
        let mut base = defaults.settings.clone();
        lay_over(&mut base, settings, self.vocabulary);
        let place = self.place(span);
        for indices in product(axes) {
            let point = axes.iter().zip(&indices);
            let apply = |settings: &KeyValues| {
                let mut settings = settings.clone();
                point
                    .clone()
                    .for_each(|(axis, i)| axis.apply(*i, &mut settings));
                settings
            };
            let of_edit = |(place, own): &(Option<FileSpan>, KeyValues)| {
                let mut settings = base.clone();
                lay_over(&mut settings, own, self.vocabulary);
                (place.clone(), apply(&settings))
            };
            let label =
                |(axis, i): (&Axis, &usize)| (axis.name.clone(), axis.values[*i].label.clone());
            let entry = Entry {
                name: names.name.clone().or(defaults.names.name.clone()),
                folder: names.folder.clone().or(defaults.names.folder.clone()),
                place: Some(place.clone()),
                settings: apply(&base),
                edits: edits.iter().map(of_edit).collect(),
                point: Point(point.clone().map(label).collect()),
                unreadable: self.unreadable.clone(),
            };
            self.file.entries.push(entry);
        }
    }

    fn edit(&mut self, span: Span, table: &DeTable) -> (Option<FileSpan>, KeyValues) {
        let settings = table.iter();
        let settings =
            settings.filter_map(|(key, value)| self.setting(TableKind::Edit, key, value));
        let settings = settings.collect();
        (Some(self.place(span)), settings)
    }

    /// Whether the key is one of the names, which it then fills.
    fn named(&mut self, key: Written, value: &Spanned<DeValue>, names: &mut Names) -> bool {
        let slot = match key.get_ref().as_ref() {
            "name" => &mut names.name,
            "folder" => &mut names.folder,
            _ => return false,
        };
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => {
                *slot = Some(Named {
                    text: text.to_string(),
                    place: Some(FileSpan {
                        source: self.at.source,
                        span: value.span(),
                    }),
                });
            }
            _ => {
                let cause = format!("`{}` is no name", key.get_ref());
                self.problem(value.span(), cause, "write a text, such as \"red-car\"");
            }
        }
        true
    }

    fn setting(
        &mut self,
        level: TableKind,
        key: Written,
        value: &Spanned<DeValue>,
    ) -> Option<(usize, KeyValue)> {
        let name = key.get_ref().as_ref();
        let Some(index) = self.vocabulary.find(name) else {
            let (cause, cure) = unknown(self.vocabulary, level, name);
            self.problem(key.span(), cause, cure);
            self.unreadable.unknown(self.vocabulary, name);
            return None;
        };
        let of = self.vocabulary.key(index);
        if level == TableKind::Edit && !of.each_edit {
            let cause = format!("`{name}` is a setting of the whole job");
            self.problem(key.span(), cause, "move it up, under [[job]]");
            self.unreadable.key(self.vocabulary, index);
            return None;
        }
        let Some(values) = self.checked(of, index, value) else {
            self.unreadable.key(self.vocabulary, index);
            return None;
        };
        let place = Some(self.place(value.span()));
        Some((index, KeyValue { values, place }))
    }

    /// The values of one key, or a problem.
    fn checked(
        &mut self,
        key: &Key,
        index: usize,
        value: &Spanned<DeValue>,
    ) -> Option<Vec<String>> {
        let values = self.report(values(key, value, &self.at.folder))?;
        let checked = self.vocabulary.check(index, &values).map_err(|said| {
            let cause = format!("`{}` cannot be {:?}", key.name, values.join(", "));
            (value.span(), cause, said)
        });
        self.report(checked)?;
        Some(values)
    }

    pub(super) fn report<T>(&mut self, result: Result<T, Wrong>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err((span, cause, cure)) => {
                self.problem(span, cause, cure);
                None
            }
        }
    }

    pub(super) fn problem(
        &mut self,
        span: Span,
        cause: impl Into<Message>,
        cure: impl Into<Message>,
    ) {
        let place = self.place(span);
        self.file
            .problems
            .push(Problem::new(Some(place), cause, cure));
    }

    pub(super) fn place(&self, span: Span) -> FileSpan {
        let source = self.at.source;
        FileSpan { source, span }
    }
}

/// The tables of a list of tables, with their places.
fn tables<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
) -> Option<impl Iterator<Item = (Span, &'a DeTable<'i>)>> {
    let items = value.get_ref().as_array()?;
    let table = |item: &'a Spanned<DeValue<'i>>| Some((item.span(), item.get_ref().as_table()?));
    let tables: Option<Vec<_>> = items.iter().map(table).collect();
    Some(tables?.into_iter())
}
