//! The hook trait, and [`hooked`], the one function that an attention layer calls. This file never knows why a hook
//! observes or changes a map.

use candle_core::Tensor;

use super::attend::{by_head, shown};
use super::{HeadMean, Site, SitePlan, attend, probabilities};
use crate::error::Result;

/// The maps of a site that a hook observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tap {
    /// Whether the hook gets the map of each head, not their mean. These maps are built in full, so this suits hooks
    /// that observe few sites.
    pub each_head: bool,
    /// Whether the hook also gets the maps of rows whose map the plan does not use. Their queries and keys are computed
    /// only for the hook.
    pub unread: bool,
}

/// Observes, mixes or rewrites attention.
///
/// All methods have defaults. A hook that overrides none of them costs nothing.
pub trait AttentionHook: Send {
    /// The plan of this site. A layer asks before any projection. If it asks twice in a forward pass, both answers
    /// must be equal.
    fn plan(&self, _site: &Site) -> SitePlan<'_> {
        SitePlan::Plain
    }

    /// The maps of this site that are passed to [`observe`](Self::observe), or `None` for no map.
    fn taps(&self, _site: &Site) -> Option<Tap> {
        None
    }

    /// Receives the softmax map of a row before any mixing, in f32 on the CPU: `[n, t]`, averaged over heads, or
    /// `[heads, n, t]` if the tap asks for each head.
    ///
    /// Only rows whose map the plan uses have a map, unless the tap asks for all rows. Under [`SitePlan::Rewrite`],
    /// every row has one, and the maps are the rewritten ones.
    ///
    /// # Errors
    /// An error of the hook ends the forward pass.
    fn observe(&mut self, _site: &Site, _row: usize, _map: &Tensor) -> Result<()> {
        Ok(())
    }

    /// Rewrites the full maps of a site, `[rows, heads, n, t]`, in f32 on the device of the model. The result has the
    /// same shape.
    ///
    /// # Errors
    /// An error of the hook ends the forward pass.
    fn rewrite(&mut self, _site: &Site, probs: Tensor) -> Result<Tensor> {
        Ok(probs)
    }
}

/// A hook that does nothing and costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHook;

impl AttentionHook for NoHook {}

/// Whether a hook neither changes nor observes a site.
pub fn untouched(site: &Site, hook: &dyn AttentionHook) -> bool {
    matches!(hook.plan(site), SitePlan::Plain) && hook.taps(site).is_none()
}

/// Attention at one site under a hook.
///
/// The model passes a function that projects, not the projections. Rows whose map nobody uses are never
/// projected to queries and keys.
///
/// `project(rows)` returns the queries `[rows.len(), n, heads * d]` and keys `[rows.len(), t, heads * d]` of the given
/// rows. `v` holds the values of all rows, `[rows, t, heads * d]`. The result is `[rows, n, heads * d]`.
///
/// # Errors
/// If the shapes do not fit together, if the plan does not fit the rows, or if `project` or the hook fails.
pub fn hooked(
    site: &Site,
    hook: &mut dyn AttentionHook,
    v: &Tensor,
    project: impl FnOnce(&[usize]) -> Result<(Tensor, Tensor)>,
) -> Result<Tensor> {
    let rows = v.dim(0)?;
    let tap = hook.taps(site);
    let plan = hook.plan(site);
    let read = match tap {
        Some(Tap { unread: true, .. }) => (0..rows).collect(),
        _ => plan.rows_read(rows),
    };
    let (q, k) = project(&read)?;
    if let SitePlan::Rewrite = plan {
        return rewritten(site, hook, &q, &k, v, tap);
    }
    let mut means: Vec<HeadMean> = vec![];
    let means_wanted = tap.is_some_and(|tap| !tap.each_head);
    let out = attend(
        &q,
        &k,
        v,
        site.heads,
        &plan,
        means_wanted.then_some(&mut means),
    )?;
    for mean in &means {
        hook.observe(site, mean.row, &mean.map)?;
    }
    if tap.is_some_and(|tap| tap.each_head) {
        let maps = probabilities(&q, &k, site.heads)?;
        for (slot, row) in read.iter().enumerate() {
            hook.observe(site, *row, &shown(&maps.get(slot)?)?)?;
        }
    }
    Ok(out)
}

/// Attention through full maps that the hook rewrites.
fn rewritten(
    site: &Site,
    hook: &mut dyn AttentionHook,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    tap: Option<Tap>,
) -> Result<Tensor> {
    let probs = hook.rewrite(site, probabilities(q, k, site.heads)?)?;
    if let Some(tap) = tap {
        for row in 0..probs.dim(0)? {
            let maps = probs.get(row)?;
            let map = if tap.each_head { maps } else { maps.mean(0)? };
            hook.observe(site, row, &shown(&map)?)?;
        }
    }
    let v = by_head(v, site.heads)?;
    let out = probs.to_dtype(v.dtype())?.contiguous()?.matmul(&v)?; // [rows, heads, n, d]
    Ok(out.transpose(1, 2)?.contiguous()?.flatten_from(2)?)
}
