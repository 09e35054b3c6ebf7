//! The hub's cache without a hub: models that Python's tools fetched are used, in every build.

use std::path::Path;

use assert_cmd::Command;
use prompt_to_prompt::hub::{Connection, HubSettings, Silent};
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::model::{ModelFolder, ModelSource, Need};
use prompt_to_prompt::setting::Setting;

use crate::common::fixture;
use crate::model::copy;

const ID: &str = "ada/mini-sd";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache as another tool wrote it, without links.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let repo = home.path().join("hub/models--ada--mini-sd");
    copy(&fixture("mini-sd"), &repo.join("snapshots").join(COMMIT));
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::write(repo.join("refs/main"), COMMIT).unwrap();
    home
}

fn open(home: &Path, source: &ModelSource) -> Result<ModelFolder, prompt_to_prompt::error::Error> {
    let variable = |name: &str| (name == "HF_HOME").then(|| home.as_os_str().to_owned());
    let hub = Connection::new(HubSettings::new(variable, None), &Silent);
    ModelFolder::open_with(source, Need::Weights, &hub)
}

#[test]
fn a_cached_model_is_opened_offline() {
    let home = home();
    for revision in [None, Some("main"), Some(COMMIT)] {
        let source = ModelSource {
            revision: revision.map(str::to_owned),
            offline: true,
            ..ModelSource::named(ID)
        };
        let opened = open(home.path(), &source).unwrap();
        assert_eq!(
            (&*opened.id, &*opened.origin.unwrap().revision),
            (ID, COMMIT)
        );
    }
    let local = ModelSource {
        revision: Some("main".to_owned()),
        ..ModelSource::named("storybook")
    };
    let error = open(home.path(), &local).unwrap_err();
    assert_eq!(error.report().about, Some(Setting::Revision));
    let (cause, _) = error.parts(&Flags);
    assert!(
        cause.contains("--revision is for a model of the hub"),
        "{cause}"
    );
}

#[test]
fn a_model_that_is_not_cached_names_the_command_that_fetches_it() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_p2p"));
    let args = ["explain", "--model", ID, "--src", "a cat", "--dst", "a dog"];
    let command = command.args(args).env("HF_HOME", place.path());
    let offline = cfg!(feature = "hub");
    let command = command.env("HF_HUB_OFFLINE", if offline { "1" } else { "" });
    let output = command.env_remove("TRANSFORMERS_OFFLINE").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    let cure = if offline {
        "HF_HUB_OFFLINE=0 p2p models pull ada/mini-sd"
    } else {
        "was built without the feature `hub`"
    };
    assert!(
        said.contains("ada/mini-sd is not in the cache") && said.contains(cure),
        "{said}"
    );
}
