//! Numbers as people read them. (indicatif has such formats, too, but it draws on terminals, which
//! a plan does not, and it rounds a duration to one unit.)

/// A number with thousands separators: 1,234,567.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Mebibytes or gibibytes.
pub fn bytes(number: u64) -> String {
    let mebibytes = number as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 {
        format!("{mebibytes:.0} MiB")
    } else {
        format!("{:.1} GiB", mebibytes / 1024.0)
    }
}

/// A duration: `45 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Floating-point operations in a unit that reads well.
pub fn operations(number: f64) -> String {
    let units = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")];
    let (size, unit) = units.into_iter().find(|(size, _)| number >= *size).unwrap_or((1e3, "k"));
    format!("{:.1} {unit}FLOP", number / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5 << 20, 3 << 29].map(bytes), ["5 MiB", "1.5 GiB"]);
        assert_eq!([44.6, 200.0, 7_500.0].map(duration), ["45 s", "3 min 20 s", "2 h 5 min"]);
        assert_eq!([2e5, 3.5e12].map(operations), ["200.0 kFLOP", "3.5 TFLOP"]);
    }
}
