//! Settings as plain data. [`RunSettings`] hold for all rows of a run, [`EditSettings`] for one edit.
//! What a user asks for is resolved into them once; the same values are then shared between jobs, recorded in
//! pictures and manifests, explained and compared. Field names are the keys of job files. Owns no
//! behaviour: what a setting does is the sampler's and the editor's.

mod edit;
mod picture;
mod run;
mod words;

pub use edit::{CrossSteps, EditSettings, KindChoice};
pub use picture::{PictureRole, PictureSettings};
pub use run::RunSettings;
pub use words::BlendWords;

/// Implements serde for types that people type as text, through `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($($kind:ty),*) => {$(
        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(BlendWords, KindChoice, super::Preset, super::MaskSource);
