use proptest::prelude::*;

use super::super::super::dequantize::dequantize;
use super::*;

/// Sixteen blocks of 256: around zero; positive and tiny, so that scales fall below what half precision
/// has; far from zero; with groups of zeros and outliers; all zero; all the same. Every operation is exact or one
/// of single precision, so that any language has the same numbers.
fn inputs() -> Vec<f32> {
    let mut state = 1_u32;
    let mut numbers = Vec::new();
    for block in 0..16_i32 {
        for i in 0..256 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (state >> 8) as f32 / 16_777_216.0 - 0.5;
            let number = unit * 2.0_f32.powi(block - 8);
            numbers.push(match (block, block % 4) {
                (12, _) => 0.0,
                (13, _) => -0.375,
                (_, 1) => number * number,
                (_, 2) => number + 2.0_f32.powi(block - 7),
                (_, 3) if i / 32 % 3 == 1 => 0.0,
                (_, 3) if i % 32 == 7 => number * 16.0,
                _ => number,
            });
        }
    }
    numbers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first block and a hash of all of them, as ggml's own functions make them (`ggml-quants.c` of ggml at
/// d99724f2, compiled without fused multiplications). The package gguf 0.19.0 makes the same of Q8_0, Q4_0 and Q5_0.
#[test]
fn blocks_are_those_of_the_reference_to_the_bit() {
    for (ggml_type, first, all) in [
        (
            GgmlType::Q8_0,
            "fa00bbde01368ade480f8125beec1859ba7e5fd33008b5988fd09f3616e0c24271ab",
            0x341f_3875_469c_186a_u64,
        ),
        (GgmlType::Q4_0, "bc0be456b89b31161d5920ba94674acef43f", 0xda3b_c6ef_ec94_4153),
        (GgmlType::Q5_0, "bc07ccb20d66c7ac6017713c29a2407538cd838be75f", 0x0253_672e_1bcd_082e),
        (
            GgmlType::Q4_K,
            "49000802fefbfafffcfcfdfebccafc2453f5678a70f5dba8e0e92356a82c732e9cd45a07e331c104520a58\
             25c36b2d929cbe6070cf4c07569a1f4b3736b27e9b8ae97841e6a89e658c24dece06368500a8a78676600a\
             ae1bd7ac9579be34ab586892b0c8fcc140de13a404163bb443a14d363c062951e9b517b290824ec6597825\
             579ea154bc9797cbcdf7caf349823f",
            0x0137_0475_7a9a_20a4,
        ),
        (
            GgmlType::Q6_K,
            "df37f0fe02c732745019101b66765e0f955d322eb54def5d3c11cae9b2bd6008ab00c70d62200762a25037\
             e90416017656f9f530feee86d07872d65705ca490774be6dac803c6e40f0740669bf937306d50820c4f7d4\
             111ffe74425c51958f05bdfc32ff48900ec4a9ca68dfbeaf8cf61888ae5c801b8d88ecd60fcd25afdd0588\
             c17ab6c841236690025d2966ff889fa8ee6541dfa3bf52b711f5f21f14900bba99f9d5e4822b13de0b4946\
             bb11ab66eaa44072a34068630c052d1d3f9178c4846e7b857c86808384868677847a6c7c0880",
            0xf636_3567_43e6_3917,
        ),
    ] {
        let blocks = quantize(ggml_type, &inputs());
        assert_eq!(hex(&blocks[..ggml_type.block_bytes()]), first, "{ggml_type}");
        // FNV-1a.
        let hash = blocks.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        assert_eq!(hash, all, "{ggml_type}");
    }
}

fn read_back(ggml_type: GgmlType, values: &[f32]) -> Vec<f32> {
    let mut floats = vec![0.0; values.len()];
    dequantize(ggml_type, &quantize(ggml_type, values), &mut floats);
    floats
}

/// How far a number of 256 may be from its block's, in f64: in units of the step that the block's widest
/// group needs.
///
/// Rounding takes half a step. Q4_0 and Q5_0 make the largest number the end of their range, so that one as
/// large on the other side is a whole step off. In the K types the searched scale may leave the
/// ends of a group's range out by up to a step, and a group's scale and least value in six or eight bits are off by
/// up to 1/126 of the largest, fifteen steps of it each: a quarter of a step. Half precision of the scale
/// itself adds 2^-11 of the largest number, or 2^-25 a step where it is below its normal range.
fn allowed(ggml_type: GgmlType, values: &[f32]) -> f64 {
    let largest = values.iter().fold(0.0, |a: f64, &b| a.max(f64::from(b).abs()));
    let range = |group: &[f32]| {
        let ends = group
            .iter()
            .fold((0.0_f64, 0.0_f64), |(low, high), &x| (low.min(x.into()), high.max(x.into())));
        ends.1 - ends.0
    };
    let (steps, step, levels) = match ggml_type {
        GgmlType::Q8_0 => (0.5, largest / 127.0, 127.0),
        GgmlType::Q4_0 => (1.0, largest / 8.0, 8.0),
        GgmlType::Q5_0 => (1.0, largest / 16.0, 16.0),
        GgmlType::Q4_K => (1.5, values.chunks(32).map(range).fold(0.0, f64::max) / 15.0, 2048.0),
        _ => (1.5, largest / 32.0, 4096.0),
    };
    steps * step + largest / 2048.0 + levels * 2.0_f64.powi(-25) + 1e-6 * largest
}

fn blocks() -> impl Strategy<Value = Vec<f32>> {
    let number = prop_oneof![8 => -1.0..1.0_f32, 1 => Just(0.0), 1 => -20.0..20.0_f32];
    let shape = (-14..14_i32, -2.0..2.0_f32);
    (prop::collection::vec(number, 256), shape).prop_map(|(numbers, (power, offset))| {
        numbers.into_iter().map(|x| (x + offset) * 2.0_f32.powi(power)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_read_is_what_was_written_within_a_blocks_step(values in blocks()) {
        for ggml_type in
            [GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q5_0, GgmlType::Q4_K, GgmlType::Q6_K]
        {
            let len = ggml_type.block_len();
            let found = read_back(ggml_type, &values);
            for (values, found) in values.chunks(len).zip(found.chunks(len)) {
                let allowed = allowed(ggml_type, values);
                for (value, found) in values.iter().zip(found) {
                    let apart = (f64::from(*value) - f64::from(*found)).abs();
                    prop_assert!(apart <= allowed, "{ggml_type}: {value} is {found}, {allowed}");
                }
            }
        }
        for ggml_type in [GgmlType::F16, GgmlType::BF16, GgmlType::F32] {
            for (value, found) in values.iter().zip(read_back(ggml_type, &values)) {
                let expected = match ggml_type {
                    GgmlType::F16 => f16::from_f32(*value).to_f32(),
                    GgmlType::BF16 => bf16::from_f32(*value).to_f32(),
                    _ => *value,
                };
                prop_assert_eq!(found, expected);
            }
        }
    }

    /// The error that is minimised, in f64, against that of the scale that the group's ends alone give.
    #[test]
    fn a_searched_scale_is_no_worse_than_that_of_least_and_largest(values in blocks()) {
        let x = &values[..32];
        let weights: Vec<f32> = x.iter().map(|x| 0.1 + x.abs()).collect();
        let mut q = [0; 32];
        let (scale, least) = k::search(x, &weights, &mut q);
        let error = |scale: f64, least: f64, q: &[u8]| -> f64 {
            let numbers = x.iter().zip(&weights).zip(q);
            numbers
                .map(|((&x, &w), &q)| {
                    f64::from(w) * (scale * f64::from(q) - least - f64::from(x)).powi(2)
                })
                .sum()
        };
        let min = x.iter().fold(0.0_f32, |a, &b| a.min(b));
        let max = x.iter().fold(f32::MIN, |a, &b| a.max(b));
        let naive = (max - min) / 15.0;
        let rounded: Vec<u8> =
            x.iter().map(|x| ((x - min) / naive).round_ties_even().clamp(0.0, 15.0) as u8).collect();
        let found = error(scale.into(), least.into(), &q);
        let naive = error(naive.into(), (-min).into(), &rounded);
        // Errors were compared in single precision.
        prop_assert!(found <= naive * (1.0 + 1e-4) + 1e-12, "{found} and {naive}");
    }
}

#[test]
fn numbers_beyond_a_type_are_told() {
    for (ggml_type, largest, beyond) in [
        (GgmlType::F32, f32::MAX, f32::INFINITY),
        (GgmlType::F16, 65_504.0, 65_520.0),
        (GgmlType::BF16, 3.38e38, f32::MAX),
        (GgmlType::Q8_0, 524_032.0, 524_040.0),
        (GgmlType::Q4_0, -524_032.0, -524_040.0),
        (GgmlType::Q4_K, 524_032.0, f32::NAN),
    ] {
        assert!(holds(ggml_type, largest), "{ggml_type} {largest}");
        assert!(!holds(ggml_type, beyond), "{ggml_type} {beyond}");
        if ggml_type.block_len() > 1 {
            let values = vec![largest; 256];
            assert!(read_back(ggml_type, &values).iter().all(|value| value.is_finite()));
        }
    }
}
