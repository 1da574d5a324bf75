//! The product of a tile with AVX-512 VNNI.

use std::arch::x86_64::{
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_xor_si512,
};

use bytemuck::cast;

use super::{PANEL, PanelGroup, RowGroup, WORDS};

/// See [`super::instructions::Instructions::tile`].
///
/// The instruction multiplies bytes without a sign with bytes with one and adds up four products.
/// The bytes without a sign are `c + 128`, the code with its highest bit inverted. What this adds
/// to the sum, `128 · Σ q`, is the same for all outputs.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn tile<const R: usize>(
    rows: &[[RowGroup; R]],
    panel: &[PanelGroup],
) -> [[f32; PANEL]; R] {
    let high_bits = _mm512_set1_epi32(i32::from_ne_bytes([0x80; 4]));
    let mut sums = [[_mm512_setzero_ps(); 2]; R];
    for (rows, weights) in rows.iter().zip(panel) {
        let mut dots = [[_mm512_setzero_si512(); 2]; R];
        for (row, dots) in rows.iter().zip(&mut dots) {
            *dots = [_mm512_set1_epi32(-128 * row.sum); 2];
        }
        for word in 0..WORDS {
            let codes =
                [0, 1].map(|half| _mm512_xor_si512(cast(weights.words[half][word]), high_bits));
            for (row, dots) in rows.iter().zip(&mut dots) {
                let x = _mm512_set1_epi32(row.words[word]);
                *dots = [0, 1].map(|half| _mm512_dpbusd_epi32(dots[half], codes[half], x));
            }
        }
        let scales: [_; 2] = cast(weights.scales);
        for ((row, dots), sums) in rows.iter().zip(dots).zip(&mut sums) {
            let scale = _mm512_set1_ps(row.scale);
            *sums = [0, 1].map(|half| {
                let product = _mm512_mul_ps(scales[half], _mm512_cvtepi32_ps(dots[half]));
                _mm512_fmadd_ps(product, scale, sums[half])
            });
        }
    }
    let mut out = [[0.0; PANEL]; R];
    for (out, sums) in out.iter_mut().zip(sums) {
        *out = cast(sums);
    }
    out
}
