//! The cache against Hugging Face's own Rust crate `hf-hub`: each finds what the other wrote.

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::mock::etag;
use super::*;

fn repo(place: &Place, revision: &str) -> CacheRepo {
    let repo = Repo::with_revision(ID.to_owned(), RepoType::Model, revision.to_owned());
    Cache::new(place.cache()).repo(repo)
}

#[test]
fn hf_hub_finds_what_p2p_downloaded() {
    let place = Place::new();
    let commit = place.mock.add(ID, miniature());
    place.mock.name(ID, "refs/pr/1", &commit);
    let pulled = place.succeed(&["models", "pull", ID]);
    let folder = PathBuf::from(stdout(&pulled).trim_end());
    place.succeed(&["models", "pull", ID, "--revision", "refs/pr/1"]);
    for revision in ["main", "refs/pr/1"] {
        let repo = repo(&place, revision);
        assert_eq!(repo.pointer_path(&commit), folder);
        let files = listing(&folder);
        assert!(files.len() >= 10);
        for path in files {
            let found = repo.get(&path).unwrap_or_else(|| panic!("{path}"));
            assert!(
                std::fs::read(found).unwrap() == miniature()[&path],
                "{path}"
            );
        }
        assert_eq!(repo.get("README.md"), None);
    }
    assert!(repo(&place, "v1.0").get("model_index.json").is_none());
}

#[test]
#[cfg(unix)]
fn p2p_finds_what_hf_hub_wrote() {
    let place = Place::new();
    let commit = place.mock.add(ID, miniature());
    let repo = repo(&place, "main");
    // The steps of hf-hub's download: a blob by its ETag, a relative link, the reference of the branch.
    for (path, bytes) in &miniature() {
        let blob = place.repo().join("blobs").join(etag(path, bytes));
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        std::fs::write(&blob, bytes).unwrap();
        let pointer = repo.pointer_path(&commit).join(path);
        let folder = pointer.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let target = pathdiff::diff_paths(&blob, folder).unwrap();
        std::os::unix::fs::symlink(target, &pointer).unwrap();
    }
    repo.create_ref(&commit).unwrap();
    let source = ModelSource {
        offline: true,
        ..ModelSource::named(ID)
    };
    let opened = place.open_with(&source, &[]).unwrap();
    assert_eq!(opened.origin.unwrap().revision, commit);
    opened_files_are_used(&place);
    let path = place.succeed(&["models", "path", ID]);
    assert_eq!(
        Path::new(stdout(&path).trim_end()),
        repo.pointer_path(&commit)
    );
}

/// With a network only the commit is asked for, and nothing is downloaded.
#[cfg(unix)]
fn opened_files_are_used(place: &Place) {
    assert!(place.mock.log().is_empty());
    place.open(ID).unwrap();
    assert_eq!(place.mock.log().len(), 1);
    assert!(place.mock.fetched().is_empty());
}
