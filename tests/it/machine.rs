//! The memory and the processor of this machine, and where models are stored on it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use prompt_to_prompt::error::Error;
use prompt_to_prompt::hub::HubPaths;
use prompt_to_prompt::machine::{Cpu, Memory};
use prompt_to_prompt::message;
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::setting::Setting;

#[test]
fn memory_and_threads_are_plausible() {
    let memory = Memory::now().expect("the system reports its memory");
    assert!(
        memory.available > 0 && memory.available <= memory.total,
        "{memory:?}"
    );
    // No test runs in less than 64 MiB, or on a machine with more than 64 TiB.
    assert!(
        ((64 << 20)..(64 << 40)).contains(&memory.total),
        "{memory:?}"
    );
    let cpu = Cpu::detect();
    assert_eq!(
        cpu.threads,
        std::thread::available_parallelism().unwrap().get()
    );
    assert!(cpu.cores.is_none_or(|cores| cores > 0));
}

#[test]
fn a_containers_limit_counts_where_it_is_lower() {
    let machine = Memory {
        total: 32 << 30,
        available: 20 << 30,
        limited: false,
    };
    assert_eq!(machine.within(64 << 30, 0), machine);
    assert_eq!(machine.within(u64::MAX, 0), machine);
    let inside = machine.within(8 << 30, 3 << 30);
    let expected = Memory {
        total: 8 << 30,
        available: 5 << 30,
        limited: true,
    };
    assert_eq!(inside, expected);
    // The machine may have less free memory than the container's limit allows.
    let full = Memory {
        available: 1 << 30,
        ..machine
    };
    assert_eq!(full.within(8 << 30, 3 << 30).available, 1 << 30);
    assert_eq!(machine.within(8 << 30, 9 << 30).available, 0);
}

#[test]
fn too_little_memory_is_a_memory_error_that_names_both_numbers() {
    let memory = Memory {
        total: 8 << 30,
        available: 3 << 29,
        limited: false,
    };
    memory.require(3 << 29, "job \"a\"", "").unwrap();
    let error = memory
        .require(
            3 << 30,
            "job \"a\"",
            message!["use ", Setting::LowMemory.to(true)],
        )
        .unwrap_err();
    assert!(matches!(error, Error::Memory(_)));
    let (cause, cure) = error.parts(&Flags);
    assert_eq!(
        cause,
        "job \"a\" needs about 3.0 GiB of memory, and 1.5 GiB are available"
    );
    assert_eq!(cure, "use --low-memory");
}

/// The paths by the rules of huggingface_hub's `constants.py`.
fn hub(variables: &[(&str, &str)]) -> HubPaths {
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    HubPaths::new(value, Some(PathBuf::from("/home/ada"))).unwrap()
}

#[test]
fn models_are_where_hugging_faces_tools_store_them() {
    let cache = |variables: &[(&str, &str)], expected: &str| {
        assert_eq!(hub(variables).cache, Path::new(expected), "{variables:?}");
    };
    cache(&[], "/home/ada/.cache/huggingface/hub");
    cache(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
    cache(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x")], "/hf/hub");
    cache(&[("HF_HOME", "~/hf")], "/home/ada/hf/hub");
    cache(&[("HF_HOME", "$DISK/hf"), ("DISK", "/d")], "/d/hf/hub");
    cache(&[("HF_HOME", "$NONE/hf")], "$NONE/hf/hub");
    cache(&[("HF_HOME", "")], "/home/ada/.cache/huggingface/hub");
    cache(&[("HUGGINGFACE_HUB_CACHE", "/old")], "/old");
    cache(
        &[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")],
        "/new",
    );
    let token = |variables: &[(&str, &str)], expected: &str| {
        assert_eq!(hub(variables).token, Path::new(expected), "{variables:?}");
    };
    token(&[("HF_HOME", "/hf")], "/hf/token");
    token(
        &[("HF_HUB_CACHE", "/hub")],
        "/home/ada/.cache/huggingface/token",
    );
    token(&[("HF_TOKEN_PATH", "~/t")], "/home/ada/t");
    let nobody = HubPaths::new(|_| None, None);
    assert_eq!(nobody, None);
    let homeless = HubPaths::new(|name| (name == "HF_HOME").then(|| "/hf".into()), None);
    assert_eq!(homeless.unwrap().cache, Path::new("/hf/hub"));
}
