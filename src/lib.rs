//! Prompt-to-Prompt (Hertz et al., ICLR 2023): edit generated images by changing words.
//!
//! A Stable Diffusion UNet with an attention seam, a controller that runs the source prompt and its
//! edits in lockstep from one noise, and the edits themselves as plain data. The binary `p2p` is a thin
//! front end of this crate.
//!
//! # The one idea: edit the values, never the map
//!
//! The method overwrites or mixes softmax maps. Every edit of it is linear in the maps: for one edited
//! row there are a matrix `B` (tokens x tokens) and a vector `o` such that
//!
//! ```text
//! P' = P_src . B + P_own . diag(o)     and so     P' V' = P_src . (B V') + P_own . (o * V')
//! ```
//!
//! So no map is ever built for an edit, rows whose own map nobody reads skip their queries, keys and
//! softmax, and N edits of one source cost N + 1 rows.
//!
//! # Layers
//!
//! A file imports only from layers below its own; `tests/it/layers.rs` checks it.
//!
//! | layer | module | owns |
//! |---|---|---|
//! | 0 | [`error`], [`mod@message`], [`setting`], [`mod@format`], [`slug`], [`prompt`], [`machine`], [`device`], [`guide`] | errors by whose fault; messages that name settings; how counts, sizes and hashes are printed; names of folders; tokens of a prompt and word lookup; memory and cores; devices and dtypes; the guides |
//! | 1 | [`kernels`], [`picture`], [`hub`] | fast CPU operations, each beside its plain candle form; PNG files and their text chunks; models of the Hugging Face hub and their cache |
//! | 2 | [`attention`] | the attention seam: `Site`, `Term`, `SitePlan`, `AttentionHook`, `attend` |
//! | 3 | [`model`] | UNet, VAE, text encoders, tokenizer; diffusers folders, single files, LoRAs; the embedded model |
//! | 4 | [`edit`] | what an edit is: `MapEdit`, alignment, windows, blend. Uses layer 0 only |
//! | 5 | [`sample`] | noise, schedulers, the controller, the recorder and word sums, the lockstep loop |
//! | 6 | [`job`], [`report`], [`heatmap`], [`metadata`], the binary | what a user asks for, and what a run writes |
//!
//! # Where do I ...
//!
//! | to ... | look at |
//! |---|---|
//! | change what an edit means | [`edit::MapEdit`] |
//! | change which token reads which | [`edit::align()`] |
//! | change when an edit acts | [`edit::windows`] |
//! | change where in the picture an edit may act | [`edit::blend`] |
//! | see what happens at a step | [`sample::Controller::plan`] |
//! | choose which attention maps are kept | [`heatmap::select`], recorded by [`sample::Recorder`] |
//! | change how a heatmap looks or is named | [`heatmap::draw`], [`heatmap::figure`], [`heatmap::write`] |
//! | watch or rewrite attention | [`attention::AttentionHook`], `examples/custom_hook.rs` |
//! | change what `p2p explain` prints | [`job::Explanation`] |
//! | change what a picture records | [`job::PictureSettings`] for what determines it, [`metadata`] for how its PNG stores it |
//! | add a setting | [the next section](#to-add-a-setting) |
//! | add a preset | [`job::Preset`] |
//! | add a scheduler | a solver that implements [`sample::Scheduler`], then its row in `src/sample/scheduler/table.rs` |
//! | put another network in the UNet's place | [`model::Denoiser`], given by [`model::Components::denoiser`] |
//! | change the report | [`report::html`]: `card` for what a card shows, `page` for markup, `style.css`, `script.js` |
//! | change how a picture's command is written | [`report::command`] |
//! | name a setting in a message | [`message!`], [`setting::Setting`] |
//! | read an environment variable | list it in `src/commands/doctor/environment.rs` too |
//! | support another model config | `src/model/*_config.rs`; unknown keys are errors on purpose |
//! | add a model's short name, or record that one moved | `assets/models.json` |
//! | download another file of a hub model | `src/model/remote/`; how it is downloaded, [`hub`] |
//! | read another name in a checkpoint or a LoRA | `src/model/checkpoint/names.rs`, `src/model/lora/names.rs` |
//! | compute on another device, or in another dtype | [`device`]; [`kernels::plain`] computes there |
//! | make a run take less memory, or estimate it | [`model::Footprint`], [`model::MemoryOptions`]; `src/model/bands.rs` for pictures in bands |
//! | make something faster | [`kernels`], held to [`kernels::plain`] and timed by `examples/bench` |
//! | write a guide | `src/guide/*.md`, listed in `src/guide/mod.rs` |
//!
//! # To add a setting
//!
//! A setting of the run has a name, a flag, a field in the request, a field with its resolved value, and its
//! use: five files. Everything else follows from them. The key of job files is made from the flag, and the type of
//! its value says what it looks like there; jobs share a run when their [`job::RunSettings`] are equal; pictures,
//! manifest, `p2p info`, `p2p explain` and the report write these settings, and `p2p rerun` reads them again.
//! `tests/it/cli/every_setting.rs` fails until the new key stands in one of its lists.
//!
//! The setting `--clip-skip`, as it was added:
//!
//! ```diff
//! --- src/setting.rs: the name that messages use
//! +    ClipSkip = "clip_skip",
//! --- src/cli/picture.rs: the flag. The pattern in `job()` is complete, so a flag that is not handed on does not compile
//! +    /// Layer of the text encoder that is read, counted from the end as in A1111 and ComfyUI: ...
//! +    #[arg(help_heading = "Picture", long, value_name = "N", value_parser = clip_skip)]
//! +    pub clip_skip: Option<NonZeroUsize>,
//! ...
//! +            clip_skip: *clip_skip,
//! --- src/job/mod.rs: the request
//! +    pub clip_skip: Option<NonZeroUsize>,
//! ...
//! +            clip_skip: None,
//! --- src/job/settings/run.rs: the resolved value, and the line that resolves it
//! +    #[serde(default, skip_serializing_if = "Option::is_none")]
//! +    pub clip_skip: Option<NonZeroUsize>,
//! ...
//! +            clip_skip: job.clip_skip,
//! --- src/job/run.rs: its use
//! -            encoders.read(tokens, size, None)?
//! +            encoders.read(tokens, size, prepared.run.clip_skip)?
//! ```
//!
//! Beyond these, clip skip has a parser that says what to write (`src/cli/values.rs`), a check against the model
//! before weights are read (`src/job/prepare.rs`), and A1111's key for it (`src/metadata/a1111.rs`).
//!
//! A setting of single edits has its flag in `src/cli/edits.rs` and its field in [`job::EditSettings`].
//!
//! # Where we differ from the reference, on purpose
//!
//! The reference is google/prompt-to-prompt (9c472e4). `--compat reference` ([`edit::Rules::Reference`])
//! restores each of these; it changes plain data in the plan, never the engine.
//!
//! | what | reference | ours |
//! |---|---|---|
//! | replace, after the last changed word | column `j` reads source token `j`, a neighbour once lengths differ | the word it belongs to |
//! | end of text | shifted with the tail | reads end of text |
//! | pads | by absolute index: after a deletion a pad reads a real word | the k-th pad reads the k-th; surplus edited pads read the last source pad; surplus source pads flow into the last edited one |
//! | changed words | exact string comparison, punctuation included | by tokens; punctuation that both words share keeps its column |
//! | word lookup | exact pieces of `split(" ")`, found by walking token lengths; unknown words are passed over in silence | any case, without punctuation, phrases, `word#2`; an unknown word is an error |
//! | factors with several edits | looked up in the first edit, applied to all | looked up in each edit |
//! | local blend, two edits and more | fails | a mask for each edit |
//! | local blend of a word with a negative factor | its attention divided by the value nearest zero: everywhere | where the word pushes |
//! | local blend without the word | 0/0, nowhere, in silence | an error |
//! | copied latents | one step less, since the step is counted before they are copied | `a <= i/n < b` like all windows |
//! | windows | `int(f * (steps + 1))` for cross, `int(f * steps)` for self | step `i` of `n` is inside `[a, b)` when `a <= i/n < b` |
//! | self-attention | at most 16 x 16 queries | the model's layout grid and coarser, the same at 512 px |
//! | pictures | brightness truncated to a byte | rounded |
//!
//! Maps that [`sample::Recorder`] keeps, and the attention that masks are made of, are those *after*
//! the edit, on purpose; in the reference they are so only because a stored tensor is overwritten
//! through a view.

pub mod attention;
pub mod device;
pub mod edit;
pub mod error;
pub mod format;
pub mod guide;
pub mod heatmap;
pub mod hub;
pub mod job;
pub mod kernels;
pub mod machine;
pub mod message;
pub mod metadata;
pub mod model;
pub mod picture;
pub mod prompt;
pub mod report;
pub mod sample;
pub mod setting;
pub mod slug;
