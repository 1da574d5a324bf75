//! The update on the GPU: one pass over gradient, parameter and moments, in place for tensors that
//! are not shared.

mod granules;
mod rest;
#[cfg(all(test, feature = "cuda"))]
mod tests;
mod unit;

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::DType;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{AdamWOps, AdamWStep, Factors, FactorsLaunch};
use crate::cube::{Floats, Ints, contiguous, element, elementwise, owned, vector_size};

impl AdamWOps for Cube {
    fn adamw(
        param: Floats,
        grad: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        step: AdamWStep,
    ) -> (Floats, Floats, Floats) {
        let (grad, tensors) = (contiguous(grad), [param, exp_avg, exp_avg_sq].map(owned));
        if tensors[0].dtype() == DType::BF16 {
            granules::update_rounded(&tensors, grad, &step);
        } else if let Some(plan) = Plan::new(&tensors) {
            let [values, first, second] =
                tensors.each_ref().map(|tensor| tensor.clone().into_buffer_arg());
            let Plan { cubes, units, vector } = plan;
            update::launch(
                &grad.client.clone(),
                cubes,
                units,
                vector,
                values,
                grad.clone().into_buffer_arg(),
                first,
                second,
                Factors::new(&step).to_launch(),
                element(&grad),
            );
        }
        let [param, exp_avg, exp_avg_sq] = tensors;
        (param, exp_avg, exp_avg_sq)
    }

    fn adamw_with_rest(
        param: Floats,
        rest: Ints,
        grad: Floats,
        exp_avg: Floats,
        exp_avg_sq: Floats,
        step: AdamWStep,
    ) -> (Floats, Ints, Floats, Floats) {
        let ([param, exp_avg, exp_avg_sq], rest) =
            ([param, exp_avg, exp_avg_sq].map(owned), granules::owned_words(rest));
        rest::update(&param, &rest, grad, [&exp_avg, &exp_avg_sq], &step);
        (param, rest, exp_avg, exp_avg_sq)
    }

    fn adamw_8bit(param: Floats, grad: Floats, words: Ints, step: AdamWStep) -> (Floats, Ints) {
        let (param, words) = (owned(param), granules::owned_words(words));
        granules::update_granules(&param, &words, grad, &step);
        (param, words)
    }

    fn adamw_8bit_with_rest(
        param: Floats,
        rest: Ints,
        grad: Floats,
        words: Ints,
        step: AdamWStep,
    ) -> (Floats, Ints, Ints) {
        let (param, [rest, words]) = (owned(param), [rest, words].map(granules::owned_words));
        rest::update_granules(&param, &rest, &words, grad, &step);
        (param, rest, words)
    }

    fn parted(value: Floats, dtype: DType) -> (Floats, Ints) {
        rest::part(value, dtype)
    }
}

/// How the elements of a parameter are spread over units.
struct Plan {
    cubes: CubeCount,
    units: CubeDim,
    vector: usize,
}

impl Plan {
    /// The plan for parameter and moments; `None` if they have no elements.
    ///
    /// # Panics
    /// When one of the tensors is not f32.
    fn new<const K: usize>(tensors: &[Floats; K]) -> Option<Self> {
        let types = tensors.each_ref().map(TensorMetadata::dtype);
        assert_eq!(types, [DType::F32; K], "the parameter and the moments are f32");
        let count = tensors[0].shape().num_elements();
        // The f32 tensors decide the vector width, because they are most of the memory traffic.
        let vector = vector_size(&tensors[0], count);
        let (cubes, units) = elementwise(count / vector, &tensors[0].client);
        (count > 0).then_some(Self { cubes, units, vector })
    }
}

impl Factors {
    fn to_launch(self) -> FactorsLaunch {
        let Self { grad, beta1, one_minus_beta1, beta2, one_minus_beta2, decay, lr, root, eps } =
            self;
        FactorsLaunch::new(
            grad,
            beta1,
            one_minus_beta1,
            beta2,
            one_minus_beta2,
            decay,
            lr,
            root,
            eps,
        )
    }
}

/// A vector filled with `value`.
#[cube]
fn all<N: Size>(value: f32) -> Vector<f32, N> {
    Vector::<f32, N>::new(value)
}

/// Updates the moments in place and returns them.
#[cube]
fn moments<N: Size>(
    grad: Vector<f32, N>,
    exp_avg: &mut Vector<f32, N>,
    exp_avg_sq: &mut Vector<f32, N>,
    factors: &Factors,
) -> (Vector<f32, N>, Vector<f32, N>) {
    let grad = grad * all::<N>(factors.grad);
    let first = all::<N>(factors.beta1) * *exp_avg + all::<N>(factors.one_minus_beta1) * grad;
    let second =
        all::<N>(factors.beta2) * *exp_avg_sq + all::<N>(factors.one_minus_beta2) * grad * grad;
    *exp_avg = first;
    *exp_avg_sq = second;
    (first, second)
}

/// Updates the moments in place; returns the new value of the parameter.
#[cube]
fn updated<N: Size>(
    value: Vector<f32, N>,
    grad: Vector<f32, N>,
    exp_avg: &mut Vector<f32, N>,
    exp_avg_sq: &mut Vector<f32, N>,
    factors: &Factors,
) -> Vector<f32, N> {
    let (first, second) = moments::<N>(grad, exp_avg, exp_avg_sq, factors);
    let root = second.sqrt() * all::<N>(factors.root) + all::<N>(factors.eps);
    all::<N>(factors.decay) * value - all::<N>(factors.lr) * first / root
}

/// As `updated`, but with NVIDIA's approximate root and reciprocal. They are off by two units in
/// the last place and save a quarter of the instructions of the 8-bit update.
#[cube]
fn updated_nearly<N: Size>(
    value: Vector<f32, N>,
    grad: Vector<f32, N>,
    exp_avg: &mut Vector<f32, N>,
    exp_avg_sq: &mut Vector<f32, N>,
    factors: &Factors,
) -> Vector<f32, N> {
    let (first, second) = moments::<N>(grad, exp_avg, exp_avg_sq, factors);
    let root = near_root::<N>(second) * all::<N>(factors.root) + all::<N>(factors.eps);
    all::<N>(factors.decay) * value - all::<N>(factors.lr) * first * near_reciprocal::<N>(root)
}

#[cube]
fn near_root<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let mut out = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let y: f32;
        gpu_asm!("sqrt.approx.ftz.f32 {y}, {x};", y = out(_) y, x = in(_) x.extract(lane), options(pure, nomem));
        out.insert(lane, y);
    }
    out
}

#[cube]
fn near_reciprocal<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let mut out = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for lane in 0..N::value() {
        let y: f32;
        gpu_asm!("rcp.approx.ftz.f32 {y}, {x};", y = out(_) y, x = in(_) x.extract(lane), options(pure, nomem));
        out.insert(lane, y);
    }
    out
}

#[cube(launch, create_dummy_kernel)]
fn update<G: Float, N: Size>(
    param: &mut [Vector<f32, N>],
    grad: &[Vector<G, N>],
    exp_avg: &mut [Vector<f32, N>],
    exp_avg_sq: &mut [Vector<f32, N>],
    factors: Factors,
    #[define(G)] _grad_dtype: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < param.len() {
        let grad = Vector::<f32, N>::cast_from(grad[at]);
        param[at] = updated::<N>(param[at], grad, &mut exp_avg[at], &mut exp_avg_sq[at], &factors);
    }
}
