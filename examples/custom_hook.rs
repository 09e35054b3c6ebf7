//! A custom attention hook: how much attention one word gets, step by step.
//! `cargo run --release --example custom_hook`

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, AttentionKind, Site, Tap};
use prompt_to_prompt::sample::{Ddim, Sampler, Start, noise::randn};
use prompt_to_prompt::{
    error::Result,
    model::{Components, Conditioning, ModelFolder},
    prompt::WordRef,
};

/// A token's place in the prompt, and the sum of its attention over all cross-attention sites.
struct Watch {
    token: usize,
    attention: f32,
}

impl AttentionHook for Watch {
    fn taps(&self, site: &Site) -> Option<Tap> {
        (site.kind == AttentionKind::Cross).then_some(Tap::default())
    }

    /// `map` is `[pixels, tokens]`, the mean over heads.
    fn observe(&mut self, _: &Site, _row: usize, map: &Tensor) -> Result<()> {
        let of_token = map.get_on_dim(1, self.token)?;
        self.attention += of_token.mean_all()?.to_scalar::<f32>()?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let folder = ModelFolder::open("storybook")?;
    let model = folder.load()?;
    let prompt = folder.tokenizer.encode("a cat riding a bicycle")?;
    let token = prompt.find(&WordRef::new("bicycle"))[0];
    let states = model.text_encoders.read(&prompt, (128, 128), None)?;
    let mut denoiser = model.denoiser(&Conditioning {
        cond: states.into(),
        uncond: None,
    })?;
    let shape = (1, folder.unet.latent_channels, 16, 16);
    let noise = Tensor::from_vec(randn(0, shape.1 * 16 * 16), shape, &Device::Cpu)?;
    let mut ddim = Ddim::new(&model.scheduler, 10);
    let mut sampler = Sampler::new(&mut *denoiser, &mut ddim, 1.0, Start::Noise(noise))?;
    while !sampler.done() {
        let mut watch = Watch {
            token,
            attention: 0.0,
        };
        sampler.step(&mut watch)?;
        println!("{:.3}", watch.attention);
    }
    Ok(())
}
