//! The product of a tile without instructions of one processor.

use super::{HALF, PANEL, PanelGroup, RowGroup, WORDS};

/// See [`super::instructions::Instructions::tile`].
pub(super) fn tile<const R: usize>(
    rows: &[[RowGroup; R]],
    panel: &[PanelGroup],
) -> [[f32; PANEL]; R] {
    let mut sums = [[0.0; PANEL]; R];
    for (rows, weights) in rows.iter().zip(panel) {
        for (half, words) in weights.words.iter().enumerate() {
            let dots = dots(rows, words);
            for ((row, dots), sums) in rows.iter().zip(dots).zip(&mut sums) {
                let lanes = half * HALF..(half + 1) * HALF;
                let scales = &weights.scales[lanes.clone()];
                for ((sum, dot), &scale) in sums[lanes].iter_mut().zip(dots).zip(scales) {
                    *sum = (scale * dot as f32).mul_add(row.scale, *sum);
                }
            }
        }
    }
    sums
}

/// The integer products of one group of `R` rows with half a panel.
fn dots<const R: usize>(rows: &[RowGroup; R], words: &[[i32; HALF]; WORDS]) -> [[i32; HALF]; R] {
    let mut dots = [[0; HALF]; R];
    for (word, weights) in words.iter().enumerate() {
        for lane in 0..4 {
            let codes = weights.map(|weight| i16::from(weight.to_le_bytes()[lane] as i8));
            for (row, dots) in rows.iter().zip(&mut dots) {
                let x = i16::from(row.words[word].to_le_bytes()[lane] as i8);
                for (dot, code) in dots.iter_mut().zip(codes) {
                    *dot += i32::from(x * code);
                }
            }
        }
    }
    dots
}
