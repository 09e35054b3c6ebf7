//! Errors, split by whose fault they are. Each names its cause and its cure on one line each.
//! Owns the crate's `Error` and `Result`; knows nothing of exit codes (floor 6 maps them).

use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One line that names the thing.
    pub cause: String,
    /// One line that says the next step.
    pub cure: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.cure)
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be carried out as written: the caller's to mend.
    #[error("{0}")]
    Usage(Report),
    /// A model's files are missing, torn, or of a kind that is not supported.
    #[error("{0}")]
    Model(Report),
    /// The work itself failed: a disk, a number that is not finite.
    #[error("{0}")]
    Run(Report),
    /// Some of several jobs failed; each was reported.
    #[error("{0}")]
    SomeFailed(Report),
    /// More memory is needed than there is.
    #[error("{0}")]
    Memory(Report),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed: a bug of ours, or memory.
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
}

const REPORT: &str =
    "if memory was not short, this is a bug of ours: please report it with the command";

impl Error {
    pub fn usage(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Usage(Report {
            cause: cause.into(),
            cure: cure.into(),
        })
    }

    pub fn model(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Model(Report {
            cause: cause.into(),
            cure: cure.into(),
        })
    }

    pub fn run(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Run(Report {
            cause: cause.into(),
            cure: cure.into(),
        })
    }

    pub fn memory(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Memory(Report {
            cause: cause.into(),
            cure: cure.into(),
        })
    }

    /// The same, whose cause begins with what it is about.
    pub fn about(mut self, what: &str) -> Self {
        if let Self::Usage(r) | Self::Model(r) | Self::Run(r) | Self::Memory(r) = &mut self {
            r.cause = format!("{what}: {}", r.cause);
        }
        self
    }

    /// The cause and, where there is one, the cure: what a program prints on two lines.
    pub fn parts(&self) -> (String, Option<&str>) {
        match self {
            Self::Usage(r)
            | Self::Model(r)
            | Self::Run(r)
            | Self::Memory(r)
            | Self::SomeFailed(r) => (r.cause.clone(), Some(&r.cure)),
            Self::Interrupted => (
                "interrupted".to_owned(),
                Some("what was not finished was not written"),
            ),
            Self::Tensor(e) => {
                let line = e.to_string().lines().next().unwrap_or_default().to_owned();
                (format!("a tensor operation failed: {line}"), Some(REPORT))
            }
        }
    }
}
