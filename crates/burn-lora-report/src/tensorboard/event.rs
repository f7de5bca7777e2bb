//! The two kinds of `tensorflow.Event` that a file of scalars has, in protobuf's encoding.
//!
//! ```text
//! Event { double wall_time = 1; int64 step = 2; oneof { string file_version = 3; Summary summary = 5 } }
//! Summary { repeated Value value = 1 }    Value { string tag = 1; oneof { float simple_value = 2 } }
//! ```
//!
//! As protobuf has it, a number outside of a `oneof` that is zero is not written.

/// What protobuf calls wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// The event that starts a file.
pub fn version(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_wall_time(&mut event, wall_time);
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// The event of one value.
pub fn scalar(tag: &str, step: u64, wall_time: f64, number: f32) -> Vec<u8> {
    let mut value = Vec::new();
    put_bytes(&mut value, 1, tag.as_bytes());
    put_key(&mut value, 2, FIXED32);
    value.extend(number.to_le_bytes());
    let mut summary = Vec::new();
    put_bytes(&mut summary, 1, &value);
    let mut event = Vec::new();
    put_wall_time(&mut event, wall_time);
    if step != 0 {
        put_key(&mut event, 2, VARINT);
        put_varint(&mut event, step);
    }
    put_bytes(&mut event, 5, &summary);
    event
}

fn put_wall_time(message: &mut Vec<u8>, seconds: f64) {
    // By its bits, for protobuf writes -0.
    if seconds.to_bits() != 0 {
        put_key(message, 1, FIXED64);
        message.extend(seconds.to_le_bytes());
    }
}

fn put_key(message: &mut Vec<u8>, field: u8, wire_type: u8) {
    message.push(field << 3 | wire_type);
}

fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    put_key(message, field, BYTES);
    put_varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn put_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_take_a_byte_for_seven_bits() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut message = Vec::new();
            put_varint(&mut message, number);
            assert_eq!(message, bytes, "{number}");
        }
    }
}
