//! `p2p doctor`: what it reports about the machine, the model, the cache, the terminal and the environment.

use std::process::Output;

use serde_json::Value;

use super::{Place, stdout};

/// Runs `p2p` with only these environment variables.
fn with(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_p2p"));
    command.args(args).current_dir(place.0.path()).env_clear();
    command.envs(variables.iter().copied()).output().unwrap()
}

fn doctor(variables: &[(&str, &str)]) -> (String, Value) {
    let place = Place::new();
    let text = with(&place, &["doctor"], variables);
    let json = with(&place, &["doctor", "--json"], variables);
    assert!(text.status.success() && json.status.success());
    assert!(text.stderr.is_empty() && json.stderr.is_empty());
    let json = serde_json::from_slice(&json.stdout).expect("JSON");
    (stdout(&text), json)
}

fn hints(json: &Value) -> String {
    let hints = json["hints"].as_array().unwrap();
    let hints: Vec<&str> = hints.iter().map(|hint| hint.as_str().unwrap()).collect();
    hints.join("\n")
}

#[test]
fn doctor_reports_the_machine_and_the_cache() {
    let (text, json) = doctor(&[("HOME", "/nowhere"), ("LANG", "en_GB.UTF-8")]);
    assert_eq!(json["schema"], "p2p.doctor/v1");
    assert_eq!(json["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["program"]["os"], std::env::consts::OS);
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(json["processor"]["threads"], threads);
    assert_eq!(json["processor"]["workers"], threads);
    let memory = &json["memory"];
    let (available, total) = (
        memory["available_bytes"].as_u64(),
        memory["total_bytes"].as_u64(),
    );
    assert!(available.unwrap() > 0 && available < total, "{memory}");
    assert_eq!(json["devices"][0]["name"], "cpu");
    assert_eq!(json["devices"][1]["compiled_in"], false);
    assert_eq!(
        json["kernels"]["form"],
        json["kernels"]["available"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone()
    );
    assert_eq!(json["hub"]["cache"], "/nowhere/.cache/huggingface/hub");
    assert_eq!(json["hub"]["cache_exists"], false);
    assert_eq!(json["hub"]["token"], Value::Null);
    assert_eq!(json["terminal"]["stdout_is_terminal"], false);
    for line in [
        "\nkernels     ",
        " GiB\n",
        "cuda   not compiled in\n",
        "\nmodel       storybook, embedded\n",
        "cache  /nowhere/.cache/huggingface/hub, does not exist\n",
        &format!("{:<29} not set\n", "HF_TOKEN"),
        &format!("{:<29} = en_GB.UTF-8\n", "LANG"),
        "at     https://huggingface.co\n",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(!hints(&json).contains("locale"), "{}", hints(&json));
}

#[test]
fn doctor_names_the_model_as_manifests_do() {
    let (_, json) = doctor(&[]);
    let run = Place::new().edit(&["--seed", "1", "--json"]);
    let manifest: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["model"], manifest["model"]);
}

#[test]
fn doctor_never_shows_a_token() {
    let secret = "hf_aVerySecretToken";
    let place = Place::new();
    let home = place.path("hf");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("token"), secret).unwrap();
    let home = home.to_str().unwrap();
    for (variables, shown) in [
        (
            &[("HF_TOKEN", secret), ("HF_HOME", home)][..],
            "token  set in HF_TOKEN\n",
        ),
        (&[("HF_HOME", home)], "token  in "),
    ] {
        let (text, json) = doctor(variables);
        assert!(!text.contains(secret) && !json.to_string().contains(secret));
        assert!(text.contains(shown), "{text}");
    }
    let (text, json) = doctor(&[("HF_TOKEN", secret)]);
    assert!(
        text.contains(&format!("{:<29} set\n", "HF_TOKEN")),
        "{text}"
    );
    let settings = json["environment"].as_array().unwrap();
    let token = settings.iter().find(|s| s["name"] == "HF_TOKEN").unwrap();
    assert_eq!(
        *token,
        serde_json::json!({"name": "HF_TOKEN", "set": true, "value": null})
    );
}

#[test]
fn doctor_measures_the_hub_cache() {
    let place = Place::new();
    for file in [
        "models--a--b/blobs/x",
        "models--c--d/blobs/y",
        "datasets--e--f/blobs/z",
    ] {
        let path = place.path("hub").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![0; 1 << 20]).unwrap();
    }
    let (text, json) = doctor(&[
        ("HOME", place.0.path().to_str().unwrap()),
        ("HF_HUB_CACHE", "~/hub"),
    ]);
    assert_eq!(json["hub"]["cache_exists"], true);
    let models = json["hub"]["models"].as_array().unwrap();
    let ids: Vec<&Value> = models.iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["a/b", "c/d"]);
    assert!(text.contains("model  c/d, 1 MiB\n"), "{text}");
    assert_eq!(json["hub"]["cache_bytes"], 3 << 20);
    assert!(text.contains("hub, 3 MiB in 2 models\n"), "{text}");
    std::fs::write(place.path("file"), "").unwrap();
    let (_, json) = doctor(&[("HF_HUB_CACHE", place.path("file").to_str().unwrap())]);
    assert!(hints(&json).contains("is not a folder"), "{}", hints(&json));
}

#[test]
fn doctor_hints_at_slow_and_ignored_settings() {
    let (text, json) = doctor(&[("P2P_KERNELS", "portable"), ("RAYON_NUM_THREADS", "1")]);
    assert_eq!(json["kernels"]["form"], "portable");
    assert_eq!(json["processor"]["workers"], 1);
    assert!(text.contains("portable: P2P_KERNELS chooses it"), "{text}");
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(
        hints(&json).contains("RAYON_NUM_THREADS=1 limits p2p to 1"),
        threads > 1
    );
    let slower = json["kernels"]["available"].as_array().unwrap().len() > 1;
    assert_eq!(hints(&json).contains("P2P_KERNELS=portable slows"), slower);

    let (_, json) = doctor(&[
        ("P2P_KERNELS", "neon"),
        ("RAYON_NUM_THREADS", "many"),
        ("LC_ALL", "C"),
        ("LANG", "C.UTF-8"),
    ]);
    for hint in [
        "P2P_KERNELS=neon is ignored: the kernels here are portable",
        "RAYON_NUM_THREADS=many is not",
        "the locale C is",
    ] {
        assert!(hints(&json).contains(hint), "{}", hints(&json));
    }
}

#[test]
fn doctor_names_the_protocol_that_show_uses() {
    for (variables, pictures) in [
        (&[("TERM", "xterm-kitty")][..], "kitty's protocol"),
        (&[("TERM", "foot")], "sixel"),
        (&[("TERM_PROGRAM", "iTerm.app")], "iTerm2's protocol"),
        (&[("TERM", "xterm-256color")], "half-blocks"),
    ] {
        let (text, json) = doctor(variables);
        assert_eq!(json["terminal"]["pictures"], pictures);
        assert!(
            text.contains(&format!("--show prints pictures with {pictures}\n")),
            "{text}"
        );
    }
    let (text, json) = doctor(&[("TERM", "dumb")]);
    assert_eq!(json["terminal"]["pictures"], Value::Null);
    assert!(text.contains("--show prints nothing"), "{text}");
}

#[test]
fn doctor_escapes_control_characters() {
    let (text, json) = doctor(&[("TERM", "x\x1b[31m\ny")]);
    assert!(text.contains("= x\\u{1b}[31m\\ny\n"), "{text}");
    let settings = json["environment"].as_array().unwrap();
    let term = settings.iter().find(|s| s["name"] == "TERM").unwrap();
    assert_eq!(term["value"], "x\x1b[31m\ny");
}

/// Users find a `P2P_*` variable only if doctor lists it.
#[test]
fn doctor_lists_every_p2p_variable() {
    let (_, json) = doctor(&[]);
    let settings = json["environment"].as_array().unwrap();
    let listed: Vec<&str> = settings
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    let mut found = 0;
    for (file, text) in crate::layers::all_sources() {
        for rest in text.split("\"P2P_").skip(1) {
            let name = format!("P2P_{}", rest.split('"').next().unwrap());
            // P2P_COMMIT is read at build time only.
            if name != "P2P_COMMIT" {
                found += 1;
                assert!(
                    listed.contains(&&*name),
                    "{file} reads {name}, doctor does not list it"
                );
            }
        }
    }
    assert!(found > 0);
}
