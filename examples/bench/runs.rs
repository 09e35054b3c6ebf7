//! One run of each work. This file never knows how a model is loaded.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionKind, Carry, SitePlan, Term, attend};
use prompt_to_prompt::edit::{MapEdit, TokenMap, Window};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{EditSettings, Job, Prepared, run};
use prompt_to_prompt::model::{
    Conditioning, Denoiser, DenoiserCall, Model, ModelFolder, TextEncoder, UNet, UNetDenoiser, Vae,
};
use prompt_to_prompt::sample::noise::randn;
use prompt_to_prompt::sample::{
    AttentionObserver, Columns, Controller, Heads, Lockstep, Recorder, Recording, RowEdit, Shown,
    StepPlan,
};

use super::works::AttentionShape;

/// Tokens of a prompt.
pub const TOKENS: usize = 77;

/// The function that is timed.
pub type Run<'a> = Box<dyn FnMut() -> Result<()> + Send + 'a>;

/// Seeded random numbers with a normal distribution.
pub fn numbers(shape: &[usize], seed: u64) -> Result<Tensor> {
    let len = shape.iter().product();
    Ok(Tensor::from_vec(randn(seed, len), shape, &Device::Cpu)?)
}

/// A recorder of all cross-attention of a prompt of ten words.
pub fn recorder(unet: &UNet, rows: usize) -> Recorder {
    let side = unet.config().sample_size;
    let sites = unet.config().sites((side, side));
    let cross = sites
        .iter()
        .filter(|site| site.kind == AttentionKind::Cross);
    Recorder::new(Recording {
        kind: AttentionKind::Cross,
        sites: cross.map(|site| (site.index, site.downscale)).collect(),
        frames: std::iter::once(0..1).collect(),
        heads: Heads::Mean,
        shown: Shown::Used,
        columns: vec![Columns::These((1..11).collect()); rows.div_ceil(2)],
    })
}

/// One denoising step. `recorder` receives the attention maps.
pub fn step(
    unet: &UNet,
    rows: usize,
    edited: bool,
    mut recorder: Option<Recorder>,
) -> Result<Run<'_>> {
    let (side, width) = (unet.config().sample_size, unet.config().cross_attention_dim);
    let cond = rows.div_ceil(2);
    let text = |seed| numbers(&[cond, TOKENS, width], seed);
    let uncond = if rows > 1 {
        Some(text(2)?.into())
    } else {
        None
    };
    let mut denoiser = UNetDenoiser::new(
        unet,
        &Conditioning {
            cond: text(1)?.into(),
            uncond,
        },
    )?;
    let latents = numbers(&[cond, 4, side, side], 3)?;
    let mut controller = Controller::plain(cond, 1, TOKENS);
    if edited {
        controller.self_res = unet.config().layout_downscale();
        let replace = MapEdit::replace(TokenMap::identity(TOKENS));
        for row in &mut controller.rows[1..] {
            let windows = vec![Window::ALL; TOKENS];
            *row = Some(RowEdit::new(replace.clone(), windows, Window::ALL));
        }
    }
    let plan = StepPlan::lower(&controller.plan(0), 0, &Device::Cpu)?;
    if let Some(recorder) = &mut recorder {
        recorder.at(0);
        recorder.begin(&controller.plan(0))?;
    }
    Ok(Box::new(move || {
        let watcher = recorder
            .as_mut()
            .map(|recorder| recorder as &mut dyn AttentionObserver);
        let mut watchers = Vec::from_iter(watcher);
        let call = DenoiserCall {
            index: 0,
            timestep: 500,
            rows: 0..cond,
            latents: &latents,
        };
        denoiser.eps(&call, &mut Lockstep::new(&plan, &mut watchers))?;
        Ok(())
    }))
}

/// Decodes latents of `side * side` pixels.
pub fn decode(vae: &Vae, side: usize) -> Result<Run<'_>> {
    let latents = numbers(&[1, 4, side, side], 4)?;
    Ok(Box::new(move || vae.decode(&latents).map(|_| ())))
}

/// Encodes a prompt.
pub fn encode(text: &TextEncoder) -> Run<'_> {
    let ids: Vec<u32> = (0..TOKENS as u32).collect();
    Box::new(move || text.encode(&ids).map(|_| ()))
}

/// One attention layer. If injected, a second row's values go through the map of the first row.
pub fn attention(shape: AttentionShape) -> Result<Run<'static>> {
    let AttentionShape {
        queries,
        keys,
        heads,
        d,
        injected,
    } = shape;
    let rows = 1 + usize::from(injected);
    let (q, k) = (
        numbers(&[1, queries, heads * d], 5)?,
        numbers(&[1, keys, heads * d], 6)?,
    );
    let v = numbers(&[rows, keys, heads * d], 7)?;
    let from_first = |_| {
        vec![Term {
            map_of: 0,
            carry: Carry::Same,
        }]
    };
    let mix: Vec<Vec<Term>> = (0..rows).map(from_first).collect();
    Ok(Box::new(move || {
        attend(&q, &k, &v, heads, &SitePlan::Mix(&mix), None).map(|_| ())
    }))
}

/// A whole run of several edits of one source.
pub fn edit<'a>(
    folder: &ModelFolder,
    model: &'a Model,
    edits: usize,
    steps: usize,
) -> Result<Run<'a>> {
    let things = ["car", "train", "boat", "bus"];
    let edit = |thing: &&str| EditSettings {
        dst: Some(format!("a big red {thing}")),
        ..EditSettings::default()
    };
    let job = Job {
        steps: Some(steps),
        seed: 4,
        ..Job::new(
            "a big red bicycle",
            things[..edits].iter().map(edit).collect(),
        )
    };
    let prepared = Prepared::new(&job, folder)?;
    Ok(Box::new(move || {
        run(&prepared, model, &mut [], &mut |_| Ok(())).map(|_| ())
    }))
}
