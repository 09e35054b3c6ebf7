//! Single components and whole runs against diffusers' golden tensors.

use candle_core::{DType, Tensor};
use prompt_to_prompt::attention::NoHook;
use prompt_to_prompt::job::Job;
use prompt_to_prompt::model::PromptStates;

use super::{Family, SIZE, SRC, draw, job, near};

fn ids(golden: &Tensor) -> Vec<Vec<u32>> {
    golden.to_dtype(DType::U32).unwrap().to_vec2().unwrap()
}

/// Checks text states, pooled embeddings, a prediction of the UNet, and a picture.
fn components_equal_diffusers(name: &'static str) {
    let family = Family::new(name);
    let (folder, golden) = (family.open().unwrap(), family.golden());
    let model = folder.load().unwrap();
    let tokens = [SRC, ""].map(|prompt| folder.tokenizer.encode(prompt).unwrap());
    let states = tokens
        .each_ref()
        .map(|t| model.text_encoders.read(t, SIZE, None).unwrap());
    let states = PromptStates::cat(&states).unwrap();
    let wanted = ids(&golden["ids"]);
    for (tokens, wanted) in tokens.iter().zip(&wanted) {
        assert_eq!(&tokens.ids, wanted);
    }
    near(
        &format!("{name} text"),
        &states.context,
        &golden["text"],
        1e-5,
    );
    if let Some(pooled) = golden.get("pooled") {
        let added = states.added.as_ref().unwrap();
        near(&format!("{name} pooled"), &added.pooled, pooled, 1e-5);
        assert_ne!(ids(&golden["ids_2"]), wanted, "both tokenizers pad alike");
        let pads = ids(&golden["ids_2"])[0][tokens[0].len..].to_vec();
        assert!(
            pads.iter()
                .all(|id| *id == model.text_encoders.second.as_ref().unwrap().tokenizer.pad())
        );
    }
    let text = model.unet.read(states).unwrap();
    let latents = &golden["unet.latents"];
    let eps = model
        .unet
        .forward(latents, 501, &text, &mut NoHook)
        .unwrap();
    near(&format!("{name} unet"), &eps, &golden["unet.eps"], 1e-5);
    let picture = model.vae.decode(&golden["vae.latents"]).unwrap();
    near(
        &format!("{name} vae"),
        &picture,
        &golden["vae.picture"],
        1e-5,
    );
}

#[test]
fn sd2_equals_diffusers_component_by_component() {
    components_equal_diffusers("sd2");
}

#[test]
fn sdxl_equals_diffusers_component_by_component() {
    components_equal_diffusers("sdxl");
}

/// Checks whole runs, each with the scheduler config of its case.
fn pipelines_equal_diffusers(name: &'static str) {
    let golden = Family::new(name).golden();
    for (i, case) in Family::new(name).cases().into_iter().enumerate() {
        let config = "scheduler/scheduler_config.json";
        let family = Family::new(name).with(config, &case.config);
        let folder = family.open().unwrap();
        let model = folder.load().unwrap();
        let job = Job {
            src: case.prompt,
            negative_prompt: case.negative_prompt.unwrap_or_default(),
            steps: Some(case.steps),
            guidance: Some(case.guidance),
            scheduler: Some(case.scheduler.parse().unwrap()),
            ..job(vec![])
        };
        let latents = draw(&job, &folder, &model).latents;
        let what = format!("{name} {i}, {} of {} steps", case.scheduler, case.steps);
        near(&what, &latents, &golden[&format!("case{i}")], 2e-5);
    }
}

#[test]
fn sd2_pipelines_equal_diffusers() {
    pipelines_equal_diffusers("sd2");
}

#[test]
fn sdxl_pipelines_equal_diffusers() {
    pipelines_equal_diffusers("sdxl");
}
