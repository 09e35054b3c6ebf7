//! The executable specification: the paper's method written out with full softmax maps, as a hook that
//! rewrites them. It is slow and plain on purpose. The engine, which never builds a map, must agree with it.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::attention::{
    AttentionHook, AttentionKind, Carry, Site, SitePlan, Term, attend, probabilities,
};
use prompt_to_prompt::edit::{Acts, MapEdit, windows};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{Prepared, conditioning, starting_noise};
use prompt_to_prompt::model::Components;
use prompt_to_prompt::sample::{Ddim, RowEdit, Sampler, Start};
use proptest::prelude::*;

use crate::common::{numbers, relative};
use crate::kernels::distance;
use crate::laws::{Lab, rows};
use crate::parity::flat;

/// One edited row. Cross-attention is `P' = P_base . B + P_own . diag(o)`; self-attention mixes the base's
/// map with the row's own. In a chain the base is an edited row, and its maps are those after the edit.
pub struct LiteralEdit {
    pub base: usize,
    pub edit: MapEdit,
    pub self_share: f64,
}

/// The hook.
pub struct Literal {
    /// The edit of each row; `None` for the source and for rows without an edit.
    pub edits: Vec<Option<LiteralEdit>>,
    pub self_res: usize,
    /// The downscale whose maps are summed.
    pub record_at: usize,
    /// For each row its edited maps, averaged over heads and summed over sites.
    pub recorded: Vec<Option<Tensor>>,
    /// For each row its own maps before the edit, summed alike.
    pub own: Vec<Option<Tensor>>,
}

fn add(sum: &mut Option<Tensor>, map: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => map,
        Some(sum) => (sum + map)?,
    });
    Ok(())
}

impl AttentionHook for Literal {
    fn plan(&self, _: &Site) -> SitePlan<'_> {
        SitePlan::Rewrite
    }

    /// `[rows, heads, n, t]`
    fn rewrite(&mut self, site: &Site, probs: Tensor) -> Result<Tensor> {
        let mut rows: Vec<Tensor> = vec![];
        for row in 0..probs.dim(0)? {
            let own = probs.get(row)?;
            let recorded = site.kind == AttentionKind::Cross && site.downscale == self.record_at;
            if recorded {
                add(&mut self.own[row], own.mean(0)?)?;
            }
            rows.push(match (site.kind, &self.edits[row]) {
                (AttentionKind::Cross, Some(e)) => apply(&e.edit, &rows[e.base], &own)?,
                (AttentionKind::SelfAttn, Some(e)) if site.downscale >= self.self_res => {
                    ((&rows[e.base] * e.self_share)? + (own * (1.0 - e.self_share))?)?
                }
                _ => own,
            });
            if recorded {
                add(&mut self.recorded[row], rows[row].mean(0)?)?;
            }
        }
        Ok(Tensor::stack(&rows, 0)?)
    }
}

fn apply(edit: &MapEdit, source: &Tensor, own: &Tensor) -> Result<Tensor> {
    let n = edit.borrow.n();
    let b = Tensor::from_slice(edit.borrow.weights(), (n, n), &Device::Cpu)?;
    let o = Tensor::from_slice(&edit.own, n, &Device::Cpu)?;
    Ok((source.broadcast_matmul(&b)? + own.broadcast_mul(&o)?)?)
}

/// The result of a run on full maps.
pub struct LiteralRun {
    /// Final latents of every row.
    pub latents: Vec<Vec<f32>>,
    /// Per step and row, the mean edited maps at downscale 4.
    pub edited: Vec<Vec<Vec<f32>>>,
    /// Per step and row, the mean maps before the edit at downscale 4.
    pub own: Vec<Vec<Vec<f32>>>,
}

/// Runs a job with the literal hook.
pub fn literal_run(lab: &Lab, prepared: &Prepared) -> LiteralRun {
    let conditioning = conditioning(prepared, &lab.model).unwrap();
    let mut ddim = Ddim::new(&lab.model.scheduler, prepared.run.steps);
    let noise = starting_noise(prepared).unwrap();
    let mut denoiser = lab.model.denoiser(&conditioning).unwrap();
    let (guidance, start) = (prepared.run.guidance, Start::Noise(noise));
    let mut sampler = Sampler::new(&mut *denoiser, &mut ddim, guidance, start).unwrap();
    let mut hook = Literal {
        edits: vec![],
        self_res: prepared.controller.self_res,
        record_at: 4,
        recorded: vec![],
        own: vec![],
    };
    let none = vec![None; prepared.controller.rows.len()];
    let mean = |sum: &Option<Tensor>| flat(&(sum.as_ref().unwrap() / 5.0).unwrap()); // the sum over five sites
    let (mut edited, mut own) = (vec![], vec![]);
    let clock = &prepared.controller.clock;
    for step in 0..prepared.run.steps {
        let edit = |row: &RowEdit| {
            let gated = row
                .edit
                .clone()
                .gate(&windows::gate(&row.cross, step, clock));
            let late = row.late_factors.as_ref().map(|late| {
                let open = late.window.gate(step, clock, Acts::Cross);
                let now = |factors: &[f32]| -> Vec<f32> {
                    factors.iter().map(|f| open * f + 1.0 - open).collect()
                };
                (now(&late.borrowed), now(&late.own))
            });
            LiteralEdit {
                base: row.base,
                edit: late.map_or(gated.clone(), |(borrowed, own)| {
                    gated.reweight_apart(&borrowed, &own)
                }),
                self_share: row.self_window.gate(step, clock, Acts::SelfAttn).into(),
            }
        };
        let rows = prepared.controller.rows.iter();
        hook.edits = rows.map(|row| row.as_ref().map(edit)).collect();
        (hook.recorded, hook.own) = (none.clone(), none.clone());
        sampler.step(&mut hook).unwrap();
        edited.push(hook.recorded.iter().map(mean).collect());
        own.push(hook.own.iter().map(mean).collect());
    }
    LiteralRun {
        latents: rows(sampler.latents()),
        edited,
        own,
    }
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    let values = numbers(seed, shape.iter().product());
    (Tensor::from_vec(values, shape, &Device::Cpu).unwrap() * 2.0).unwrap()
}

/// Terms that the sampler makes and some that it doesn't: no row reads row 1, and row 3 reads two rows.
fn terms(t: usize, seed: u64) -> Vec<Vec<Term>> {
    let remap = || Carry::Remap(random(&[t, t], seed).abs().unwrap());
    let scale = || Carry::Scale(random(&[t], seed + 1));
    let term = |map_of, carry| Term { map_of, carry };
    vec![
        vec![Term::own(0)],
        vec![term(0, remap())],
        vec![
            term(0, remap()),
            term(2, scale()),
            term(3, Carry::Share(0.3)),
        ],
        vec![term(2, Carry::Same), term(0, scale()), term(3, Carry::Same)],
        vec![],
    ]
}

/// Attention under `terms` on full maps.
fn with_maps(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, terms: &[Vec<Term>]) -> Tensor {
    let maps = probabilities(q, k, heads).unwrap(); // [rows, heads, n, t]
    let (rows, t, width) = v.dims3().unwrap();
    let v = v
        .reshape((rows, t, heads, width / heads))
        .unwrap()
        .transpose(1, 2)
        .unwrap();
    let mut out = vec![];
    for (row, terms) in terms.iter().enumerate() {
        let mut map = maps.get(0).unwrap().zeros_like().unwrap();
        for term in terms {
            let other = maps.get(term.map_of).unwrap();
            let carried = match &term.carry {
                Carry::Same => other,
                Carry::Share(share) => (other * f64::from(*share)).unwrap(),
                Carry::Scale(w) => other.broadcast_mul(w).unwrap(),
                Carry::Remap(s) => other.broadcast_matmul(s).unwrap(),
            };
            map = (map + carried).unwrap();
        }
        let y = map
            .matmul(&v.get(row).unwrap().contiguous().unwrap())
            .unwrap(); // [heads, n, d]
        out.push(y.transpose(0, 1).unwrap().flatten_from(1).unwrap());
    }
    Tensor::stack(&out, 0).unwrap()
}

/// Plans and tensors of the wrong shape are errors.
#[test]
fn attend_refuses_what_does_not_fit() {
    let tensor = |rows: usize, tokens: usize, width: usize| {
        Tensor::from_vec(
            numbers(1, rows * tokens * width),
            (rows, tokens, width),
            &Device::Cpu,
        )
        .unwrap()
    };
    let (q, k, v) = (tensor(1, 9, 8), tensor(1, 7, 8), tensor(1, 7, 8));
    let remap = |from: usize| Term {
        map_of: 0,
        carry: Carry::Remap(Tensor::zeros((from, 7), DType::F32, &Device::Cpu).unwrap()),
    };
    let with = |k: &Tensor, v: &Tensor, heads, mix: &[Vec<Term>]| {
        attend(&q, k, v, heads, &SitePlan::Mix(mix), None)
    };
    let own = [vec![Term::own(0)]];
    assert!(with(&k, &v, 2, &own).is_ok());
    assert!(with(&k, &v, 2, &[vec![remap(2)]]).is_err(), "a short remap");
    assert!(with(&tensor(1, 7, 4), &v, 2, &own).is_err(), "a narrow k");
    assert!(with(&k, &v, 3, &own).is_err(), "heads that don't divide");
    assert!(
        with(&k, &tensor(2, 7, 8), 2, &own).is_err(),
        "a row too many"
    );
    assert!(
        with(&k, &v, 2, &[vec![Term::own(7)]]).is_err(),
        "a map of a missing row"
    );
    assert!(with(&k, &v, 2, &[]).is_err(), "a plan of no rows");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Law 7: `attend(Mix)` equals the method on literal maps, whatever the shape.
    #[test]
    fn attend_equals_literal_maps(
        n in 1usize..150, t in 1usize..90, heads in 1usize..5, d in 1usize..20, seed in 0u64..999
    ) {
        let [q, v_side] = [n, t].map(|tokens| [5, tokens, heads * d]);
        let (q, k, v) = (random(&q, seed), random(&v_side, seed + 1), random(&v_side, seed + 2));
        let terms = terms(t, seed + 3);
        let expected = with_maps(&q, &k, &v, heads, &terms);
        let plan = SitePlan::Mix(&terms);
        let read = plan.rows_read(5);
        prop_assert_eq!(&read, &[0, 2, 3]);
        let index = Tensor::new(&[0u32, 2, 3], &Device::Cpu).unwrap();
        let (q, k) = (q.index_select(&index, 0).unwrap(), k.index_select(&index, 0).unwrap());
        let got = attend(&q, &k, &v, heads, &plan, None).unwrap();
        prop_assert!(relative(&flat(&got), &flat(&expected)) < 1e-5);
    }

    /// The blocked kernel and the plain form agree, taps included.
    #[test]
    fn the_blocked_kernel_equals_the_plain_form(
        n in 1usize..200, t in 1usize..90, heads in 1usize..5, d in 1usize..20, seed in 0u64..999
    ) {
        let shape = |tokens| [2, tokens, heads * d];
        let (q, k, v) = (random(&shape(n), seed), random(&shape(t), seed + 1), random(&shape(t), seed + 2));
        // A tensor with a gradient takes the plain form.
        let tracked = candle_core::Var::from_tensor(&q).unwrap();
        let (mut fast_maps, mut plain_maps) = (vec![], vec![]);
        let fast = attend(&q, &k, &v, heads, &SitePlan::Plain, Some(&mut fast_maps)).unwrap();
        let plain = attend(&tracked, &k, &v, heads, &SitePlan::Plain, Some(&mut plain_maps)).unwrap();
        prop_assert!(distance(&fast, &plain) < 1e-5);
        prop_assert_eq!((fast_maps.len(), plain_maps.len()), (2, 2));
        for (a, b) in fast_maps.iter().zip(&plain_maps) {
            prop_assert_eq!(a.row, b.row);
            prop_assert!(distance(&a.map, &b.map) < 1e-5);
        }
    }
}
