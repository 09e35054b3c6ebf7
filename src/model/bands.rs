//! A map `[1, h, w, c]` in bands of rows, for pictures that are too large to be in memory several times: group
//! norms that read all bands before they change one, convolutions that read across a band's edges, residual
//! blocks that free a band once they are done with it. Never knows what a map shows.
//!
//! A map that was just doubled in size is not stored: its rows are computed from the smaller map whenever they
//! are read.

use std::collections::VecDeque;
use std::ops::Range;

use candle_core::Tensor;

use super::layers::{Conv3x3, GroupNorm};
use crate::error::Result;
use crate::kernels::Moments;

/// The least rows of a band. Rows at a band's edges are computed twice, so thin bands cost time.
const ROWS: usize = 8;

/// A map in bands, which is read from top to bottom.
#[derive(Debug)]
pub struct Bands<'a> {
    /// The bands that are still needed, `[1, rows, w, c]`.
    stored: VecDeque<Tensor>,
    /// Rows before the first stored one.
    released: usize,
    /// The convolution that doubles the stored map's sides when rows are read.
    doubling: Option<&'a Conv3x3>,
    /// Rows of the map after doubling.
    height: usize,
    /// Columns of the map after doubling.
    width: usize,
    /// About how many floats a band has.
    floats: usize,
}

impl<'a> Bands<'a> {
    /// A map `[1, h, w, c]` that is in memory, to be read in bands of about `floats` floats.
    pub fn whole(map: Tensor, floats: usize) -> Result<Self> {
        let (_, height, width, _) = map.dims4()?;
        Ok(Self {
            stored: [map].into(),
            released: 0,
            doubling: None,
            height,
            width,
            floats,
        })
    }

    /// The map after upsampling to twice its height and width, and the convolution `conv`.
    pub fn doubled(self, conv: &'a Conv3x3) -> Self {
        Self {
            doubling: Some(conv),
            height: 2 * self.height,
            width: 2 * self.width,
            ..self
        }
    }

    /// About how many floats a band has.
    pub fn floats(&self) -> usize {
        self.floats
    }

    /// The rows of each band, for maps of `channels` channels.
    pub fn ranges(&self, channels: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (height, each) = (
            self.height,
            (self.floats / (self.width * channels)).max(ROWS),
        );
        let range = move |from: usize| from..(from + each).min(height);
        (0..height).step_by(each).map(range)
    }

    /// Some rows, `[1, rows.len(), w, c]`.
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
        let mut found = vec![];
        let mut at = self.released;
        for band in &self.stored {
            let here = at..at + band.dim(1)?;
            let (from, to) = (rows.start.max(here.start), rows.end.min(here.end));
            if from < to {
                found.push(band.narrow(1, from - at, to - from)?);
            }
            at = here.end;
        }
        Ok(match &found[..] {
            [one] => one.clone(),
            several => Tensor::cat(several, 1)?,
        })
    }

    /// The rows `rows` of the map after `before` and the convolution `conv`. `before` gets a row more on each
    /// side, which the convolution reads.
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

    /// Frees the bands before `row`.
    pub fn release(&mut self, row: usize) -> Result<()> {
        if self.doubling.is_some() {
            return Ok(()); // the stored map is small, and read again
        }
        while let Some(first) = self.stored.front() {
            let end = self.released + first.dim(1)?;
            if end > row {
                break;
            }
            self.stored.pop_front();
            self.released = end;
        }
        Ok(())
    }

    /// The moments of all rows, for a group norm over `channels` channels.
    pub fn moments(&self, channels: usize) -> Result<Moments> {
        let mut moments = Moments::new(channels);
        for rows in self.ranges(channels) {
            moments.add(&self.rows(rows)?)?;
        }
        Ok(moments)
    }

    /// A map from its bands, from top to bottom.
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
            released: 0,
            doubling: None,
            height,
            width,
            floats,
        })
    }

    /// The whole map, `[1, h, w, c]`.
    pub fn join(self) -> Result<Tensor> {
        self.rows(0..self.height)
    }

    /// The map after norm, SiLU and convolution, in bands. `finish` gets each band and its rows. The map's own
    /// bands are freed on the way.
    pub fn normed_conv(
        mut self,
        norm: &GroupNorm,
        conv: &Conv3x3,
        mut finish: impl FnMut(Tensor, &Range<usize>) -> Result<Tensor>,
    ) -> Result<Bands<'static>> {
        let channels = norm.channels();
        let moments = self.moments(channels)?;
        let (ranges, floats) = (self.ranges(channels), self.floats);
        let normed = |rows: &Tensor| norm.forward_band_silu(rows, &moments);
        let bands = ranges.map(|rows| {
            let out = self.convolved(conv, &rows, normed)?;
            self.release(rows.end.saturating_sub(1))?;
            finish(out, &rows)
        });
        Bands::collect(bands, floats)
    }
}

/// The rows with a row more on each side, where there is one.
fn around(rows: &Range<usize>, height: usize) -> Range<usize> {
    rows.start.saturating_sub(1)..(rows.end + 1).min(height)
}
