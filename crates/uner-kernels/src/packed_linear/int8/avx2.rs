//! The product of a tile with AVX2.

use std::arch::x86_64::{
    __m256, _mm256_abs_epi8, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8,
};

use bytemuck::cast;

use super::{HALF, PANEL, PanelGroup, RowGroup, WORDS};

/// Rows whose sums for half a panel (two vectors) fill 8 of the 16 registers.
const BLOCK: usize = 4;

/// See [`super::instructions::Instructions::tile`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn tile<const R: usize>(
    rows: &[[RowGroup; R]],
    panel: &[PanelGroup],
) -> [[f32; PANEL]; R] {
    // `[half, row, vector]`
    let mut sums = [[[_mm256_setzero_ps(); 2]; R]; 2];
    for (rows, weights) in rows.iter().zip(panel) {
        let (blocks, rest) = rows.as_chunks::<BLOCK>();
        let scales: [[__m256; 2]; 2] = cast(weights.scales);
        for ((words, scales), sums) in weights.words.iter().zip(scales).zip(&mut sums) {
            let (sums, rest_sums) = sums.as_chunks_mut::<BLOCK>();
            for (rows, sums) in blocks.iter().zip(sums) {
                block(rows, words, scales, sums);
            }
            // An array has one length, so one of these matches at most.
            if let (Some(rows), Some(sums)) = (rest.as_array(), rest_sums.as_mut_array()) {
                block::<3>(rows, words, scales, sums);
            }
            if let (Some(rows), Some(sums)) = (rest.as_array(), rest_sums.as_mut_array()) {
                block::<2>(rows, words, scales, sums);
            }
            if let (Some(rows), Some(sums)) = (rest.as_array(), rest_sums.as_mut_array()) {
                block::<1>(rows, words, scales, sums);
            }
        }
    }
    let [first, second] = sums;
    let mut out = [[0.0; PANEL]; R];
    for ((out, first), second) in out.iter_mut().zip(first).zip(second) {
        *out = cast([first, second]);
    }
    out
}

/// Adds the product of one group of `B` rows with half a panel to the sums.
///
/// The instruction multiplies bytes without a sign with bytes with one and adds up two products in
/// 16 bits. With `|c|` and `q · sign(c)` the sum is 2 · 128 · 127 at most, so it does not saturate.
/// Products of codes widened to 16 bits take as long.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn block<const B: usize>(
    rows: &[RowGroup; B],
    words: &[[i32; HALF]; WORDS],
    scales: [__m256; 2],
    sums: &mut [[__m256; 2]; B],
) {
    let ones = _mm256_set1_epi16(1);
    let mut dots = [[_mm256_setzero_si256(); 2]; B];
    for (word, codes) in words.iter().enumerate() {
        let codes: [_; 2] = cast(*codes);
        let magnitudes = codes.map(|codes| _mm256_abs_epi8(codes));
        for (row, dots) in rows.iter().zip(&mut dots) {
            let x = _mm256_set1_epi32(row.words[word]);
            for ((dot, codes), magnitudes) in dots.iter_mut().zip(codes).zip(magnitudes) {
                let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, codes));
                *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    for ((row, dots), sums) in rows.iter().zip(dots).zip(sums) {
        let x = _mm256_set1_ps(row.scale);
        for ((sum, dot), scale) in sums.iter_mut().zip(dots).zip(scales) {
            *sum = _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_cvtepi32_ps(dot)), x, *sum);
        }
    }
}
