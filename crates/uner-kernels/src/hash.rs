//! Random bits without a state: what is drawn is a hash of what it is drawn for, so whoever draws
//! it again, on another device or in another order, draws the same.

/// The fractional part of the golden ratio: what neighbours are apart before they are mixed.
pub(crate) const STRIDE: u32 = 0x9E37_79B9;

/// Mixes the bits of a number so that each of them depends on all ("lowbias32", Wellons 2018,
/// "Prospecting for Hash Functions").
#[inline(always)]
pub(crate) fn mix(bits: u32) -> u32 {
    let bits = (bits ^ (bits >> 16)).wrapping_mul(0x7FEB_352D);
    let bits = (bits ^ (bits >> 15)).wrapping_mul(0x846C_A68B);
    bits ^ (bits >> 16)
}

/// The hash of number `index` of those that begin with `start`.
#[inline(always)]
pub(crate) fn nth(start: u32, index: u32) -> u32 {
    mix(start.wrapping_add(index.wrapping_mul(STRIDE)))
}
