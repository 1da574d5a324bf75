//! Tagging schemes: decodes one tag per token to ranges of tokens.

use crate::{
    Problem,
    format::{Defect, Scheme},
};

/// A tag with its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag<'a> {
    Outside,
    Begin(&'a str),
    Inside(&'a str),
    End(&'a str),
    Single(&'a str),
}

impl<'a> Tag<'a> {
    pub(crate) fn parse(tag: &'a str, scheme: Scheme) -> Result<Self, Problem> {
        let malformed = || Problem::Tag {
            tag: tag.to_owned(),
            scheme: match scheme {
                Scheme::Bio => "BIO (`O`, `B-label`, `I-label`)",
                Scheme::Iob1 => "IOB1 (`O`, `B-label`, `I-label`)",
                Scheme::Iobes => "IOBES (`O`, `B-label`, `I-label`, `E-label`, `S-label`)",
                Scheme::Bilou => "BILOU (`O`, `B-label`, `I-label`, `L-label`, `U-label`)",
            },
        };
        if tag == "O" {
            return Ok(Self::Outside);
        }
        match tag.split_once('-') {
            Some((_, "")) | None => Err(malformed()),
            Some(("B", label)) => Ok(Self::Begin(label)),
            Some(("I", label)) => Ok(Self::Inside(label)),
            Some(("E", label)) if scheme == Scheme::Iobes => Ok(Self::End(label)),
            Some(("S", label)) if scheme == Scheme::Iobes => Ok(Self::Single(label)),
            Some(("L", label)) if scheme == Scheme::Bilou => Ok(Self::End(label)),
            Some(("U", label)) if scheme == Scheme::Bilou => Ok(Self::Single(label)),
            Some(_) => Err(malformed()),
        }
    }
}

/// A half-open range of tokens with its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mention<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) label: &'a str,
}

/// The mentions of one tag column, in order, the tokens whose tags broke the scheme, and the tokens
/// at which a reproduced defect lost or changed a mention.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded<'a> {
    pub(crate) mentions: Vec<Mention<'a>>,
    pub(crate) inconsistent: Vec<usize>,
    pub(crate) defects: Vec<usize>,
}

/// Decodes a sentence's tags as conlleval does: a tag that continues an entity starts one if none
/// of its label is open.
pub(crate) fn decode<'a>(tags: &[Tag<'a>], scheme: Scheme, defects: &[Defect]) -> Decoded<'a> {
    let mut decoder = Decoder {
        scheme,
        loose_inside: defects.contains(&Defect::LooseInside),
        open: None,
        found: Decoded::default(),
    };
    for (at, tag) in tags.iter().enumerate() {
        match *tag {
            Tag::Outside => decoder.cut(at),
            Tag::Begin(label) => decoder.begin(at, label),
            Tag::Inside(label) => decoder.inside(at, label),
            Tag::End(label) => {
                decoder.inside(at, label);
                decoder.close(at + 1);
            }
            Tag::Single(label) => {
                decoder.begin(at, label);
                decoder.close(at + 1);
            }
        }
    }
    if defects.contains(&Defect::OpenAtEnd) {
        decoder.found.defects.extend(decoder.open.take().map(|(start, _)| start));
    }
    decoder.cut(tags.len());
    decoder.found
}

struct Decoder<'a> {
    scheme: Scheme,
    loose_inside: bool,
    open: Option<(usize, &'a str)>,
    found: Decoded<'a>,
}

impl<'a> Decoder<'a> {
    fn begin(&mut self, at: usize, label: &'a str) {
        self.cut(at);
        self.open = Some((at, label));
    }

    fn inside(&mut self, at: usize, label: &'a str) {
        match self.open {
            Some((_, open)) if open == label => {}
            open if self.loose_inside => {
                self.found.defects.push(at);
                self.open = open;
            }
            _ => {
                if self.scheme != Scheme::Iob1 {
                    self.found.inconsistent.push(at);
                }
                self.cut(at);
                self.open = Some((at, label));
            }
        }
    }

    /// Ends the open entity, if any, before token `end`.
    fn close(&mut self, end: usize) {
        if let Some((start, label)) = self.open.take() {
            self.found.mentions.push(Mention { start, end, label });
        }
    }

    /// Ends the open entity without a last tag, which breaks IOBES and BILOU.
    fn cut(&mut self, end: usize) {
        if self.open.is_some() && matches!(self.scheme, Scheme::Iobes | Scheme::Bilou) {
            self.found.inconsistent.push(end - 1);
        }
        self.close(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded<'a>(tags: &[&'a str], scheme: Scheme, defects: &[Defect]) -> Decoded<'a> {
        let tags: Vec<Tag<'a>> = tags.iter().map(|tag| Tag::parse(tag, scheme).unwrap()).collect();
        decode(&tags, scheme, defects)
    }

    fn ranges<'a>(decoded: &Decoded<'a>) -> Vec<(usize, usize, &'a str)> {
        decoded.mentions.iter().map(|mention| (mention.start, mention.end, mention.label)).collect()
    }

    #[test]
    fn the_same_tags_mean_other_things_in_other_schemes() {
        let tags = ["I-PER", "I-PER", "B-PER", "O", "B-ORG", "I-PER"];
        let expected = [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "ORG"), (5, 6, "PER")];
        let iob1 = decoded(&tags, Scheme::Iob1, &[]);
        assert_eq!(ranges(&iob1), expected);
        assert_eq!(iob1.inconsistent, [0; 0]);
        let bio = decoded(&tags, Scheme::Bio, &[]);
        assert_eq!(ranges(&bio), expected);
        assert_eq!(bio.inconsistent, [0, 5]);
    }

    #[test]
    fn iobes_closes_at_its_own_tags() {
        let found = decoded(&["B-A", "E-A", "E-A", "S-B", "B-A", "I-A", "O"], Scheme::Iobes, &[]);
        assert_eq!(ranges(&found), [(0, 2, "A"), (2, 3, "A"), (3, 4, "B"), (4, 6, "A")]);
        assert_eq!(found.inconsistent, [2, 5]);
    }

    #[test]
    fn bilou_is_iobes_by_other_letters() {
        let found = decoded(&["B-A", "L-A", "L-A", "U-B", "B-A", "I-A", "O"], Scheme::Bilou, &[]);
        let expected =
            decoded(&["B-A", "E-A", "E-A", "S-B", "B-A", "I-A", "O"], Scheme::Iobes, &[]);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_official_defects_lose_what_they_lose() {
        let tags = ["I-A", "B-A", "I-B", "O", "B-B"];
        let found = decoded(&tags, Scheme::Bio, &[Defect::LooseInside, Defect::OpenAtEnd]);
        assert_eq!(ranges(&found), [(1, 3, "A")]);
        assert_eq!(found.defects, [0, 2, 4]);
    }

    #[test]
    fn tags_outside_the_scheme_are_refused() {
        for tag in ["", "B", "B-", "P", "E-A", "o"] {
            assert!(Tag::parse(tag, Scheme::Bio).is_err(), "`{tag}`");
        }
    }
}
