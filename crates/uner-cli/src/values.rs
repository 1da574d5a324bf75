//! The values of options.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use safetensors::Dtype;
use uner_infer::Decoding;
use uner_plan::recipe::at_home;

/// Parses a path. Expands `~`, because shells do not expand it after a `=`.
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|text| at_home(text.into()))
}

/// A folder with a name.
#[derive(Debug, Clone)]
pub(crate) struct NamedFolder {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// The value of `--adapter`.
pub(crate) fn named_folder(text: &str) -> Result<NamedFolder, String> {
    let parts =
        text.split_once('=').filter(|(name, folder)| !name.is_empty() && !folder.is_empty());
    let (name, folder) =
        parts.ok_or("it must be a name and a folder, such as `legal=adapters/x`")?;
    let folder = at_home(folder.into())?;
    Ok(NamedFolder { name: name.to_owned(), folder })
}

/// The value of `--dtype`.
pub(crate) fn dtype(name: &str) -> Result<Dtype, String> {
    match name {
        "f32" => Ok(Dtype::F32),
        "bf16" => Ok(Dtype::BF16),
        _ => Err("it must be `f32` or `bf16`".to_owned()),
    }
}

/// The value of `--decoding`.
pub(crate) fn decoding(name: &str) -> Result<Decoding, String> {
    match name {
        "grounded" => Ok(Decoding::Grounded),
        "free" => Ok(Decoding::Free),
        _ => Err("it must be `grounded` or `free`".to_owned()),
    }
}

/// The value of `--threshold`.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

/// The value of `--temperature`.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "it must be a number above 0; without it, decoding is greedy".to_owned())
}

/// The value of `--max-shard-size`: bytes, or a number with a decimal unit, as in Hugging Face.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((text, 1));
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "it must be a size like `5GB`, `500MB`, or bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_decimal_units() {
        assert_eq!(
            ["5GB", "500MB", "7 KB", "12"].map(size),
            [Ok(5_000_000_000), Ok(500_000_000), Ok(7_000), Ok(12)]
        );
        for wrong in ["0GB", "5GiB", "x", "99999999999GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
