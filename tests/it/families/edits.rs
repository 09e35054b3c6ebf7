//! Laws of editing on miniatures of other families.

use prompt_to_prompt::edit::{EditKind, Window};
use prompt_to_prompt::job::{CrossSteps, EditSettings, Job};

use super::{DST, Family, REFINED, SRC, confined, draw, job};
use crate::common::relative;
use crate::laws::{edit, everywhere, rows, weighted};

/// Checks laws that a new family could break: lockstep, local blend, self-attention injection.
fn edits_obey_the_laws(family: &Family) {
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let swap = edit(DST);
    let refined = EditSettings {
        edit: Some(EditKind::Refine.into()),
        ..edit(REFINED)
    };
    let closed = Some(Window::until(0.0));
    let free = EditSettings {
        cross_steps: closed.map(CrossSteps::all).unwrap_or_default(),
        self_steps: closed,
        ..edit(DST)
    };
    let specs = vec![
        swap.clone(),
        confined(swap.clone()),
        refined,
        weighted(edit(DST), "beach", 3.0),
        free,
        everywhere(edit(SRC)),
    ];
    let all = rows(&draw(&job(specs.clone()), &folder, &model).latents);
    for i in 1..=5 {
        assert!(relative(&all[i], &all[0]) > 1e-3, "edit {i} does nothing");
    }
    assert_ne!(all[1], all[5], "nothing is injected");
    assert_ne!(all[1], all[4], "the weight does nothing");
    assert_eq!(
        all[6], all[0],
        "the same prompt with injection differs from the source"
    );
    let solo = rows(&draw(&job(vec![]), &folder, &model).latents);
    assert_eq!(solo[0], all[0], "the source row differs from a solo run");
    for (i, spec) in specs.into_iter().enumerate() {
        let alone = rows(&draw(&job(vec![spec]), &folder, &model).latents);
        assert_eq!(alone[1], all[i + 1], "edit {} depends on the others", i + 1);
    }
    let plain = Job {
        src: DST.to_owned(),
        ..job(vec![])
    };
    let plain = rows(&draw(&plain, &folder, &model).latents);
    assert_eq!(
        plain[0], all[5],
        "without control an edit differs from a plain run of its prompt"
    );
    // Local blend restores the source in a part of the picture.
    let same = all[2].iter().zip(&all[0]).filter(|(a, b)| a == b).count();
    assert!(
        same > 0 && same < all[0].len(),
        "{same} of {} values are the source's",
        all[0].len()
    );
}

#[test]
fn edits_of_sd2_obey_the_laws() {
    edits_obey_the_laws(&Family::new("sd2"));
    let v = serde_json::json!({ "prediction_type": "v_prediction" });
    edits_obey_the_laws(&Family::new("sd2").with("scheduler/scheduler_config.json", &v));
}

#[test]
fn edits_of_sdxl_obey_the_laws() {
    edits_obey_the_laws(&Family::new("sdxl"));
}

#[test]
fn edits_of_turbo_models_obey_the_laws() {
    edits_obey_the_laws(&Family::new("sd2").turbo("EulerDiscreteScheduler"));
    edits_obey_the_laws(&Family::new("sdxl").turbo("EulerAncestralDiscreteScheduler"));
}
