//! A hook of one's own: how much the picture looks at a word, step by step.
//! `cargo run --release --example custom_hook`

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, AttentionKind, Site, Tap};
use prompt_to_prompt::sample::{Conditioning, Ddim, Prompted, Sampler, noise::randn};
use prompt_to_prompt::{error::Result, model::ModelFolder, prompt::WordRef};

/// A token, and the attention it got.
struct Watch(usize, f32);

impl AttentionHook for Watch {
    fn taps(&self, site: &Site) -> Option<Tap> {
        (site.kind == AttentionKind::Cross).then_some(Tap::default())
    }

    fn observe(&mut self, _: &Site, _row: usize, map: &Tensor) -> Result<()> {
        self.1 += map.get_on_dim(1, self.0)?.mean_all()?.to_scalar::<f32>()?;
        Ok(())
    }
}

fn main() -> Result<()> {
    let folder = ModelFolder::open("storybook")?;
    let model = folder.load()?;
    let prompt = folder.tokenizer.encode("a cat riding a bicycle")?;
    let token = prompt.find(&WordRef::new("bicycle"))[0];
    let (cond, uncond) = (model.text_encoders.read(&prompt, (128, 128), None)?, None);
    let text = Prompted::new(&model.unet, &Conditioning { cond, uncond })?;
    let noise = Tensor::from_vec(randn(0, 4 * 16 * 16), (1, 4, 16, 16), &Device::Cpu)?;
    let mut ddim = Ddim::new(&model.scheduler, 10);
    let mut sampler = Sampler::new(&text, &mut ddim, 1.0, &noise)?;
    while !sampler.done() {
        let mut watch = Watch(token, 0.0);
        sampler.step(&mut watch)?;
        println!("{:.3}", watch.1);
    }
    Ok(())
}
