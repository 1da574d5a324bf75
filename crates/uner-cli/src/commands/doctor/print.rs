//! The report for people: `name  value` lines.

use std::io::{self, Write};

use uner_plan::human::bytes;
use uner_plan::machine::{Cpu, DeviceReport, Facts};

use super::Report;

/// Width of the names.
const NAME: usize = 14;

pub(super) fn report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    line(out, "uner", report.version)?;
    line(out, "backends", &report.backends.join(", "))?;
    cpu(&report.cpu, out)?;
    for finding in &report.cuda {
        let mark = if finding.ok { "" } else { "MISSING: " };
        line(out, &format!("CUDA {}", finding.what), &format!("{mark}{}", finding.text))?;
    }
    for report in &report.devices {
        device(report, out)?;
    }
    for problem in &report.absent {
        line(out, "absent", problem)?;
    }
    Ok(())
}

pub(super) fn device(report: &DeviceReport, out: &mut dyn Write) -> io::Result<()> {
    let verdict = if report.ok { "ok" } else { "FAILED" };
    line(out, &report.device, &format!("{verdict}: {}", report.check))?;
    if let Some(facts) = &report.facts {
        line(out, "", &format!("{}; {}", facts.name, facts.runtime))?;
        line(out, "", &abilities(facts))?;
    }
    Ok(())
}

fn cpu(cpu: &Cpu, out: &mut dyn Write) -> io::Result<()> {
    line(
        out,
        "CPU",
        &format!("{}, {} threads, {}", cpu.model, cpu.threads, cpu.instructions.join(" ")),
    )?;
    line(out, "memory", &format!("{}, {} available", amount(cpu.memory), amount(cpu.available)))
}

fn abilities(facts: &Facts) -> String {
    let mut parts = vec![format!("memory {}", amount(facts.memory))];
    if let Some(largest) = facts.max_allocation {
        parts.push(format!("a tensor at most {}", bytes(largest)));
    }
    if let Some(shared) = facts.shared_memory {
        parts.push(format!("shared memory {} KiB", shared >> 10));
        parts.push(match facts.plane {
            Some((smallest, largest)) if smallest == largest => format!("planes of {smallest}"),
            Some((smallest, largest)) => format!("planes of {smallest} to {largest}"),
            None => "no plane operations".to_owned(),
        });
        parts.push(if facts.tensor_cores { "tensor cores" } else { "no tensor cores" }.to_owned());
    }
    parts.push(facts.floats.join(" "));
    parts.join(", ")
}

fn amount(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), bytes)
}

fn line(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{name:<NAME$}{value}")
}
