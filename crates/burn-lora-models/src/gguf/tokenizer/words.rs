//! A tokenizer of a handful of tokens, for the tests.

use super::super::writer::Writer;

/// Ġ is a space in a byte-level vocabulary, Ã© an é.
pub(in crate::gguf) const TOKENS: [&str; 16] = [
    "<|end|>",
    "<|start|>",
    "<think>",
    "a",
    "b",
    "c",
    "Ġ",
    "1",
    "2",
    "Ã",
    "©",
    "ab",
    "Ġa",
    "12",
    "Ã©",
    "[PAD15]",
];
/// Control, control, user-defined, normal …, unused.
const TYPES: [i32; 16] = [3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5];
pub(in crate::gguf) const MERGES: [&str; 4] = ["a b", "Ġ a", "1 2", "Ã ©"];

pub(in crate::gguf) fn tokenizer(pre: &str) -> Writer {
    Writer::new()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &TOKENS)
        .i32s("tokenizer.ggml.token_type", &TYPES)
        .texts("tokenizer.ggml.merges", &MERGES)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 0)
}
