//! Decodes files of other encodings than UTF-8, and skips byte order marks.

use std::io::{self, BufRead, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult};

use crate::{Problem, encoding::Encoding};

/// A buffered file as UTF-8, without a byte order mark.
pub(crate) type Input = Box<dyn BufRead + Send>;

/// The first bytes of compressed files, the compression, and what to do about it.
const COMPRESSED: [(&[u8; 3], &str, &str); 4] = [
    (b"\x1f\x8b\x08", "gzip", "give it a name that ends in `.gz`"),
    (b"\x28\xb5\x2f", "zstd", "give it a name that ends in `.zst`"),
    (b"\xfd\x37\x7a", "xz", "decompress it: `xz -d`"),
    (b"PK\x03", "zip", "unpack it: `unzip`"),
];

impl Encoding {
    /// The problem of a line whose byte at `column`, from 0, is not part of a character.
    pub(crate) fn problem(self, byte: u8, column: usize) -> Problem {
        if self.is_default() {
            Problem::NotUtf8 { byte, column: column + 1 }
        } else {
            Problem::OtherEncoding(self.name())
        }
    }

    /// Decodes an input to UTF-8, without the byte order mark at its start. Bytes that the encoding
    /// cannot decode become one byte that is not UTF-8, so that the reader of the lines reports the
    /// line that they are in.
    ///
    /// # Errors
    /// The outer error is an input error. The inner is [`Problem::Compressed`], or
    /// [`Problem::Utf16`] if a file declared as UTF-8 starts with the mark of UTF-16.
    pub(crate) fn decode(self, mut input: Input) -> io::Result<Result<Input, Problem>> {
        let mut start = Vec::new();
        input.by_ref().take(3).read_to_end(&mut start)?;
        if start == b"\xef\xbb\xbf" {
            return Ok(Ok(input));
        }
        if let Some((_, format, advice)) = COMPRESSED.iter().find(|(magic, ..)| start == *magic) {
            return Ok(Err(Problem::Compressed { format, advice }));
        }
        if self.is_default() && (start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff")) {
            return Ok(Err(Problem::Utf16));
        }
        let whole = Box::new(Cursor::new(start).chain(input));
        if self.is_default() {
            return Ok(Ok(whole));
        }
        let decoder = self.0.new_decoder();
        Ok(Ok(Box::new(Decoding {
            input: whole,
            decoder,
            decoded: Vec::new(),
            given: 0,
            finished: false,
        })))
    }
}

/// A buffered reader that decodes another encoding to UTF-8.
struct Decoding {
    input: Input,
    decoder: Decoder,
    decoded: Vec<u8>,
    /// Number of decoded bytes already consumed.
    given: usize,
    finished: bool,
}

impl Decoding {
    fn refill(&mut self) -> io::Result<()> {
        self.given = 0;
        self.decoded.clear();
        while self.decoded.is_empty() && !self.finished {
            let encoded = self.input.fill_buf()?;
            let is_last = encoded.is_empty();
            let room = self.decoder.max_utf8_buffer_length_without_replacement(encoded.len());
            self.decoded.resize(room.unwrap_or(encoded.len()).max(16), 0);
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
                encoded,
                &mut self.decoded,
                is_last,
            );
            self.input.consume(read);
            self.decoded.truncate(written);
            match result {
                DecoderResult::InputEmpty => self.finished = is_last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.decoded.push(0xff),
            }
        }
        Ok(())
    }
}

impl BufRead for Decoding {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.given == self.decoded.len() {
            self.refill()?;
        }
        Ok(&self.decoded[self.given..])
    }

    fn consume(&mut self, amount: usize) {
        self.given += amount;
    }
}

impl Read for Decoding {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}
