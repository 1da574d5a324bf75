//! Rotary position embedding (Su et al. 2021) in the rotate-half layout of Hugging Face
//! checkpoints: the partner of channel `c` is `c + head_dim / 2`, not its neighbour.

mod backward;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod reference;

pub use reference::reference;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{Device, Tensor, TensorData};

use crate::profile::{Pass, timed};

/// The kernels of a backend.
pub trait RopeKernels: Backend {
    /// Rotates `x` by its angles, or back by them, which is the transposed rotation.
    fn rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self>;
    /// Rotates queries and keys at once.
    fn rotate_both(
        qk: [FloatTensor<Self>; 2],
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        back: bool,
    ) -> [FloatTensor<Self>; 2];
}

/// The differentiable operator.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"), Autodiff)]
pub trait RopeOps: Backend {
    /// See [`rope`].
    fn rope(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "cube")]
impl RopeOps for burn::backend::Cube {
    fn rope(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        Self::rotate_both([q, k], cos, sin, false).into()
    }
}

#[cfg(feature = "flex")]
impl RopeOps for burn::backend::Flex {
    fn rope(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        Self::rotate_both([q, k], cos, sin, false).into()
    }
}

/// Cosine and sine of every position's angles, computed once per batch and read by every layer.
///
/// # Shapes
/// Both `[rows, tokens, head_dim / 2]`, f32.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl RotaryTable {
    /// Builds the table of `rows` equally long rows of positions, listed row by row.
    ///
    /// `inverse_frequencies` has `head_dim / 2` entries. The angles are computed in f32, as in the
    /// checkpoints' own code; their cosine and sine are then exact to f32.
    ///
    /// # Panics
    /// When `positions` cannot be divided into `rows` equally long rows.
    pub fn new(
        positions: &[i32],
        rows: usize,
        inverse_frequencies: &[f32],
        device: &Device,
    ) -> Self {
        assert_eq!(
            positions.len() % rows,
            0,
            "{} positions are not {rows} equal rows",
            positions.len()
        );
        let half = inverse_frequencies.len();
        let shape = [rows, positions.len() / rows, half];
        // All conversations of a batch share the same positions, so each is computed once.
        let mut distinct = positions.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let angles = distinct.iter().flat_map(|&position| {
            inverse_frequencies.iter().map(move |frequency| position as f32 * frequency)
        });
        let (cos, sin): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        let of_position = |position| distinct.binary_search(position).expect("one of them") * half;
        let tensor = |values: &[f32]| {
            let values =
                positions.iter().flat_map(|position| &values[of_position(position)..][..half]);
            Tensor::from_data(
                TensorData::new(values.copied().collect::<Vec<f32>>(), shape),
                &device.clone(),
            )
        };
        Self { cos: tensor(&cos), sin: tensor(&sin) }
    }

    /// Multiplies every cosine and sine by `factor`, as `YaRN` requires (Peng et al. 2023): the
    /// rotation then also scales.
    #[must_use]
    pub fn scaled(self, factor: f32) -> Self {
        if factor == 1.0 {
            return self;
        }
        Self { cos: self.cos.mul_scalar(factor), sin: self.sin.mul_scalar(factor) }
    }

    /// `[rows, tokens, head_dim / 2]`.
    pub fn cos(&self) -> &Tensor<3> {
        &self.cos
    }

    /// `[rows, tokens, head_dim / 2]`.
    pub fn sin(&self) -> &Tensor<3> {
        &self.sin
    }
}

/// Rotates every head of every token's query and key by its position. Use both, as attention does.
///
/// # Shapes
/// - `q`: `[rows, tokens, heads, head_dim]`
/// - `k`: `[rows, tokens, kv_heads, head_dim]`
/// - returns the same
///
/// # Panics
/// When the table does not match the rows, tokens and half the `head_dim` of `q` and `k`; in the
/// backward pass, when the loss depends on only one of the two results.
pub fn rope(q: Tensor<4>, k: Tensor<4>, table: &RotaryTable) -> (Tensor<4>, Tensor<4>) {
    for x in [&q, &k] {
        let [rows, tokens, _, head_dim] = x.dims();
        let expected = [rows, tokens, head_dim / 2];
        assert_eq!(table.cos.dims(), expected, "the rotary table does not fit {:?}", x.dims());
    }
    let (cos, sin) = (table.cos.clone().into_dispatch(), table.sin.clone().into_dispatch());
    let (q, k) = timed("rope", Pass::Forward, || {
        <Dispatch as RopeOps>::rope(q.into_dispatch(), k.into_dispatch(), cos, sin)
    });
    (Tensor::from_dispatch(q), Tensor::from_dispatch(k))
}
