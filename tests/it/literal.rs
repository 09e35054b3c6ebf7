//! The executable specification: the method of the paper written out with full softmax maps, as a
//! hook that rewrites. Slow and plain on purpose; the engine, which never builds a map, is held to it.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{
    AttentionHook, AttentionKind, Carry, Site, SitePlan, Term, attend, probabilities,
};
use prompt_to_prompt::edit::MapEdit;
use prompt_to_prompt::error::Result;
use proptest::prelude::*;

use crate::common::{numbers, relative};
use crate::kernels::distance;
use crate::parity::flat;

/// One edited row: `P' = P_base . B + P_own . diag(o)` on cross maps, the base's self maps to the share
/// that is injected. The base is the source or, in a chain, a row before: its maps as edited.
pub struct LiteralEdit {
    pub base: usize,
    pub edit: MapEdit,
    pub self_share: f64,
}

pub struct Literal {
    /// Per row; `None` for the source and for untouched rows.
    pub edits: Vec<Option<LiteralEdit>>,
    pub self_res: usize,
    /// Edited maps averaged over heads, summed over the sites at `record_at`, per row.
    pub record_at: usize,
    pub recorded: Vec<Option<Tensor>>,
    /// The same of each row's own maps, before the edit.
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

fn random(shape: &[usize], seed: u64) -> Tensor {
    let values = numbers(seed, shape.iter().product());
    (Tensor::from_vec(values, shape, &Device::Cpu).unwrap() * 2.0).unwrap()
}

/// Terms as the sampler makes them, and some it doesn't: nobody reads row 1, row 3 reads two rows.
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

/// The same terms on maps that are written out.
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
