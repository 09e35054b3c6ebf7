//! Invalid job files: the corpus in `tests/jobs` (its README explains the comments in the files), and valid
//! files with random damage.

use std::path::{Path, PathBuf};
use std::process::Output;

use proptest::prelude::*;
use proptest::sample::Index;
use rayon::prelude::*;

use super::{Place, stderr};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jobs")
}

/// The job files of a folder by name, in order.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".toml")).collect();
    names.sort();
    names
}

fn check(folder: &Path, file: &str) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_p2p"));
    command.args(["job", "check", file]).current_dir(folder);
    // A model name that is not a path must not cause a download.
    command.env("HF_HUB_OFFLINE", "1");
    command.output().unwrap()
}

/// An error that `p2p job check` must report for a file.
#[derive(Debug)]
struct Expected {
    /// `file:line`, or `None` for an error about the whole file.
    place: Option<String>,
    words: Vec<String>,
}

fn expected(folder: &Path, file: &str) -> Vec<Expected> {
    let bytes = std::fs::read(folder.join(file)).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.trim_start_matches('\u{feff}').lines();
    let comments = lines.map_while(|line| line.strip_prefix("# expect: "));
    let expect = |comment: &str| {
        let mut words = comment.split_whitespace().map(str::to_owned);
        let place = words.next().expect("a place");
        let place = match place.as_str() {
            "-" => None,
            place if place.contains(':') => Some(place.to_owned()),
            line => Some(format!("{file}:{line}")),
        };
        let words = words.collect();
        Expected { place, words }
    };
    comments.map(expect).collect()
}

/// The errors in `said`, without the last one, which is a summary.
fn errors(said: &str) -> Vec<&str> {
    let starts = said.match_indices("error: ").map(|(at, _)| at);
    let starts: Vec<usize> = starts
        .filter(|at| *at == 0 || said.as_bytes()[at - 1] == b'\n')
        .collect();
    let ends = starts.iter().skip(1).copied().chain([said.len()]);
    let mut errors: Vec<&str> = starts.iter().zip(ends).map(|(a, b)| &said[*a..b]).collect();
    errors.pop();
    errors
}

impl Expected {
    fn is_met_by(&self, error: &str) -> bool {
        let at = |place: &String| error.contains(&format!("--> {place}:"));
        let there = match &self.place {
            Some(place) => at(place),
            None => !error.contains("--> "),
        };
        // The quoted source line contains all words, so it does not count.
        let digits_and_blanks = |c: char| c.is_ascii_digit() || c == ' ';
        let is_picture = |line: &&str| line.trim_start_matches(digits_and_blanks).starts_with('|');
        let told = error
            .lines()
            .filter(|line| !is_picture(line) && !line.contains("--> "));
        let told = told.collect::<Vec<_>>().join("\n");
        there && self.words.iter().all(|word| told.contains(word))
    }
}

/// How the refusal of a file differs from what its comments expect, if it does.
fn complaint(folder: &Path, file: &str) -> Option<String> {
    let output = check(folder, file);
    let (said, expected) = (stderr(&output), expected(folder, file));
    let errors = errors(&said);
    let wrong = |what: String| Some(format!("{file}: {what}; it says\n{said}"));
    if expected.is_empty() {
        return wrong("no `# expect` comment".to_owned());
    }
    if output.status.code() != Some(2) || !output.stdout.is_empty() {
        return wrong(format!("exit code {:?}", output.status.code()));
    }
    if said.contains("panicked") {
        return wrong("a panic".to_owned());
    }
    if let Some(unmet) = expected
        .iter()
        .find(|e| !errors.iter().any(|error| e.is_met_by(error)))
    {
        return wrong(format!("no error is {unmet:?}"));
    }
    if let Some(bare) = errors.iter().find(|error| !error.contains("help: ")) {
        return wrong(format!("no cure: {bare}"));
    }
    if errors.len() != expected.len() {
        return wrong(format!(
            "{} errors for {} mistakes",
            errors.len(),
            expected.len()
        ));
    }
    None
}

#[test]
fn every_mistake_is_named_with_its_line_and_a_cure() {
    let folder = corpus();
    let files = files(&folder);
    assert!(files.len() >= 200, "{}", files.len());
    let complaints: Vec<String> = files
        .par_iter()
        .filter_map(|file| complaint(&folder, file))
        .collect();
    assert!(
        complaints.is_empty(),
        "{} of {} files:\n\n{}",
        complaints.len(),
        files.len(),
        complaints.join("\n\n")
    );
}

#[test]
fn valid_files_pass_the_check() {
    let folder = corpus().join("valid");
    let files = files(&folder);
    assert!(files.len() >= 15, "{}", files.len());
    for file in files {
        let output = check(&folder, &file);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{file}: {said}");
        assert!(said.contains(" has no errors: "), "{file}: {said}");
    }
}

/// A random change to the bytes of a file.
#[derive(Debug, Clone)]
enum Damage {
    /// Removes bytes.
    Cut(Index, usize),
    /// Inserts a piece of text.
    Put(Index, &'static str),
    /// Duplicates a line.
    Repeat(Index),
    /// Swaps two lines.
    Swap(Index, Index),
    /// Overwrites a byte.
    Flip(Index, u8),
    /// Truncates the file.
    End(Index),
}

/// Pieces of text to insert: syntax of job files, and text that is invalid in them.
const PIECES: [&str; 38] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ",",
    ".",
    "..",
    "#",
    "\n",
    "\r",
    "\\",
    "\\u0000",
    "-",
    "1e9",
    "99999999999999999999",
    "nan",
    "true",
    "[job.grid]\n",
    "[[job.edit]]\n",
    "[[job]]\n",
    "[defaults]\n",
    "seed = ",
    "dst = ",
    "then = ",
    "weight = ",
    "name = ",
    "{seed}",
    "\u{feff}",
    "\0",
    "é",
    "犬",
    "default",
];

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    prop_oneof![
        (place(), 1..12usize).prop_map(|(at, n)| Damage::Cut(at, n)),
        (place(), proptest::sample::select(&PIECES[..])).prop_map(|(at, s)| Damage::Put(at, s)),
        place().prop_map(Damage::Repeat),
        (place(), place()).prop_map(|(a, b)| Damage::Swap(a, b)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        place().prop_map(Damage::End),
    ]
}

impl Damage {
    fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len();
        let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let lines = bytes.split_inclusive(|b| *b == b'\n');
            lines.map(<[u8]>::to_vec).collect()
        };
        match self {
            _ if end == 0 => {}
            Self::Cut(at, n) => {
                let at = at.index(end);
                bytes.drain(at..(at + n).min(end));
            }
            Self::Put(at, piece) => {
                let at = at.index(end + 1);
                bytes.splice(at..at, piece.bytes());
            }
            Self::Repeat(at) => {
                let mut lines = lines(&bytes);
                let at = at.index(lines.len());
                lines.insert(at, lines[at].clone());
                bytes = lines.concat();
            }
            Self::Swap(a, b) => {
                let mut lines = lines(&bytes);
                let (a, b) = (a.index(lines.len()), b.index(lines.len()));
                lines.swap(a, b);
                bytes = lines.concat();
            }
            Self::Flip(at, byte) => bytes[at.index(end)] = *byte,
            Self::End(at) => bytes.truncate(at.index(end)),
        }
        bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// A damaged file either passes the check or is refused with its name and a cure.
    #[test]
    fn damaged_files_cause_no_panic(file in any::<Index>(), damages in proptest::collection::vec(damage(), 1..4)) {
        let folder = corpus().join("valid");
        let files = files(&folder);
        let valid = std::fs::read(folder.join(file.get(&files))).unwrap();
        let damaged = damages.iter().fold(valid, |bytes, damage| damage.apply(bytes));
        let place = Place::new();
        for part in std::fs::read_dir(corpus().join("parts")).unwrap() {
            let part = part.unwrap();
            std::fs::create_dir_all(place.path("parts")).unwrap();
            std::fs::copy(part.path(), place.path("parts").join(part.file_name())).unwrap();
        }
        std::fs::create_dir(place.path("valid")).unwrap();
        std::fs::copy(folder.join("one-job.toml"), place.path("valid/one-job.toml")).unwrap();
        std::fs::write(place.path("valid/damaged.toml"), &damaged).unwrap();
        let before = place.listing();
        let output = check(&place.path("valid"), "damaged.toml");
        let said = stderr(&output);
        let shown = format!("{damages:?}\n{}\nsays\n{said}", String::from_utf8_lossy(&damaged));
        prop_assert!(!said.contains("panicked"), "{shown}");
        prop_assert_eq!(place.listing(), before);
        match output.status.code() {
            Some(0) => prop_assert!(said.contains(" has no errors: "), "{shown}"),
            Some(2) => {
                prop_assert!(said.starts_with("error: ") && said.contains("damaged.toml"), "{shown}");
                prop_assert!(errors(&said).iter().all(|error| error.contains("help: ")), "{shown}");
            }
            code => prop_assert!(false, "{code:?} {shown}"),
        }
    }
}
