//! The processor and memory of the machine.

use serde::Serialize;

use uner_plan::machine::{cpu, host_memory};

/// The processor and its memory.
#[derive(Debug, Serialize)]
pub(super) struct Cpu {
    pub(super) model: String,
    /// Threads that run at the same time.
    pub(super) threads: usize,
    /// Vector instructions that the CPU kernels have code for.
    pub(super) instructions: Vec<&'static str>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// Bytes that can be used without swapping.
    pub(super) available: Option<u64>,
}

impl Cpu {
    pub(super) fn look() -> Self {
        let memory = host_memory();
        Self {
            model: cpu(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            instructions: instructions(),
            memory: memory.map(|memory| memory.total),
            available: memory.map(|memory| memory.available),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    known.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    if cfg!(target_arch = "aarch64") { vec!["neon"] } else { Vec::new() }
}
