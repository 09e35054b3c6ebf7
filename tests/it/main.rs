//! The one integration binary. Each module tests one part of the crate, or one law that holds for all of it.

mod common;

/// Every edit of the method is `P_src . B + P_own . diag(o)`.
mod algebra;
/// Which token reads which, ours and the reference's, against golden mappers.
mod align;
/// The largest request to the allocator.
mod allocations;
/// From attention to a mask.
mod blend;
/// Configs with values that are not supported.
mod broken_configs;
/// Folders that are no usable model, and their errors.
mod broken_models;
/// The cache of a hub, whatever is compiled in.
mod cached;
/// The built binary from flags to files, streams and exit codes.
mod cli;
/// Text states of every clip skip against transformers.
mod clip_skip;
/// CLIP's whole vocabulary against transformers.
mod clip_tokens;
/// Precision and devices.
mod dtype;
/// The laws of what acts beside attention: blend, chains, strength, copied latents.
mod edits;
/// What `p2p explain` says.
mod explain;
/// Stable Diffusion 2.x, XL and Turbo against diffusers.
mod families;
/// Whether a run fits into memory, and what would make it fit.
mod fit;
/// Counts, sizes, hashes and misspelled names.
mod format;
/// The kernels' forms for different instruction sets.
mod forms;
/// Damaged and random inputs: no panic.
mod fuzz;
/// The guides and the README: commands, links, how a terminal shows them.
mod guide;
/// Which maps are kept, what becomes of them, and whether they point at what they name.
mod heatmap;
/// Models of the Hugging Face hub, and what is kept of them.
#[cfg(feature = "hub")]
mod hub;
/// Fast kernels against plain candle, and the law of rows and threads.
mod kernels;
/// The laws: what any change must leave true.
mod laws;
/// Rules for every source file: layers, headers, sizes, names.
mod layers;
/// The method written out with full maps: the executable specification.
mod literal;
/// LoRA files against the weights that diffusers makes of them.
mod lora;
/// Memory, cores, and where models are kept.
mod machine;
/// What a picture tells of itself, and what other tools' pictures tell.
mod metadata;
/// UNet, VAE and text encoder against diffusers; names and dtypes of weights.
mod model;
/// The start noise equals torch's.
mod noise;
/// Files that are no checkpoint.
mod not_checkpoints;
/// What is kept smaller or worked on in turn.
mod on_demand;
/// Convolutions that pad below and to the right only.
mod padding;
/// The golden trajectories of the reference implementation.
mod parity;
/// The plan of each step on paper.
mod plan;
/// Word lookup: case, punctuation, phrases, occurrences, unknown words.
mod prompt;
/// What a run leaves behind: pictures, strip, folder, console.
mod report;
/// The sampler with a fake denoiser.
mod sampler;
/// Every scheduler against diffusers' own.
mod schedulers;
/// Single-file checkpoints against folders and diffusers' converter.
mod single_file;
/// Runs that begin with latents, and text states that change during a run.
mod starts;
/// A source that stops once no edit needs it.
mod stops;
/// Pictures decoded in bands.
mod tiling;
/// Ids and places of tokens against transformers.
mod tokenizer;
/// Every scheduler's whole runs against diffusers' own.
mod trajectories;
/// The UNet: sites, rows, guidance, forms of weights.
mod unet;
/// Fractions to steps, ours and the reference's, against golden windows.
mod windows;
/// FLOP and attention sites from configs, against PyTorch's counter and what a hook meets.
mod work;
