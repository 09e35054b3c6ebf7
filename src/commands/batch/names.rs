//! The names of jobs: each job has a folder of its own, and no job's folder lies in another's.

use std::collections::{HashMap, HashSet};

use super::task::Failure;
use crate::cli::{Entry, JobRequest, Problem, plain};

/// An entry, and its job or what is wrong with it.
pub type Requested<'a> = (&'a Entry, std::result::Result<JobRequest, Problem>);

/// Gives each job a unique name.
pub fn named<'a>(
    requests: Vec<Requested<'a>>,
    failures: &mut Vec<(&'a Entry, Failure)>,
) -> Vec<(&'a Entry, JobRequest, String)> {
    let mut good = vec![];
    for (i, (entry, request)) in requests.into_iter().enumerate() {
        match request {
            Ok(request) => good.push((entry, request)),
            Err(problem) => {
                let name = entry.name.as_ref().map(|name| name.text.clone());
                let name = name.unwrap_or_else(|| format!("job {}", i + 1));
                failures.push((entry, Failure { name, problem }));
            }
        }
    }
    let mut met: HashMap<String, usize> = HashMap::new();
    for (_, request) in &good {
        *met.entry(request.folder.to_lowercase()).or_default() += 1;
    }
    let (mut taken, mut named) = (Taken::default(), vec![]);
    for (entry, request) in good {
        let mut name = request.folder.clone();
        if met[&name.to_lowercase()] > 1 {
            let varied = entry.point.0.iter();
            let varied = varied.map(|(key, value)| format!("-{key}-{}", plain(value)));
            name += &varied.collect::<String>();
        }
        if let Err(cause) = taken.take(&name) {
            let template = entry.folder.as_ref().or(entry.name.as_ref());
            if let Some(template) = template {
                let cure = "make the names unique, for example folder = \"{name}-{seed}\"";
                let problem = Problem::new(template.place.clone(), cause, cure);
                failures.push((entry, Failure { name, problem }));
                continue;
            }
            name = numbered(&name, &mut taken);
        }
        named.push((entry, request, name));
    }
    named
}

/// The first free name with a number behind it.
fn numbered(name: &str, taken: &mut Taken) -> String {
    let mut names = (2..).map(|n| format!("{name}-{n}"));
    let free = names.find(|name| taken.take(name).is_ok());
    free.expect("there are more numbers than jobs")
}

/// Folders that are taken, in lower case, because some file systems do not distinguish case.
#[derive(Default)]
struct Taken {
    /// The folders of jobs.
    jobs: HashSet<String>,
    /// The folders that contain folders of jobs.
    around: HashSet<String>,
}

impl Taken {
    /// Takes a name, or says why it is not available.
    fn take(&mut self, name: &str) -> std::result::Result<(), String> {
        let lower = name.to_lowercase();
        let slashes = lower.match_indices('/');
        let around: Vec<String> = slashes.map(|(at, _)| lower[..at].to_owned()).collect();
        if self.jobs.contains(&lower) {
            return Err(format!("two jobs have the folder {name:?}"));
        }
        // The folder of a job is created and replaced as a whole, so it cannot contain that of another job.
        if let Some(outer) = around.iter().find(|outer| self.jobs.contains(*outer)) {
            return Err(format!(
                "{name:?} is inside the folder of the job {outer:?}"
            ));
        }
        if self.around.contains(&lower) {
            return Err(format!("{name:?} contains the folder of another job"));
        }
        self.jobs.insert(lower);
        self.around.extend(around);
        Ok(())
    }
}
