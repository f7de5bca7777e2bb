//! A stream that is read whole, such as standard input in the place of a file.

use std::io::{self, Read};
use std::path::Path;

use burn_lora_text::size;

use crate::IoError;
use crate::plain::as_text;

/// The most that is read of a stream, in bytes: a stream may have no end, and does not say how long it is.
pub const MOST: u64 = 1 << 30;

/// Reads a whole text from a stream, as [`read_text`](crate::read_text) does from a file. `name` stands for it in messages.
///
/// ```
/// use burn_lora_files::stream;
/// let text = stream::text("say a".as_bytes(), "standard input", stream::MOST)?;
/// assert_eq!(text, "say a");
/// # Ok::<(), burn_lora_files::IoError>(())
/// ```
///
/// # Errors
///
/// What the system says; more than `most` bytes; what is no text, named for what it is.
pub fn text(stream: impl Read, name: &str, most: u64) -> Result<String, IoError> {
    let mut bytes = Vec::new();
    let read = stream.take(most.saturating_add(1)).read_to_end(&mut bytes);
    let length = read.map_err(IoError::at("read", name))?;
    if length as u64 > most {
        let reason =
            format!("it has more than {}: write it into a file, and name that", size(most));
        return Err(IoError::at("read", name)(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    as_text(Path::new(name), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that never ends would be read until memory is full.
    #[test]
    fn a_stream_without_an_end_is_refused_where_its_bound_is() {
        let error = text(io::repeat(b'a'), "standard input", 4096).unwrap_err().to_string();
        assert!(error.contains("`standard input`") && error.contains("4 KiB"), "{error}");
        assert_eq!(text(&[b'a'; 4096][..], "standard input", 4096).unwrap().len(), 4096);
    }

    #[test]
    fn what_is_no_text_is_named_for_what_it_is() {
        let error = text(&b"\x1f\x8b\x08"[..], "standard input", 4096).unwrap_err().to_string();
        assert!(error.contains("a gzip archive"), "{error}");
    }
}
