//! What the hub's refusals mean: one cause and one cure each. Goes by its `X-Error-Code`, and where a
//! mirror leaves that out by the status.

use std::time::Duration;

use super::wire::Answer;
use crate::error::Error;
use crate::hub::name::{MAIN, is_commit};
use crate::hub::settings::HubSettings;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub id: &'a str,
    pub revision: &'a str,
    /// `None`: for the list of files.
    pub file: Option<&'a str>,
}

/// A refusal.
pub enum Refusal {
    /// It would be the same another time.
    Final(Error),
    /// It may pass: the error if it does not, and how long the hub asks us to wait.
    Passing(Error, Option<Duration>),
}

impl Refusal {
    pub fn new(answer: &Answer, asked: Asked, settings: &HubSettings) -> Self {
        let code = answer.header("x-error-code").unwrap_or_default();
        let message = answer.header("x-error-message").unwrap_or_default();
        if let Some(host) = &answer.elsewhere {
            return Self::Passing(stored_elsewhere(answer.status, host, asked), wait(answer));
        }
        match (answer.status, code) {
            (429, _) => Self::too_many(answer, settings),
            (408 | 500..=599, _) => Self::Passing(broken(answer.status, settings), wait(answer)),
            (_, "GatedRepo") => Self::Final(gated(answer.status, asked, settings)),
            (_, "RevisionNotFound") => Self::Final(no_revision(asked, settings)),
            (_, "EntryNotFound") => Self::Final(no_file(asked, settings)),
            (401 | 403, _) if message.to_lowercase().contains("invalid credentials") => {
                Self::Final(bad_token(settings))
            }
            (401 | 404, "RepoNotFound") | (401, _) => Self::Final(no_repo(asked, settings)),
            (403, code) if code == "DisabledRepo" || message.contains("disabled") => {
                Self::Final(Error::model(
                    format!("{} has disabled {}", settings.shown(), asked.id),
                    "take another model",
                ))
            }
            (403, _) => Self::Final(no_access(asked, settings)),
            (404, _) if asked.file.is_some() => Self::Final(no_file(asked, settings)),
            (404, _) if asked.revision != MAIN => Self::Final(no_revision(asked, settings)),
            (404, _) => Self::Final(no_repo(asked, settings)),
            (status, _) => Self::Final(Error::model(
                format!("{} answers {status} for {}", settings.shown(), asked.id),
                "check the id and HF_ENDPOINT; p2p doctor says what is set",
            )),
        }
    }

    fn too_many(answer: &Answer, settings: &HubSettings) -> Self {
        let wait = wait(answer);
        let cure = match (wait, &settings.token) {
            (Some(wait), _) => format!("try again in {} s", wait.as_secs()),
            (None, Some(_)) => "try again in a few minutes".to_owned(),
            (None, None) => {
                "try again in a few minutes, or with a token in HF_TOKEN, which may ask more often"
                    .to_owned()
            }
        };
        let cause = format!("{} answers that it is asked too often", settings.shown());
        Self::Passing(Error::model(cause, cure), wait)
    }
}

/// The time that an answer asks for: seconds.
fn wait(answer: &Answer) -> Option<Duration> {
    let seconds = answer.header("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn broken(status: u16, settings: &HubSettings) -> Error {
    Error::model(
        format!("{} answers {status}, several times over", settings.shown()),
        "it is out of order: try again later, or name a mirror in HF_ENDPOINT",
    )
}

/// The hub sends on to a store, by an address that holds for a while.
fn stored_elsewhere(status: u16, host: &str, asked: Asked) -> Error {
    let file = asked.file.unwrap_or_default();
    Error::model(
        format!("{host}, to which the hub sends for {file}, answers {status}, several times over"),
        "a firewall or a proxy may be in the way: fetch it over another network, or name a mirror in HF_ENDPOINT",
    )
}

/// The page of a repository.
fn page(asked: Asked, settings: &HubSettings) -> String {
    format!("{}/{}", settings.shown(), asked.id)
}

fn gated(status: u16, asked: Asked, settings: &HubSettings) -> Error {
    let (id, page) = (asked.id, page(asked, settings));
    match &settings.token {
        None => Error::model(
            format!("{id} is gated, and no access token is set"),
            format!(
                "accept its terms at {page}, then put a token into HF_TOKEN, or sign in with `hf auth login`"
            ),
        ),
        Some(_) if status == 401 => bad_token(settings),
        Some(_) => no_access(asked, settings),
    }
}

fn no_access(asked: Asked, settings: &HubSettings) -> Error {
    let (id, page) = (asked.id, page(asked, settings));
    match &settings.token {
        None => Error::model(
            format!("{} keeps {id} to those who have access", settings.shown()),
            format!("ask for it at {page}, then put a token into HF_TOKEN"),
        ),
        Some(token) => Error::model(
            format!("the access token of {} has no access to {id}", token.source),
            format!("accept its terms or ask for access at {page}, with the account of that token"),
        ),
    }
}

fn bad_token(settings: &HubSettings) -> Error {
    let source = settings
        .token
        .as_ref()
        .map(|token| token.source.to_string());
    Error::model(
        format!(
            "{} does not accept the access token of {}",
            settings.shown(),
            source.unwrap_or_default()
        ),
        "make a new one in the hub's settings, or unset it where the model is public",
    )
}

/// The hub answers so for what is private, too.
fn no_repo(asked: Asked, settings: &HubSettings) -> Error {
    let (id, hub) = (asked.id, settings.shown());
    match &settings.token {
        None => Error::model(
            format!("there is no model {id} at {hub} that is open to all"),
            "check its spelling, or the path if it is a file or folder here; if it is private, put an access \
             token into HF_TOKEN",
        ),
        Some(token) => Error::model(
            format!(
                "there is no model {id} at {hub} for the access token of {}",
                token.source
            ),
            "check its spelling, or the path if it is a file or folder here, and what the token may read",
        ),
    }
}

fn no_revision(asked: Asked, settings: &HubSettings) -> Error {
    let Asked { id, revision, .. } = asked;
    let page = page(asked, settings);
    Error::model(
        format!("{id} has no revision {revision}"),
        match is_commit(revision) {
            true => format!(
                "its history may have been written anew: see {page}/commits/main, or take another revision or model"
            ),
            false => {
                format!("see its branches and tags at {page}/tree/main")
            }
        },
    )
}

fn no_file(asked: Asked, settings: &HubSettings) -> Error {
    Error::model(
        format!(
            "{} has no file {}",
            asked.id,
            asked.file.unwrap_or_default()
        ),
        format!("see its files at {}/tree/main", page(asked, settings)),
    )
}
