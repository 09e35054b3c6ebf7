//! The model's parts against diffusers and transformers, names and types of weights, and broken files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use prompt_to_prompt::attention::{
    AttentionHook, AttentionKind, Carry, NoHook, Place, Site, SitePlan, Term,
};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::kernels::Packing;
use prompt_to_prompt::model::{Model, ModelFolder};

use super::kernels::{bits, distance, numbers};

pub const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
pub const TEXT: &str = "text_encoder/model.safetensors";

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn load(folder: &Path) -> Result<Model, Error> {
    open(folder)?.load()
}

fn open(folder: &Path) -> Result<ModelFolder, Error> {
    ModelFolder::open(folder.to_str().unwrap())
}

pub fn mini_sd() -> Model {
    load(&fixtures().join("mini-sd")).unwrap()
}

/// A copy of mini-sd to damage.
pub fn copy_of_mini_sd() -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(&fixtures().join("mini-sd"), to.path());
    to
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap(),
        }
    }
}

type Tensors = HashMap<String, Tensor>;

pub fn rewrite(
    folder: &Path,
    file: &str,
    change: impl Fn(String, Tensor) -> Option<(String, Tensor)>,
) {
    let path = folder.join(file);
    let tensors = safetensors::load(&path, &Device::Cpu).unwrap();
    let changed: Tensors = tensors
        .into_iter()
        .filter_map(|(k, v)| change(k, v))
        .collect();
    safetensors::save(&changed, path).unwrap();
}

fn golden(name: &str) -> impl Fn(&str) -> Tensor {
    let all = fixtures().join("model-golden.safetensors");
    let all = safetensors::load(all, &Device::Cpu).unwrap();
    let name = name.to_owned();
    move |key| all[&format!("{name}.{key}")].clone()
}

fn near(what: &str, found: &Tensor, expected: &Tensor, bound: f32) {
    let d = distance(found, expected);
    println!("{what}: {d:.2e}");
    assert!(d <= bound, "{what} differs by {d:.2e}, allowed {bound:.2e}");
}

/// Text states and a decoded picture.
fn text_and_vae_equal_diffusers(name: &str, prompt: &str, folder: &ModelFolder) {
    let model = folder.load().unwrap();
    let golden = golden(name);
    let ids = golden("ids").to_dtype(DType::U32).unwrap();
    let ids = ids.to_vec2::<u32>().unwrap();
    for (row, prompt) in [prompt, ""].iter().enumerate() {
        let tokens = folder.tokenizer.encode(prompt).unwrap();
        assert_eq!(tokens.ids, ids[row]);
        let states = model.text_encoders.first.encode(&tokens.ids).unwrap();
        let expected = golden("text").narrow(0, row, 1).unwrap();
        near(&format!("{name} text"), &states, &expected, 1e-5);
    }
    let picture = model.vae.decode(&golden("vae.latents")).unwrap();
    near(
        &format!("{name} vae"),
        &picture,
        &golden("vae.picture"),
        1e-5,
    );
}

/// The UNet's output on the inputs of golden case `i`.
fn predicted(name: &str, i: usize, model: &Model) -> Tensor {
    let golden = golden(name);
    let latents = golden(&format!("unet{i}.latents"));
    let t = golden(&format!("unet{i}.timestep"))
        .to_vec1::<f32>()
        .unwrap()[0];
    let forward = |hook| {
        model.unet.forward(
            &latents,
            t as usize,
            &model.unet.read(golden("text")).unwrap(),
            hook,
        )
    };
    forward(&mut NoHook).unwrap()
}

#[test]
fn mini_sd_equals_diffusers() {
    let folder = open(&fixtures().join("mini-sd")).unwrap();
    let model = folder.load().unwrap();
    text_and_vae_equal_diffusers("mini-sd", "a photo of a cat riding a bicycle", &folder);
    let golden = golden("mini-sd");
    for i in 0..3 {
        // Its attention is so sharp that f32 itself is off by 5e-4 to 2e-3; be about as near to f64
        // as diffusers' f32 is. The next test holds the same structure to 1e-5.
        let exact = golden(&format!("unet{i}.eps64"));
        let theirs = distance(&golden(&format!("unet{i}.eps")), &exact);
        println!("diffusers' f32 against its f64: {theirs:.2e}");
        let ours = predicted("mini-sd", i, &model);
        near(&format!("mini-sd unet{i}"), &ours, &exact, 3.0 * theirs);
    }
}

#[test]
fn mini_sd_with_soft_attention_equals_diffusers_closely() {
    let copy = copy_of_mini_sd();
    rewrite(copy.path(), UNET, |name, tensor| {
        let factor = if name.ends_with("to_q.weight") {
            0.0625
        } else {
            1.0
        };
        Some((name, (tensor * factor).unwrap()))
    });
    let model = load(copy.path()).unwrap();
    let golden = golden("mini-sd");
    for i in 0..3 {
        let ours = predicted("mini-sd", i, &model);
        let expected = golden(&format!("unet{i}.soft"));
        near(&format!("soft mini-sd unet{i}"), &ours, &expected, 1e-5);
    }
}

#[test]
fn storybook_equals_diffusers() {
    let folder = ModelFolder::open("storybook").unwrap();
    let model = folder.load().unwrap();
    text_and_vae_equal_diffusers("storybook", "a big red bicycle on the beach", &folder);
    let golden = golden("storybook");
    for i in 0..3 {
        let expected = golden(&format!("unet{i}.eps"));
        let ours = predicted("storybook", i, &model);
        near(&format!("storybook unet{i}"), &ours, &expected, 1e-5);
    }
    assert_eq!(
        (folder.native_size(), folder.unet.layout_downscale()),
        (128, 1)
    );
    assert_eq!(
        (folder.id.as_str(), folder.recommended.steps),
        ("storybook", Some(30))
    );
    assert_eq!(model.weights_sha256.len(), 64);
}

#[test]
fn sites_are_numbered_in_order_of_execution() {
    let unet = mini_sd().unet;
    let sites = unet.sites((64, 40));
    assert_eq!(sites.len(), 2 * (2 + 2 + 1 + 3 + 3));
    assert!(sites.iter().enumerate().all(|(i, site)| site.index == i));
    assert!(
        sites
            .iter()
            .all(|s| (s.kind == AttentionKind::SelfAttn) == (s.index % 2 == 0))
    );
    let at = |i: usize| {
        (
            sites[i].place,
            sites[i].downscale,
            sites[i].grid,
            sites[i].heads,
        )
    };
    assert_eq!(at(0), (Place::Down, 2, (32, 20), 2));
    assert_eq!(at(8), (Place::Mid, 8, (8, 5), 2));
    assert_eq!(at(10), (Place::Up, 4, (16, 10), 2));
    assert_eq!(at(21), (Place::Up, 2, (32, 20), 2));
    assert_eq!(unet.config().layout_downscale(), 4);
}

#[test]
fn a_row_is_the_same_alone_and_on_any_number_of_threads() {
    for folder in ["storybook", fixtures().join("mini-sd").to_str().unwrap()] {
        let folder = ModelFolder::open(folder).unwrap();
        let (model, width) = (folder.load().unwrap(), folder.unet.cross_attention_dim);
        let (latents, context) = (numbers(&[3, 4, 16, 13], 1), numbers(&[3, 77, width], 2));
        let run = |threads, from, n| {
            let (x, c) = (
                latents.narrow(0, from, n).unwrap(),
                context.narrow(0, from, n).unwrap(),
            );
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let text = model.unet.read(&c).unwrap();
                bits(&model.unet.forward(&x, 500, &text, &mut NoHook).unwrap())
            })
        };
        let together = run(1, 0, 3);
        assert_eq!(together, run(2, 0, 3), "threads");
        let alone: Vec<u32> = (0..3).flat_map(|row| run(2, row, 1)).collect();
        assert_eq!(together, alone, "rows");
    }
}

/// What a damaged or renamed model computes, for comparison.
pub fn fingerprint(model: &Model) -> Vec<Tensor> {
    let text = model
        .text_encoders
        .first
        .encode(&[49406, 320, 2368, 49407])
        .unwrap();
    let latents = numbers(&[1, 4, 8, 8], 3);
    let read = model.unet.read(&text).unwrap();
    let eps = model.unet.forward(&latents, 7, &read, &mut NoHook).unwrap();
    vec![text, eps, model.vae.decode(&latents).unwrap()]
}

#[test]
fn older_names_of_weights_are_read() {
    let expected = fingerprint(&mini_sd());
    let copy = copy_of_mini_sd();
    let ids = Tensor::zeros((1, 77), DType::I64, &Device::Cpu).unwrap();
    rewrite(copy.path(), TEXT, |name, tensor| {
        Some((format!("text_model.{name}"), tensor))
    });
    let mut text = safetensors::load(copy.path().join(TEXT), &Device::Cpu).unwrap();
    text.insert("text_model.embeddings.position_ids".into(), ids);
    safetensors::save(&text, copy.path().join(TEXT)).unwrap();
    rewrite(copy.path(), VAE, |name, tensor| {
        let mut new = name.clone();
        let older = [
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ];
        for (now, then) in older {
            new = new.replace(now, then);
        }
        let conv = new != name && name.ends_with("weight");
        let tensor = if conv {
            tensor.unsqueeze(2).unwrap().unsqueeze(3).unwrap()
        } else {
            tensor
        };
        Some((new, tensor))
    });
    // `use_linear_projection` stores the same numbers without the two dimensions of size one.
    rewrite(copy.path(), UNET, |name, tensor| {
        let flat = name.contains("proj_in.weight") || name.contains("proj_out.weight");
        Some((
            name,
            if flat {
                tensor.flatten_from(1).unwrap()
            } else {
                tensor
            },
        ))
    });
    edit(
        copy.path(),
        "unet/config.json",
        "\"use_linear_projection\": false",
        "\"use_linear_projection\": true",
    );
    let found = fingerprint(&load(copy.path()).unwrap());
    for (a, b) in found.iter().zip(&expected) {
        assert_eq!(bits(a), bits(b));
    }
}

#[test]
fn weights_of_16_bits_are_read() {
    for dtype in [DType::F16, DType::BF16] {
        let (short, long) = (copy_of_mini_sd(), copy_of_mini_sd());
        for file in [UNET, VAE, TEXT] {
            let cast = |tensor: Tensor, dtype| tensor.to_dtype(dtype).unwrap();
            rewrite(short.path(), file, |name, t| Some((name, cast(t, dtype))));
            rewrite(long.path(), file, |name, t| {
                Some((name, cast(cast(t, dtype), DType::F32)))
            });
            let fp16 = file.replace(".safetensors", ".fp16.safetensors");
            std::fs::rename(short.path().join(file), short.path().join(fp16)).unwrap();
        }
        let expected = fingerprint(&load(long.path()).unwrap());
        for (a, b) in fingerprint(&load(short.path()).unwrap())
            .iter()
            .zip(&expected)
        {
            assert_eq!(bits(a), bits(b), "{dtype:?}");
        }
    }
}

/// Replaces the first `from` in a file, which must be there.
pub fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Injects row 0's self-attention into the others, everywhere.
struct Injecting(Vec<Vec<Term>>);

impl AttentionHook for Injecting {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        match site.kind {
            AttentionKind::SelfAttn => SitePlan::Mix(&self.0),
            AttentionKind::Cross => SitePlan::Plain,
        }
    }
}

/// What both halves of guidance share is computed once, small models do both halves at once: neither
/// changes a bit, whoever has a say in the first self-attention.
#[test]
fn guided_halves_are_each_alone() {
    let from_first = || Term {
        map_of: 0,
        carry: Carry::Same,
    };
    for folder in ["storybook", fixtures().join("mini-sd").to_str().unwrap()] {
        let folder = ModelFolder::open(folder).unwrap();
        let (unet, width) = (folder.load().unwrap().unet, folder.unet.cross_attention_dim);
        let latents = numbers(&[2, 4, 15, 16], 1);
        let text = |seed| unet.read(numbers(&[2, 77, width], seed)).unwrap();
        let (uncond, cond) = (text(2), text(3));
        let inject = || Injecting(vec![vec![from_first()], vec![from_first()]]);
        let hooks: [&(dyn Fn() -> Box<dyn AttentionHook> + Sync); 2] =
            [&|| Box::new(NoHook), &|| Box::new(inject())];
        let mut seen = vec![];
        for hook in hooks {
            let alone = |text, hook: &mut dyn AttentionHook| {
                bits(&unet.forward(&latents, 500, text, hook).unwrap())
            };
            let expected = (alone(&uncond, &mut NoHook), alone(&cond, &mut *hook()));
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                let both = pool
                    .unwrap()
                    .install(|| unet.forward_guided(&latents, 500, &uncond, &cond, &mut *hook()));
                let (uncond, cond) = both.unwrap();
                assert!(
                    (bits(&uncond), bits(&cond)) == expected,
                    "{threads} threads"
                );
            }
            seen.push(expected.1);
        }
        assert_ne!(seen[0], seen[1], "the hook did nothing");
    }
}

/// Weights that are kept smaller or larger than usual.
#[test]
fn low_memory_changes_no_bit_and_fast_little() {
    let folder = open(&fixtures().join("mini-sd")).unwrap();
    let made = |large_tiles, on_demand| {
        let model = folder
            .load_as(Packing {
                large_tiles,
                on_demand,
            })
            .unwrap();
        fingerprint(&model)
    };
    for large in [false, true] {
        for (early, on_demand) in made(large, false).iter().zip(made(large, true)) {
            assert_eq!(bits(early), bits(&on_demand));
        }
    }
    let (exact, fast) = (made(false, false), made(true, false));
    assert_ne!(bits(&exact[1]), bits(&fast[1]), "--fast did nothing");
    // The model's attention is so sharp that any rounding shows.
    assert!(distance(&fast[1], &exact[1]) < 1e-2);
}
