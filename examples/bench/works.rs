//! The list of works that are measured. This file never knows how a work is run.

/// The size of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// The embedded model.
    Storybook,
    /// Stable Diffusion 1.5.
    Sd15,
}

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// A denoising step. The number counts conditional and unconditional rows. The flag says whether every prompt but
    /// the first is an edit.
    Step(Size, usize, bool),
    /// A step of a number of rows that records cross-attention for heatmaps, at every resolution.
    Recorded(Size, usize),
    /// The VAE decoder at the native size.
    Vae(Size),
    /// The VAE decoder for a picture with four times as many pixels.
    LargeVae(Size),
    /// The text encoder.
    Text(Size),
    /// One attention layer.
    Attention(AttentionShape),
    /// A linear layer: lines, input channels, output channels.
    Linear(usize, usize, usize),
    /// A 3x3 convolution of two square pictures: side in pixels, input channels, output channels.
    Conv(usize, usize, usize),
    /// A whole run: edits of one source, steps.
    Edit(usize, usize),
}

/// The shape of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    pub queries: usize,
    pub keys: usize,
    pub heads: usize,
    /// Channels per head.
    pub d: usize,
    /// Whether the values of a second row go through the same map.
    pub injected: bool,
}

/// All works, in the order of the table.
pub fn all() -> Vec<Work> {
    let mut all = vec![];
    for size in [Size::Storybook, Size::Sd15] {
        all.extend([1, 2, 4, 10].map(|rows| Work::Step(size, rows, false)));
        all.push(Work::Step(size, 4, true));
        all.push(Work::Recorded(size, 2));
        all.push(Work::Vae(size));
        all.push(Work::LargeVae(size));
        all.push(Work::Text(size));
    }
    for (n, t, d) in [
        (4096, 4096, 40),
        (1024, 1024, 80),
        (256, 256, 160),
        (4096, 77, 40),
    ] {
        all.extend([false, true].map(|injected| {
            Work::Attention(AttentionShape {
                queries: n,
                keys: t,
                heads: 8,
                d,
                injected,
            })
        }));
    }
    let linears = [
        (8192, 320, 320),
        (8192, 320, 2560),
        (8192, 1280, 320),
        (2048, 640, 5120),
        (512, 1280, 10240),
        (512, 5120, 1280),
        (128, 1280, 1280),
        (77, 768, 1280),
    ];
    all.extend(linears.map(|(m, k, n)| Work::Linear(m, k, n)));
    let convs = [
        (64, 320, 320),
        (64, 960, 320),
        (32, 640, 640),
        (32, 1920, 640),
        (16, 1280, 1280),
        (16, 2560, 1280),
        (8, 1280, 1280),
        (8, 2560, 1280),
    ];
    all.extend(convs.map(|(side, c_in, c_out)| Work::Conv(side, c_in, c_out)));
    all.extend([Work::Edit(1, 30), Work::Edit(1, 50), Work::Edit(4, 30)]);
    all
}

impl Work {
    /// The name of the work in tables and on the command line.
    pub fn name(&self) -> String {
        let of = |size: &Size| match size {
            Size::Storybook => "storybook",
            Size::Sd15 => "sd15",
        };
        match self {
            Work::Step(size, rows, false) => format!("{} step, {rows} rows", of(size)),
            Work::Step(size, rows, true) => format!("{} edited step, {rows} rows", of(size)),
            Work::Recorded(size, rows) => format!("{} recorded step, {rows} rows", of(size)),
            Work::Vae(size) => format!("{} vae", of(size)),
            Work::LargeVae(size) => format!("{} large vae", of(size)),
            Work::Text(size) => format!("{} text", of(size)),
            Work::Attention(shape) => {
                let kind = if shape.injected { "injected " } else { "" };
                let AttentionShape {
                    queries, keys, d, ..
                } = shape;
                format!("{kind}attention {queries}x{keys}, d {d}")
            }
            Work::Linear(m, k, n) => format!("linear {m}x{k}x{n}"),
            Work::Conv(side, c_in, c_out) => format!("conv {c_in}->{c_out} at {side}x{side}"),
            Work::Edit(edits, steps) => format!("storybook run, {edits} edits, {steps} steps"),
        }
    }
}
