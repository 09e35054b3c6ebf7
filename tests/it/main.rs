//! The only integration test binary, so that tests link once. Each module tests one part of the crate or one
//! of its laws.

mod common;

/// Every edit of the method is `P_src . B + P_own . diag(o)`.
mod algebra;
/// Token maps under our rules and the reference's, against golden data.
mod align;
/// The largest request to the allocator.
mod allocations;
/// From attention to a mask.
mod blend;
/// Configs with values that are not supported.
mod broken_configs;
/// Errors of folders that are not usable models.
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
/// Output of `p2p explain`.
mod explain;
/// Stable Diffusion 2.x, XL and Turbo against diffusers.
mod families;
/// Estimates of memory, and which settings make a run fit.
mod fit;
/// Counts, sizes, hashes and misspelled names.
mod format;
/// The kernels' forms for different instruction sets.
mod forms;
/// Damaged and random inputs: no panic.
mod fuzz;
/// The guides and the README: commands, links, how a terminal shows them.
mod guide;
/// Recording of attention maps, heatmaps, and whether they point at the words they name.
mod heatmap;
/// Downloads from the Hugging Face hub, and the cache.
#[cfg(feature = "hub")]
mod hub;
/// Fast kernels against plain candle, and the law of rows and threads.
mod kernels;
/// The laws of the engine, which every change must keep.
mod laws;
/// Rules for every source file: layers, headers, sizes, names.
mod layers;
/// The method written out with full maps: the executable specification.
mod literal;
/// LoRA files against the weights that diffusers makes of them.
mod lora;
/// Memory, cores, and where models are kept.
mod machine;
/// Metadata of pictures, ours and other tools'.
mod metadata;
/// UNet, VAE and text encoder against diffusers; names and dtypes of weights.
mod model;
/// The start noise equals torch's.
mod noise;
/// Errors of files that are not checkpoints.
mod not_checkpoints;
/// What is kept smaller or worked on in turn.
mod on_demand;
/// Convolutions that pad below and to the right only.
mod padding;
/// The golden trajectories of the reference implementation.
mod parity;
/// The plan of each step, with every number written out.
mod plan;
/// Word lookup: case, punctuation, phrases, occurrences, unknown words.
mod prompt;
/// Output of a run: pictures, strip, folder, console.
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
