//! The controller's plan on paper: small token maps, every number written out. No model.

use prompt_to_prompt::edit::{Clock, MapEdit, Region, Rules, TokenMap, Window};
use prompt_to_prompt::sample::{Controller, EditPlan, LateFactors, RowEdit};

const TOKENS: usize = 3;
const STEPS: usize = 4;

/// Token 1 of the edit reads token 2 of the base and the other way round; token 0 reads itself.
fn swapped() -> TokenMap {
    let mut map = TokenMap::zero(TOKENS);
    for (source, edited) in [(0, 0), (2, 1), (1, 2)] {
        map.set(source, edited, 1.0);
    }
    map
}

/// A replacement whose windows are open for the first `cross` and `itself` of the run.
fn replaces(map: TokenMap, cross: f64, itself: f64) -> RowEdit {
    let windows = vec![Window::until(cross); TOKENS];
    RowEdit::new(MapEdit::replace(map), windows, Window::until(itself))
}

fn controller(edits: Vec<Option<RowEdit>>) -> Controller {
    Controller {
        self_res: 2,
        layout: 4,
        rows: [vec![None], edits].concat(),
        ..Controller::plain(1, STEPS, TOKENS)
    }
}

/// The controller of a run whose source is not drawn.
fn unseen(edits: Vec<Option<RowEdit>>) -> Controller {
    Controller {
        keep_source: false,
        ..controller(edits)
    }
}

fn diagonal(factors: [f32; TOKENS]) -> TokenMap {
    TokenMap::diagonal(&factors)
}

#[test]
fn a_plan_without_edits_is_each_row_by_itself() {
    let plain = Controller::plain(3, STEPS, TOKENS);
    assert!(plain.keep_source);
    assert_eq!(plain.rules(), Rules::Ours);
    assert_eq!(plain.edits().count(), 0);
    let own = |row: usize| vec![(row, TokenMap::identity(TOKENS))];
    let plan = EditPlan {
        cross: vec![own(0), own(1), own(2)],
        self_attention: vec![vec![(0, 1.0)], vec![(1, 1.0)], vec![(2, 1.0)]],
        self_res: usize::MAX,
    };
    assert_eq!(plain.plan(0), plan);
    assert_eq!(plain.plan(STEPS - 1), plan);
}

#[test]
fn the_rules_are_those_of_the_clock() {
    let mut reference = Controller::plain(1, STEPS, TOKENS);
    reference.clock.rules = Rules::Reference;
    assert_eq!(reference.rules(), Rules::Reference);
}

#[test]
fn a_replacement_reads_the_source_while_its_windows_are_open() {
    let controller = controller(vec![Some(replaces(swapped(), 0.75, 0.25)), None]);
    assert_eq!(
        controller.edits().map(|(row, _)| row).collect::<Vec<_>>(),
        [1]
    );
    let identity = TokenMap::identity(TOKENS);
    let plan = |cross: (usize, TokenMap), itself: usize| EditPlan {
        cross: vec![
            vec![(0, identity.clone())],
            vec![cross],
            vec![(2, identity.clone())],
        ],
        self_attention: vec![vec![(0, 1.0)], vec![(itself, 1.0)], vec![(2, 1.0)]],
        self_res: 2,
    };
    assert_eq!(controller.plan(0), plan((0, swapped()), 0));
    assert_eq!(controller.plan(1), plan((0, swapped()), 1));
    assert_eq!(controller.plan(2), plan((0, swapped()), 1));
    assert_eq!(controller.plan(3), plan((1, identity.clone()), 1));
}

#[test]
fn a_ramp_mixes_both_maps() {
    let ramp: Window = "0~1".parse().unwrap();
    let edit = MapEdit::replace(swapped());
    let controller = controller(vec![Some(RowEdit::new(edit, vec![ramp; TOKENS], ramp))]);
    let plan = controller.plan(1);
    let mut borrowed = TokenMap::zero(TOKENS);
    for (source, edited) in [(0, 0), (2, 1), (1, 2)] {
        borrowed.set(source, edited, 0.75);
    }
    let own = diagonal([0.25; TOKENS]);
    assert_eq!(plan.cross[1], [(0, borrowed), (1, own)]);
    assert_eq!(plan.self_attention[1], [(0, 0.75), (1, 0.25)]);
}

/// An edit of an edit: what it borrows is what the row before is made of.
#[test]
fn a_chain_reads_the_terms_of_its_base() {
    let refine = MapEdit::refine(swapped(), &[1.0, 1.0, 0.0]);
    let all = vec![Window::ALL; TOKENS];
    let first = RowEdit::new(refine, all, Window::until(0.5));
    let second = RowEdit {
        base: 1,
        ..replaces(swapped(), 1.0, 1.0)
    };
    let controller = controller(vec![Some(first), Some(second)]);
    let plan = controller.plan(0);
    let mut borrowed = TokenMap::zero(TOKENS);
    borrowed.set(0, 0, 1.0);
    borrowed.set(2, 1, 1.0);
    assert_eq!(
        plan.cross[1],
        [(0, borrowed.clone()), (1, diagonal([0.0, 0.0, 1.0]))]
    );
    // Both of the base's terms go through the second edit's map; nothing is left of the row's own.
    assert_eq!(
        plan.cross[2],
        [
            (0, borrowed.then(&swapped())),
            (1, diagonal([0.0, 0.0, 1.0]).then(&swapped()))
        ]
    );
    assert_eq!(plan.self_attention[2], [(0, 1.0)]);
    assert_eq!(controller.plan(2).self_attention[2], [(1, 1.0)]);
}

#[test]
fn late_factors_follow_their_own_window() {
    let late = |window: Window| RowEdit {
        late_factors: Some(LateFactors {
            borrowed: vec![1.0, 3.0, 1.0],
            own: vec![1.0, 1.0, 5.0],
            window,
        }),
        ..RowEdit::new(
            MapEdit::refine(TokenMap::identity(TOKENS), &[1.0, 1.0, 0.0]),
            vec![Window::ALL; TOKENS],
            Window::ALL,
        )
    };
    let terms =
        |window: Window, call| controller(vec![Some(late(window))]).plan(call).cross[1].clone();
    let second_half = Window::new(0.5, 1.0).unwrap();
    let closed = [
        (0, diagonal([1.0, 1.0, 0.0])),
        (1, diagonal([0.0, 0.0, 1.0])),
    ];
    let open = [
        (0, diagonal([1.0, 3.0, 0.0])),
        (1, diagonal([0.0, 0.0, 5.0])),
    ];
    assert_eq!(terms(second_half, 1), closed);
    assert_eq!(terms(second_half, 2), open);
    let half = [
        (0, diagonal([1.0, 2.0, 0.0])),
        (1, diagonal([0.0, 0.0, 3.0])),
    ];
    assert_eq!(terms("0~1".parse().unwrap(), 2), half);
}

#[test]
fn some_rows_of_a_plan_are_numbered_by_their_place() {
    let edit = || Some(replaces(swapped(), 1.0, 1.0));
    let plan = controller(vec![edit(), edit(), None]).plan(0);
    let picked = plan.of_rows(&[0, 2, 3]);
    assert_eq!(picked.self_res, 2);
    assert_eq!(picked.cross[1], [(0, swapped())]);
    assert_eq!(picked.cross[2], [(2, TokenMap::identity(TOKENS))]);
    assert_eq!(picked.self_attention, [[(0, 1.0)], [(0, 1.0)], [(2, 1.0)]]);
}

#[test]
#[should_panic(expected = "the rows read each other only")]
fn a_row_cannot_be_picked_without_what_it_reads() {
    let plan = controller(vec![Some(replaces(swapped(), 1.0, 1.0))]).plan(0);
    plan.of_rows(&[1]);
}

#[test]
fn the_source_stops_after_the_last_call_that_needs_it() {
    let cases = |edit: RowEdit| unseen(vec![Some(edit)]).source_calls();
    assert_eq!(cases(replaces(swapped(), 0.75, 0.25)), 3, "cross-attention");
    assert_eq!(cases(replaces(swapped(), 0.25, 0.5)), 2, "self-attention");
    assert_eq!(cases(replaces(swapped(), 0.0, 0.0)), 0, "nothing");
    let copies = RowEdit {
        latents: Some(Window::until(0.5)),
        ..replaces(swapped(), 0.25, 0.0)
    };
    assert_eq!(cases(copies), 2, "copied latents");
    let late = RowEdit {
        latents: Some(Window::new(0.5, 0.75).unwrap()),
        ..replaces(swapped(), 0.25, 0.0)
    };
    assert_eq!(cases(late), 3, "latents that are copied late");
    assert_eq!(unseen(vec![None]).source_calls(), 0, "a baseline");
}

#[test]
fn the_source_stays_for_its_picture_for_blending_and_for_strength() {
    let edit = || replaces(swapped(), 0.25, 0.25);
    assert_eq!(controller(vec![Some(edit())]).source_calls(), STEPS);
    assert_eq!(controller(vec![]).source_calls(), STEPS);
    let blended = RowEdit {
        blend: Some(0.2),
        ..edit()
    };
    let weak = RowEdit {
        strength: 0.5,
        ..edit()
    };
    for needy in [blended, weak] {
        assert_eq!(unseen(vec![Some(needy.clone())]).source_calls(), STEPS);
        // An edit of the edit needs that row, not the source.
        let chained = RowEdit { base: 1, ..needy };
        let chain = unseen(vec![Some(edit()), Some(chained)]);
        assert_eq!(chain.source_calls(), 1);
    }
}

/// Copied latents count for edits of the source alone.
#[test]
fn latents_copied_from_an_edit_do_not_keep_the_source() {
    let copies = RowEdit {
        base: 1,
        latents: Some(Window::ALL),
        ..replaces(swapped(), 0.0, 0.0)
    };
    let chain = unseen(vec![Some(replaces(swapped(), 0.25, 0.25)), Some(copies)]);
    assert_eq!(chain.source_calls(), 1);
}

/// With PLMS there are more calls than steps: windows are counted in calls.
#[test]
fn calls_beyond_the_steps_are_covered() {
    let mut controller = unseen(vec![Some(replaces(swapped(), 1.0, 0.0))]);
    controller.clock = Clock {
        calls: STEPS + 1,
        ..Clock::new(STEPS)
    };
    assert_eq!(controller.source_calls(), STEPS + 1);
}

#[test]
fn a_region_is_known_where_its_attention_is_seen_to_the_end() {
    let region = Region {
        words: [vec![1], vec![1]],
        ..Region::default()
    };
    let located = RowEdit {
        region,
        ..replaces(swapped(), 0.25, 0.25)
    };
    let blended = RowEdit {
        blend: Some(0.5),
        ..located.clone()
    };
    let nowhere = replaces(swapped(), 0.25, 0.25);
    let chained = RowEdit {
        base: 1,
        ..located.clone()
    };
    let rows = vec![
        Some(located),
        Some(blended),
        Some(nowhere),
        Some(chained),
        None,
    ];
    let known = |controller: Controller| {
        (0..6)
            .map(|row| controller.locates(row))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        known(controller(rows.clone())),
        [false, true, true, false, true, false]
    );
    // Without the whole source, the region of an edit of it is known for a blend only.
    assert_eq!(
        known(unseen(rows)),
        [false, false, true, false, true, false]
    );
}
