//! The sizes that every such decoder has, as its `config.json` states them, and what is wrong with them.

use crate::config::Problems;

/// Sizes of a decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: usize,
    /// As it is stated, or as it is of the family; none where heads share out the residual stream.
    pub(crate) head_dim: Option<usize>,
    pub(crate) max_position_embeddings: usize,
}

impl Sizes {
    /// Width of a head.
    pub(crate) fn head_dim(self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Tells what is wrong; whether there are so few of everything that a blueprint can be made.
    pub(crate) fn check(self, problems: &mut Problems) -> bool {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        problems.blocks("num_hidden_layers", self.num_hidden_layers);
        problems.sizes([
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
        ]);
        // No table is made of all of them.
        problems.at_least_one([("max_position_embeddings", self.max_position_embeddings)]);
        if !problems.is_empty() {
            return false;
        }
        problems.shared_out(("num_attention_heads", heads), ("num_key_value_heads", kv_heads), "");
        if self.head_dim.is_none() {
            problems.shared_out(
                ("hidden_size", self.hidden_size),
                ("num_attention_heads", heads),
                " and there is no `head_dim`",
            );
        }
        let head_dim = self.head_dim();
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            problems.add(format!(
                "the width of a head is {head_dim}: rotary positions need an even one"
            ));
        }
        problems.heads(("num_attention_heads", heads), head_dim);
        true
    }
}
