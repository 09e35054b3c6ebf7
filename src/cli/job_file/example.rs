//! The job file that `p2p job init` writes. Owns its text, which a test reads and checks.

/// An example of a job file, with comments.
pub const EXAMPLE: &str = r#"# A job file: run it with `p2p batch jobs.toml`, check it with `p2p job check jobs.toml`.
# Keys are the flags of `p2p edit` with underscores; switches are positive (`edit_control = false`).
# `p2p job schema > jobs.schema.json` lets editors complete them:
#:schema ./jobs.schema.json

# The output folder. The flag -o overrides it.
output = "p2p-out/first-batch"

# Settings of all jobs. Each job can override them.
[defaults]
seed = 4
steps = 30

# One edit of one source. Its folder is named after `name`, else after the prompts and the seed.
[[job]]
name = "bicycle-to-car"
src = "a big red bicycle"
dst = "a big red car"
cross_steps = { default = 0.8, car = 0.4 } # frees the shape of the new word earlier

# Several edits of one source, each with its own settings. They are drawn in one run.
[[job]]
name = "animals"
src = "a cat on the beach"

[[job.edit]]
dst = "a dog on the beach"
blend = "cat:dog"

[[job.edit]]
dst = "a cat on the beach in the snow"
edit = "refine"

[[job.edit]] # without a new prompt: re-weights words of the source
weight = { beach = -1 }

# All combinations: 2 seeds x 3 windows, each in its own folder.
[[job]]
name = "house"
folder = "{name}-{seed}-{cross_steps}"
src = "a dog"
dst = "a house"

[job.grid]
seed = [0, 1]
cross_steps = [0.2, 0.5, 0.8]
"#;
