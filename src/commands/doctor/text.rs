//! Formats a diagnosis for people: lines with a label and a fact. Owns this layout. It must never collect facts.

use prompt_to_prompt::format;

use super::diagnosis::{
    CachedModel, DeviceFacts, Diagnosis, HubDiagnosis, MemoryFacts, Processor, Terminal,
};
use super::environment::EnvironmentSetting;

/// The diagnosis as text.
pub fn render(diagnosis: &Diagnosis) -> String {
    let Diagnosis {
        program,
        processor,
        kernels,
        model,
        ..
    } = diagnosis;
    let commit = program.commit.map(|commit| format!(" ({commit})"));
    let mut text = format!(
        "p2p {}{}, {} build for {} on {}\n\n",
        program.version,
        commit.unwrap_or_default(),
        program.build,
        program.arch,
        program.os
    );
    let mut block = |label: &str, lines: Vec<String>| {
        for (i, line) in lines.iter().enumerate() {
            let label = if i == 0 { label } else { "" };
            text += &format!("{label:<11} {}\n", plain(line));
        }
    };
    block("processor", processor_lines(processor));
    block(
        "kernels",
        vec![format!("{}: {}", kernels.form, kernels.reason)],
    );
    block("memory", vec![memory_line(diagnosis.memory.as_ref())]);
    block("devices", diagnosis.devices.iter().map(device).collect());
    block("auto", vec![diagnosis.auto.clone()]);
    block(
        "model",
        vec![
            format!("{}, embedded", model.id),
            format!("weights {}", model.weights_sha256),
            format!("configs {}", model.configs_sha256),
        ],
    );
    block("hub", hub_lines(diagnosis.hub.as_ref()));
    block("terminal", vec![terminal(&diagnosis.terminal)]);
    block(
        "variables",
        diagnosis.environment.iter().map(setting).collect(),
    );
    let hints = if diagnosis.hints.is_empty() {
        vec!["no problems found".to_owned()]
    } else {
        diagnosis.hints.clone()
    };
    block("hints", hints);
    text
}

fn processor_lines(processor: &Processor) -> Vec<String> {
    let features = processor.features.iter();
    let with = |wanted: bool| -> Vec<&str> {
        let features = features.clone().filter(|(_, there)| **there == wanted);
        features.map(|(name, _)| *name).collect()
    };
    let list = |title: &str, names: Vec<&str>| {
        (!names.is_empty()).then(|| format!("{title} {}", names.join(", ")))
    };
    let name = Some(processor.name.clone()).filter(|name| !name.is_empty());
    let cores = processor.cores.map(|cores| format!("{cores} cores, "));
    let threads = format!(
        "{}{} threads, {} of them used",
        cores.unwrap_or_default(),
        processor.threads,
        processor.workers
    );
    let lines = [
        name,
        Some(threads),
        list("has", with(true)),
        list("lacks", with(false)),
    ];
    lines.into_iter().flatten().collect()
}

fn memory_line(memory: Option<&MemoryFacts>) -> String {
    let Some(memory) = memory else {
        return "unknown: the operating system does not report it".to_owned();
    };
    let (available, total) = (
        format::bytes(memory.available_bytes),
        format::bytes(memory.total_bytes),
    );
    let limit = if memory.limited {
        " (the limit of this container)"
    } else {
        ""
    };
    format!("{available} available of {total}{limit}")
}

fn device(device: &DeviceFacts) -> String {
    let name = device.name;
    match (device.compiled_in, device.found) {
        (false, _) => format!("{name:<6} not compiled in"),
        (true, 0) => format!("{name:<6} compiled in, none found"),
        (true, 1) if device.names[0] == name => format!("{name:<6} ready"),
        (true, 1) => format!("{name:<6} ready: {}", device.names[0]),
        (true, n) => format!("{name:<6} {n} found: {}", device.names.join(", ")),
    }
}

fn hub_lines(hub: Option<&HubDiagnosis>) -> Vec<String> {
    let Some(hub) = hub else {
        return vec!["no home folder, and neither HF_HOME nor XDG_CACHE_HOME is set".to_owned()];
    };
    let content = if hub.cache_exists {
        format!(
            "{} in {}",
            format::bytes(hub.cache_bytes),
            format::count(hub.models.len(), "model")
        )
    } else {
        "does not exist".to_owned()
    };
    let token = match hub.token {
        Some("file") => format!("in {}", hub.token_file),
        Some(variable) => format!("set in {variable}"),
        None => "none".to_owned(),
    };
    let asked = match (hub.compiled_in, hub.offline) {
        (false, _) => "not used: this build lacks the feature `hub`".to_owned(),
        (true, Some(variable)) => format!("{}, not used: {variable} is set", hub.endpoint),
        (true, None) => hub.endpoint.clone(),
    };
    let model = |model: &CachedModel| {
        let family = model.family.map(|family| format!(", {family}"));
        let family = family.unwrap_or_default();
        format!(
            "{:<6} {}, {}{family}",
            "model",
            model.id,
            format::bytes(model.bytes)
        )
    };
    let about = [
        format!("{:<6} {asked}", "at"),
        format!("{:<6} {}, {content}", "cache", hub.cache),
        format!("{:<6} {token}", "token"),
    ];
    about
        .into_iter()
        .chain(hub.models.iter().map(model))
        .collect()
}

fn terminal(terminal: &Terminal) -> String {
    let stdout = if terminal.stdout_is_terminal {
        "stdout is a terminal"
    } else {
        "stdout is not a terminal"
    };
    match terminal.pictures {
        Some(pictures) => format!("{stdout}; --show prints pictures with {pictures}"),
        None => format!("{stdout}; TERM=dumb, so --show prints nothing"),
    }
}

fn setting(setting: &EnvironmentSetting) -> String {
    let value = match (&setting.value, setting.set) {
        (Some(value), _) => format!("= {value}"),
        (None, true) => "set".to_owned(),
        (None, false) => "not set".to_owned(),
    };
    format!("{:<29} {value}", setting.name)
}

/// Escapes control characters, because values come from outside and must not control the terminal.
fn plain(line: &str) -> String {
    let spelled = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    line.chars().map(spelled).collect()
}
