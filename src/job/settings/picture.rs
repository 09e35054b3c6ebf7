//! The settings that determine one picture, and nothing else. Owns the way from a row of a run to its
//! settings. The picture's path, the other rows of its run and the time it took are left out, so a picture
//! has the same bytes whatever it was drawn along with.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{EditSettings, RunSettings};
use crate::edit::Rules;
use crate::job::{Prepared, PreparedEdit};

/// What a picture is in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureRole {
    /// The picture of the source prompt.
    Source,
    /// The picture of an edited prompt, drawn with attention control.
    Edited,
    /// The picture of an edited prompt, drawn without attention control.
    Baseline,
}

/// One picture's settings. Keys are those of job files; settings without an effect on the picture are
/// left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Recorded")]
pub struct PictureSettings {
    /// The settings of its run.
    #[serde(flatten)]
    pub run: RunSettings,
    /// Whether attention was controlled. `None` where there is no edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_control: Option<bool>,
    /// The edits from the source to the picture, each an edit of the one before it. Empty for the source.
    #[serde(serialize_with = "links")]
    pub edit: Vec<EditSettings>,
}

impl PictureSettings {
    /// The settings as JSON, with each number as short as it is written.
    pub fn to_map(&self) -> Map<String, Value> {
        // Through text: a direct conversion widens f32 values to their nearest f64, digits and all.
        let json = serde_json::to_string(self).expect("plain data with string keys");
        serde_json::from_str(&json).expect("an object")
    }

    /// The picture's own prompt.
    pub fn prompt(&self) -> &str {
        self.edit.last().map_or(&self.run.src, |edit| edit.prompt())
    }

    /// The picture's own negative prompt.
    pub fn negative_prompt(&self) -> &str {
        let own = self.edit.last();
        let own = own.and_then(|edit| edit.negative_prompt.as_ref());
        own.unwrap_or(&self.run.negative_prompt)
    }

    /// The role and the settings of a row: 0 is the source, then come the edits, then the baselines.
    pub(in crate::job) fn of(prepared: &Prepared, row: usize) -> (PictureRole, Self) {
        let edits = prepared.edits.len();
        let (role, edit) = match row.checked_sub(1) {
            None => (PictureRole::Source, vec![]),
            Some(i) if i < edits && prepared.control => (PictureRole::Edited, chain(prepared, i)),
            Some(i) => {
                let edit = plain(&prepared.edits[i % edits]);
                (PictureRole::Baseline, vec![edit])
            }
        };
        let injects = role == PictureRole::Edited;
        let settings = Self {
            run: RunSettings {
                self_res: prepared.run.self_res.filter(|_| injects),
                ..prepared.run.clone()
            },
            edit_control: (role != PictureRole::Source).then_some(injects),
            edit,
        };
        (role, settings)
    }
}

/// An edit and those that it is an edit of, the first of them first.
fn chain(prepared: &Prepared, i: usize) -> Vec<EditSettings> {
    let mut links = vec![i];
    while let Some(before) = prepared.edits[links[0]].base.checked_sub(1) {
        links.insert(0, before);
    }
    // Odd in the reference: it looks factors up in the first edit of the run, whichever edit has them.
    let weighs = |i: &usize| !prepared.edits[*i].settings.weight.is_empty();
    let needs_first =
        prepared.run.rules == Rules::Reference && links[0] > 0 && links.iter().any(weighs);
    if needs_first {
        links.insert(0, 0);
    }
    // The first edit stands in front for its factors alone: the chain begins behind it.
    let root = usize::from(needs_first);
    let entry = |(place, &i): (usize, &usize)| EditSettings {
        of: (place > root).then(|| place - 1),
        ..prepared.edits[i].settings.clone()
    };
    links.iter().enumerate().map(entry).collect()
}

/// An edit without control: only its prompts have an effect.
fn plain(edit: &PreparedEdit) -> EditSettings {
    EditSettings {
        dst: edit.settings.dst.clone(),
        negative_prompt: edit.settings.negative_prompt.clone(),
        ..EditSettings::default()
    }
}

/// An edit as it is written: its prompt under `dst` or, as an edit of the edit before it, under `then`.
#[derive(Serialize, Deserialize)]
struct Link<E> {
    #[serde(flatten)]
    prompt: Option<LinkPrompt>,
    #[serde(flatten)]
    settings: E,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LinkPrompt {
    Dst(String),
    Then(String),
}

fn links<S: Serializer>(edits: &[EditSettings], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(edits.iter().map(|settings| Link {
        prompt: settings.dst.clone().map(|prompt| match settings.of {
            None => LinkPrompt::Dst(prompt),
            Some(_) => LinkPrompt::Then(prompt),
        }),
        settings,
    }))
}

/// Settings as read from a file, and the keys that name no setting.
#[derive(Deserialize)]
struct Recorded {
    #[serde(flatten)]
    run: RunSettings,
    #[serde(default)]
    edit_control: Option<bool>,
    edit: Vec<Link<RecordedEdit>>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize)]
struct RecordedEdit {
    #[serde(flatten)]
    settings: EditSettings,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl TryFrom<Recorded> for PictureSettings {
    type Error = String;

    fn try_from(recorded: Recorded) -> Result<Self, String> {
        refuse_unknown(&recorded.unknown)?;
        let edit = |(i, link): (usize, Link<RecordedEdit>)| {
            refuse_unknown(&link.settings.unknown)?;
            let (dst, of) = match link.prompt {
                None => (None, None),
                Some(LinkPrompt::Dst(prompt)) => (Some(prompt), None),
                Some(LinkPrompt::Then(prompt)) => (Some(prompt), i.checked_sub(1)),
            };
            Ok(EditSettings {
                dst,
                of,
                ..link.settings.settings
            })
        };
        let edits = recorded.edit.into_iter().enumerate().map(edit);
        Ok(Self {
            run: recorded.run,
            edit_control: recorded.edit_control,
            edit: edits.collect::<Result<_, String>>()?,
        })
    }
}

fn refuse_unknown(unknown: &Map<String, Value>) -> Result<(), String> {
    match unknown.keys().next() {
        Some(key) => Err(format!("unknown field `{key}`")),
        None => Ok(()),
    }
}
