//! The guides: what `p2p guide` prints, the repository's pages and the crate docs show. Owns their list, and
//! how a terminal shows Markdown. Guides are text: this module must never know a command or a setting.

mod styled;

pub use styled::styled;

/// A guide that ships inside the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guide {
    /// The name that `p2p guide NAME` takes; the guide's file is `src/guide/NAME.md`.
    pub name: &'static str,
    /// What the guide is about, in one line.
    pub about: &'static str,
    /// The whole text, in Markdown.
    pub text: &'static str,
}

/// Link targets for the crate docs. Each guide defines its links as files at its end, for the repository's
/// pages. The first definition of a link counts, so in the crate docs these ones win.
macro_rules! links {
    () => {
        "[getting-started]: crate::guide::getting_started
[edits]: crate::guide::edits
[blend]: crate::guide::blend
[heatmaps]: crate::guide::heatmaps
[jobs]: crate::guide::jobs
[report-and-metadata]: crate::guide::report_and_metadata
[models]: crate::guide::models
[devices]: crate::guide::devices
[troubleshooting]: crate::guide::troubleshooting
[method]: crate::guide::method
[contributing]: crate::guide::contributing
"
    };
}

/// Declares [`ALL`], and a module for each guide that shows it in the crate docs.
macro_rules! guides {
    ($($module:ident = $name:literal, $about:literal;)*) => {
        /// All guides, in the order in which a new user reads them.
        pub const ALL: &[Guide] = &[$(Guide {
            name: $name,
            about: $about,
            text: include_str!(concat!($name, ".md")),
        },)*];

        $(
            #[doc = links!()]
            #[doc = include_str!(concat!($name, ".md"))]
            pub mod $module {}
        )*
    };
}

guides! {
    getting_started = "getting-started", "Make an edit of your own in five minutes";
    edits = "edits", "Swap, add, remove and re-weight words; windows, strength, chains, presets";
    blend = "blend", "Change the picture in one place only: local blend and masks";
    heatmaps = "heatmaps", "See which part of the picture each word looks at";
    jobs = "jobs", "Draw many edits: job files, grids, batches, sweeps";
    report_and_metadata = "report-and-metadata", "Look at results, read how a picture was drawn, draw it again";
    models = "models", "Use other models: folders, single files, the hub, LoRAs";
    devices = "devices", "Speed, memory, precision, graphics cards";
    troubleshooting = "troubleshooting", "What to change when an edit fails; messages and exit codes";
    method = "method", "How it works, where it differs from the reference, measured figures";
    contributing = "contributing", "Find your way in the code, add a setting or a scheduler, run the checks";
}
