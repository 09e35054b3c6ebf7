//! Finds problems in the facts of a diagnosis: one line with cause and cure for each. Owns their wording and
//! thresholds. It must never collect facts of its own beyond environment variables.

use prompt_to_prompt::device::ComputeChoice;
use prompt_to_prompt::format;
use prompt_to_prompt::kernels::Form;
use prompt_to_prompt::message::Flags;

use super::diagnosis::{Diagnosis, HubDiagnosis, Kernels, MemoryFacts, Processor};
use super::environment::value;

/// Memory that an edit with the embedded model takes, in bytes, with some reserve.
const STORYBOOK_BYTES: u64 = 250 << 20;
/// Memory that an edit with Stable Diffusion 1.5 in f32 takes, in bytes, with some reserve.
const SD15_BYTES: u64 = 6 << 30;

/// All problems of a diagnosis. None means that everything is fine.
pub fn hints(diagnosis: &Diagnosis) -> Vec<String> {
    let found = [
        kernels(&diagnosis.kernels),
        threads(&diagnosis.processor),
        diagnosis.memory.as_ref().and_then(memory),
        debug_build(diagnosis.program.build),
        locale(),
        device(),
        diagnosis.hub.as_ref().and_then(endpoint),
        diagnosis.hub.as_ref().and_then(cache),
    ];
    found.into_iter().flatten().collect()
}

fn kernels(kernels: &Kernels) -> Option<String> {
    let variable = Form::VARIABLE;
    let fastest = *kernels.available.last()?;
    match value(variable) {
        Some(asked) if asked != kernels.form => Some(format!(
            "{variable}={asked} is ignored: the kernels here are {}; unset it",
            kernels.available.join(", ")
        )),
        Some(asked) if kernels.form != fastest => Some(format!(
            "{variable}={asked} slows everything down: unset it to use {fastest}"
        )),
        None if cfg!(target_arch = "x86_64") && kernels.form == Form::Portable.name() => Some(
            "this processor has no AVX2 and FMA, so the portable kernels run, which are about seven times slower: \
             use fewer steps, for example --steps 10"
                .to_owned(),
        ),
        _ => None,
    }
}

fn threads(processor: &Processor) -> Option<String> {
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    let asked = value(VARIABLE)?;
    match asked.parse::<usize>() {
        Err(_) | Ok(0) => Some(format!(
            "{VARIABLE}={asked} is not a number of threads: it is ignored; unset it"
        )),
        Ok(n) if n < processor.threads => Some(format!(
            "{VARIABLE}={asked} limits p2p to {n} of {} threads: unset it, or use --threads",
            processor.threads
        )),
        _ => None,
    }
}

fn memory(memory: &MemoryFacts) -> Option<String> {
    let available = format::bytes(memory.available_bytes);
    if memory.available_bytes < STORYBOOK_BYTES {
        Some(format!(
            "{available} of memory are available, but an edit with storybook takes about {}: close other programs",
            format::bytes(STORYBOOK_BYTES)
        ))
    } else if memory.available_bytes < SD15_BYTES {
        Some(format!(
            "{available} of memory are available, which is enough for storybook, but little for Stable Diffusion \
             1.x, whose weights take 3.9 GiB: use --low-memory"
        ))
    } else {
        None
    }
}

fn debug_build(build: &str) -> Option<String> {
    (build == "debug").then(|| {
        "this is a slow debug build: build a fast one with cargo build --release".to_owned()
    })
}

/// A locale without UTF-8. Only Unix has such locales.
fn locale() -> Option<String> {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value);
    let locale = locale.unwrap_or_else(|| "C".to_owned());
    let folded = locale.to_lowercase();
    let utf8 = folded.contains("utf-8") || folded.contains("utf8");
    (cfg!(unix) && !utf8).then(|| {
        format!(
            "the locale {locale} is not UTF-8, so prompts with accents may look wrong in this terminal: set LANG, \
             for example to C.UTF-8"
        )
    })
}

/// A device or dtype that `P2P_DEVICE` and `P2P_DTYPE` ask for and that is not available.
fn device() -> Option<String> {
    let error = ComputeChoice::default().open().err()?;
    let (cause, cure) = error.parts(&Flags);
    Some(format!("{cause}: {cure}"))
}

fn endpoint(hub: &HubDiagnosis) -> Option<String> {
    let is_address = ["https://", "http://"]
        .iter()
        .any(|scheme| hub.endpoint.starts_with(scheme));
    (!is_address).then(|| {
        format!(
            "HF_ENDPOINT is not an address: {}; set it to https://HOST, or unset it",
            hub.endpoint
        )
    })
}

fn cache(hub: &HubDiagnosis) -> Option<String> {
    let path = std::path::Path::new(&hub.cache);
    (path.exists() && !hub.cache_exists).then(|| {
        format!(
            "{} is not a folder, so models cannot be stored there: set HF_HUB_CACHE",
            hub.cache
        )
    })
}
