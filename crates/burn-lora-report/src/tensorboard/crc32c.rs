//! CRC-32C (Castagnoli), the checksum of TFRecords.
//!
//! A table of 256, a byte at a time: event files are small.

/// The polynomial 0x1EDC6F41, its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// What a byte does to the remainder.
const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            remainder = (remainder >> 1) ^ carry;
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// The checksum of the bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_vector(bytes: &[u8], in_file_order: [u8; 4]) {
        assert_eq!(crc32c(bytes).to_le_bytes(), in_file_order, "{bytes:?}");
    }

    #[test]
    fn the_vectors_of_rfc_3720_b_4_hold() {
        check_vector(&[0; 32], [0xaa, 0x36, 0x91, 0x8a]);
        check_vector(&[0xff; 32], [0x43, 0xab, 0xa8, 0x62]);
        let mut counted: [u8; 32] = std::array::from_fn(|index| index as u8);
        check_vector(&counted, [0x4e, 0x79, 0xdd, 0x46]);
        counted.reverse();
        check_vector(&counted, [0x5c, 0xdb, 0x3f, 0x11]);
        let mut read = [0; 48];
        for (place, byte) in
            [(0, 0x01), (1, 0xc0), (16, 0x14), (22, 0x04), (27, 0x14), (31, 0x18), (32, 0x28)]
        {
            read[place] = byte;
        }
        read[40] = 0x02;
        check_vector(&read, [0x56, 0x3a, 0x96, 0xd9]);
    }

    #[test]
    fn nothing_and_the_usual_check_string_have_their_checksums() {
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
