//! Panels of 8 bits, and the product of a tile with one.
//!
//! Weights are `s_w · c` with integers `c` from -127 to 127 and one scale per group of 64 inputs
//! (see [`crate::quantized_linear`]). A row of `x` is quantised in the same way at every call:
//! `x ≈ s_x · q`. Then
//!
//! `y = Σ_groups s_x · (s_w · Σ_64 q · c)`,
//!
//! where the inner sum is an exact integer below 2²⁴. The outer sum takes one multiplication and
//! one fused multiplication and addition in f32 per group, in the order of the groups. Hence a row
//! of the result has the same bits in every batch and with every instruction set.
//!
//! A group of `x` with a number that is not finite has the scale NaN, and so has its row of `y`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod instructions;
mod portable;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::PANEL;
use super::cpu::{Columns, Panels, tiles};
use crate::quantized_linear::GROUP;
use instructions::Instructions;
use rows::RowGroup;

/// Words of 4 codes in a group. The dot product of two words is one lane of an instruction.
const WORDS: usize = GROUP / 4;
/// Outputs of half a panel: one vector of AVX-512, two of AVX2.
const HALF: usize = PANEL / 2;

/// One group of the inputs of a panel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct PanelGroup {
    /// 4 codes of an output in a word, the first in the lowest bits: `[half, word, output]`.
    words: [[[i32; HALF]; WORDS]; 2],
    /// One per output.
    scales: [f32; PANEL],
}

/// Panels of 32 outputs, `[panels, groups]`. The last panel and the last group are filled up with
/// zeros.
#[derive(Debug, Clone)]
pub(super) struct Int8Panels {
    panels: Arc<[PanelGroup]>,
    outputs: usize,
    inputs: usize,
}

impl Int8Panels {
    /// Packs a quantised weight: words `[out, groups · 16]` of 4 codes each, the first in the
    /// lowest bits, and scales `[out, groups]`.
    pub(super) fn new(words: &[i32], scales: &[f32], [outputs, inputs]: [usize; 2]) -> Self {
        let groups = inputs.div_ceil(GROUP);
        assert_eq!(
            (words.len(), scales.len()),
            (outputs * groups * WORDS, outputs * groups),
            "words and scales of a weight [{outputs}, {inputs}]"
        );
        let panel_group = |index: usize| {
            let (panel, group) = (index / groups, index % groups);
            let mut packed = PanelGroup { words: [[[0; HALF]; WORDS]; 2], scales: [0.0; PANEL] };
            for lane in 0..PANEL.min(outputs - panel * PANEL) {
                let place = (panel * PANEL + lane) * groups + group;
                packed.scales[lane] = scales[place];
                let half = &mut packed.words[lane / HALF];
                for (lanes, &word) in half.iter_mut().zip(&words[place * WORDS..]) {
                    lanes[lane % HALF] = word;
                }
            }
            packed
        };
        let count = outputs.div_ceil(PANEL) * groups;
        let panels = (0..count).into_par_iter().map(panel_group).collect();
        Self { panels, outputs, inputs }
    }

    /// The weight in f32, row by row.
    pub(super) fn values(&self) -> Vec<f32> {
        let value = |index: usize| {
            let (output, column) = (index / self.inputs, index % self.inputs);
            let group = &self.panels[output / PANEL * self.parts() + column / GROUP];
            let (lane, column) = (output % PANEL, column % GROUP);
            let codes = group.words[lane / HALF][column / 4][lane % HALF].to_le_bytes();
            f32::from(codes[column % 4] as i8) * group.scales[lane]
        };
        (0..self.outputs * self.inputs).map(value).collect()
    }

    /// See [`Panels::multiply`].
    fn multiply_with(
        &self,
        instructions: Instructions,
        rows: &[RowGroup],
        panels: Range<usize>,
        out: &mut [f32],
        stride: usize,
    ) {
        let groups = self.parts();
        for (index, panel) in panels.enumerate() {
            let panel = &self.panels[panel * groups..][..groups];
            for (first, count) in tiles(rows.len() / groups) {
                let rows = &rows[first * groups..][..count * groups];
                let out = Columns::of_panel(out, stride, first, index);
                match count {
                    12 => write::<12>(instructions, rows, panel, out),
                    8 => write::<8>(instructions, rows, panel, out),
                    4 => write::<4>(instructions, rows, panel, out),
                    3 => write::<3>(instructions, rows, panel, out),
                    2 => write::<2>(instructions, rows, panel, out),
                    _ => write::<1>(instructions, rows, panel, out),
                }
            }
        }
    }
}

/// Writes the product of `R` rows with a panel.
fn write<const R: usize>(
    instructions: Instructions,
    rows: &[RowGroup],
    panel: &[PanelGroup],
    mut out: Columns,
) {
    let (rows, _) = rows.as_chunks::<R>();
    for (row, sums) in instructions.tile(rows, panel).iter().enumerate() {
        out.write(row, 0, sums);
    }
}

impl Panels for Int8Panels {
    type Part = RowGroup;

    fn dims(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    fn parts(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    fn interleave(&self, x: &[f32], tiles: &mut [RowGroup]) {
        rows::quantize(x, self.inputs, tiles);
    }

    fn multiply(&self, rows: &[RowGroup], panels: Range<usize>, out: &mut [f32], stride: usize) {
        self.multiply_with(Instructions::best(), rows, panels, out, stride);
    }
}
