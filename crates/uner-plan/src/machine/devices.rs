//! Names of devices, as recipes and the command line write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uner_kernels::device::{DeviceError, DeviceName};

use uner_data::did_you_mean;

/// More devices than any machine has.
const MOST: usize = 1024;

/// Names that a misspelled name is compared with.
const NAMES: [&str; 8] =
    ["flex", "webgpu", "webgpu:cpu", "webgpu:0", "vulkan", "vulkan:0", "cuda", "cuda:0"];

/// Reads the name of a device.
///
/// # Errors
/// When `text` is not the name of a device; the message suggests the nearest name.
pub fn parse(text: &str) -> Result<DeviceName, String> {
    text.parse().map_err(|error: DeviceError| format!("{error}{}", did_you_mean(text, NAMES)))
}

/// The devices of a run, one rank on each: `cuda:0`, `cuda:0-7`, `cuda:0,cuda:2`, `flex,flex`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Devices(Vec<DeviceName>);

impl Devices {
    /// The device of rank 0; the plan assumes that the other devices are like it.
    pub fn first(&self) -> DeviceName {
        self.0[0]
    }

    /// Number of devices.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The devices of process `index` of the `count` processes on a machine. The processes divide
    /// GPUs equally; each process gets the whole list if all devices are the CPU.
    ///
    /// # Errors
    /// When the number of devices is not a multiple of `count`.
    pub fn of_process(&self, index: usize, count: usize) -> Result<Vec<DeviceName>, String> {
        if self.0.iter().all(|name| name.is_host()) {
            return Ok(self.0.clone());
        }
        if !self.0.len().is_multiple_of(count) {
            return Err(format!(
                "`run.device` names {} devices for {count} processes on this machine; name the same number for each process, such as `cuda:0-{}`",
                self.0.len(),
                count - 1
            ));
        }
        let each = self.0.len() / count;
        Ok(self.0[index * each..][..each].to_vec())
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self(vec![DeviceName::Flex])
    }
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut names = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part
                .split_once(':')
                .and_then(|(backend, range)| Some((backend, range.split_once('-')?)))
            {
                Some((backend, (first, last))) => {
                    let bound = |text: &str| {
                        text.parse::<usize>()
                            .map_err(|_| format!("`{part}`: `{text}` is not a number"))
                    };
                    let (first, last) = (bound(first)?, bound(last)?);
                    if last >= MOST {
                        return Err(format!(
                            "`{part}`: the index `{last}` is too large; it must be below {MOST}"
                        ));
                    }
                    for index in first..=last {
                        names.push(parse(&format!("{backend}:{index}"))?);
                    }
                }
                None => names.push(parse(part)?),
            }
        }
        if names.is_empty() {
            return Err(format!(
                "`{text}` does not name a device; write the smaller number of a range first"
            ));
        }
        Ok(Self(names))
    }
}

impl TryFrom<String> for Devices {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Devices> for String {
    fn from(devices: Devices) -> Self {
        devices.to_string()
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_reported_with_what_was_meant() {
        for (slip, meant) in [
            ("cdua:0", "cuda:0"),
            ("webgpu:cpuu", "webgpu:cpu"),
            ("flx", "flex"),
            ("cuda0", "cuda"),
        ] {
            let error = parse(slip).unwrap_err();
            assert!(error.starts_with(&format!("`{slip}` is not a device; ")), "{error}");
            assert!(error.contains(&format!("; did you mean `{meant}")), "{error}");
        }
        assert!(!parse("toaster").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn several_devices_are_named_and_dealt_out() {
        let devices = |text: &str| text.parse::<Devices>();
        assert_eq!(devices("cuda:0-3").unwrap().to_string(), "cuda:0,cuda:1,cuda:2,cuda:3");
        assert_eq!(devices("flex, flex").unwrap().of_process(1, 2).unwrap(), [DeviceName::Flex; 2]);
        let four = devices("cuda:0-2,cuda:5").unwrap();
        assert_eq!(four.first(), DeviceName::Cuda(0));
        assert_eq!(four.of_process(1, 2).unwrap(), [DeviceName::Cuda(2), DeviceName::Cuda(5)]);
        assert!(four.of_process(0, 3).unwrap_err().contains("4 devices for 3 processes"));
        for (slip, problem) in [
            ("cuda:3-1", "does not name a device"),
            ("cuda:0-x", "`x` is not a number"),
            ("", "not a device"),
            ("flex,flx", "`flex`"),
        ] {
            assert!(
                devices(slip).unwrap_err().contains(problem),
                "{slip}: {}",
                devices(slip).unwrap_err()
            );
        }
    }
}
