//! A picture's map `[1, h, w, c]` in bands of rows, for what is too large to stand in memory several times:
//! group norms that see all bands before they change one, convolutions that look over a band's edges,
//! residual blocks that give a band back when they are done with it. Never knows what a map shows.
//!
//! A map that was only just doubled in size is not stored at all: its rows are computed again from the
//! smaller one whenever they are asked for.

use std::collections::VecDeque;
use std::ops::Range;

use candle_core::Tensor;

use super::layers::{Conv3x3, GroupNorm};
use crate::error::Result;
use crate::kernels::Moments;

/// Rows of a band at least: its edges are computed twice.
const ROWS: usize = 8;

/// Rows of a map that is seen from top to bottom.
#[derive(Debug)]
pub struct Bands<'a> {
    stored: VecDeque<Tensor>,
    /// Rows before the first that is still stored.
    gone: usize,
    /// Doubles the stored map's sides where it is looked at.
    doubling: Option<&'a Conv3x3>,
    /// Rows and columns as they are seen.
    height: usize,
    width: usize,
    /// Of a band, about.
    floats: usize,
}

impl<'a> Bands<'a> {
    /// A map that stands in memory already, to be worked on in bands of about so many floats.
    pub fn whole(map: Tensor, floats: usize) -> Result<Self> {
        let (_, height, width, _) = map.dims4()?;
        Ok(Self {
            stored: [map].into(),
            gone: 0,
            doubling: None,
            height,
            width,
            floats,
        })
    }

    /// The map that `conv` makes of it at twice its height and width.
    pub fn doubled(self, conv: &'a Conv3x3) -> Self {
        Self {
            doubling: Some(conv),
            height: 2 * self.height,
            width: 2 * self.width,
            ..self
        }
    }

    /// Of a band, about.
    pub fn floats(&self) -> usize {
        self.floats
    }

    /// Ranges of rows that make maps of so many channels in bands of a reasonable size.
    pub fn ranges(&self, channels: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (height, each) = (
            self.height,
            (self.floats / (self.width * channels)).max(ROWS),
        );
        let range = move |from: usize| from..(from + each).min(height);
        (0..height).step_by(each).map(range)
    }

    /// `[1, rows.len(), w, c]`
    pub fn rows(&self, rows: Range<usize>) -> Result<Tensor> {
        let Some(conv) = self.doubling else {
            return self.stored_rows(rows);
        };
        let around = around(&rows, self.height);
        let (from, to) = (around.start / 2, around.end.div_ceil(2));
        let small = self.stored_rows(from..to)?;
        let (_, h, w, _) = small.dims4()?;
        let large = conv.upsample(&small, (2 * h, 2 * w))?;
        Ok(large.narrow(1, rows.start - 2 * from, rows.len())?)
    }

    fn stored_rows(&self, rows: Range<usize>) -> Result<Tensor> {
        let mut parts = vec![];
        let mut at = self.gone;
        for band in &self.stored {
            let here = at..at + band.dim(1)?;
            let (from, to) = (rows.start.max(here.start), rows.end.min(here.end));
            if from < to {
                parts.push(band.narrow(1, from - at, to - from)?);
            }
            at = here.end;
        }
        Ok(match &parts[..] {
            [part] => part.clone(),
            parts => Tensor::cat(parts, 1)?,
        })
    }

    /// What `conv` makes of its rows `rows` after `before`, which sees a row more on either side.
    pub fn convolved(
        &self,
        conv: &Conv3x3,
        rows: &Range<usize>,
        before: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let around = around(rows, self.height);
        let offset = rows.start - around.start;
        let out = conv.forward(&before(&self.rows(around)?)?)?;
        Ok(out.narrow(1, offset, rows.len())?)
    }

    /// Rows before `row` are not needed any more.
    pub fn release(&mut self, row: usize) -> Result<()> {
        if self.doubling.is_some() {
            return Ok(()); // small, and looked at again
        }
        while let Some(first) = self.stored.front() {
            let end = self.gone + first.dim(1)?;
            if end > row {
                break;
            }
            self.stored.pop_front();
            self.gone = end;
        }
        Ok(())
    }

    /// Of all its rows, `c` channels.
    pub fn moments(&self, channels: usize) -> Result<Moments> {
        let mut moments = Moments::new(channels);
        for rows in self.ranges(channels) {
            moments.add(&self.rows(rows)?)?;
        }
        Ok(moments)
    }

    /// Bands that follow each other.
    pub fn collect(
        bands: impl Iterator<Item = Result<Tensor>>,
        floats: usize,
    ) -> Result<Bands<'static>> {
        let stored = bands
            .map(|band| Ok(band?.contiguous()?))
            .collect::<Result<VecDeque<Tensor>>>()?;
        let heights = stored.iter().map(|band| band.dim(1));
        let height = heights.sum::<candle_core::Result<usize>>()?;
        let width = stored.front().map_or(Ok(0), |band| band.dim(2))?;
        Ok(Bands {
            stored,
            gone: 0,
            doubling: None,
            height,
            width,
            floats,
        })
    }

    /// All of it at once.
    pub fn join(self) -> Result<Tensor> {
        self.rows(0..self.height)
    }

    /// The convolution of what a norm and SiLU make of it, in bands. It is given back on the way.
    pub fn normed_conv(
        mut self,
        norm: &GroupNorm,
        conv: &Conv3x3,
        mut finish: impl FnMut(Tensor, &Range<usize>) -> Result<Tensor>,
    ) -> Result<Bands<'static>> {
        let channels = norm.channels();
        let moments = self.moments(channels)?;
        let (ranges, floats) = (self.ranges(channels), self.floats);
        let normed = |part: &Tensor| norm.forward_part_silu(part, &moments);
        let bands = ranges.map(|rows| {
            let out = self.convolved(conv, &rows, normed)?;
            self.release(rows.end.saturating_sub(1))?;
            finish(out, &rows)
        });
        Bands::collect(bands, floats)
    }
}

/// With a row more on either side, where there is one.
fn around(rows: &Range<usize>, height: usize) -> Range<usize> {
    rows.start.saturating_sub(1)..(rows.end + 1).min(height)
}
