//! Measures how much an edit changed the picture, and warns if the result looks like a mistake. Owns the measures and
//! the thresholds of the warnings. It must never know tensors.

use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use super::PreparedEdit;
use crate::message;
use crate::message::Message;
use crate::setting::Setting;

/// Below this mean difference (of 255) a change is invisible.
const NOTHING: f64 = 0.5;
/// Below this PSNR (in dB) two pictures have little more in common than their palette.
const EVERYTHING: f64 = 14.0;

/// The difference between an edited picture and the picture that it edits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The difference of the whole pictures.
    pub whole: Difference,
    /// The difference where the edit acts: inside the blend mask, else at the words of the edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inside: Option<Difference>,
    /// The difference outside of that area.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<Difference>,
}

/// The difference between two pictures, or between parts of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Share of the picture that is compared, from 0 to 1.
    pub share: f64,
    /// Mean absolute difference of a channel, from 0 to 255.
    pub mean_abs: f64,
    /// Peak signal-to-noise ratio in dB. `None` if nothing differs.
    pub psnr: Option<f64>,
}

impl Change {
    /// Compares two pictures of one size. `mask` is white where the edit acts.
    pub(super) fn measure(base: &RgbImage, edited: &RgbImage, mask: Option<&GrayImage>) -> Self {
        let pairs = || base.pixels().zip(edited.pixels());
        let part = |mask: &GrayImage, white: bool| {
            let marked = pairs()
                .zip(mask.pixels())
                .filter(|(_, m)| (m[0] >= 128) == white);
            difference(marked.map(|(pair, _)| pair), base)
        };
        Self {
            whole: difference(pairs(), base).expect("a picture has pixels"),
            inside: mask.and_then(|mask| part(mask, true)),
            outside: mask.and_then(|mask| part(mask, false)),
        }
    }

    /// The change as a line of text.
    pub fn describe(&self) -> String {
        match (&self.inside, &self.outside) {
            (Some(inside), Some(outside)) => format!(
                "changed by {} where the edit acts ({} of the picture), by {} elsewhere",
                inside.describe(),
                percent(inside.share),
                outside.describe()
            ),
            (Some(inside), None) => {
                format!("changed by {} (100 % of the picture)", inside.describe())
            }
            _ => format!("changed by {}", self.whole.describe()),
        }
    }

    /// A warning with the setting to try, if the change looks like a mistake.
    pub fn warning(&self, edit: &PreparedEdit) -> Option<Message> {
        let acting = self.inside.unwrap_or(self.whole);
        if acting.mean_abs.max(self.whole.mean_abs) < NOTHING {
            let shut = self.inside.is_none() && self.outside.is_some();
            let cure = why_nothing(edit, shut)?;
            return Some(cure.after("the edit changed nothing visible; "));
        }
        // A blend whose words are everywhere, such as a season, confines nothing.
        if edit.settings.blend_from.is_some() && self.outside.is_none() {
            let cure = match edit.mask_sha256 {
                Some(_) => message!["paint black in ", Setting::Mask, " what must stay"],
                None => message!["raise ", Setting::BlendThreshold, ", or name fewer words"],
            };
            return Some(cure.after("the blend covers the whole picture and confines nothing; "));
        }
        let outside = self.outside.filter(|outside| outside.share > 0.2)?;
        let everything = outside.psnr.is_some_and(|psnr| psnr < EVERYTHING);
        everything.then(|| {
            message![
                "nearly everything has changed; to keep more of the source, use ",
                Setting::SelfSteps.to(0.8),
                " or confine the edit with ",
                Setting::Blend.to("auto"),
            ]
        })
    }
}

/// The cure for an edit that changed nothing. `shut` says whether the edit's region is empty. `None` if the strength is
/// 0, so that nothing should change.
fn why_nothing(edit: &PreparedEdit, shut: bool) -> Option<Message> {
    let settings = &edit.settings;
    let factors = edit.factors.iter().any(|f| *f != 1.0);
    Some(if settings.strength() == 0.0 {
        return None;
    } else if settings.inject_latents.is_some() {
        message![
            "shorten ",
            Setting::InjectLatents,
            ": while it is open, the latents are the source's"
        ]
    } else if shut && edit.region.mask.is_some() {
        "the mask leaves nothing to change: white is what may change".into()
    } else if shut && settings.blend_from.is_some() {
        message![
            "the blend leaves nothing to change: lower ",
            Setting::BlendThreshold
        ]
    } else if edit.changed.0.is_empty() && edit.changed.1.is_empty() && !factors {
        message![
            "the prompts say the same: change a word, or give one a ",
            Setting::Weight
        ]
    } else if factors {
        message![
            "give the words stronger factors, such as ",
            Setting::Weight.of("WORD", -2),
            ", or lower ",
            Setting::SelfSteps,
        ]
    } else {
        message![
            "open the edit more: lower ",
            Setting::CrossSteps,
            " (for the new word alone: ",
            Setting::CrossSteps.of("WORD", 0.3),
            ") and ",
            Setting::SelfSteps,
        ]
    })
}

impl Difference {
    fn describe(&self) -> String {
        match self.psnr {
            Some(psnr) => format!("{:.1} of 255 (PSNR {psnr:.1} dB)", self.mean_abs),
            None => "nothing".to_owned(),
        }
    }
}

/// A share as text. A part that is not the whole is never shown as 100 % or 0 %.
fn percent(share: f64) -> String {
    match 100.0 * share {
        part if share < 1.0 && part >= 99.5 => "over 99 %".to_owned(),
        part if share > 0.0 && part < 0.5 => "under 1 %".to_owned(),
        part => format!("{part:.0} %"),
    }
}

/// The difference of pairs of pixels. `None` without pairs.
fn difference<'a>(
    pairs: impl Iterator<Item = (&'a image::Rgb<u8>, &'a image::Rgb<u8>)>,
    whole: &RgbImage,
) -> Option<Difference> {
    let (mut count, mut sum, mut squares) = (0u64, 0u64, 0u64);
    for (a, b) in pairs.flat_map(|(a, b)| a.0.into_iter().zip(b.0)) {
        let far = u64::from(a.abs_diff(b));
        (count, sum, squares) = (count + 1, sum + far, squares + far * far);
    }
    let mean = |total: u64| total as f64 / count as f64;
    (count > 0).then(|| Difference {
        share: count as f64 / whole.as_raw().len() as f64,
        mean_abs: mean(sum),
        psnr: (squares > 0).then(|| 10.0 * (255.0 * 255.0 / mean(squares)).log10()),
    })
}
