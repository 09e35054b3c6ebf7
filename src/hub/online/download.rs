//! Downloads into the cache. A file that is complete is left alone, a partial one is resumed, and one whose
//! hash differs from the hub's list is deleted. It must never know which files a model needs.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::refusal::Refusal;
use super::transport::{Method, TransportError, read_chunks};
use super::{ATTEMPTS, LONGEST_WAIT, Online, file_target};
use crate::error::{Error, Result};
use crate::format::bytes;
use crate::hub::content::{is_right, is_small};
use crate::hub::{Repo, RepoFile};

/// A file to download.
struct FileDownload<'r> {
    repo: &'r Repo,
    /// The path in the repository.
    path: &'r str,
    etag: String,
    /// Size in bytes.
    size: Option<u64>,
    /// The link in the snapshot.
    pointer: PathBuf,
    blob: PathBuf,
    incomplete: PathBuf,
}

impl FileDownload<'_> {
    /// Whether a file of the right size is at a path.
    fn is_at(&self, path: &Path) -> bool {
        let file = path.metadata().ok().filter(std::fs::Metadata::is_file);
        file.is_some_and(|data| self.size.is_none_or(|size| size == data.len()))
    }

    /// Bytes that earlier attempts and earlier runs left.
    fn downloaded(&self) -> u64 {
        self.incomplete.metadata().map_or(0, |data| data.len())
    }

    /// `unet/config.json of owner/name`
    fn name(&self) -> String {
        format!("{} of {}", self.path, self.repo.id)
    }
}

impl Online<'_> {
    pub(super) fn download(&self, repo: &Repo, paths: &[String]) -> Result<()> {
        let mut missing = vec![];
        for path in paths {
            let file = repo.file(path).cloned().unwrap_or_else(|| RepoFile {
                path: path.clone(),
                size: None,
                etag: None,
            });
            missing.extend(self.missing(repo, path, &file)?);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let bytes = missing.iter().filter_map(|file| file.size).sum();
        let left = |file: &FileDownload| file.size.unwrap_or(0).saturating_sub(file.downloaded());
        self.check_disk_space(missing.iter().map(left).sum())?;
        let root = &self.cache_only.cache.root;
        self.reporter.start(missing.len(), bytes, &repo.id, root);
        let done = missing.iter().try_for_each(|file| self.download_file(file));
        self.reporter.finish();
        done
    }

    /// The download that a file needs, or `None` if the cache has it. A damaged file is deleted.
    fn missing<'r>(
        &self,
        repo: &'r Repo,
        path: &'r str,
        file: &RepoFile,
    ) -> Result<Option<FileDownload<'r>>> {
        let pointer = repo.folder.join(path);
        if file.etag.is_none() && pointer.is_file() {
            return Ok(None);
        }
        let (etag, size) = self.etag_and_size(repo, file)?;
        let cache = &self.cache_only.cache;
        let blob = cache.blob(&repo.id, &etag);
        let download = FileDownload {
            incomplete: blob.with_file_name(format!("{etag}.incomplete")),
            repo,
            path,
            etag,
            size,
            pointer,
            blob,
        };
        if !download.is_at(&download.pointer) {
            return Ok(Some(download));
        }
        let is_hashed = self.cache_only.checks || is_small(&download.etag);
        if !is_hashed || self.has_right_hash(&download.etag, &download.pointer)? {
            return Ok(None);
        }
        let line = format!("{} is damaged: downloading it again", download.name());
        self.reporter.warn(&line);
        for path in [&download.pointer, &download.blob] {
            if path.exists() {
                std::fs::remove_file(path).map_err(|e| cache.cannot_write(&e))?;
            }
        }
        Ok(Some(download))
    }

    fn has_right_hash(&self, etag: &str, path: &Path) -> Result<bool> {
        is_right(path, etag, || self.reporter.check_interrupted())
    }

    fn check_disk_space(&self, needed: u64) -> Result<()> {
        let root = &self.cache_only.cache.root;
        let existing = root.ancestors().find(|folder| folder.is_dir());
        let free = existing.and_then(|folder| fs4::available_space(folder).ok());
        let Some(free) = free.filter(|free| *free < needed) else {
            return Ok(());
        };
        Err(Error::model(
            format!(
                "the download needs {}, and the disk of {} has {} free",
                bytes(needed),
                root.display(),
                bytes(free)
            ),
            "free some space (p2p models ls lists the sizes of models), or set HF_HUB_CACHE to a folder on another \
             disk",
        ))
    }

    /// Downloads a file, unless another process does so first.
    fn download_file(&self, file: &FileDownload) -> Result<()> {
        let cache = &self.cache_only.cache;
        self.reporter.file(file.path, file.size.unwrap_or(0));
        let locks = cache.locks(&file.repo.id);
        let lock = locks.join(format!("{}.lock", file.etag));
        let _lock = Lock::take(cache, &lock, &file.name(), self.reporter)?;
        let mut is_new = false;
        if !file.is_at(&file.blob) {
            self.complete(file)?;
            std::fs::rename(&file.incomplete, &file.blob).map_err(|e| cache.cannot_write(&e))?;
            is_new = true;
        }
        self.reporter.position(file.size.unwrap_or(0));
        if file.is_at(&file.pointer) {
            return Ok(());
        }
        cache.link(&file.blob, &file.pointer, is_new)
    }

    /// Completes the partial file. If its hash is wrong then, it is downloaded a second time.
    fn complete(&self, file: &FileDownload) -> Result<()> {
        for is_last in [false, true] {
            self.download_rest(file)?;
            if self.has_right_hash(&file.etag, &file.incomplete)? {
                return Ok(());
            }
            let removed = std::fs::remove_file(&file.incomplete);
            removed.map_err(|e| self.cache_only.cache.cannot_write(&e))?;
            if !is_last {
                let line = format!("{} has the wrong checksum: downloading it again", file.path);
                self.reporter.warn(&line);
            }
        }
        Err(Error::model(
            format!(
                "{} from {} has the wrong checksum",
                file.name(),
                self.settings.shown()
            ),
            "a proxy or a mirror changes the file: use another network, or unset HF_ENDPOINT",
        ))
    }

    /// Requests the missing bytes until the partial file is complete.
    fn download_rest(&self, file: &FileDownload) -> Result<()> {
        let (mut attempt, mut most) = (0, file.downloaded());
        loop {
            attempt += 1;
            let (error, wait) = match self.request_rest(file) {
                Ok(None) => return Ok(()),
                Ok(Some(Refusal::Final(error))) => return Err(error),
                Ok(Some(Refusal::Temporary(error, wait))) => (error, wait),
                Err(TransportError::Stopped(error)) => return Err(error),
                Err(TransportError::Connection(why)) => (self.unreachable(&why), None),
            };
            // Only attempts without progress are counted.
            if file.downloaded() > most {
                (attempt, most) = (1, file.downloaded());
            }
            if attempt >= ATTEMPTS || wait.is_some_and(|wait| wait > LONGEST_WAIT) {
                return Err(error);
            }
            self.wait_before_retry(attempt, wait)?;
        }
    }

    /// Sends one request for the missing bytes. `None` means that the partial file is complete.
    fn request_rest(
        &self,
        file: &FileDownload,
    ) -> std::result::Result<Option<Refusal>, TransportError> {
        let cannot_write = |e: std::io::Error| self.cache_only.cache.cannot_write(&e);
        let folder = file.blob.parent().expect("a blob has a folder");
        std::fs::create_dir_all(folder).map_err(cannot_write)?;
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let mut output = options.open(&file.incomplete).map_err(cannot_write)?;
        let downloaded = file.downloaded();
        let start = match file.size {
            Some(size) if downloaded == size => return Ok(None),
            Some(size) if downloaded > size => 0,
            _ => downloaded,
        };
        let url = self.file_url(file.repo, file.path);
        let response = self
            .transport
            .send(Method::Get, &url, start, self.reporter)?;
        let position = match response.status {
            206 if starts_at(response.header("content-range"), start) => start,
            // The server ignores ranges and sends the whole file.
            200 => 0,
            // The range does not exist, so the partial file is of another content.
            206 | 416 if start > 0 => {
                output.set_len(0).map_err(cannot_write)?;
                let why = "the partial download does not match".to_owned();
                return Err(TransportError::Connection(why));
            }
            _ => {
                let target = file_target(file.repo, file.path);
                return Ok(Some(Refusal::new(&response, target, &self.settings)));
            }
        };
        if downloaded != position {
            output.set_len(position).map_err(cannot_write)?;
        }
        output
            .seek(SeekFrom::Start(position))
            .map_err(cannot_write)?;
        self.write_body(file, response.body, &mut output, position)?;
        Ok(None)
    }

    /// Writes a body at a position of the partial file.
    fn write_body(
        &self,
        file: &FileDownload,
        body: ureq::Body,
        output: &mut File,
        mut position: u64,
    ) -> std::result::Result<(), TransportError> {
        let cannot_write = |e: std::io::Error| self.cache_only.cache.cannot_write(&e);
        self.reporter.position(position);
        read_chunks(body, self.reporter, |chunk| {
            output.write_all(chunk).map_err(cannot_write)?;
            position += chunk.len() as u64;
            self.reporter.position(position);
            self.reporter.check_interrupted()
        })?;
        output.sync_data().map_err(cannot_write)?;
        match file.size {
            Some(size) if position < size => {
                let why = "the connection broke".to_owned();
                Err(TransportError::Connection(why))
            }
            Some(size) if position > size => {
                output.set_len(0).map_err(cannot_write)?;
                let why = format!("{} is longer than listed", file.path);
                Err(TransportError::Connection(why))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a `Content-Range` header starts at the requested byte. Servers that leave it out are trusted: the
/// hash of the file tells.
fn starts_at(content_range: Option<&str>, start: u64) -> bool {
    let range = content_range.and_then(|range| range.strip_prefix("bytes "));
    let first = range.and_then(|range| range.split_once('-')?.0.trim().parse().ok());
    first.is_none_or(|first: u64| first == start)
}
