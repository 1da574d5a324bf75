//! The device of a run, as far as it can be known before the run.

use std::fmt;

use uner_kernels::device::DeviceName;

use super::memory::host_memory;

/// A device on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: DeviceName,
    /// Its part, or why it cannot be used here: a plan may be made elsewhere than where it is
    /// carried out.
    pub about: Result<String, String>,
    /// Bytes that can be used, where that is known.
    pub available: Option<u64>,
}

impl Place {
    /// Looks at the device on this machine.
    pub fn look(name: DeviceName) -> Self {
        if let Err(error) = name.open() {
            return Self { name, about: Err(error.to_string()), available: None };
        }
        let properties = name.properties();
        let memory = properties.as_ref().and_then(|properties| properties.memory);
        let about = properties.map_or_else(|| "the CPU".to_owned(), |properties| properties.name);
        let available = if name.is_host() { host_memory("MemAvailable") } else { memory };
        Self { name, about: Ok(about), available }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.about {
            Ok(about) => write!(out, "{} ({about})", self.name),
            // The message begins with the name.
            Err(problem) => write!(out, "{problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_and_what_is_not_there() {
        let cpu = Place::look(DeviceName::Flex);
        assert_eq!(cpu.to_string(), "flex (the CPU)");
        assert_eq!(cpu.available.is_some(), cfg!(target_os = "linux"));
        let absent = Place::look(DeviceName::Cuda(1_000));
        assert!(absent.to_string().starts_with("`cuda:1000` "), "{absent}");
        assert_eq!(absent.available, None);
    }
}
