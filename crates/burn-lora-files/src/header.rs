//! The header of a safetensors file, read without its numbers.

use std::fs::File;
use std::io::{self, Read};

use safetensors::tensor::Metadata;

/// A longer header is refused, in bytes; the format's own reader draws the line there too.
const LONGEST: u64 = 100_000_000;

/// What a safetensors file holds.
#[derive(Debug)]
pub struct Header {
    /// Names, formats, shapes, and places from [`start`](Self::start) on.
    pub tensors: Metadata,
    /// The byte at which the numbers begin.
    pub start: u64,
}

/// Why there is no header.
#[derive(Debug)]
pub enum NoHeader {
    /// What the system said.
    Io(io::Error),
    /// What is wrong with the file, as the end of a sentence.
    Damaged(String),
}

impl From<io::Error> for NoHeader {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Header {
    /// Reads the header at the start of a file, and compares what it describes with the file's length.
    ///
    /// # Errors
    ///
    /// What the system says; a header that is none, or that another length follows from.
    pub fn read(file: &mut File) -> Result<Self, NoHeader> {
        let size = file.metadata()?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length)
            .map_err(|_| NoHeader::Damaged(format!("it has {size} bytes, fewer than a header")))?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST || length > size - 8 {
            return Err(NoHeader::Damaged(format!(
                "its header says {length} bytes, the file has {size} (damaged, cut short, or another \
                 kind of file)"
            )));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)?;
        // Checks that offsets follow one another without gaps and fit shape and dtype.
        let tensors: Metadata = serde_json::from_slice(&header)
            .map_err(|error| NoHeader::Damaged(format!("header: {error}")))?;
        let start = 8 + length;
        let expected = start + tensors.data_len() as u64;
        if expected == size {
            return Ok(Self { tensors, start });
        }
        Err(NoHeader::Damaged(format!(
            "its header describes {expected} bytes, the file has {size}: {}",
            if size < expected { "it was cut short; fetch it again" } else { "it is damaged" }
        )))
    }
}
