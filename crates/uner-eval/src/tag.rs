//! One tag of a sequence: BIO, IOBES or BILOU.

use std::str::FromStr;

/// One tag. The last tag of an entity is `E-` in IOBES and `L-` in BILOU; the only tag of an entity
/// of one token is `S-` in IOBES and `U-` in BILOU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `O`
    Outside,
    /// `B-type`
    Begin(String),
    /// `I-type`
    Inside(String),
    /// `E-type` or `L-type`
    End(String),
    /// `S-type` or `U-type`
    Single(String),
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let (prefix, entity_type) = match tag.split_once('-') {
            _ if tag == "O" => return Ok(Self::Outside),
            Some((prefix, entity_type)) if !entity_type.is_empty() => {
                (prefix, entity_type.to_owned())
            }
            _ => ("", String::new()),
        };
        match prefix {
            "B" => Ok(Self::Begin(entity_type)),
            "I" => Ok(Self::Inside(entity_type)),
            "E" | "L" => Ok(Self::End(entity_type)),
            "S" | "U" => Ok(Self::Single(entity_type)),
            _ => Err(format!(
                "`{tag}` is not a BIO tag: write `O`, `B-type` or `I-type`; or, in IOBES, `E-type` or `S-type`; or, in \
                 BILOU, `L-type` or `U-type`"
            )),
        }
    }
}

impl Tag {
    pub(crate) fn entity_type(&self) -> Option<&str> {
        match self {
            Self::Outside => None,
            Self::Begin(entity_type)
            | Self::Inside(entity_type)
            | Self::End(entity_type)
            | Self::Single(entity_type) => Some(entity_type),
        }
    }
}
