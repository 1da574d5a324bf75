//! The choice of an instruction set.

use super::{PANEL, PanelGroup, RowGroup, portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instructions(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Instructions {
    /// Those of this processor, fastest first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = [
            (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"))
                .then_some(Self(Set::Avx512)),
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
                .then_some(Self(Set::Avx2)),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let vectors: [Option<Self>; 0] = [];
        vectors.into_iter().flatten().chain([Self(Set::Portable)])
    }

    /// The fastest.
    pub(super) fn best() -> Self {
        Self::available().next().unwrap_or(Self(Set::Portable))
    }

    /// Multiplies `R` rows, `[groups, R]`, with a panel, `[groups]`.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(unsafe_code, reason = "the caller of a `target_feature` vouches for it")
    )]
    pub(super) fn tile<const R: usize>(
        self,
        rows: &[[RowGroup; R]],
        panel: &[PanelGroup],
    ) -> [[f32; PANEL]; R] {
        match self.0 {
            // SAFETY: only `available` makes this value, when the processor has AVX-512 VNNI.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512::tile(rows, panel) },
            // SAFETY: only `available` makes this value, when the processor has AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2::tile(rows, panel) },
            Set::Portable => portable::tile(rows, panel),
        }
    }
}
