//! Files from the hub into the cache: what is there is left alone, what was begun goes on, what is not what
//! the hub says is thrown away.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::answer::Refusal;
use super::lock::Lock;
use super::wire::{Broken, Method, pieces};
use super::{Online, TRIES, asked};
use crate::error::{Error, Result};
use crate::format::bytes;
use crate::hub::content::{is_right, is_small};
use crate::hub::{Repo, RepoFile};

/// A file on its way.
struct Job<'r> {
    repo: &'r Repo,
    path: &'r str,
    etag: String,
    size: Option<u64>,
    /// In the snapshot.
    pointer: PathBuf,
    blob: PathBuf,
    incomplete: PathBuf,
}

impl Job<'_> {
    /// Whether what lies at a path is as long as it should be.
    fn is_at(&self, path: &Path) -> bool {
        let there = path.metadata().ok().filter(std::fs::Metadata::is_file);
        there.is_some_and(|data| self.size.is_none_or(|size| size == data.len()))
    }

    fn begun(&self) -> u64 {
        self.incomplete.metadata().map_or(0, |data| data.len())
    }
}

impl Online<'_> {
    pub(super) fn download(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        let mut jobs = vec![];
        for path in paths {
            let file = repo.file(path).cloned().unwrap_or_else(|| RepoFile {
                path: path.clone(),
                size: None,
                etag: None,
            });
            jobs.extend(self.job(repo, path, &file)?);
        }
        if jobs.is_empty() {
            return Ok(());
        }
        let bytes = jobs.iter().filter_map(|job| job.size).sum();
        let left = |job: &Job| job.size.map_or(0, |size| size.saturating_sub(job.begun()));
        self.has_room(jobs.iter().map(left).sum())?;
        let root = &self.kept.cache.root;
        self.watch.begin(jobs.len(), bytes, &repo.id, root);
        let done = jobs.iter().try_for_each(|job| self.get(job));
        self.watch.end();
        done
    }

    /// `None` where it is there.
    fn job<'r>(&self, repo: &'r Repo, path: &'r str, file: &RepoFile) -> Result<Option<Job<'r>>> {
        let pointer = repo.folder.join(path);
        if file.etag.is_none() && pointer.is_file() {
            return Ok(None);
        }
        let (etag, size) = self.content(repo, file)?;
        let blob = self.kept.cache.blob(&repo.id, &etag);
        let job = Job {
            incomplete: blob.with_file_name(format!("{etag}.incomplete")),
            repo,
            path,
            etag,
            size,
            pointer,
            blob,
        };
        if !job.is_at(&job.pointer) {
            return Ok(Some(job));
        }
        let is_read = self.kept.checks || is_small(&job.etag);
        if !is_read || self.is_right(&job.etag, &job.pointer)? {
            return Ok(None);
        }
        self.watch
            .warn(&format!("{path} of {} is damaged: fetched again", repo.id));
        for path in [&job.pointer, &job.blob]
            .into_iter()
            .filter(|path| path.exists())
        {
            std::fs::remove_file(path).map_err(|e| self.kept.cache.cannot_write(&e))?;
        }
        Ok(Some(job))
    }

    fn is_right(&self, etag: &str, path: &Path) -> Result<bool> {
        is_right(path, etag, || self.watch.go_on())
    }

    fn has_room(&self, needed: u64) -> Result<()> {
        let root = &self.kept.cache.root;
        let there = root.ancestors().find(|folder| folder.is_dir());
        let free = there.and_then(|folder| fs4::available_space(folder).ok());
        let Some(free) = free.filter(|free| *free < needed) else {
            return Ok(());
        };
        Err(Error::model(
            format!(
                "the download takes {}, and the disk of {} has {}",
                bytes(needed),
                root.display(),
                bytes(free)
            ),
            "free some space, p2p models ls says what the models take, or set HF_HUB_CACHE to a folder on another \
             disk",
        ))
    }

    /// A file, where no other process was quicker.
    fn get(&self, job: &Job) -> Result<()> {
        let cache = &self.kept.cache;
        let what = format!("{} of {}", job.path, job.repo.id);
        self.watch.file(job.path, job.size.unwrap_or(0));
        let path = cache.locks(&job.repo.id).join(format!("{}.lock", job.etag));
        let _lock = Lock::take(cache, &path, &what, self.watch)?;
        let mut new = false;
        if !job.is_at(&job.blob) {
            self.fill(job)?;
            std::fs::rename(&job.incomplete, &job.blob).map_err(|e| cache.cannot_write(&e))?;
            new = true;
        }
        self.watch.at(job.size.unwrap_or(0));
        match job.is_at(&job.pointer) {
            true => Ok(()),
            false => cache.link(&job.blob, &job.pointer, new),
        }
    }

    /// Makes the incomplete file complete: with another try where its content is not what it should be.
    fn fill(&self, job: &Job) -> Result<()> {
        for last in [false, true] {
            self.stream(job)?;
            if self.is_right(&job.etag, &job.incomplete)? {
                return Ok(());
            }
            let removed = std::fs::remove_file(&job.incomplete);
            removed.map_err(|e| self.kept.cache.cannot_write(&e))?;
            if !last {
                let line = format!("{} came with another checksum: fetched again", job.path);
                self.watch.warn(&line);
            }
        }
        Err(Error::model(
            format!(
                "{} of {} comes from {} with another checksum than the one that is listed",
                job.path,
                job.repo.id,
                self.settings.shown()
            ),
            "a proxy or a mirror changes it: fetch it over another network, or unset HF_ENDPOINT",
        ))
    }

    /// Fetches what is missing, from where it stopped, until it is all there.
    fn stream(&self, job: &Job) -> Result<()> {
        let (mut tried, mut best) = (0, job.begun());
        loop {
            tried += 1;
            let (error, wait) = match self.go_on_with(job) {
                Ok(None) => return Ok(()),
                Ok(Some(Refusal::Final(error))) => return Err(error),
                Ok(Some(Refusal::Passing(error, wait))) => (error, wait),
                Err(Broken::Stopped(error)) => return Err(error),
                Err(Broken::Line(why)) => (self.unreachable(&why), None),
            };
            // Whatever came is a reason to go on.
            if job.begun() > best {
                (tried, best) = (1, job.begun());
            }
            if tried >= TRIES || wait.is_some_and(|wait| wait > super::LONGEST_WAIT) {
                return Err(error);
            }
            self.pause(tried, wait)?;
        }
    }

    /// One request; `None` where all came.
    fn go_on_with(&self, job: &Job) -> std::result::Result<Option<Refusal>, Broken> {
        let cannot = |e: std::io::Error| self.kept.cache.cannot_write(&e);
        let folder = job.blob.parent().expect("it lies in blobs/");
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true);
        let mut file = file.open(&job.incomplete).map_err(cannot)?;
        let begun = job.begun();
        let from = match job.size {
            Some(size) if begun == size => return Ok(None),
            Some(size) if begun > size => 0,
            _ => begun,
        };
        let url = self.address(job.repo, job.path);
        let answer = self.wire.send(Method::Get, &url, from, self.watch)?;
        let mut at = match answer.status {
            206 if starts_at(answer.header("content-range"), from) => from,
            200 => 0,
            // There is no such part: what was begun is another file.
            206 | 416 if from > 0 => {
                file.set_len(0).map_err(cannot)?;
                return Err(Broken::Line("what was begun does not fit".to_owned()));
            }
            _ => {
                let asked = asked(job.repo, job.path);
                return Ok(Some(Refusal::new(&answer, asked, &self.settings)));
            }
        };
        if begun != at {
            file.set_len(at).map_err(cannot)?;
        }
        file.seek(SeekFrom::Start(at)).map_err(cannot)?;
        self.watch.at(at);
        pieces(answer.body, self.watch, |piece| {
            file.write_all(piece).map_err(cannot)?;
            at += piece.len() as u64;
            self.watch.at(at);
            self.watch.go_on()
        })?;
        file.sync_data().map_err(cannot)?;
        match job.size {
            Some(size) if at < size => Err(Broken::Line("the connection broke".to_owned())),
            Some(size) if at > size => {
                file.set_len(0).map_err(cannot)?;
                Err(Broken::Line(format!("{} is longer than listed", job.path)))
            }
            _ => Ok(None),
        }
    }
}

/// Whether a part begins where it was asked to.
fn starts_at(range: Option<&str>, from: u64) -> bool {
    let range = range.and_then(|range| range.strip_prefix("bytes "));
    let start = range.and_then(|range| range.split_once('-')?.0.trim().parse().ok());
    start.is_none_or(|start: u64| start == from)
}
