//! Metadata of other tools: A1111, InvokeAI and ComfyUI.

use prompt_to_prompt::report::png::TextChunk;
use serde_json::{Value, json};

use super::{foreign, found, metadata};

#[test]
fn a1111_reads_what_we_write() {
    let texts = metadata("a cat", "a dog, \"big\": red", "fog", "dog").texts();
    assert_eq!(
        texts[0],
        TextChunk::new(
            "parameters",
            concat!(
                "a dog, \"big\": red\nNegative prompt: fog\n",
                "Steps: 30, Sampler: DPM++ 2M, CFG scale: 5, Seed: 18446744073709551615, ",
                "Size: 9x5, Model hash: 0123456789, Model: \"story, book: 2\", RNG: CPU, ",
                "Version: p2p ",
                env!("CARGO_PKG_VERSION")
            )
        )
    );
    let (tool, prompt, negative, settings) = foreign(&[("parameters", &texts[0].text)]);
    assert_eq!((&*tool, &*negative), ("a1111", "fog"));
    assert_eq!(prompt, "a dog, \"big\": red");
    assert_eq!(settings["Model"], "story, book: 2");
    assert_eq!(settings["Sampler"], "DPM++ 2M");
    assert_eq!(settings.as_object().unwrap().len(), 9);
}

#[test]
fn a1111s_own_blocks_are_read() {
    let block = "a girl, (beret:1.2)\ndesert scene\nNegative prompt: ugly, [blurry]\nbad anatomy\n\
        Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, \
        Model hash: 45dee52b, Lora hashes: \"one: 1a, two: 2b\", Version: v1.6.0";
    let (_, prompt, negative, settings) = foreign(&[("parameters", block)]);
    assert_eq!(prompt, "a girl, (beret:1.2)\ndesert scene");
    assert_eq!(negative, "ugly, [blurry]\nbad anatomy");
    assert_eq!(settings["Lora hashes"], "one: 1a, two: 2b");
    assert_eq!(settings["Seed"], "965400086");
    let (_, prompt, negative, settings) = foreign(&[("parameters", "Steps: 3, a cat")]);
    assert_eq!(prompt, "Steps: 3, a cat", "too few settings to be settings");
    assert_eq!((&*negative, settings), ("", json!({})));
}

#[test]
fn invokeais_metadata_of_all_ages_are_read() {
    let now = json!({
        "app_version": "4.2.0", "generation_mode": "txt2img",
        "positive_prompt": "a castle", "negative_prompt": "blurry", "cfg_scale": 7.5,
        "seed": 42, "model": { "key": "k", "name": "dreamshaper" }, "loras": []
    });
    let now = foreign(&[("invokeai_metadata", &now.to_string()), ("prompt", "x")]);
    assert_eq!((&*now.1, &*now.2), ("a castle", "blurry"));
    let settings = json!({
        "app_version": "4.2.0", "generation_mode": "txt2img", "cfg_scale": 7.5, "seed": 42,
        "model": "dreamshaper"
    });
    assert_eq!(now.3, settings);

    let old = json!({
        "app_id": "invoke-ai/InvokeAI", "model_weights": "stable-diffusion-1.5",
        "image": {
            "prompt": [{ "prompt": "a castle [blurry] on a hill [fog]", "weight": 1 }],
            "steps": 50, "sampler": "k_lms", "variations": []
        }
    });
    let old = foreign(&[("sd-metadata", &old.to_string())]);
    assert_eq!((&*old.1, &*old.2), ("a castle  on a hill", "blurry fog"));
    assert_eq!(old.3["model"], "stable-diffusion-1.5");
    assert_eq!(old.3["steps"], 50);

    for dream in [
        "\"a \"big\" cat [fog]\" -s 50 -S 42 -W 512 -H 384 -C 7.5 -A k_lms",
        "\"a \"big\" cat [fog]\" -s50 -b1 -W512 -H384 -C7.5 -mk_lms -S42",
    ] {
        let (tool, prompt, negative, settings) = foreign(&[("Dream", dream)]);
        assert_eq!(
            (&*tool, &*prompt, &*negative),
            ("invokeai", "a \"big\" cat", "fog")
        );
        let wanted = [
            ("steps", json!(50)),
            ("seed", json!(42)),
            ("height", json!(384)),
        ];
        for (key, value) in wanted {
            assert_eq!(settings[key], value, "{dream}");
        }
        assert_eq!(settings["sampler"], "k_lms");
        assert_eq!(settings["cfg_scale"], 7.5);
    }
}

/// A graph with a control net between the texts and the sampler.
pub(super) fn comfy() -> Value {
    json!({
        "3": { "class_type": "KSampler", "inputs": {
            "seed": 42, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal",
            "denoise": 1.0, "model": ["4", 0], "positive": ["8", 0], "negative": ["8", 1],
            "latent_image": ["5", 0] } },
        "4": { "class_type": "CheckpointLoaderSimple",
            "inputs": { "ckpt_name": "sd15.safetensors" } },
        "5": { "class_type": "EmptyLatentImage",
            "inputs": { "width": 512, "height": 384, "batch_size": 1 } },
        "6": { "class_type": "CLIPTextEncode",
            "inputs": { "text": ["9", 0], "clip": ["4", 1] } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "blurry", "clip": ["4", 1] } },
        "8": { "class_type": "ControlNetApplyAdvanced", "inputs": {
            "positive": ["10", 0], "negative": ["7", 0], "strength": 1.0 } },
        "9": { "class_type": "PrimitiveString", "inputs": { "value": "a castle" } },
        "10": { "class_type": "ConditioningCombine", "inputs": {
            "conditioning_1": ["6", 0], "conditioning_2": ["11", 0] } },
        "11": { "class_type": "CLIPTextEncode", "inputs": { "text": "on a hill" } }
    })
}

#[test]
fn comfyuis_graphs_are_followed() {
    let (tool, prompt, negative, settings) = foreign(&[("prompt", &comfy().to_string())]);
    assert_eq!((&*tool, &*negative), ("comfyui", "blurry"));
    assert_eq!(prompt, "a castle\non a hill");
    assert_eq!(settings["model"], "sd15.safetensors");
    assert_eq!(
        (&settings["width"], &settings["cfg"]),
        (&json!(512), &json!(8))
    );

    let mut odd = comfy();
    odd["3"]["is_changed"] = json!(["NaN in a string: \\", 7]);
    let odd = odd.to_string().replace("7]", "NaN, -Infinity]");
    assert_eq!(foreign(&[("prompt", &odd)]).1, prompt, "Python's numbers");

    let mut circle = comfy();
    circle["9"]["inputs"]["value"] = json!(["6", 0]);
    assert_eq!(foreign(&[("prompt", &circle.to_string())]).1, "on a hill");

    let guided = json!({
        "1": { "class_type": "SamplerCustomAdvanced", "inputs": { "guider": ["2", 0] } },
        "2": { "class_type": "BasicGuider", "inputs": { "conditioning": ["3", 0] } },
        "3": { "class_type": "CLIPTextEncodeFlux", "inputs": { "t5xxl": "a cat", "clip_l": "" } }
    });
    let (_, prompt, negative, _) = foreign(&[("prompt", &guided.to_string())]);
    assert_eq!((&*prompt, &*negative), ("a cat", ""));
    for nothing in ["a prompt", "[]", "{}", "{\"1\": 2}"] {
        assert_eq!(found(&[("prompt", nothing)]), None);
    }
}

#[test]
fn comfyuis_workflow_does_where_the_graph_is_missing() {
    let workflow = json!({
        "nodes": [
            { "id": 3, "type": "KSampler",
              "inputs": [{ "name": "positive", "link": 4 }, { "name": "negative", "link": 6 },
                         { "name": "model", "link": null }],
              "widgets_values": [42, "randomize", 20, 8, "euler", "normal", 1] },
            { "id": 6, "type": "CLIPTextEncode", "inputs": [], "widgets_values": ["a castle"] },
            { "id": 7, "type": "CLIPTextEncode", "inputs": [], "widgets_values": ["blurry"] }
        ],
        "links": [[4, 6, 0, 3, 1, "CONDITIONING"], [6, 7, 0, 3, 2, "CONDITIONING"]]
    });
    let (_, prompt, negative, settings) = foreign(&[("workflow", &workflow.to_string())]);
    assert_eq!((&*prompt, &*negative), ("a castle", "blurry"));
    assert_eq!(
        (&settings["seed"], &settings["steps"]),
        (&json!(42), &json!(20))
    );
}
