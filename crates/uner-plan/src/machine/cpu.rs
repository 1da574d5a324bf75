//! The processor and memory of the machine.

use serde::Serialize;

use super::memory::{cpu, host_memory};

/// The processor and its memory.
#[derive(Debug, Serialize)]
pub struct Cpu {
    /// Its name.
    pub model: String,
    /// Threads that run at the same time.
    pub threads: usize,
    /// Vector instructions that the CPU kernels have code for.
    pub instructions: Vec<&'static str>,
    /// Bytes; `None` if the system does not report them.
    pub memory: Option<u64>,
    /// Bytes that can be used without swapping.
    pub available: Option<u64>,
}

impl Cpu {
    /// The processor of this machine.
    pub fn detect() -> Self {
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
    let features = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    features.into_iter().filter(|(_, detected)| *detected).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    if cfg!(target_arch = "aarch64") { vec!["neon"] } else { Vec::new() }
}
