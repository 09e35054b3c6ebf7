//! Folders whose components contradict each other, or that are of no supported family.

use prompt_to_prompt::error::Error;

use super::Family;

/// Checks that opening fails with a model error whose message contains all of `texts`.
fn refused(family: &Family, texts: &[&str]) {
    let error = match family.open() {
        Err(error) => error,
        Ok(_) => panic!("{texts:?}: was opened"),
    };
    let said = error.to_string();
    assert!(matches!(error, Error::Model(_)), "{said}");
    for text in texts {
        assert!(said.contains(text), "{text} is not in: {said}");
    }
}

#[test]
fn components_that_contradict_each_other_are_refused() {
    let unet = "unet/config.json";
    let sd2 = |changes| Family::new("sd2").with(unet, &changes);
    let sdxl = |file, changes| Family::new("sdxl").with(file, &changes);
    use serde_json::json;
    refused(
        &sd2(json!({ "cross_attention_dim": 32 })),
        &["cross_attention_dim is 32", "write 24"],
    );
    refused(
        &sd2(json!({ "addition_embed_type": "text" })),
        &["addition_embed_type text"],
    );
    refused(
        &sd2(json!({ "addition_embed_type": "text_time" })),
        &["lacks the key addition_time_embed_dim"],
    );
    refused(
        &sd2(json!({ "attention_head_dim": [1, 2, 4] })),
        &["a list of 4"],
    );
    refused(
        &sdxl(unet, json!({ "addition_time_embed_dim": 16 })),
        &["projection_class_embeddings_input_dim is 68", "116"],
    );
    refused(&sdxl(unet, json!({ "a_new_key": 1 })), &["a_new_key"]);
    refused(
        &sdxl(
            unet,
            json!({ "reverse_transformer_layers_per_block": [3, 2, 1] }),
        ),
        &["reverse_transformer"],
    );
    refused(
        &sdxl(
            "model_index.json",
            json!({ "requires_aesthetics_score": true }),
        ),
        &["requires_aesthetics_score"],
    );
    refused(
        &sdxl("text_encoder_2/config.json", json!({ "a_new_key": 1 })),
        &["text_encoder_2", "a_new_key"],
    );
    let config = "scheduler/scheduler_config.json";
    refused(
        &Family::new("sd2").with(config, &json!({ "prediction_type": "sample" })),
        &["prediction_type sample"],
    );
    refused(
        &Family::new("sd2").with(config, &json!({ "timestep_spacing": "linspace" })),
        &["timestep_spacing linspace"],
    );
    // With another vocabulary, a token of an alignment would not mean the same to both encoders.
    let other = Family::new("sdxl").with("tokenizer_2/vocab.json", &json!({ "zebra</w>": 605 }));
    refused(&other, &["tokenizer_2", "more than its padding token"]);
}

/// The error names the kind of model and the cure.
#[test]
fn other_kinds_of_models_are_named() {
    use serde_json::json;
    for class in [
        "FluxPipeline",
        "StableDiffusion3Pipeline",
        "StableCascadeDecoderPipeline",
    ] {
        let other = Family::new("sdxl").with("model_index.json", &json!({ "_class_name": class }));
        refused(
            &other,
            &["model_index.json", class, "give a Stable Diffusion"],
        );
    }
    let refiner = json!({
        "_class_name": "StableDiffusionXLImg2ImgPipeline", "requires_aesthetics_score": true,
    });
    let refiner = Family::new("sdxl").with("model_index.json", &refiner);
    refused(&refiner, &["refiner", "give the base model"]);
    let img2img = json!({ "_class_name": "StableDiffusionImg2ImgPipeline" });
    let family = Family::new("sd2").with("model_index.json", &img2img);
    assert!(
        family.open().is_ok(),
        "another pipeline of the same components is refused"
    );
    let lacking = Family::new("sdxl");
    std::fs::remove_dir_all(lacking.folder.path().join("text_encoder_2")).unwrap();
    refused(
        &lacking,
        &[
            "text_encoder_2",
            "does not exist",
            "add text_encoder_2/ and tokenizer_2/",
        ],
    );
}
