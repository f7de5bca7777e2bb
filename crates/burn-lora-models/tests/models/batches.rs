//! Rows that share a model join and leave as they end, and none of them shows in another.

use std::collections::HashSet;
use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData};
use burn_lora_models::generate::{
    End, GenerateOptions, Generated, Sampling, Told, generate, generate_told,
};
use burn_lora_models::{CausalConfig, CausalLm, Decoder, KvCache, Model, ModelConfig};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{device, floats};

const VOCABULARY: usize = 211;

/// Rotary positions with keys shared by three heads, windows and soft caps, windows with positions of their own, a part of each head that turns, learned
/// positions, and ALiBi of heads that are no power of two. Widths fill no vector. Weights large enough that texts do
/// not repeat one token.
const FAMILIES: [(&str, &str); 6] = [
    (
        "llama",
        r#"{"model_type": "llama", "vocab_size": 211, "hidden_size": 48, "intermediate_size": 100,
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
            "max_position_embeddings": 700, "tie_word_embeddings": true, "initializer_range": 0.3}"#,
    ),
    (
        "gemma2",
        r#"{"model_type": "gemma2", "vocab_size": 211, "hidden_size": 48, "intermediate_size": 100,
            "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
            "max_position_embeddings": 700, "initializer_range": 0.3, "sliding_window": 9,
            "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0,
            "query_pre_attn_scalar": 12, "tie_word_embeddings": false}"#,
    ),
    (
        "gemma3_text",
        r#"{"model_type": "gemma3_text", "vocab_size": 211, "hidden_size": 48, "intermediate_size": 100,
            "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
            "max_position_embeddings": 700, "initializer_range": 0.3, "sliding_window": 9,
            "sliding_window_pattern": 2, "query_pre_attn_scalar": 12, "tie_word_embeddings": false}"#,
    ),
    (
        "gpt_neox",
        r#"{"model_type": "gpt_neox", "vocab_size": 211, "hidden_size": 36, "num_attention_heads": 3,
            "intermediate_size": 100, "num_hidden_layers": 2, "max_position_embeddings": 700,
            "rotary_pct": 0.5, "initializer_range": 0.8}"#,
    ),
    (
        "gpt2",
        r#"{"model_type": "gpt2", "vocab_size": 211, "n_embd": 36, "n_head": 3, "n_layer": 2,
            "n_positions": 700, "initializer_range": 0.3}"#,
    ),
    (
        "bloom",
        r#"{"model_type": "bloom", "vocab_size": 211, "hidden_size": 36, "n_head": 3, "n_layer": 2,
            "initializer_range": 0.3}"#,
    ),
];

fn model(json: &str) -> CausalLm {
    let config = CausalConfig::from_json(json, "config.json".as_ref()).unwrap();
    CausalLm::random(&config, 3, &device()).unwrap()
}

/// Prompts of these lengths.
fn prompts(lengths: &[usize], seed: u64) -> Vec<Vec<u32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut prompt =
        |&length: &usize| (0..length).map(|_| rng.random_range(0..VOCABULARY as u32)).collect();
    lengths.iter().map(&mut prompt).collect()
}

fn written(model: &CausalLm, prompts: &[Vec<u32>], options: &GenerateOptions) -> Vec<Generated> {
    generate(model, prompts, options, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

/// Each row with the index that its draws are keyed by, and nobody beside it.
fn alone(model: &CausalLm, prompts: &[Vec<u32>], options: &GenerateOptions) -> Vec<Generated> {
    written(model, prompts, &GenerateOptions { rows: 1, ..options.clone() })
}

/// Rows of different lengths, that end at one token in nine, or after twenty.
fn options(sampling: Sampling) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: 20,
        sampling,
        stop: (0..VOCABULARY as u32).step_by(9).collect(),
        ..Default::default()
    }
}

#[test]
fn texts_are_the_same_whatever_the_number_of_rows() {
    // One prompt goes through the model in pieces.
    let lengths: Vec<usize> = (0..37).map(|row| 1 + row * 7 % 23).chain([600, 2]).collect();
    let prompts = prompts(&lengths, 1);
    for (family, json) in FAMILIES {
        let model = model(json);
        let warm = Sampling { temperature: 1.0, top_p: Some(0.9), seed: 5, ..Default::default() };
        for sampling in [Sampling::default(), warm] {
            let options = options(sampling);
            let expected = alone(&model, &prompts, &options);
            let ends = |is: fn(&End) -> bool| expected.iter().any(|row| is(&row.end));
            assert!(ends(|end| matches!(end, End::Stop(_))), "{family}: none stops");
            let lengths: HashSet<usize> = expected.iter().map(|row| row.ids.len()).collect();
            assert!(lengths.len() > 5, "{family}: rows end alike, {lengths:?}");
            for rows in [3, 16, 100] {
                let got = written(&model, &prompts, &GenerateOptions { rows, ..options.clone() });
                assert_eq!(got, expected, "{family}, {rows} rows");
            }
        }
    }
}

#[test]
fn what_a_row_is_given_does_not_depend_by_a_bit_on_its_neighbours() {
    let prompts = prompts(&[5, 17, 1, 40, 8, 3, 30, 2, 9, 9, 21, 4, 6, 11, 2, 16], 2);
    let ids = |rows: &[&[u32]]| {
        let ids: Vec<i32> = rows.concat().iter().map(|&id| id as i32).collect();
        let data = TensorData::new(ids, [rows.len(), rows[0].len()]);
        Tensor::<2, Int>::from_data(data, &device())
    };
    let bits = |model: &CausalLm, hidden: Tensor<3>| -> Vec<u32> {
        floats(model.logits(hidden)).into_iter().map(f32::to_bits).collect()
    };
    for (family, json) in FAMILIES {
        let model = model(json);
        let next: Vec<[u32; 1]> = (0..16).map(|row| [40 + row]).collect();
        let mut cache = KvCache::with_slots(16, 100);
        let mut expected = Vec::new();
        for (slot, (prompt, next)) in prompts.iter().zip(&next).enumerate() {
            let mut single = KvCache::new();
            model.hidden(ids(&[prompt]), &[prompt.len()], Some(&mut single));
            let hidden = model.hidden(ids(&[next]), &[1], Some(&mut single));
            expected.push(bits(&model, hidden));
            cache.select(slot..slot + 1);
            model.hidden(ids(&[prompt]), &[prompt.len()], Some(&mut cache));
        }
        for slots in [0..16, 3..4, 1..7] {
            let mut cache = cache.clone();
            cache.select(slots.clone());
            let rows: Vec<&[u32]> = next[slots.clone()].iter().map(|id| &id[..]).collect();
            let lengths = vec![1; rows.len()];
            let hidden = model.hidden(ids(&rows), &lengths, Some(&mut cache));
            let expected = expected[slots.clone()].concat();
            assert_eq!(bits(&model, hidden), expected, "{family}, slots {slots:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever their lengths and ends, rows begin in order, no more than told run at a time, each ends once,
    /// and every slot is taken while a prompt waits.
    #[test]
    fn rows_join_and_leave_in_order(
        lengths in prop::collection::vec(1_usize..9, 1..14),
        rows in 1_usize..6,
        new in 0_usize..9,
        every in 2_usize..40,
        seed in 0_u64..1000,
    ) {
        let (model, prompts) = (model(FAMILIES[0].1), prompts(&lengths, seed));
        let stop: Vec<u32> = (0..VOCABULARY as u32).step_by(every).collect();
        let options =
            GenerateOptions { max_new_tokens: new, stop, rows, ..Default::default() };
        let expected = alone(&model, &prompts, &options);
        let mut told = Vec::new();
        let got = generate_told(&model, &prompts, &options, &mut |event| {
            told.push(event);
            ControlFlow::Continue(())
        })
        .unwrap();
        prop_assert_eq!(&got, &expected);

        let (mut begun, mut running) = (0, HashSet::new());
        let mut ids = vec![Vec::new(); prompts.len()];
        let mut ended = vec![None; prompts.len()];
        // Rows that had their token in the step that is under way.
        let mut stepped = HashSet::new();
        for event in told {
            let (Told::Token { row, .. } | Told::End { row, .. }) = event;
            // These follow a token of the same row.
            let follows = matches!(event, Told::End { end: End::Length | End::Context, .. });
            if row == begun {
                begun += 1;
                running.insert(row);
                stepped.clear();
            } else if !follows {
                if stepped.is_empty() || stepped.contains(&row) {
                    stepped.clear();
                    let none_waits = begun == prompts.len();
                    prop_assert!(running.len() == rows || none_waits, "a slot is free in a step");
                }
                stepped.insert(row);
            }
            prop_assert!(running.contains(&row), "row {} out of order", row);
            prop_assert!(running.len() <= rows);
            match event {
                Told::Token { row, token } => ids[row].push(token),
                Told::End { row, end } => {
                    running.remove(&row);
                    prop_assert!(ended[row].replace(end).is_none(), "row {} ends twice", row);
                }
            }
        }
        for (row, output) in got.iter().enumerate() {
            prop_assert_eq!(&output.ids, &ids[row]);
            prop_assert_eq!(Some(output.end), ended[row]);
        }
    }
}
