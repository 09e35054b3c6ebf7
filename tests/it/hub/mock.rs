//! A hub in the test process. Serves repositories by commit and byte ranges of files, keeps connections open,
//! logs requests, and answers with faults on demand.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// The number of the connection that it came over.
    pub connection: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Bytes of the body after which the connection breaks.
    pub cut: Option<usize>,
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![],
            body: body.into(),
            cut: None,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Files = BTreeMap<String, Vec<u8>>;
/// The response to send in place of the usual one, if any.
type Fault = dyn Fn(&Request) -> Option<Response> + Send + Sync;

#[derive(Default)]
struct Content {
    /// By id and commit.
    commits: HashMap<(String, String), Files>,
    /// By id and branch.
    branches: HashMap<(String, String), String>,
    fault: Option<Arc<Fault>>,
    log: Vec<Request>,
}

pub struct Mock {
    pub endpoint: String,
    content: Arc<Mutex<Content>>,
}

impl Mock {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let content: Arc<Mutex<Content>> = Arc::default();
        let shared = content.clone();
        // The threads end with the test process.
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let content = shared.clone();
                std::thread::spawn(move || serve(stream, connection, &content));
            }
        });
        Self { endpoint, content }
    }

    /// Adds a repository with these files as `main`, and returns the commit.
    pub fn add(&self, id: &str, files: Files) -> String {
        let mut hash = Sha256::new();
        for (path, bytes) in &files {
            hash.update(path);
            hash.update(bytes);
        }
        let commit = format!("{:x}", hash.finalize())[..40].to_owned();
        let mut content = self.content.lock().unwrap();
        let main = (id.to_owned(), "main".to_owned());
        content.branches.insert(main, commit.clone());
        content
            .commits
            .insert((id.to_owned(), commit.clone()), files);
        commit
    }

    /// Adds another branch or a tag.
    pub fn name(&self, id: &str, branch: &str, commit: &str) {
        let name = (id.to_owned(), branch.to_owned());
        let mut content = self.content.lock().unwrap();
        content.branches.insert(name, commit.to_owned());
    }

    /// Answers requests with the response of `fault`, if it gives one.
    pub fn fault(&self, fault: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) {
        self.content.lock().unwrap().fault = Some(Arc::new(fault));
    }

    /// Ends the fault.
    pub fn repair(&self) {
        self.content.lock().unwrap().fault = None;
    }

    /// The requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.content.lock().unwrap().log.clone()
    }

    /// The paths of the files that were downloaded, in order.
    pub fn fetched(&self) -> Vec<String> {
        let path = |request: &Request| {
            let (_, rest) = request.target.split_once("/resolve/")?;
            let (_, path) = rest.split_once('/')?;
            (request.method == "GET").then(|| path.to_owned())
        };
        self.log().iter().filter_map(path).collect()
    }

    /// Clears the log.
    pub fn forget(&self) {
        self.content.lock().unwrap().log.clear();
    }
}

/// The files of a folder by their paths.
pub fn files_of(folder: &Path) -> Files {
    let mut files = Files::new();
    collect(folder, "", &mut files);
    files
}

fn collect(folder: &Path, before: &str, files: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The ETag of a file: SHA-256 of a large one, git's hash of a small one.
pub fn etag(path: &str, bytes: &[u8]) -> String {
    if is_large(path) {
        return sha256(bytes);
    }
    let header = format!("blob {}\0", bytes.len());
    format!("{:x}", Sha1::digest([header.as_bytes(), bytes].concat()))
}

fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors") || path.ends_with(".bin")
}

/// Answers the requests of a connection until the client closes it or a fault breaks it.
fn serve(mut stream: TcpStream, connection: usize, content: &Mutex<Content>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read(&mut reader, connection)?;
        let fault = {
            let mut content = content.lock().unwrap();
            content.log.push(request.clone());
            content.fault.clone()
        };
        let response = fault.and_then(|fault| fault(&request));
        let response = response.unwrap_or_else(|| answer(&request, &content.lock().unwrap()));
        send(&mut stream, &request, &response)?;
        if response.cut.is_some() {
            return None;
        }
    }
}

fn send(stream: &mut TcpStream, request: &Request, response: &Response) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", response.status);
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let length = response.body.len();
    head += &format!("Content-Length: {length}\r\n\r\n");
    let mut bytes = head.into_bytes();
    if request.method != "HEAD" {
        let sent = response.cut.unwrap_or(length).min(length);
        bytes.extend_from_slice(&response.body[..sent]);
    }
    // One write, so that the system does not hold the body back.
    stream.write_all(&bytes).ok()?;
    if request.method != "HEAD" {
        // Lets the client wait for the rest.
        let stall = response.headers.iter().find(|(name, _)| name == "X-Stall");
        if let Some((_, seconds)) = stall {
            stream.flush().ok()?;
            std::thread::sleep(std::time::Duration::from_secs(seconds.parse().ok()?));
        }
    }
    stream.flush().ok()
}

fn read(reader: &mut impl BufRead, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Some(Request {
        method,
        target,
        headers,
        connection,
    })
}

fn answer(request: &Request, content: &Content) -> Response {
    let path = request.target.split('?').next().unwrap();
    let path = path.trim_start_matches('/');
    if let Some(rest) = path.strip_prefix("api/models/") {
        let (id, revision) = rest.split_once("/revision/").unwrap();
        return listing(id, &revision.replace("%2F", "/"), content);
    }
    let Some((id, rest)) = path.split_once("/resolve/") else {
        return Response::new(404, "");
    };
    let (revision, path) = rest.split_once('/').unwrap();
    file(request, (id, revision, path), content)
}

fn commit<'c>(id: &str, revision: &str, content: &'c Content) -> Option<(String, &'c Files)> {
    let branch = (id.to_owned(), revision.to_owned());
    let commit = content.branches.get(&branch);
    let commit = commit.map_or(revision, String::as_str).to_owned();
    let files = content.commits.get(&(id.to_owned(), commit.clone()))?;
    Some((commit, files))
}

fn listing(id: &str, revision: &str, content: &Content) -> Response {
    let Some((commit, files)) = commit(id, revision, content) else {
        let known = content.branches.keys().any(|(known, _)| known == id);
        return if known {
            Response::new(404, "").with("X-Error-Code", "RevisionNotFound")
        } else {
            // The hub answers 401 without an account.
            Response::new(401, "").with("X-Error-Code", "RepoNotFound")
        };
    };
    let sibling = |(path, bytes): (&String, &Vec<u8>)| -> Value {
        let etag = etag(path, bytes);
        if is_large(path) {
            json!({ "rfilename": path, "size": bytes.len(), "blobId": "0".repeat(40),
                "lfs": { "sha256": etag, "size": bytes.len(), "pointerSize": 135 } })
        } else {
            json!({ "rfilename": path, "size": bytes.len(), "blobId": etag })
        }
    };
    let siblings: Vec<Value> = files.iter().map(sibling).collect();
    let listing = json!({ "id": id, "sha": commit, "private": false, "siblings": siblings });
    Response::new(200, listing.to_string())
}

fn file(
    request: &Request,
    (id, revision, path): (&str, &str, &str),
    content: &Content,
) -> Response {
    let found = commit(id, revision, content);
    let Some((commit, bytes)) = found.and_then(|(c, files)| Some((c, files.get(path)?))) else {
        return Response::new(404, "").with("X-Error-Code", "EntryNotFound");
    };
    let tag = format!("\"{}\"", etag(path, bytes));
    let headed = |response: Response| {
        response
            .with("ETag", &tag)
            .with("X-Repo-Commit", &commit)
            .with("Accept-Ranges", "bytes")
    };
    let range = request
        .header("range")
        .and_then(|r| r.strip_prefix("bytes="));
    let from = range.and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
    match from {
        None => headed(Response::new(200, bytes.clone())),
        Some(from) if from >= bytes.len() => headed(Response::new(416, "")),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            let part = Response::new(206, bytes[from..].to_vec());
            headed(part).with("Content-Range", &range)
        }
    }
}
