//! Finds the fastest of a few algorithms by running them.

use cudarc::driver::result::event;
use cudarc::driver::sys::{CUevent, CUevent_flags, CUstream};

use super::library::{Addresses, Algorithm, Description, Library};

/// Device time that one shape may cost, in milliseconds.
const BUDGET: f32 = 20.0;
/// An algorithm replaces the best so far below this fraction of its time; a smaller gain may be
/// noise of the clocks.
const MARGIN: f32 = 0.97;

/// The fastest of these algorithms for the operands at these addresses. Each runs twice, and the
/// second time counts. The host waits.
pub(super) fn fastest(
    library: Library,
    description: &Description,
    candidates: &[Algorithm],
    at: Addresses,
    stream: CUstream,
) -> Result<Algorithm, String> {
    let watch = Watch::new()?;
    let (mut best, mut shortest, mut spent) = (0, f32::INFINITY, 0.0);
    for (index, algorithm) in candidates.iter().enumerate() {
        let mut time = 0.0;
        for _ in 0..2 {
            time = watch.time(stream, || library.multiply(description, algorithm, at, stream))?;
            spent += time;
        }
        let bar = if index == 0 { f32::INFINITY } else { shortest * MARGIN };
        if time < bar {
            (best, shortest) = (index, time);
        }
        if spent > BUDGET {
            break;
        }
    }
    Ok(candidates[best])
}

/// Two events of a stream.
struct Watch([CUevent; 2]);

impl Watch {
    fn new() -> Result<Self, String> {
        let create =
            || event::create(CUevent_flags::CU_EVENT_DEFAULT).map_err(|error| error.to_string());
        Ok(Self([create()?, create()?]))
    }

    /// Device time of the work that `work` submits to the stream, in milliseconds.
    fn time(
        &self,
        stream: CUstream,
        work: impl FnOnce() -> Result<(), String>,
    ) -> Result<f32, String> {
        let [start, end] = self.0;
        let message = |error: cudarc::driver::DriverError| error.to_string();
        // SAFETY: the events live as long as `self`, and the caller's stream for longer.
        #[expect(unsafe_code, reason = "calls of the driver's C interface")]
        unsafe {
            event::record(start, stream).map_err(message)?;
            work()?;
            event::record(end, stream).map_err(message)?;
            event::synchronize(end).map_err(message)?;
            event::elapsed(start, end).map_err(message)
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for event in self.0 {
            // SAFETY: created by `new`, and nothing waits for it any more.
            #[expect(unsafe_code, reason = "a call of the driver's C interface")]
            let _ = unsafe { event::destroy(event) };
        }
    }
}
