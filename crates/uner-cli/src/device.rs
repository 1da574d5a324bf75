//! Devices on the command line, in recipes and in plans.

use serde::{Deserialize, Deserializer, Serializer, de};
use uner_kernels::device::{DeviceError, DeviceName};

use crate::recipe::nearest;

/// What `--device` says of itself.
pub(crate) const HELP: &str =
    "Where to compute: `flex` (the CPU), `webgpu:N`, `webgpu:cpu` (software), `vulkan:N`, `cuda:N`";
/// The same where a recipe has the device already.
pub(crate) const HELP_OF_TRAIN: &str =
    "Set `run.device`: `flex` (the CPU), `webgpu:N`, `webgpu:cpu` (software), `vulkan:N`, `cuda:N`";

/// What a slip is compared with.
const NAMES: [&str; 8] = ["flex", "webgpu", "webgpu:cpu", "webgpu:0", "vulkan", "vulkan:0", "cuda", "cuda:0"];

/// Reads a name; an unknown one is told with the nearest that is known.
pub(crate) fn parse(text: &str) -> Result<DeviceName, String> {
    text.parse().map_err(|error: DeviceError| format!("{error}{}", nearest(text, NAMES)))
}

/// For serde: `run.device` as text.
pub(crate) fn serialize<S: Serializer>(name: &DeviceName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// For serde: `run.device` from text.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeviceName, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_told_with_what_was_meant() {
        for (slip, meant) in
            [("cdua:0", "cuda:0"), ("webgpu:cpuu", "webgpu:cpu"), ("flx", "flex"), ("cuda0", "cuda")]
        {
            let error = parse(slip).unwrap_err();
            assert!(error.starts_with(&format!("`{slip}` is no device; ")), "{error}");
            assert!(error.contains(&format!("; did you mean `{meant}")), "{error}");
        }
        assert!(!parse("toaster").unwrap_err().contains("did you mean"));
    }
}
