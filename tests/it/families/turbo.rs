//! Turbo models: few steps and no guidance.

use prompt_to_prompt::edit::Window;
use prompt_to_prompt::job::{CrossSteps, EditSettings, Job, Prepared, SchedulerName};

use super::{DST, Family, confined, draw, job};
use crate::common::relative;
use crate::laws::{edit, moves, rows};
use crate::parity::flat;

#[test]
fn a_turbo_model_is_recognised_by_its_scheduler() {
    let asked = Job {
        steps: None,
        guidance: None,
        ..job(vec![edit(DST)])
    };
    for (class, scheduler) in [
        ("EulerDiscreteScheduler", SchedulerName::Euler),
        ("EulerAncestralDiscreteScheduler", SchedulerName::EulerA),
    ] {
        let folder = Family::new("sd2").turbo(class).open().unwrap();
        let prepared = Prepared::new(&asked, &folder).unwrap();
        assert_eq!(prepared.run.scheduler, scheduler);
        assert_eq!((prepared.run.steps, prepared.run.guidance), (4, 1.0));
        assert!(!prepared.run.guided());
        assert_eq!(prepared.controller.clock.calls, 4);
        // The user's choice wins over the recommendation.
        let other = Job {
            steps: Some(2),
            scheduler: Some(SchedulerName::Ddim),
            ..asked.clone()
        };
        let prepared = Prepared::new(&other, &folder).unwrap();
        assert_eq!(
            (prepared.run.steps, prepared.run.scheduler),
            (2, SchedulerName::Ddim)
        );
    }
    // Spacing alone, class alone, or both with v-prediction do not make a Turbo model.
    let config = "scheduler/scheduler_config.json";
    let trailing = serde_json::json!({ "timestep_spacing": "trailing" });
    let euler = serde_json::json!({ "_class_name": "EulerDiscreteScheduler" });
    let v = serde_json::json!({ "prediction_type": "v_prediction" });
    for family in [
        Family::new("sd2").with(config, &trailing),
        Family::new("sd2").with(config, &euler),
        Family::new("sd2")
            .turbo("EulerDiscreteScheduler")
            .with(config, &v),
    ] {
        let prepared = Prepared::new(&asked, &family.open().unwrap()).unwrap();
        assert_eq!(prepared.run.scheduler, SchedulerName::Ddim);
        assert_eq!((prepared.run.steps, prepared.run.guidance), (50, 7.5));
    }
    // p2p.json wins over the recommendation for Turbo models.
    let turbo = Family::new("sd2").turbo("EulerDiscreteScheduler");
    std::fs::write(turbo.folder.path().join("p2p.json"), r#"{"steps": 1}"#).unwrap();
    let prepared = Prepared::new(&asked, &turbo.open().unwrap()).unwrap();
    assert_eq!((prepared.run.steps, prepared.run.guidance), (1, 1.0));
}

/// Windows of few steps differ, and a single step is inside a window.
#[test]
fn windows_act_at_one_to_four_steps() {
    let family = Family::new("sd2").turbo("EulerDiscreteScheduler");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let until = |steps, cross: f64, itself: f64| {
        let spec = EditSettings {
            cross_steps: CrossSteps::all(Window::until(cross)),
            self_steps: Some(Window::until(itself)),
            ..edit(DST)
        };
        let job = Job {
            steps: Some(steps),
            guidance: None,
            ..job(vec![spec])
        };
        rows(&draw(&job, &folder, &model).latents).remove(1)
    };
    let quarters = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| until(4, share, 0.0));
    for (i, one) in quarters.iter().enumerate() {
        for other in &quarters[..i] {
            assert_ne!(one, other, "two windows of four steps draw the same");
        }
    }
    assert_eq!(
        until(4, 0.8, 0.4),
        until(4, 1.0, 0.5),
        "the default windows round to whole steps"
    );
    assert_ne!(
        until(1, 0.8, 0.4),
        until(1, 0.0, 0.0),
        "the single step is not inside the window"
    );
    for steps in [1, 2, 4] {
        let job = Job {
            steps: Some(steps),
            guidance: None,
            ..job(vec![edit(DST), confined(edit(DST))])
        };
        let drawn = rows(&draw(&job, &folder, &model).latents);
        assert!(
            relative(&drawn[1], &drawn[0]) > 1e-3,
            "{steps} steps: the swap does nothing"
        );
        assert_ne!(drawn[1], drawn[2], "{steps} steps: the blend does nothing");
        let same = drawn[2]
            .iter()
            .zip(&drawn[0])
            .filter(|(a, b)| a == b)
            .count();
        assert!(
            same > 0 && same < drawn[0].len(),
            "{steps} steps: {same} values are the source's"
        );
    }
}

#[test]
fn guidance_zero_is_no_guidance() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let at = |guidance| {
        let job = Job {
            guidance: Some(guidance),
            ..job(vec![edit(DST)])
        };
        assert_eq!(
            Prepared::new(&job, &folder).unwrap().run.guided(),
            guidance > 1.0
        );
        flat(&draw(&job, &folder, &model).latents)
    };
    assert_eq!(at(0.0), at(1.0));
    moves(&at(0.0), &at(7.5));
}
