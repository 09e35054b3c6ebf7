//! What the hub's error responses mean: each becomes one cause and one cure. The `X-Error-Code` header
//! decides, or the status if a mirror leaves it out. It must never send anything.

use std::time::Duration;

use super::transport::Response;
use crate::error::Error;
use crate::hub::name::{MAIN, is_commit};
use crate::hub::settings::HubSettings;

/// What a request was for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub id: &'a str,
    pub revision: &'a str,
    /// `None` for the list of files.
    pub file: Option<&'a str>,
}

/// An error response.
pub enum Refusal {
    /// Another attempt would get the same response.
    Final(Error),
    /// Another attempt may succeed. Holds the error for the last attempt, and the wait that the hub asks for.
    Temporary(Error, Option<Duration>),
}

impl Refusal {
    pub fn new(response: &Response, target: Target, settings: &HubSettings) -> Self {
        let code = response.header("x-error-code").unwrap_or_default();
        let message = response.header("x-error-message").unwrap_or_default();
        let wait = wait(response);
        if let Some(host) = &response.other_host {
            return Self::Temporary(store_error(response.status, host, target), wait);
        }
        let error = match (response.status, code) {
            (429, _) => return Self::Temporary(rate_limited(wait, settings), wait),
            (status @ (408 | 500..=599), _) => {
                return Self::Temporary(server_error(status, settings), wait);
            }
            (status, "GatedRepo") => gated(status, target, settings),
            (_, "RevisionNotFound") => no_revision(target, settings),
            (_, "EntryNotFound") => no_file(target, settings),
            (401 | 403, _) if message.to_lowercase().contains("invalid credentials") => {
                bad_token(settings)
            }
            (401 | 404, "RepoNotFound") | (401, _) => no_repo(target, settings),
            (403, code) if code == "DisabledRepo" || message.contains("disabled") => Error::model(
                format!("{} has disabled {}", settings.shown(), target.id),
                "choose another model",
            ),
            (403, _) => no_access(target, settings),
            (404, _) if target.file.is_some() => no_file(target, settings),
            (404, _) if target.revision != MAIN => no_revision(target, settings),
            (404, _) => no_repo(target, settings),
            (status, _) => Error::model(
                format!("{} answers {status} for {}", settings.shown(), target.id),
                "check the id and HF_ENDPOINT; p2p doctor shows what is set",
            ),
        };
        Self::Final(error)
    }
}

/// The wait that a response asks for.
fn wait(response: &Response) -> Option<Duration> {
    let seconds = response.header("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn rate_limited(wait: Option<Duration>, settings: &HubSettings) -> Error {
    let cure = match (wait, &settings.token) {
        (Some(wait), _) => format!("try again in {} s", wait.as_secs()),
        (None, Some(_)) => "try again in a few minutes".to_owned(),
        (None, None) => {
            "try again in a few minutes, or set HF_TOKEN to an access token, which raises the limit"
                .to_owned()
        }
    };
    let cause = format!("{} limits the number of requests", settings.shown());
    Error::model(cause, cure)
}

fn server_error(status: u16, settings: &HubSettings) -> Error {
    Error::model(
        format!("{} answers {status} repeatedly", settings.shown()),
        "the server has a fault: try again later, or set HF_ENDPOINT to a mirror",
    )
}

/// An error of the store that the hub redirects to. Its URLs expire, so that another attempt may succeed.
fn store_error(status: u16, host: &str, target: Target) -> Error {
    let file = target.file.unwrap_or_default();
    Error::model(
        format!("{host}, to which the hub redirects for {file}, answers {status} repeatedly"),
        "a firewall or a proxy may block it: use another network, or set HF_ENDPOINT to a mirror",
    )
}

/// The address of a repository's page.
fn page(target: Target, settings: &HubSettings) -> String {
    format!("{}/{}", settings.shown(), target.id)
}

fn gated(status: u16, target: Target, settings: &HubSettings) -> Error {
    let (id, page) = (target.id, page(target, settings));
    match &settings.token {
        None => Error::model(
            format!("{id} is gated, and no access token is set"),
            format!(
                "accept its terms at {page}, then set HF_TOKEN to an access token, or sign in with `hf auth login`"
            ),
        ),
        Some(_) if status == 401 => bad_token(settings),
        Some(_) => no_access(target, settings),
    }
}

fn no_access(target: Target, settings: &HubSettings) -> Error {
    let (id, page) = (target.id, page(target, settings));
    match &settings.token {
        None => Error::model(
            format!("{} restricts access to {id}", settings.shown()),
            format!("request access at {page}, then set HF_TOKEN to an access token"),
        ),
        Some(token) => Error::model(
            format!(
                "the access token from {} has no access to {id}",
                token.source
            ),
            format!("accept its terms or request access at {page}, with the account of the token"),
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
            "{} does not accept the access token from {}",
            settings.shown(),
            source.unwrap_or_default()
        ),
        "create a new one in your settings on the hub, or unset it if the model is public",
    )
}

/// The hub sends the same response for a private repository and for one that does not exist.
fn no_repo(target: Target, settings: &HubSettings) -> Error {
    let (id, hub) = (target.id, settings.shown());
    match &settings.token {
        None => Error::model(
            format!("there is no public model {id} at {hub}"),
            "check the spelling, or the path if you mean a local file or folder; for a private model set HF_TOKEN \
             to an access token",
        ),
        Some(token) => Error::model(
            format!(
                "there is no model {id} at {hub} that the access token from {} can read",
                token.source
            ),
            "check the spelling, or the path if you mean a local file or folder, and the permissions of the token",
        ),
    }
}

fn no_revision(target: Target, settings: &HubSettings) -> Error {
    let Target { id, revision, .. } = target;
    let page = page(target, settings);
    let cure = if is_commit(revision) {
        format!(
            "its history may have been rewritten: see {page}/commits/main, or choose another revision or model"
        )
    } else {
        format!("see its branches and tags at {page}/tree/main")
    };
    Error::model(format!("{id} has no revision {revision}"), cure)
}

fn no_file(target: Target, settings: &HubSettings) -> Error {
    let file = target.file.unwrap_or_default();
    Error::model(
        format!("{} has no file {file}", target.id),
        format!("see its files at {}/tree/main", page(target, settings)),
    )
}
