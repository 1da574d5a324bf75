//! Weights of a GGUF file in f32. The formats are those of llama.cpp (`ggml-quants.c`); sums and
//! products are rounded in the order of its Python package `gguf`, which transformers uses.
//!
//! A block is 32 or 256 neighbouring weights `w = d · q + m` with common scales; blocks of 256 have
//! sub-blocks whose own scales are small integers.

use gguf_rs_lib::tensor::TensorType;
use half::{bf16, f16};

/// The types that are read.
pub(super) const SUPPORTED: &str =
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K";

/// Weights of a block with 16 bytes of low bits.
const SMALL: usize = 32;
/// Weights of a block with sub-blocks.
const LARGE: usize = 256;

/// Appends the weights of a block, given its bytes.
type Block = fn(&[u8], &mut Vec<f32>);

/// Returns the weights of a tensor; `None` for another type. A part of a block is left out.
pub(super) fn dequantized(kind: TensorType, bytes: &[u8]) -> Option<Vec<f32>> {
    let (weights, size, block): (usize, usize, Block) = match kind {
        TensorType::F32 => (1, 4, |block, out| out.push(f32::from_le_bytes(first(block)))),
        TensorType::F16 => (1, 2, |block, out| out.push(half(block, 0))),
        TensorType::BF16 => {
            (1, 2, |block, out| out.push(bf16::from_le_bytes(first(block)).to_f32()))
        }
        TensorType::Q8_0 => (SMALL, 34, q8_0),
        TensorType::Q4_0 => (SMALL, 18, q4_0),
        TensorType::Q4_1 => (SMALL, 20, q4_1),
        TensorType::Q5_0 => (SMALL, 22, q5_0),
        TensorType::Q5_1 => (SMALL, 24, q5_1),
        TensorType::Q4_K => (LARGE, 144, q4_k),
        TensorType::Q5_K => (LARGE, 176, q5_k),
        TensorType::Q6_K => (LARGE, 210, q6_k),
        _ => return None,
    };
    let mut out = Vec::with_capacity(bytes.len() / size * weights);
    bytes.chunks_exact(size).for_each(|bytes| block(bytes, &mut out));
    Some(out)
}

fn first<const N: usize>(block: &[u8]) -> [u8; N] {
    *block.first_chunk().expect("a block has all its bytes")
}

/// The f16 at a byte.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes(first(&block[at..])).to_f32()
}

fn q8_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 0);
    out.extend(block[2..].iter().map(|&q| d * f32::from(q as i8)));
}

/// Low bits: byte `i` has those of weight `i` and of weight `i + 16`.
fn low_bits(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

/// Low bits with the fifth bit of each weight, from the 32 bits in `high`.
fn five_bits(high: &[u8], low: &[u8]) -> impl Iterator<Item = u8> {
    let high = u32::from_le_bytes(first(high));
    low_bits(low).enumerate().map(move |(index, low)| low | ((high >> index & 1) as u8) << 4)
}

fn q4_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 0);
    out.extend(low_bits(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
}

fn q4_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half(block, 0), half(block, 2));
    out.extend(low_bits(&block[4..]).map(|q| d * f32::from(q) + m));
}

fn q5_0(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 0);
    out.extend(five_bits(&block[2..], &block[6..]).map(|q| d * (f32::from(q) - 16.0)));
}

fn q5_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half(block, 0), half(block, 2));
    out.extend(five_bits(&block[4..], &block[8..]).map(|q| d * f32::from(q) + m));
}

/// Scale and minimum, of 6 bits each, of a sub-block of 32 weights. The upper bits of the last four
/// pairs are in the bytes of the first four.
fn scale_and_minimum(scales: &[u8], sub_block: usize) -> [f32; 2] {
    let s = |index: usize| scales[index];
    let pair = match sub_block {
        0..4 => [s(sub_block) & 63, s(sub_block + 4) & 63],
        j => [s(j + 4) & 15 | s(j - 4) >> 6 << 4, s(j + 4) >> 4 | s(j) >> 6 << 4],
    };
    pair.map(f32::from)
}

/// Appends 8 sub-blocks; `high` returns what is added to the low bits of a sub-block's weight.
fn k_block(
    [d, minimum]: [f32; 2],
    scales: &[u8],
    low: &[u8],
    high: impl Fn(usize, usize) -> u8,
    out: &mut Vec<f32>,
) {
    for sub_block in 0..8 {
        let [scale, offset] = scale_and_minimum(scales, sub_block);
        let (d, m) = (d * scale, minimum * offset);
        // Two sub-blocks share 32 bytes.
        let low = &low[sub_block / 2 * 32..][..32];
        out.extend(low.iter().enumerate().map(|(index, byte)| {
            let q = byte >> (sub_block % 2 * 4) & 15;
            d * f32::from(q + high(sub_block, index)) - m
        }));
    }
}

fn q4_k(block: &[u8], out: &mut Vec<f32>) {
    k_block([half(block, 0), half(block, 2)], &block[4..16], &block[16..], |_, _| 0, out);
}

fn q5_k(block: &[u8], out: &mut Vec<f32>) {
    let bits = &block[16..48];
    let high = |sub_block: usize, index: usize| (bits[index] >> sub_block & 1) << 4;
    k_block([half(block, 0), half(block, 2)], &block[4..16], &block[48..], high, out);
}

/// 16 sub-blocks of 16 weights, without minima.
fn q6_k(block: &[u8], out: &mut Vec<f32>) {
    let (low, high) = (&block[..128], &block[128..192]);
    let (scales, d) = (&block[192..208], half(block, 208));
    for index in 0..LARGE {
        // Halves of 128 weights; the four quarters of a half share its bytes.
        let (part, quarter, at) = (index / 128, index % 128 / 32, index % 32);
        let low = low[part * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15;
        let high = high[part * 32 + at] >> (quarter * 2) & 3;
        let q = f32::from(low | high << 4) - 32.0;
        out.push(d * f32::from(scales[index / 16] as i8) * q);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three blocks of random bytes, whose scales (the f16 at `halves`) are finite.
    fn blocks(size: usize, halves: &[usize]) -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes: Vec<u8> = (0..3 * size)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        for block in bytes.chunks_exact_mut(size) {
            for half in halves {
                block[half + 1] &= 0xbf;
            }
        }
        bytes
    }

    /// FNV-1a of the values' bytes.
    fn hash(values: &[f32]) -> u64 {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// The values are those of `gguf.quants.dequantize` (Python package gguf 0.19), to the bit.
    #[test]
    fn every_type_has_the_values_of_llama_cpp() {
        for (kind, size, halves, count, expected, [first, second]) in [
            (
                TensorType::F16,
                2,
                &[0][..],
                3,
                0xf5e2_4a54_cfb1_b479,
                [0.006_088_257, -0.281_494_14],
            ),
            (TensorType::BF16, 2, &[0], 3, 0xc86a_18df_6312_e094, [9.952_637e-21, -2.402_812_2e-7]),
            (TensorType::Q8_0, 34, &[0], 96, 0x4062_e4c3_d2e0_aa00, [-0.773_208_6, -0.462_707_52]),
            (
                TensorType::Q4_0,
                18,
                &[0],
                96,
                0xced6_7a27_17e2_5a9c,
                [-0.042_617_798, -0.024_353_027],
            ),
            (
                TensorType::Q4_1,
                20,
                &[0, 2],
                96,
                0x3785_a114_506f_bdb9,
                [-0.208_435_06, -0.196_258_54],
            ),
            (TensorType::Q5_0, 22, &[0], 96, 0x9635_832a_654c_4dce, [0.036_529_54, -0.012_176_514]),
            (
                TensorType::Q5_1,
                24,
                &[0, 2],
                96,
                0xb2ce_bf9b_81fb_02c6,
                [-0.257_141_1, -0.263_229_37],
            ),
            (
                TensorType::Q4_K,
                144,
                &[0, 2],
                768,
                0xe9ce_aff8_a0f4_063f,
                [2.002_685_5, 1.345_153_8],
            ),
            (TensorType::Q5_K, 176, &[0, 2], 768, 0xaa8f_851f_312a_427b, [1.637_390_1, 3.390_808]),
            (TensorType::Q6_K, 210, &[208], 768, 0x011f_75c1_c256_33cf, [-2_096.445_3, 149.746_1]),
        ] {
            let values = dequantized(kind, &blocks(size, halves)).unwrap();
            assert_eq!(values.len(), count, "{kind:?}");
            assert_eq!(values[..2], [first, second], "{kind:?}");
            assert_eq!(hash(&values), expected, "{kind:?}");
        }
        assert_eq!(dequantized(TensorType::F32, &1.5_f32.to_le_bytes()), Some(vec![1.5]));
        assert_eq!(dequantized(TensorType::Q2_K, &[]), None);
    }
}
