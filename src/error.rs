//! Errors by whose fault they are: the request, the model's files, the run, the memory. Each says its cause
//! and its cure, one line each, and which setting and which word it is about. Owns the crate's [`Error`] and
//! [`Result`]; it must never know exit codes, flags or files of a front end.

use std::fmt;

use crate::message::{Keys, Message, Names};
use crate::setting::Setting;

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One line that names what went wrong.
    pub cause: Message,
    /// One line that says the next step.
    pub cure: Message,
    /// The setting that is to be changed, where it is one.
    pub about: Option<Setting>,
    /// The word of the setting's value, or of a prompt, that is to be changed.
    pub word: Option<String>,
}

impl Report {
    /// A report that is about no setting in particular.
    pub fn new(cause: impl Into<Message>, cure: impl Into<Message>) -> Self {
        Self {
            cause: cause.into(),
            cure: cure.into(),
            about: None,
            word: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.cure)
    }
}

/// What can go wrong, by whose fault it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be carried out as written; the caller can correct it.
    #[error("{0}")]
    Usage(Report),
    /// A model's files are missing, damaged, or of a kind that is not supported.
    #[error("{0}")]
    Model(Report),
    /// The work itself failed, for example a disk was full or a number was not finite.
    #[error("{0}")]
    Run(Report),
    /// Some of several jobs failed. Each failure was reported when it happened.
    #[error("{0}")]
    SomeFailed(Report),
    /// The run needs more memory than there is.
    #[error("{0}")]
    Memory(Report),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed: a bug of this crate, or a lack of memory.
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// An error of the request.
    pub fn usage(cause: impl Into<Message>, cure: impl Into<Message>) -> Self {
        Self::Usage(Report::new(cause, cure))
    }

    /// An error of a model's files.
    pub fn model(cause: impl Into<Message>, cure: impl Into<Message>) -> Self {
        Self::Model(Report::new(cause, cure))
    }

    /// An error of the work itself.
    pub fn run(cause: impl Into<Message>, cure: impl Into<Message>) -> Self {
        Self::Run(Report::new(cause, cure))
    }

    /// An error for a lack of memory.
    pub fn memory(cause: impl Into<Message>, cure: impl Into<Message>) -> Self {
        Self::Memory(Report::new(cause, cure))
    }

    /// An error of some jobs among several.
    pub fn some_failed(cause: impl Into<Message>, cure: impl Into<Message>) -> Self {
        Self::SomeFailed(Report::new(cause, cure))
    }

    /// The error with the setting that it is about. A setting that was named before is kept.
    pub fn about(self, setting: Setting) -> Self {
        self.map(|report| Report {
            about: report.about.or(Some(setting)),
            ..report
        })
    }

    /// The error with the word that it is about.
    pub fn word(self, word: &str) -> Self {
        self.map(|report| Report {
            word: Some(word.to_owned()),
            ..report
        })
    }

    /// The error with its cause put behind what it happened to: `cause` becomes `what: cause`.
    pub fn context(self, what: impl Into<Message>) -> Self {
        let what = what.into().then(": ");
        self.map(|report| Report {
            cause: report.cause.after(what),
            ..report
        })
    }

    /// The error with its report changed. Errors without one stay as they are.
    pub fn map(self, change: impl FnOnce(Report) -> Report) -> Self {
        match self {
            Self::Usage(report) => Self::Usage(change(report)),
            Self::Model(report) => Self::Model(change(report)),
            Self::Run(report) => Self::Run(change(report)),
            Self::SomeFailed(report) => Self::SomeFailed(change(report)),
            Self::Memory(report) => Self::Memory(change(report)),
            other => other,
        }
    }

    /// Cause, cure, setting and word as data.
    pub fn report(&self) -> Report {
        match self {
            Self::Usage(report)
            | Self::Model(report)
            | Self::Run(report)
            | Self::Memory(report)
            | Self::SomeFailed(report) => report.clone(),
            Self::Interrupted => Report::new("interrupted", "the unfinished part was not written"),
            Self::Tensor(error) => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                Report::new(
                    format!("a tensor operation failed: {line}"),
                    "if there was enough memory, this is a bug: please report it with the command",
                )
            }
        }
    }

    /// The cause and the cure as text, with settings named by `names`.
    pub fn parts(&self, names: &dyn Names) -> (String, String) {
        let report = self.report();
        (report.cause.render(names), report.cure.render(names))
    }

    /// The cause as text, with the settings' own names.
    pub fn cause(&self) -> String {
        self.report().cause.render(&Keys)
    }
}
