//! Tests every form of the kernels that this machine supports. Each form runs in a process of its own, because a
//! process cannot change its form. AVX2 and AVX-512 give the same bytes. The portable form obeys the same laws.
//!
//! Nobody can install an instruction set, so each test checks the forms that exist and says which those are.

use std::process::{Command, Output};

use prompt_to_prompt::kernels::Form;

/// The forms of this machine in the family of the fastest one, which all give the same bits.
fn family() -> Vec<Form> {
    let mut forms = Form::available();
    let fastest = forms[forms.len() - 1].family();
    forms.retain(|form| form.family() == fastest);
    println!("forms of {fastest}: {:?}", forms);
    forms
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

/// Compares AVX2 with AVX-512. A machine without AVX-512 compares two processes of its fastest form.
#[test]
fn forms_of_a_family_write_the_same_bytes() {
    let forms = family();
    let (first, last) = (forms[0], forms[forms.len() - 1]);
    for size in [["128", "128"], ["136", "72"]] {
        assert_eq!(edited(first, size), edited(last, size));
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

/// The other tests run in the fastest form. This test repeats those of the kernels in the portable form and in
/// AVX2, where the machine has it.
#[test]
fn the_lower_forms_obey_the_laws() {
    let names = [
        "kernels::",
        "laws::law_1",
        "laws::law_5",
        "laws::law_6",
        "laws::law_7",
        "a_row_is_the_same",
        "forms::the_form",
    ];
    for form in [Form::Portable, Form::Avx2] {
        if !Form::available().contains(&form) {
            println!("this machine has no {}", form.name());
            continue;
        }
        let output = tests_in(form, &names);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {said}", form.name());
        assert!(!said.contains(" 0 passed"), "{said}");
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
