//! Inputs made of inputs: the number of an input and a seed decide it, on every machine. Some say other things in a right form, most are other
//! bytes.

mod structure;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The longest input.
pub const LONGEST: usize = 64 << 10;

/// Numbers at the edges of what numbers are held in, and beyond them.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483647",
    "4294967296",
    "1099511627776",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999",
    "1e400",
    "-1e308",
    "0.0000001",
    "NaN",
];

/// What opens something, over and over: parsers that call themselves have a stack to lose.
const OPENINGS: [&str; 12] =
    ["[", "{\"a\":", "(", "{{", "{%", "-", "not ", "+1", ".a", "|f", " and 1", "[["];

/// The input of that number among those of `series`, made of one or two of the seeds. There must be one.
pub fn mutated(seeds: &[Vec<u8>], series: u64, number: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    random.set_stream(series);
    let mut input = seeds.choose(&mut random).cloned().unwrap_or_default();
    if random.random_range(0..5) < 2
        && let Some(mut changed) = structure::changed(&input, &mut random)
    {
        for _ in 0..random.random_range(0..3) {
            changed = structure::changed(&changed, &mut random).unwrap_or(changed);
        }
        input = changed;
        input.truncate(LONGEST);
        // And one in three is damaged as well.
        if random.random_range(0..3) > 0 {
            return input;
        }
    }
    // Most inputs stay near what is accepted, so that they come far.
    let times = 1_u32 << random.random_range(0..4);
    for _ in 0..random.random_range(1..=times) {
        change(&mut input, seeds, &mut random);
        input.truncate(LONGEST);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut ChaCha8Rng) {
    let length = input.len();
    let at = random.random_range(0..=length);
    let range = at..random.random_range(at..=length.min(at + 64));
    match random.random_range(0..12) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte =
                    *[0, 0xff, b'"', b'\n', b'{', b'}', b'\\', b'0'].choose(random).unwrap_or(&0);
            }
        }
        3 => {
            input.drain(range);
        }
        4 => input.truncate(at),
        5 => {
            let part = input[range].to_vec();
            let times = 1_usize << random.random_range(0..10);
            let room = LONGEST.saturating_sub(length) / part.len().max(1);
            insert(input, at, &part.repeat(times.min(room)));
        }
        6 => {
            // The beginning of one and the end of another.
            let Some(other) = seeds.choose(random) else { return };
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        7 => {
            let Some(other) = seeds.choose(random) else { return };
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len().min(from + 64));
            insert(input, at, &other[from..to]);
        }
        8 | 9 => number(input, at, random),
        10 => binary(input, at, random),
        _ => {
            let Some(opening) = OPENINGS.choose(random) else { return };
            let times = 1_usize << random.random_range(0..14);
            insert(input, at, opening.repeat(times.min(LONGEST / opening.len())).as_bytes());
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, part: &[u8]) {
    input.splice(at..at, part.iter().copied());
}

/// Writes another number in the place of the first one behind `at`.
fn number(input: &mut Vec<u8>, at: usize, random: &mut ChaCha8Rng) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|first| at + first)
    else {
        return;
    };
    let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if let Some(number) = NUMBERS.choose(random) {
        input.splice(start..start + digits, number.bytes());
    }
}

/// Writes a number of four or eight bytes, the lowest first, where one may stand.
fn binary(input: &mut [u8], at: usize, random: &mut ChaCha8Rng) {
    let width = if random.random() { 4 } else { 8 };
    // A length stands at the very beginning of most files.
    let at = if random.random_range(0..4) == 0 { 0 } else { at };
    let Some(place) = input.get_mut(at..at + width) else { return };
    let number: u64 = match random.random_range(0..6) {
        0 => 0,
        1 => u64::MAX,
        2 => 1_u64 << random.random_range(0..64),
        3 => (1_u64 << random.random_range(0..64)) - 1,
        4 => random.random_range(0..256),
        _ => u64::from_le_bytes(random.random()),
    };
    place.copy_from_slice(&number.to_le_bytes()[..width]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_its_numbers_and_no_other_is_like_it() {
        let seeds = [b"{\"rank\": 12}".to_vec(), b"[1, 2, 3]\n".to_vec()];
        let of = |series| (0..2000).map(|number| mutated(&seeds, series, number)).collect();
        let (all, again, other): (Vec<Vec<u8>>, Vec<_>, Vec<_>) = (of(0), of(0), of(7));
        assert_eq!(all, again);
        // Some inputs are so little changed that they come again.
        let same = all.iter().filter(|input| other.contains(input)).count();
        assert!(same < 1000, "{same} of 2000 are in another series");
        assert!(all.iter().all(|input| input.len() <= LONGEST));
        let mut others: Vec<_> = all.iter().filter(|input| !seeds.contains(input)).collect();
        others.sort();
        others.dedup();
        assert!(others.len() > 1300, "{} of 2000", others.len());
        let has =
            |part: &[u8]| all.iter().any(|input| input.windows(part.len()).any(|w| w == part));
        assert!(has(b"\"rank\": 18446744073709551615") && has(b"[[[[[[[[[[[[[[[["));
    }
}
