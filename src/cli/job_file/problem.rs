//! What is wrong with a job file, and where: the line, a caret under it, and the cure.
//! Owns the texts that were read; knows nothing of what they mean.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A stretch of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSpan {
    pub source: usize,
    /// In bytes.
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// `None` where a file cannot be read at all, or the command line is to blame.
    pub place: Option<FileSpan>,
    pub cause: String,
    pub cure: String,
}

impl Problem {
    pub fn new(place: Option<FileSpan>, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            place,
            cause: cause.into(),
            cure: cure.into(),
        }
    }
}

/// The files that were read: the one asked for and those that it includes.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

#[derive(Debug, Clone)]
struct Source {
    name: String,
    text: String,
}

impl Sources {
    /// Its number.
    pub fn add(&mut self, name: String, text: String) -> usize {
        self.0.push(Source { name, text });
        self.0.len() - 1
    }

    /// `jobs.toml:3:5`, for programs and for lines without a picture.
    pub fn position(&self, place: &FileSpan) -> String {
        let (name, line) = self.line(place);
        let before = self.before(place);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        format!("{name}:{line}:{column}")
    }

    /// File and line, from 1.
    pub fn line(&self, place: &FileSpan) -> (&str, usize) {
        let line = self.before(place).matches('\n').count() + 1;
        (&self.0[place.source].name, line)
    }

    fn before(&self, place: &FileSpan) -> &str {
        let text = &self.0[place.source].text;
        &text[..floor(text, place.span.start)]
    }

    /// The line with a caret under the place.
    pub fn picture(&self, problem: &Problem, colour: bool) -> String {
        let renderer = match colour {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let title = Level::ERROR.primary_title(&*problem.cause);
        let Some(place) = &problem.place else {
            let cure = Level::HELP.secondary_title(&*problem.cure);
            // Each by itself: between two that belong together stands an empty line of a picture.
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

/// The part of a span that stands on its first line: a table's span may go on for pages.
fn one_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end.max(start));
    let line_end = text[start..]
        .find(['\n', '\r'])
        .map_or(text.len(), |n| start + n);
    start..end.min(line_end)
}

/// The beginning of the character that holds a byte.
fn floor(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte)
        .rev()
        .find(|b| text.is_char_boundary(*b))
        .unwrap_or(0)
}
