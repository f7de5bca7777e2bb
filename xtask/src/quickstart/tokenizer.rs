//! `cargo xtask quickstart tokenizer`: a byte-level BPE trained on the pre-training rows.
//!
//! Copying a slot from the sentence into the call should be copying tokens. A word carries its space
//! (` plants`), as in GPT-2, and would be other tokens right after a quotation mark; so the normaliser
//! puts a space behind every `":"`, and the decoder takes it away. Text that has `":" ` itself loses
//! that one space. Numbers are cut into pairs of digits, without their space.

use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::{NormalizerWrapper, Replace};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, DecoderWrapper, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder};

use super::row::Row;
use super::{QuickstartError, sets, write};

/// Number of tokens of the committed tokenizer.
pub const VOCABULARY: usize = 2048;
const WORDS: &str = r" ?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s";
/// Stands before every string of a call, and what it is read as.
const VALUE: &str = "\":\"";
const SPACED_VALUE: &str = "\":\" ";
const END: &str = "<|endoftext|>";
const PAD: &str = "<|pad|>";
const SPECIAL: [&str; 4] = [END, PAD, "<|im_start|>", "<|im_end|>"];
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
     + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Trains the tokenizer and writes `tokenizer.json`, `tokenizer_config.json` and
/// `special_tokens_map.json`.
pub fn run(out: &Path, seed: u64, vocabulary: usize) -> Result<(), QuickstartError> {
    let rows = sets::pretraining(seed, sets::PRETRAINING_ROWS)?.train;
    let tokenizer = train(&rows, vocabulary)?;
    write(&out.join("tokenizer.json"), tokenizer.to_string(true)?.as_bytes())?;
    let special = serde_json::json!({ "eos_token": END, "pad_token": PAD });
    write(&out.join("special_tokens_map.json"), pretty(&special).as_bytes())?;
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": &SPECIAL[2..],
        "clean_up_tokenization_spaces": false,
        "model_max_length": 256,
        "chat_template": CHAT_TEMPLATE,
    });
    write(&out.join("tokenizer_config.json"), pretty(&config).as_bytes())
}

fn train(rows: &[Row], vocabulary: usize) -> Result<Tokenizer, QuickstartError> {
    let split =
        Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::new(false, true, false);
    let mut tokenizer = TokenizerBuilder::<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new()
    .with_model(BPE::default())
    .with_normalizer(Some(Replace::new(VALUE, SPACED_VALUE)?.into()))
    .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()]).into()))
    .with_decoder(Some(
        Decoders::new(vec![bytes.into(), Replace::new(SPACED_VALUE, VALUE)?.into()]).into(),
    ))
    .build()?;
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocabulary)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect())
        .build();
    tokenizer.train(
        &mut trainer,
        rows.iter().map(|row| format!("{}\n{}", row.prompt, row.completion)),
    )?;
    Ok(tokenizer.into())
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Tokenizer {
        train(&sets::pretraining(3, (2_000, 0)).unwrap().train, 800).unwrap()
    }

    #[test]
    fn the_same_rows_give_the_same_tokenizer() {
        assert_eq!(small().to_string(false).unwrap(), small().to_string(false).unwrap());
    }

    #[test]
    fn any_text_comes_back_and_slots_are_the_same_tokens_in_the_call() {
        let tokenizer = small();
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        let text = "Réserve  4 seats,\n{\"seat_count\":4,\"to\":\"x\"} für \"Ωmega\" 🦀";
        assert_eq!(tokenizer.decode(&ids(text), false).unwrap(), text);
        let slot = ids(" Tavorin 407");
        for around in ["fly to Tavorin 407 now", "{\"to\":\"Tavorin 407\"}"] {
            assert!(ids(around).windows(slot.len()).any(|window| window == slot), "{around}");
        }
        assert!(ids("4071").len() >= 2, "at most two digits share a token");
    }

    #[test]
    fn the_special_tokens_come_first_and_are_one_token_each() {
        let tokenizer = small();
        for (id, token) in SPECIAL.iter().enumerate() {
            assert_eq!(tokenizer.encode(*token, false).unwrap().get_ids(), [id as u32]);
        }
    }

    #[test]
    fn the_committed_tokenizer_is_that_of_the_generator() {
        let rows = sets::pretraining(sets::SEED, sets::PRETRAINING_ROWS).unwrap().train;
        let committed = include_str!("../../../datasets/quickstart/model/tokenizer.json");
        assert!(
            train(&rows, VOCABULARY).unwrap().to_string(true).unwrap() == committed,
            "run `cargo xtask quickstart tokenizer`"
        );
    }
}
