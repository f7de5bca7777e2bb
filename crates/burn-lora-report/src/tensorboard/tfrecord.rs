//! TFRecord: how TensorFlow puts messages one behind the other in a file.
//!
//! Length (8 bytes, little-endian), checksum of the length, message, checksum of the message.

use crc32c::crc32c;

/// The message as a record.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), message, &masked(message)].concat()
}

/// Checksums (CRC-32C) are stored turned and shifted, because a checksum over data that holds its own checksum is no
/// good one.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_length_message_and_a_checksum_of_each() {
        // CRC-32C of "123456789" is 0xe3069283: turned by 15 it is 0x2507c60d, shifted 0xc78ab0e5.
        let record = framed(b"123456789");
        assert_eq!(record.len(), 8 + 4 + 9 + 4);
        assert_eq!(record[..8], [9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&record[12..21], b"123456789");
        assert_eq!(record[21..], 0xc78a_b0e5_u32.to_le_bytes());
    }
}
