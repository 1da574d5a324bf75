//! The update with 8-bit moments or stochastic rounding: one granule at a time, in f32 on the
//! stack.

use burn::tensor::bf16;
use rayon::prelude::*;

use super::super::Factors;
use super::super::code::{Draw, Draws, GRANULE, GRANULE_WORDS, num_words, pack, rounded, widen};
use super::update;
use crate::flex::{Floats, Stored, Values, values, vectorized};

/// Granules of one piece of work.
const PIECE: usize = 64;

/// The stored moments of some elements.
pub(super) enum Moments<'a> {
    /// First and second moment.
    Float(&'a mut [f32], &'a mut [f32]),
    /// Words of whole granules.
    EightBit(&'a mut [i32]),
}

impl Moments<'_> {
    /// Splits the moments into pieces of [`PIECE`] granules.
    fn pieces(self) -> Vec<Self> {
        match self {
            Self::Float(first, second) => {
                let pieces =
                    first.chunks_mut(PIECE * GRANULE).zip(second.chunks_mut(PIECE * GRANULE));
                pieces.map(|(first, second)| Self::Float(first, second)).collect()
            }
            Self::EightBit(words) => {
                words.chunks_mut(PIECE * GRANULE_WORDS).map(Self::EightBit).collect()
            }
        }
    }

    /// Whether these are the moments of `elements` elements.
    fn are_of(&self, elements: usize) -> bool {
        match self {
            Self::Float(first, second) => [first.len(), second.len()] == [elements; 2],
            Self::EightBit(words) => words.len() == num_words(elements),
        }
    }
}

/// A type in which parameters or their f32 values are stored.
pub(super) trait Parameter: Stored {
    /// Converts a value to this type, with stochastic rounding if the type is shorter.
    fn rounded(value: f32, draw: Draw) -> Self;
}

impl Parameter for f32 {
    #[inline(always)]
    fn rounded(value: f32, _: Draw) -> Self {
        value
    }
}

impl Parameter for bf16 {
    #[inline(always)]
    fn rounded(value: f32, draw: Draw) -> Self {
        Self::from_bits((rounded(value.to_bits(), draw.value()) >> 16) as u16)
    }
}

/// Updates a parameter, or its f32 value, and its moments.
pub(super) fn update_granules<P: Parameter>(
    param: &mut [P],
    grad: &Floats,
    moments: Moments,
    draws: Draws,
    factors: Factors,
) {
    match values(grad) {
        Values::F32(grad) => spread(param, grad, moments, draws, factors),
        Values::Bf16(grad) => spread(param, grad, moments, draws, factors),
    }
}

/// Spreads the pieces over the threads.
fn spread<P: Parameter, G: Stored>(
    param: &mut [P],
    grad: &[G],
    moments: Moments,
    draws: Draws,
    factors: Factors,
) {
    assert!(moments.are_of(param.len()) && grad.len() == param.len(), "moments own their buffers");
    let pieces = param.par_chunks_mut(PIECE * GRANULE).zip(grad.par_chunks(PIECE * GRANULE));
    pieces.zip(moments.pieces()).enumerate().for_each(|(index, ((param, grad), moments))| {
        vectorized(
            #[inline(always)]
            || piece(param, grad, moments, draws.skip(index * PIECE * GRANULE), factors),
        );
    });
}

#[inline(always)]
fn piece<P: Parameter, G: Stored>(
    param: &mut [P],
    grad: &[G],
    moments: Moments,
    draws: Draws,
    factors: Factors,
) {
    let granules = param.chunks_mut(GRANULE).zip(grad.chunks(GRANULE)).zip((0..).step_by(GRANULE));
    match moments {
        Moments::Float(first, second) => {
            let moments = first.chunks_mut(GRANULE).zip(second.chunks_mut(GRANULE));
            for (((param, grad), start), (first, second)) in granules.zip(moments) {
                update_granule((param, draws.skip(start)), grad, first, second, factors);
            }
        }
        Moments::EightBit(words) => {
            for (((param, grad), start), words) in
                granules.zip(words.chunks_exact_mut(GRANULE_WORDS))
            {
                let (mut first, mut second) = ([0.0; GRANULE], [0.0; GRANULE]);
                widen(words, &mut first, &mut second);
                let (first, second) = (&mut first[..grad.len()], &mut second[..grad.len()]);
                let draws = draws.skip(start);
                update_granule((param, draws), grad, first, second, factors);
                pack(words, first, second, draws);
            }
        }
    }
}

/// Updates one granule, whose moments are in f32.
#[inline(always)]
fn update_granule<P: Parameter, G: Stored>(
    (param, draws): (&mut [P], Draws),
    grad: &[G],
    first: &mut [f32],
    second: &mut [f32],
    factors: Factors,
) {
    let mut values = [0.0; GRANULE];
    let values = &mut values[..param.len()];
    for (value, param) in values.iter_mut().zip(&*param) {
        *value = param.widen();
    }
    update(values, grad, first, second, factors);
    for ((param, value), element) in param.iter_mut().zip(values).zip(0..) {
        *param = P::rounded(*value, draws.of(element));
    }
}
