//! The generator SplitMix64 (Steele, Lea and Flood 2014), of which seeds are made: a step from one state to the next, and what makes a
//! number of a state. It is the same on every machine and in every version.

/// What is added to the state at each step: 2^64 over the golden ratio, made odd.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number of a state, of whose every bit each bit of the state changes half.
///
/// ```
/// use burn_lora_files::splitmix::{STEP, mixed};
/// // The first output from 0, as its authors' C program prints it.
/// assert_eq!(mixed(STEP), 0xe220_a839_7b1d_cdaf);
/// ```
pub fn mixed(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
