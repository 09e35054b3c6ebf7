//! The axes of grids and sweeps: a key, or one word of a key, with the values to draw. Owns the syntax of ranges
//! (`0:1:0.2`, `0..3`) and how a value is combined with the other settings. It must never read a file.

use super::problem::FileSpan;
use super::vocabulary::{Key, KeyValue, KeyValues, Shape, Takes, Vocabulary};

/// The largest number of jobs of a grid. A larger number is most likely a typing error.
pub const MOST: usize = 10_000;
/// The name of the value for all words without their own.
const DEFAULT: &str = "default";

/// A key that varies, with its values.
#[derive(Debug, Clone)]
pub struct Axis {
    key: usize,
    /// The word whose value varies, as in `weight.fluffy`.
    word: Option<String>,
    /// The name as users write it: `cross_steps`, `weight.fluffy`.
    pub name: String,
    /// The values.
    pub values: Vec<Value>,
}

/// A value of an axis.
#[derive(Debug, Clone)]
pub struct Value {
    setting: KeyValue,
    /// The value as text.
    pub label: String,
}

/// One point of a grid: for each axis its name and the label of its value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point(pub Vec<(String, String)>);

/// Cause and cure of a value that is not accepted.
pub type Refused = (String, String);

impl Axis {
    /// An axis without values.
    pub fn new(vocabulary: &Vocabulary, key: usize, word: Option<&str>) -> Self {
        let name = &vocabulary.key(key).name;
        Self {
            key,
            name: word.map_or(name.clone(), |word| format!("{name}.{word}")),
            word: word.map(str::to_owned),
            values: vec![],
        }
    }

    /// Checks a value and adds it.
    pub fn push(
        &mut self,
        vocabulary: &Vocabulary,
        values: Vec<String>,
        place: Option<FileSpan>,
    ) -> Result<(), Refused> {
        let key = vocabulary.key(self.key);
        let label = match key.takes {
            Takes::Switch(given_when) => (values.is_empty() != given_when).to_string(),
            _ => values.join(", "),
        };
        let values = match &self.word {
            Some(word) if word != DEFAULT => values.iter().map(|v| format!("{word}={v}")).collect(),
            _ => values,
        };
        let checked = vocabulary.check(self.key, &values);
        checked.map_err(|cure| (format!("`{}` cannot be {label:?}", self.name), cure))?;
        let setting = KeyValue { values, place };
        self.values.push(Value { setting, label });
        Ok(())
    }

    /// Sets the `i`-th value in settings. If one word varies, the values of other words are kept.
    pub fn apply(&self, i: usize, settings: &mut KeyValues) {
        let mut setting = self.values[i].setting.clone();
        if let Some(word) = &self.word {
            let others = settings.get(&self.key).map_or(&[][..], |s| &s.values);
            let same = |value: &&String| match value.rsplit_once('=') {
                Some((named, _)) => named.eq_ignore_ascii_case(word),
                None => word == DEFAULT,
            };
            let others = others.iter().filter(|value| !same(value)).cloned();
            setting.values.splice(0..0, others);
        }
        settings.insert(self.key, setting);
    }
}

/// The indices of all points of a grid. The last axis varies fastest.
pub fn product(axes: &[Axis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![vec![]], |points, axis| {
        let grown = |point: &Vec<usize>| {
            let point = point.clone();
            (0..axis.values.len()).map(move |i| [&point[..], &[i]].concat())
        };
        points.iter().flat_map(grown).collect()
    })
}

/// Parses the value of `--vary`: `cross-steps=0:1:0.2`, `seed=0..3`, `weight.fluffy=-2:2:1`, `dst=a cat|a dog`.
pub fn axis_of(vocabulary: &Vocabulary, text: &str) -> Result<Axis, Refused> {
    let form = "write KEY=FROM:TO:STEP, KEY=A,B,C or KEY=FROM..TO, such as cross-steps=0:1:0.2";
    let refused =
        |cause: String, cure: &str| Err((format!("--vary {text}: {cause}"), cure.to_owned()));
    let Some((name, values)) = text.split_once('=') else {
        return refused("it has no values".to_owned(), form);
    };
    let (index, word) = match key_of(vocabulary, name) {
        Ok(found) => found,
        Err((cause, cure)) => return refused(cause, &cure),
    };
    let key = vocabulary.key(index);
    let mut axis = Axis::new(vocabulary, index, word);
    let separator = if values.contains('|') { '|' } else { ',' };
    let listed = || {
        values
            .split(separator)
            .map(|v| v.trim().to_owned())
            .collect()
    };
    let values: Vec<String> = match spread(key, values) {
        Ok(range) => range.unwrap_or_else(listed),
        Err(cause) => return refused(cause, form),
    };
    for value in values {
        let values = match (key.takes, value.parse::<bool>()) {
            (Takes::Switch(given_when), Ok(on)) if on == given_when => vec![String::new()],
            (Takes::Switch(_), Ok(_)) => vec![],
            (Takes::Switch(_), Err(_)) => return refused(format!("{value:?}"), "use true, false"),
            _ => vec![value],
        };
        if let Err((cause, cure)) = axis.push(vocabulary, values, None) {
            return refused(cause, &cure);
        }
    }
    Ok(axis)
}

/// The index of the key and the word that `cross-steps` or `cross_steps.car` name.
pub fn key_of<'a>(
    vocabulary: &Vocabulary,
    name: &'a str,
) -> Result<(usize, Option<&'a str>), Refused> {
    let (name, word) = match name.split_once('.') {
        Some((name, word)) => (name.replace('-', "_"), Some(word)),
        None => (name.replace('-', "_"), None),
    };
    let index = vocabulary.find(&name).ok_or_else(|| {
        let nearest = vocabulary.nearest(&name);
        let all = "keys are the flags of `p2p edit`, without the hyphens before them";
        let cause = format!("there is no setting {name}");
        (cause, nearest.unwrap_or(all.to_owned()))
    })?;
    if word.is_some() && !per_word(vocabulary.key(index)) {
        Err((
            format!("`{name}` is not set per word"),
            "leave the word out".to_owned(),
        ))
    } else {
        Ok((index, word))
    }
}

/// Whether a key has a value for each word.
pub fn per_word(key: &Key) -> bool {
    use super::vocabulary::Shape::{Words, WordsOrDefault};
    matches!(key.shape, Words | WordsOrDefault)
}

/// The values of a range. `None` if the text is not a range.
pub fn spread(key: &Key, text: &str) -> Result<Option<Vec<String>>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let numbers: Option<Vec<f64>> = parts.iter().map(|p| p.trim().parse().ok()).collect();
    if let (Some(numbers), 3) = (numbers, parts.len()) {
        return steps(&numbers, &parts).map(Some);
    }
    // In settings that are not whole numbers, `0..3` is a window.
    if key.shape != Shape::Whole {
        return Ok(None);
    }
    let Some((from, to)) = text.split_once("..") else {
        return Ok(None);
    };
    match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to && to - from < MOST as u64 => {
            Ok(Some((from..=to).map(|n| n.to_string()).collect()))
        }
        (Ok(from), Ok(to)) if from > to => Err("the range ends before it begins".to_owned()),
        _ => Err(format!(
            "{text:?} is not a range of at most {MOST} whole numbers"
        )),
    }
}

/// The values of `FROM:TO:STEP`.
fn steps(numbers: &[f64], parts: &[&str]) -> Result<Vec<String>, String> {
    let &[from, to, step] = numbers else {
        unreachable!("three numbers")
    };
    let count = (to - from) / step;
    // The negated range also catches numbers that are not finite.
    if step == 0.0 || !(0.0..MOST as f64).contains(&count) {
        return Err(format!(
            "{} does not lead from {} to {} in at most {MOST} steps",
            parts[2], parts[0], parts[1]
        ));
    }
    let decimals = |part: &str| part.trim().split_once('.').map_or(0, |(_, d)| d.len());
    let decimals = decimals(parts[0]).max(decimals(parts[2]));
    // Multiply instead of adding repeatedly: adding 0.1 ten times does not give 1.
    let value = |i: usize| format!("{:.decimals$}", from + i as f64 * step);
    let plain = |text: String| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    let count = (count + 1e-9).floor() as usize;
    let values = (0..=count).map(|i| plain(value(i)));
    // Rounding may give a negative zero.
    Ok(values
        .map(|v| if v == "-0" { "0".to_owned() } else { v })
        .collect())
}
