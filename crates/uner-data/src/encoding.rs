//! Names of encodings.

use encoding_rs::UTF_8;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The encoding of a file, by a name of the WHATWG Encoding Standard: `utf-8`, `latin1` (which the
/// standard defines as windows-1252), `utf-16le`, `shift_jis`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(pub(crate) &'static encoding_rs::Encoding);

impl Default for Encoding {
    fn default() -> Self {
        Self(UTF_8)
    }
}

impl Encoding {
    pub(crate) fn is_default(&self) -> bool {
        self.0 == UTF_8
    }

    /// Its name in messages and descriptions.
    pub(crate) fn name(self) -> &'static str {
        self.0.name()
    }
}

impl Serialize for Encoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        // Python writes `latin-1` and `utf_8`, which are not names of the standard.
        let plain = name.replace(['-', '_'], "");
        if ["ascii", "usascii"].contains(&plain.to_lowercase().as_str()) {
            return Err(D::Error::custom(format!(
                "`{name}` means windows-1252 in the WHATWG Encoding Standard; write `windows-1252`, or `utf-8`, which includes ASCII"
            )));
        }
        let found = [&name, &plain]
            .into_iter()
            .find_map(|label| encoding_rs::Encoding::for_label(label.as_bytes()));
        // The replacement decoder decodes nothing: the standard maps unsafe encodings to it.
        let found = found.filter(|found| *found != encoding_rs::REPLACEMENT);
        found.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "unknown encoding `{name}`; expected a name of the WHATWG Encoding Standard such as `utf-8`, `latin1`, \
                 `iso-8859-15`, `utf-16le`, or `shift_jis`"
            ))
        })
    }
}
