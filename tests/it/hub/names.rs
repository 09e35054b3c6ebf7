//! Which texts are names of the hub, and what the environment says.

use std::ffi::OsString;

use prompt_to_prompt::hub::{
    HubSettings, MAIN, Name, TokenSource, alias, aliases, is_commit, named, redirected,
};

use super::TOKEN;

#[test]
fn names() {
    for (text, id, file) in [
        ("a/b", "a/b", None),
        (
            "CompVis/stable-diffusion-v1-4",
            "CompVis/stable-diffusion-v1-4",
            None,
        ),
        ("a/b.c_d", "a/b.c_d", None),
        ("a/b/c.safetensors", "a/b", Some("c.safetensors")),
        ("a/b/c/d e.safetensors", "a/b", Some("c/d e.safetensors")),
        ("a/b/c.ckpt", "a/b", Some("c.ckpt")),
    ] {
        let name = Name::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((&*name.id, name.file.as_deref()), (id, file));
    }
    for text in [
        "",
        "a",
        "/a/b",
        "a/",
        "./a",
        "../a",
        "~/a",
        "a/..",
        "a//b",
        "a/b/c",
        "a/b/",
        "a/../b.safetensors",
        "a/b/../c.safetensors",
        "models/x.safetensors",
        "a b/c",
        "a\\b/c",
        "C:/models",
        "a--b/c",
        "-a/b",
        "a/b/.hidden/../x.safetensors",
        "a/b\u{e9}",
    ] {
        assert_eq!(Name::parse(text), None, "{text}");
    }
    assert!(is_commit(&"0af".repeat(14)[..40]));
    assert!(!is_commit(&"A".repeat(40)) && !is_commit("main"));
}

#[test]
fn aliases_are_names_and_what_moved_went_somewhere() {
    let known: Vec<&str> = aliases().iter().map(|alias| &*alias.alias).collect();
    let asked = [
        "sd14",
        "sd15",
        "sd21",
        "sd21-base",
        "sd-turbo",
        "sdxl",
        "sdxl-turbo",
    ];
    assert_eq!(known, asked);
    for alias in aliases() {
        assert!(Name::parse(&alias.id).is_some_and(|name| name.file.is_none()));
        assert!(alias.revision == MAIN || is_commit(&alias.revision));
        assert!(redirected(&alias.id).is_none() && !alias.notes.is_empty());
        assert!(Name::parse(&alias.alias).is_none());
    }
    for id in [
        "runwayml/stable-diffusion-v1-5",
        "stabilityai/stable-diffusion-2-1",
        "StabilityAI/Stable-Diffusion-2-1-base",
    ] {
        let (to, line) = redirected(id).unwrap();
        assert!(redirected(to).is_none() && line.contains(to));
    }
}

fn settings(variables: &[(&str, &str)]) -> HubSettings {
    let value = |name: &str| {
        let found = variables.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| OsString::from(value))
    };
    HubSettings::new(value, Some("/home/ada".into()))
}

#[test]
fn the_environment_is_read_as_python_reads_it() {
    let plain = settings(&[]);
    assert_eq!(plain.endpoint, "https://huggingface.co");
    assert_eq!((plain.offline, plain.token), (None, None));
    assert_eq!(plain.read_timeout.as_secs(), 10);
    for on in ["1", "on", "Yes", "TRUE"] {
        assert_eq!(
            settings(&[("HF_HUB_OFFLINE", on)]).offline,
            Some("HF_HUB_OFFLINE")
        );
        let other = settings(&[("TRANSFORMERS_OFFLINE", on), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(other.offline, Some("TRANSFORMERS_OFFLINE"));
    }
    for off in ["", "0", "off", "no", "2"] {
        assert_eq!(settings(&[("HF_HUB_OFFLINE", off)]).offline, None);
    }
    let timeouts = settings(&[
        ("HF_HUB_DOWNLOAD_TIMEOUT", "30"),
        ("HF_HUB_ETAG_TIMEOUT", "x"),
    ]);
    assert_eq!(timeouts.read_timeout.as_secs(), 30);
    assert_eq!(timeouts.answer_timeout.as_secs(), 10);
    let mirror = settings(&[("HF_ENDPOINT", "https://user:word@mirror.example/hf/")]);
    assert_eq!(mirror.endpoint, "https://user:word@mirror.example/hf");
    assert_eq!(mirror.shown(), "https://mirror.example/hf");
}

#[test]
fn tokens_are_found_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let at = path.to_str().unwrap();
    let both = settings(&[("HF_TOKEN", " hf_other "), ("HF_TOKEN_PATH", at)]);
    let source = |settings: &HubSettings| settings.token.as_ref().map(|token| token.source.clone());
    assert_eq!(source(&both), Some(TokenSource::Variable("HF_TOKEN")));
    let file = settings(&[("HF_TOKEN_PATH", at)]);
    assert_eq!(source(&file), Some(TokenSource::File(path.clone())));
    let debug = format!("{both:?} {file:?}");
    assert!(
        !debug.contains(TOKEN) && !debug.contains("hf_other"),
        "{debug}"
    );
    let without = settings(&[
        ("HF_TOKEN_PATH", at),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
    ]);
    assert_eq!(without.token, None);
}

#[test]
fn proxies_go_by_scheme_and_leave_hosts_out() {
    let all = settings(&[
        ("ALL_PROXY", "socks5://all:1"),
        ("https_proxy", "http://secure:2"),
        (
            "NO_PROXY",
            "localhost,.example.org, *.inner.net ,10.0.0.1:8080",
        ),
    ])
    .proxies;
    assert_eq!(all.proxy_for("http", "hub.com"), Some("socks5://all:1"));
    assert_eq!(all.proxy_for("https", "hub.com"), Some("http://secure:2"));
    for host in [
        "localhost",
        "a.example.org",
        "Example.org",
        "x.inner.net",
        "10.0.0.1",
    ] {
        assert_eq!(all.proxy_for("https", host), None, "{host}");
    }
    assert!(all.proxy_for("https", "notexample.org").is_some());
    let none = settings(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", "*")]).proxies;
    assert_eq!(none.proxy_for("https", "hub.com"), None);
    assert!(!format!("{all:?}").contains("secure"));
}

#[test]
fn addresses_of_pages_are_names() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (address, name, revision) in [
        ("a/b", "a/b", None),
        ("a/b/", "a/b", None),
        ("https://huggingface.co/a/b", "a/b", None),
        ("https://huggingface.co/a/b/", "a/b", None),
        ("https://huggingface.co/a/b/tree/v1.0", "a/b", Some("v1.0")),
        (
            "https://huggingface.co/a/b/tree/refs%2Fpr%2F1",
            "a/b",
            Some("refs/pr/1"),
        ),
        (
            "https://huggingface.co/a/b/blob/main/c/d.safetensors",
            "a/b/c/d.safetensors",
            Some("main"),
        ),
        (
            &format!("https://huggingface.co/a/b/resolve/{commit}/d.safetensors?download=true"),
            "a/b/d.safetensors",
            Some(commit),
        ),
        ("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", None),
    ] {
        let (found, of) = named(address).unwrap_or_else(|| panic!("{address}"));
        assert_eq!(
            (&*found.to_string(), of.as_deref()),
            (name, revision),
            "{address}"
        );
    }
    for text in [
        "https://huggingface.co/a",
        "https://example.org/a/b",
        "nonsense",
        "a/b/tree/main",
    ] {
        assert!(named(text).is_none(), "{text}");
    }
}

#[test]
fn an_alias_is_one_in_either_case() {
    assert_eq!(alias("SD15").unwrap().alias, "sd15");
    assert!(alias("sd51").is_none());
}
