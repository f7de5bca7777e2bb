//! FNV-1a, 64 bits: a hash that is the same on every machine and in every version, which the standard library's
//! are not. Two of a thousand names collide once in 10^13 sets of them. It withstands nobody who tries.

/// The hash of a text.
///
/// ```
/// assert_eq!(burn_lora_files::fnv::hash("foobar"), 0x8594_4171_f739_67e8);
/// ```
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
