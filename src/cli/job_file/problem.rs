//! Problems of job files, and how they are shown: the line, a caret under it, and the cure.
//! Owns the texts that were read; it must never know what they mean.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use prompt_to_prompt::message::{Keys, Message};
use prompt_to_prompt::setting::Setting;

/// A span of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpan {
    /// The number of the file in [`Sources`].
    pub source: usize,
    /// The span in bytes.
    pub span: Range<usize>,
}

/// A problem of a job file or of a job in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Where the problem is. `None` where a file cannot be read at all, or where the command line is wrong.
    pub place: Option<FileSpan>,
    /// One line that names what is wrong.
    pub cause: String,
    /// One line that says what to write.
    pub cure: String,
    /// The settings that cause and cure name.
    pub settings: Vec<Setting>,
}

impl Problem {
    /// A problem in the words of a job file.
    pub fn new(
        place: Option<FileSpan>,
        cause: impl Into<Message>,
        cure: impl Into<Message>,
    ) -> Self {
        let (cause, cure) = (cause.into(), cure.into());
        Self {
            settings: cause.settings().chain(cure.settings()).collect(),
            cause: cause.render(&Keys),
            cure: cure.render(&Keys),
            place,
        }
    }
}

/// The texts of the files that were read: the file itself and those that it includes.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

#[derive(Debug, Clone)]
struct Source {
    name: String,
    text: String,
}

impl Sources {
    /// Adds a file and returns its number.
    pub fn add(&mut self, name: String, text: String) -> usize {
        self.0.push(Source { name, text });
        self.0.len() - 1
    }

    /// File, line and column as `jobs.toml:3:5`.
    pub fn position(&self, place: &FileSpan) -> String {
        let (name, line) = self.line(place);
        let before = self.before(place);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{name}:{line}:{column}")
    }

    /// File name and line number, from 1.
    pub fn line(&self, place: &FileSpan) -> (&str, usize) {
        let line = self.before(place).matches('\n').count() + 1;
        (&self.0[place.source].name, line)
    }

    fn before(&self, place: &FileSpan) -> &str {
        let text = &self.0[place.source].text;
        &text[..floor(text, place.span.start)]
    }

    /// The problem with its line and a caret under the span.
    pub fn picture(&self, problem: &Problem, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let title = Level::ERROR.primary_title(&*problem.cause);
        let Some(place) = &problem.place else {
            let cure = Level::HELP.secondary_title(&*problem.cure);
            // Rendered apart: together they would have the empty line of a snippet between them.
            let lines = [title, cure].map(|line| renderer.render(&[Group::with_title(line)]));
            return lines.join("\n");
        };
        let cure = Level::HELP.message(&*problem.cure);
        let source = &self.0[place.source];
        let snippet = Snippet::source(&source.text)
            .path(&source.name)
            .annotation(AnnotationKind::Primary.span(one_line(&source.text, &place.span)));
        renderer.render(&[title.element(snippet).element(cure)])
    }
}

/// The part of a span on its first line. The span of a table can have many lines.
fn one_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end.max(start));
    let line_end = text[start..]
        .find(['\n', '\r'])
        .map_or(text.len(), |n| start + n);
    start..end.min(line_end)
}

/// The start of the character that contains a byte.
fn floor(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte)
        .rev()
        .find(|b| text.is_char_boundary(*b))
        .unwrap_or(0)
}
