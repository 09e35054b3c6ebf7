//! Tests every form of the kernels that this machine supports. Each form runs in a process of its own, because a
//! process cannot change its form. AVX2 and AVX-512 give the same bytes. The portable form obeys the same laws.

use std::process::{Command, Output};

use prompt_to_prompt::kernels::Form;

/// Whether this machine supports a form. Prints a note if it does not.
fn has(form: Form) -> bool {
    let found = Form::available().contains(&form);
    if !found {
        println!("skipped: this machine does not support {}", form.name());
    }
    found
}

/// The bytes that an edit writes in a form: its pictures and its latents.
fn edited(form: Form, size: [&str; 2]) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let edit = [
        "edit",
        "--src",
        "a big red bicycle",
        "--dst",
        "a big red car",
    ];
    let latents = ["--save-latents", "latents.safetensors"];
    let more = ["--steps", "5", "--seed", "4", "-o", "out"];
    let output = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(edit)
        .args(more)
        .args(latents)
        .args(["--width", size[0], "--height", size[1]])
        .env("P2P_KERNELS", form.name())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let names = ["out/source.png", "out/edited-1.png", "latents.safetensors"];
    let read = |name| std::fs::read(folder.path().join(name)).unwrap();
    names.map(read).into()
}

#[test]
fn avx2_and_avx512_write_the_same_bytes() {
    if !has(Form::Avx512) {
        return;
    }
    for size in [["128", "128"], ["136", "72"]] {
        assert_eq!(edited(Form::Avx2, size), edited(Form::Avx512, size));
    }
}

/// Runs the tests of this binary whose names contain one of `names`, in a form.
fn tests_in(form: Form, names: &[&str]) -> Output {
    let this = std::env::current_exe().unwrap();
    let run = Command::new(this)
        .args(names)
        .env("P2P_KERNELS", form.name())
        .output();
    run.unwrap()
}

#[test]
fn the_lower_forms_obey_the_laws() {
    for form in [Form::Portable, Form::Avx2] {
        if form != Form::current() && has(form) {
            let names = [
                "kernels::",
                "laws::law_1",
                "laws::law_5",
                "laws::law_6",
                "laws::law_7",
                "a_row_is_the_same",
                "forms::the_form",
            ];
            let output = tests_in(form, &names);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{}: {said}", form.name());
            assert!(!said.contains(" 0 passed"), "{said}");
        }
    }
}

#[test]
fn the_form_asked_for_is_the_one_in_use() {
    if let Ok(asked) = std::env::var("P2P_KERNELS") {
        assert_eq!(Form::current().name(), asked);
    } else {
        assert_eq!(Some(&Form::current()), Form::available().last());
    }
}
