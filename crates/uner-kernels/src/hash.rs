//! Stateless random bits: each draw is a hash of its purpose, so another device or another order of
//! draws gives the same bits.

/// The fractional part of the golden ratio: the distance between neighbours before mixing.
pub(crate) const STRIDE: u32 = 0x9E37_79B9;

/// Mixes the bits of a number so that each output bit depends on every input bit ("lowbias32",
/// Wellons 2018, "Prospecting for Hash Functions").
#[inline(always)]
pub(crate) fn mix(bits: u32) -> u32 {
    let bits = (bits ^ (bits >> 16)).wrapping_mul(0x7FEB_352D);
    let bits = (bits ^ (bits >> 15)).wrapping_mul(0x846C_A68B);
    bits ^ (bits >> 16)
}

/// The hash of number `index` in the sequence that begins with `start`.
#[inline(always)]
pub(crate) fn nth(start: u32, index: u32) -> u32 {
    mix(start.wrapping_add(index.wrapping_mul(STRIDE)))
}
