//! Data-sheet peaks of known GPUs: the denominator of model FLOPs utilisation (MFU).

/// Dense bf16 operations a second of the tensor cores with f32 accumulation, from NVIDIA's data
/// sheets. The first entry whose words occur in a device's name applies.
const PEAKS: [(&str, f64); 15] = [
    ("GB200", 2500e12),
    ("B200", 2250e12),
    ("GH200", 989e12),
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("A40", 150e12),
    ("A10G", 70e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
];

/// Data-sheet peak of the GPU with this name, such as `NVIDIA H200`, in operations a second; `None`
/// if it is not known.
pub fn peak_flops(gpu: &str) -> Option<f64> {
    let words = format!(" {} ", gpu.replace(['-', '_'], " "));
    let named = |(name, _): &&(&str, f64)| words.contains(&format!(" {name} "));
    PEAKS.iter().find(named).map(|(_, peak)| *peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_drivers_give() {
        for (name, peak) in [
            ("NVIDIA H100 80GB HBM3", Some(989e12)),
            ("NVIDIA H100 PCIe", Some(756e12)),
            ("NVIDIA H200", Some(989e12)),
            ("NVIDIA A100-SXM4-80GB", Some(312e12)),
            ("NVIDIA L40S", Some(362e12)),
            ("NVIDIA GeForce RTX 4090", Some(165e12)),
            ("NVIDIA A10000", None),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", None),
        ] {
            assert_eq!(peak_flops(name), peak, "{name}");
        }
    }
}
