//! Reads a job file and the files that it includes. Collects all problems, not only the first one. Owns the top level
//! of a file: `include`, `output`, `[defaults]` and `[[job]]`; `tables` reads the tables. It must never know what a
//! job draws.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use prompt_to_prompt::message::Message;

use super::entry::{Entry, Named};
use super::problem::{FileSpan, Problem, Sources};
use super::text::{self, Unread};
use super::unknown::unknown_at_the_top;
use super::unreadable::Unreadable;
use super::value::Wrong;
use super::vocabulary::{KeyValues, Vocabulary};

/// A job file, with the files that it includes.
#[derive(Debug, Default)]
pub struct JobFile {
    /// The jobs, one for each point of a grid.
    pub entries: Vec<Entry>,
    /// The output folder. A relative path starts from the folder of the job file.
    pub output: Option<PathBuf>,
    /// The texts of the files.
    pub sources: Sources,
    /// The problems of the files.
    pub problems: Vec<Problem>,
}

/// Reads a job file. Its problems are part of the result.
pub fn read(path: &Path, vocabulary: &Vocabulary) -> JobFile {
    let mut reader = Reader {
        vocabulary,
        file: JobFile::default(),
        including: vec![],
        at: CurrentFile::default(),
        unreadable: Unreadable::default(),
    };
    reader.read(path, Defaults::default(), None);
    let file = &mut reader.file;
    if file.entries.is_empty() && file.problems.is_empty() {
        let cause = format!("{} contains no job", path.display());
        let cure = "write a job under [[job]]; `p2p job init` writes an example";
        file.problems.push(Problem::new(None, cause, cure));
    }
    reader.file
}

/// The defaults of the jobs of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub(super) settings: KeyValues,
    pub(super) names: Names,
    /// The keys that could not be read.
    pub(super) unreadable: Unreadable,
}

impl Defaults {
    /// The defaults after an error that may have hidden any setting.
    fn broken(mut self) -> Self {
        self.unreadable.anything();
        self
    }
}

/// The templates `name` and `folder` of a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) name: Option<Named>,
    pub(super) folder: Option<Named>,
}

/// The file that is being read.
#[derive(Debug, Clone, Default)]
pub(super) struct CurrentFile {
    /// Its number in [`Sources`].
    pub(super) source: usize,
    /// Its folder, from which relative paths start.
    pub(super) folder: PathBuf,
}

/// The kind of a table, which decides which keys it may have.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TableKind {
    Defaults,
    Job,
    Edit,
    Grid,
}

/// Reads files and collects entries and problems.
pub(super) struct Reader<'v> {
    pub(super) vocabulary: &'v Vocabulary,
    pub(super) file: JobFile,
    /// The files that are being read: the job file, and the chain of includes.
    including: Vec<PathBuf>,
    pub(super) at: CurrentFile,
    /// The keys of the current table that could not be read.
    pub(super) unreadable: Unreadable,
}

/// A key with its position.
pub(super) type SpannedKey<'a, 'i> = &'a Spanned<DeString<'i>>;
/// A range of bytes of a file.
pub(super) type Span = std::ops::Range<usize>;

impl Reader<'_> {
    /// Reads a file. Returns its defaults on top of those of the file that includes it.
    fn read(&mut self, path: &Path, around: Defaults, included_at: Option<FileSpan>) -> Defaults {
        let text = match text::load(path) {
            Ok(text) => text,
            Err(unread) => {
                self.unread(path, unread, included_at);
                return around.broken();
            }
        };
        let outer = self.at.clone();
        self.at = CurrentFile {
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
        let defaults = if errors.is_empty() {
            self.document(root.get_ref(), around)
        } else {
            around.broken()
        };
        self.including.pop();
        self.at = outer;
        defaults
    }

    /// Reports a file that cannot be read as text.
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

    /// Reads the top level of a file.
    fn document(&mut self, root: &DeTable, around: Defaults) -> Defaults {
        let mut defaults = around;
        if let Some(include) = root.get("include") {
            defaults = self.include(include, defaults);
        }
        if let Some(table) = root.get("defaults") {
            match table.get_ref() {
                DeValue::Table(table) => self.defaults(table, &mut defaults),
                _ => {
                    self.problem(
                        table.span(),
                        "`defaults` must be a table",
                        "write [defaults]",
                    );
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
                        "`output` must be a folder",
                        "write output = \"FOLDER\"",
                    ),
                },
                "job" => match tables(value) {
                    Some(jobs) => jobs.for_each(|(place, job)| self.job(place, job, &defaults)),
                    None => self.problem(
                        key.span(),
                        "`job` must be a list of tables",
                        "write [[job]] with two brackets",
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

    /// Reads the files of `include`. Returns their defaults.
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
                let cure = "write include = \"other.toml\", or a list of files";
                self.problem(file.span(), "`include` must name a file", cure);
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

    /// The value of a result. Reports its problem if it is an error.
    pub(super) fn report<T>(&mut self, result: Result<T, Wrong>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err((span, cause, cure)) => {
                self.problem(span, cause, cure);
                None
            }
        }
    }

    /// Adds a problem of the current file.
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

    /// A span of the current file.
    pub(super) fn place(&self, span: Span) -> FileSpan {
        let source = self.at.source;
        FileSpan { source, span }
    }
}

/// The tables of a list of tables, with their positions. `None` if the value is not such a list.
pub(super) fn tables<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
) -> Option<impl Iterator<Item = (Span, &'a DeTable<'i>)>> {
    let items = value.get_ref().as_array()?;
    let table = |item: &'a Spanned<DeValue<'i>>| Some((item.span(), item.get_ref().as_table()?));
    let tables: Option<Vec<_>> = items.iter().map(table).collect();
    Some(tables?.into_iter())
}
