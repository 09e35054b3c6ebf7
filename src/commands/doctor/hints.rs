//! What is amiss in the facts of a diagnosis: one line each, cause and cure. An empty list is a healthy
//! machine.

use prompt_to_prompt::device::ComputeChoice;
use prompt_to_prompt::format;
use prompt_to_prompt::kernels::Form;
use prompt_to_prompt::message::Flags;

use super::diagnosis::{Diagnosis, HubDiagnosis, Kernels, MemoryFacts, Processor};
use super::environment::value;

/// What an edit with the embedded model takes, and some room.
const STORYBOOK_BYTES: u64 = 250 << 20;
/// The weights of Stable Diffusion 1.5 in f32, and some room.
const SD15_BYTES: u64 = 6 << 30;

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
            "{variable}={asked} is none of {}: it is ignored; unset it",
            kernels.available.join(", ")
        )),
        Some(asked) if kernels.form != fastest => Some(format!(
            "{variable}={asked} slows everything down: unset it for {fastest}"
        )),
        None if cfg!(target_arch = "x86_64") && kernels.form == Form::Portable.name() => Some(
            "without AVX2 and FMA the portable kernels draw, about seven times slower: fewer --steps help, \
             such as --steps 10"
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
            "{VARIABLE}={asked} keeps p2p to {n} of {} threads: unset it, or use --threads",
            processor.threads
        )),
        _ => None,
    }
}

fn memory(memory: &MemoryFacts) -> Option<String> {
    let available = format::bytes(memory.available_bytes);
    if memory.available_bytes < STORYBOOK_BYTES {
        Some(format!(
            "{available} of memory are available, and an edit with storybook takes about {}: close other programs",
            format::bytes(STORYBOOK_BYTES)
        ))
    } else if memory.available_bytes < SD15_BYTES {
        Some(format!(
            "{available} of memory are available: enough for storybook, little for Stable Diffusion 1.x, \
             whose weights alone take 3.9 GiB: --low-memory helps"
        ))
    } else {
        None
    }
}

fn debug_build(build: &str) -> Option<String> {
    (build == "debug")
        .then(|| "this is a debug build: cargo build --release makes a faster one".to_owned())
}

/// The locale counts where there are locales.
fn locale() -> Option<String> {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value);
    let locale = locale.unwrap_or_else(|| "C".to_owned());
    let folded = locale.to_lowercase();
    let utf8 = folded.contains("utf-8") || folded.contains("utf8");
    (cfg!(unix) && !utf8).then(|| {
        format!(
            "the locale, {locale}, is not UTF-8: prompts with accents may look wrong in this terminal: \
             set LANG, such as to C.UTF-8"
        )
    })
}

/// What `P2P_DEVICE` and `P2P_DTYPE` ask for and cannot have.
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
            "HF_ENDPOINT is no address: {}; write https://HOST, or unset it",
            hub.endpoint
        )
    })
}

fn cache(hub: &HubDiagnosis) -> Option<String> {
    let path = std::path::Path::new(&hub.cache);
    (path.exists() && !hub.cache_exists).then(|| {
        format!(
            "{} is not a folder, so no model can be kept there: set HF_HUB_CACHE",
            hub.cache
        )
    })
}
