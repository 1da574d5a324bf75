//! `uner doctor`: describes the machine and tests every device. Opens each device and runs a kernel
//! on it, in a process of its own: a driver that crashes ends only that process.

mod print;
#[cfg(feature = "cuda")]
mod toolkit;

use std::io::Write;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use uner_kernels::device::{self, DeviceName};
use uner_plan::machine::{Cpu, DeviceReport, check};

use crate::args::DoctorArgs;

/// The report on the program, the machine and its devices.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    /// The backends that the program was built with.
    backends: &'static [&'static str],
    cpu: Cpu,
    /// The parts that CUDA needs; only in programs built with CUDA.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cuda: Vec<Finding>,
    devices: Vec<DeviceReport>,
    /// Why a backend has no device.
    absent: Vec<String>,
}

/// A part that is installed or missing.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    /// The part that was found, or the problem and the remedy.
    text: String,
}

pub(crate) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<()> {
    match args.device {
        Some(name) => one(name, args.json, out),
        None => all(args.json, out),
    }
}

/// Tests one device, in this process.
fn one(name: DeviceName, json: bool, out: &mut dyn Write) -> Result<()> {
    let report = check(name)?;
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        print::device(&report, out)?;
    }
    if !report.ok {
        bail!("`{name}` computes wrong values: {}", report.check);
    }
    Ok(())
}

/// Describes the machine, and tests every device in a process of its own.
fn all(json: bool, out: &mut dyn Write) -> Result<()> {
    let present = device::present();
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        backends: device::compiled(),
        cpu: Cpu::detect(),
        #[cfg(feature = "cuda")]
        cuda: toolkit::findings(),
        #[cfg(not(feature = "cuda"))]
        cuda: Vec::new(),
        devices: present.iter().map(|&name| check_in_process(name)).collect::<Result<_>>()?,
        absent: absent(&present),
    };
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        print::report(&report, out)?;
    }
    let failed: Vec<&str> = report
        .devices
        .iter()
        .filter(|report| !report.ok)
        .map(|report| report.device.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("devices that exist but cannot be used: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs `uner doctor --device NAME` in another process.
fn check_in_process(name: DeviceName) -> Result<DeviceReport> {
    let program =
        std::env::current_exe().context("testing devices needs the path of this program")?;
    let output =
        Command::new(program).args(["doctor", "--json", "--device", &name.to_string()]).output()?;
    if let Ok(report) = serde_json::from_slice(&output.stdout) {
        return Ok(report);
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let check = match lines.iter().rev().find_map(|line| line.strip_prefix("error: ")) {
        Some(error) => error.to_owned(),
        None => format!("the process ended with {}: {}", output.status, lines.join(" ")),
    };
    Ok(DeviceReport { device: name.to_string(), ok: false, check, facts: None })
}

/// The reasons why backends of this program have no device.
fn absent(present: &[DeviceName]) -> Vec<String> {
    let first = |backend: &&str| backend.parse::<DeviceName>().ok();
    let names = device::compiled().iter().filter_map(first);
    let without =
        names.filter(|name| !present.iter().any(|there| there.backend() == name.backend()));
    without.filter_map(|name| Some(name.open().err()?.to_string())).collect()
}
