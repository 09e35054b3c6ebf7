//! `--dtype`, `--device` and `--vae-tiling`: what is recorded, repeated and refused.

use serde_json::Value;

use super::{EDIT, Place, stderr};
use crate::model::{UNET, copy_of_mini_sd};

fn manifest(place: &Place, folder: &str) -> Value {
    serde_json::from_slice(&place.bytes(&format!("{folder}/manifest.json"))).unwrap()
}

#[test]
fn the_dtype_is_recorded_and_repeated() {
    let place = Place::new();
    let output = place.edit(&[
        "--seed",
        "1",
        "--dtype",
        "f16",
        "--vae-tiling",
        "-o",
        "half",
    ]);
    let said = stderr(&output);
    assert!(said.contains("f16 on cpu, VAE tiled"), "{said}");
    assert!(said.contains("halves the memory"), "{said}");
    place.edit(&["--seed", "1", "-o", "whole"]);
    let (half, whole) = (manifest(&place, "half"), manifest(&place, "whole"));
    let facts = |m: &Value| {
        let [dtype, device] = ["dtype", "device"].map(|key| m[key].as_str().unwrap().to_owned());
        (dtype + " on " + &device, m["vae_tiling"].as_bool().unwrap())
    };
    assert_eq!(facts(&half), ("f16 on cpu".to_owned(), true));
    assert_eq!(facts(&whole), ("f32 on cpu".to_owned(), false));
    assert_eq!(half["kernels"], "plain");
    assert_ne!(whole["kernels"], "plain");
    assert!(whole["pictures"][0]["settings"].get("dtype").is_none());
    assert_ne!(
        place.bytes("half/edited-1.png"),
        place.bytes("whole/edited-1.png")
    );

    // The recorded dtype wins over the environment variable.
    for (folder, variable) in [("half", "f32"), ("whole", "bf16")] {
        let picture = format!("{folder}/edited-1.png");
        let again = format!("{folder}-again");
        let args = ["rerun", &picture, "-o", &again];
        let output = place.p2p_with("P2P_DTYPE", variable, &args);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(place.bytes(&picture) == place.bytes(&format!("{again}/edited-1.png")));
    }
    place.succeed(&["verify", "half/source.png"]);
    place.succeed(&[
        "rerun",
        "half/source.png",
        "--set",
        "dtype=bf16",
        "-o",
        "other",
    ]);
    assert_eq!(manifest(&place, "other")["dtype"], "bf16");

    let output = place.p2p_with(
        "P2P_DTYPE",
        "bf16",
        &[&EDIT[..], &["-o", "by-env"]].concat(),
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(manifest(&place, "by-env")["dtype"], "bf16");
}

#[test]
fn each_job_has_its_own_dtype() {
    let place = Place::new();
    let jobs = "[defaults]\nsrc = \"a cat\"\ndst = \"a dog\"\nsteps = 1\nwidth = 64\nheight = 64\n\
        [[job]]\nname = \"wide\"\n[[job]]\nname = \"narrow\"\ndtype = \"bf16\"\nvae_tiling = true\n";
    std::fs::write(place.path("jobs.toml"), jobs).unwrap();
    place.succeed(&["batch", "jobs.toml", "-o", "out"]);
    assert_eq!(manifest(&place, "out/wide")["dtype"], "f32");
    assert_eq!(manifest(&place, "out/narrow")["dtype"], "bf16");
    assert_eq!(manifest(&place, "out/narrow")["vae_tiling"], true);
    let again = stderr(&place.succeed(&["batch", "jobs.toml", "-o", "out"]));
    assert!(again.contains("2 already finished"), "{again}");
    let other = place.succeed(&["batch", "jobs.toml", "-o", "out", "--dtype", "f16"]);
    assert!(!stderr(&other).contains("already finished"));
}

#[test]
fn unavailable_devices_and_dtypes_are_refused() {
    let place = Place::new();
    for (args, cause, cure) in [
        (["--device", "gpu"], "invalid value 'gpu'", "cuda:1"),
        (["--device", "cuda:x"], "invalid value 'cuda:x'", "cuda:1"),
        (["--dtype", "f64"], "invalid value 'f64'", "bf16"),
        #[cfg(not(feature = "cuda"))]
        (
            ["--device", "cuda:7"],
            "built without cuda",
            "--features cuda",
        ),
        #[cfg(not(feature = "metal"))]
        (
            ["--device", "metal"],
            "built without metal",
            "--features metal",
        ),
    ] {
        let output =
            place.p2p(&[&["edit", "--src", "a cat", "--dst", "a dog"], &args[..]].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(cause) && said.contains(cure), "{said}");
    }
    for (variable, value) in [("P2P_DEVICE", "gpu"), ("P2P_DTYPE", "half")] {
        let output = place.p2p_with(
            variable,
            value,
            &["edit", "--src", "a cat", "--dst", "a dog"],
        );
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("{variable}={value} is not known")),
            "{said}"
        );
        let doctor = place.p2p_with(variable, value, &["doctor"]);
        assert!(doctor.status.success(), "{}", stderr(&doctor));
        let told = String::from_utf8(doctor.stdout).unwrap();
        assert!(
            told.contains(&format!("{variable}={value} is not known: use auto")),
            "{told}"
        );
        // Flags override the invalid variable.
        let plain = ["--device", "cpu", "--dtype", "f32", "--force", "-o", "out"];
        let args = [&EDIT[..], &plain].concat();
        assert!(place.p2p_with(variable, value, &args).status.success());
    }
    assert_eq!(
        place
            .listing()
            .iter()
            .filter(|name| name.starts_with("p2p-out"))
            .count(),
        0
    );
}

/// The UNet file gets an extra tensor of 4 TB. The file is sparse, so it takes no disk space.
#[test]
fn a_model_larger_than_memory_is_refused_before_it_is_read() {
    let place = Place::new();
    let model = copy_of_mini_sd();
    let path = model.path().join(UNET);
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let (start, more) = ((bytes.len() - 8 - length) as u64, 4_000_000_000_000u64);
    header["ballast"] = serde_json::json!({
        "dtype": "F32", "shape": [more / 4], "data_offsets": [start, start + more],
    });
    let header = header.to_string().into_bytes();
    let whole = [
        &(header.len() as u64).to_le_bytes()[..],
        &header,
        &bytes[8 + length..],
    ]
    .concat();
    std::fs::write(&path, &whole).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(whole.len() as u64 + more).unwrap();
    let model = model.path().to_str().unwrap();
    let output = place.p2p(&[&EDIT[..], &["--model", model, "-o", "out"]].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(
        said.contains("needs about") && said.contains("GiB are available"),
        "{said}"
    );
    assert!(
        said.contains("use a smaller model, or a machine with more memory"),
        "{said}"
    );
    assert!(place.listing().is_empty());
}
