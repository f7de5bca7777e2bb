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
    event(wall_time, 0, &message(3, b"brain.Event:2"))
}

/// The event of one value.
pub fn scalar(tag: &str, step: u64, wall_time: f64, number: f32) -> Vec<u8> {
    let value = [message(1, tag.as_bytes()), field(2, FIXED32, &number.to_le_bytes())].concat();
    event(wall_time, step, &message(5, &message(1, &value)))
}

fn event(wall_time: f64, step: u64, what: &[u8]) -> Vec<u8> {
    let mut event = Vec::new();
    // By its bits, for protobuf writes -0.
    if wall_time.to_bits() != 0 {
        event.extend(field(1, FIXED64, &wall_time.to_le_bytes()));
    }
    if step != 0 {
        event.extend(field(2, VARINT, &varint(step)));
    }
    event.extend(what);
    event
}

/// A field that holds a message, or a text.
fn message(number: u8, content: &[u8]) -> Vec<u8> {
    field(number, BYTES, &[&varint(content.len() as u64)[..], content].concat())
}

fn field(number: u8, wire_type: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | wire_type][..], content].concat()
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
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
            assert_eq!(varint(number), bytes, "{number}");
        }
    }
}
