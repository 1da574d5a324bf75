//! Time per op. An op costs one extra branch unless a profile is being recorded.

use std::cell::Cell;
use std::time::Instant;

use burn::tensor::Device;

/// Direction of an op. Recomputation in a backward pass counts as forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The op itself. The loss computes its gradients here.
    Forward,
    /// The op's gradients.
    Backward,
}

/// Time of one op in one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpTime {
    /// The op, named as its directory.
    pub op: &'static str,
    /// The direction.
    pub pass: Pass,
    /// Number of calls.
    pub calls: f64,
    /// Seconds of all calls, each from an idle device to an idle device.
    pub seconds: f64,
    /// Floating-point operations of its matrix products; 0 if none are counted.
    pub flops: f64,
}

thread_local! {
    static RECORDER: Cell<Option<Box<Recorder>>> = const { Cell::new(None) };
    /// Operations since the timed op began.
    static FLOPS: Cell<f64> = const { Cell::new(0.0) };
}

struct Recorder {
    device: Device,
    ops: Vec<OpTime>,
}

/// Runs `work`, and returns the time of each op that it calls on this thread. Synchronises the
/// device before and after each op, so that ops do not overlap.
pub fn record<R>(device: &Device, work: impl FnOnce() -> R) -> (R, Vec<OpTime>) {
    RECORDER.set(Some(Box::new(Recorder { device: device.clone(), ops: Vec::new() })));
    let result = work();
    (result, RECORDER.take().map_or_else(Vec::new, |recorder| recorder.ops))
}

/// Runs an op, and times it if a profile is being recorded. The ops that it calls count as its own
/// time.
pub(crate) fn timed<R>(op: &'static str, pass: Pass, work: impl FnOnce() -> R) -> R {
    let Some(mut recorder) = RECORDER.take() else { return work() };
    // An error here recurs, with a better message, when results are read.
    let _ = recorder.device.sync();
    FLOPS.set(0.0);
    let start = Instant::now();
    let result = work();
    let _ = recorder.device.sync();
    let time =
        OpTime { op, pass, calls: 1.0, seconds: start.elapsed().as_secs_f64(), flops: FLOPS.get() };
    match recorder.ops.iter_mut().find(|known| (known.op, known.pass) == (op, pass)) {
        Some(known) => known.add(&time),
        None => recorder.ops.push(time),
    }
    RECORDER.set(Some(recorder));
    result
}

/// Counts a product of `[m, k]` and `[k, n]` for the op that is being timed.
pub(crate) fn counted(m: usize, n: usize, k: usize) {
    FLOPS.set(FLOPS.get() + 2.0 * m as f64 * n as f64 * k as f64);
}

impl OpTime {
    /// Adds another time of the same op.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.seconds += other.seconds;
        self.flops += other.flops;
    }

    /// Multiplies calls, seconds and operations by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.calls *= factor;
        self.seconds *= factor;
        self.flops *= factor;
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::{linear, swiglu};

    #[test]
    fn ops_are_timed_both_ways_and_only_where_somebody_records() {
        let device = Device::flex();
        let ones = |shape: [usize; 2]| Tensor::<2>::ones(shape, &device).autodiff().require_grad();
        let (x, weight) = (ones([3, 4]), ones([5, 4]));
        let work = || {
            let y = linear(x.clone(), weight.clone());
            swiglu(y.clone(), y).sum().backward()
        };
        let _ = work();
        let (_, mut ops) = record(&device, work);
        ops.sort_by_key(|time| (time.op, time.pass == Pass::Backward));
        let found: Vec<_> =
            ops.iter().map(|time| (time.op, time.pass, time.calls, time.flops)).collect();
        let product = 2.0 * 3.0 * 4.0 * 5.0;
        assert_eq!(
            found,
            [
                ("linear", Pass::Forward, 1.0, product),
                ("linear", Pass::Backward, 2.0, 2.0 * product),
                ("swiglu", Pass::Forward, 1.0, 0.0),
                ("swiglu", Pass::Backward, 1.0, 0.0),
            ]
        );
        assert!(ops.iter().all(|time| time.seconds > 0.0));
        assert!(record(&device, || ()).1.is_empty());
    }

    #[test]
    fn what_an_op_calls_is_its_own_time() {
        let inner = || timed("inner", Pass::Forward, || counted(1, 1, 1));
        let ((), ops) = record(&Device::flex(), || timed("outer", Pass::Forward, inner));
        assert_eq!(ops.len(), 1);
        assert_eq!((ops[0].op, ops[0].flops), ("outer", 2.0));
    }
}
