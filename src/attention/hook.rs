//! The hook trait and the one function a model layer calls: [`hooked`].

use candle_core::Tensor;

use super::attend::{by_head, shown};
use super::{HeadMean, Site, SitePlan, attend, probabilities};
use crate::error::Result;

/// Which maps of a site a hook wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tap {
    /// Every head's map instead of their mean: built in full, for those who look at few sites.
    pub each_head: bool,
    /// Rows too whose map nobody reads: their queries and keys are computed for the look alone.
    pub unread: bool,
}

/// Looks at, mixes or rewrites attention. All methods have defaults; the empty impl is the fast path.
pub trait AttentionHook: Send {
    /// What to do at this site. Asked before any projection; twice in a forward pass gets one answer.
    fn plan(&self, _site: &Site) -> SitePlan<'_> {
        SitePlan::Plain
    }

    /// Whether, and how, to [`observe`](Self::observe) this site's maps.
    fn taps(&self, _site: &Site) -> Option<Tap> {
        None
    }

    /// A row's softmax map averaged over heads, `[n, t]`, or of each head, `[heads, n, t]`, before any
    /// mixing; in f32, on the CPU. Only rows whose map is read by the plan have one, unless the tap asks for all (under
    /// [`SitePlan::Rewrite`]: all, as rewritten).
    fn observe(&mut self, _site: &Site, _row: usize, _map: &Tensor) -> Result<()> {
        Ok(())
    }

    /// Full maps `[rows, heads, n, t]` in, in f32 on the model's device, maps of the same shape out.
    fn rewrite(&mut self, _site: &Site, probs: Tensor) -> Result<Tensor> {
        Ok(probs)
    }
}

/// Does nothing, costs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHook;

impl AttentionHook for NoHook {}

/// Whether a hook has nothing to do at a site.
pub fn untouched(site: &Site, hook: &dyn AttentionHook) -> bool {
    matches!(hook.plan(site), SitePlan::Plain) && hook.taps(site).is_none()
}

/// Attention at one site under a hook. The model hands in how to project rather than projections,
/// so that rows nobody reads are never projected to queries and keys.
///
/// `project(rows)` gives `(q, k)` of those rows, `[rows.len(), n, heads*d]` and `[.., t, heads*d]`;
/// `v` holds all rows, `[rows, t, heads*d]`. Returns `[rows, n, heads*d]`.
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
