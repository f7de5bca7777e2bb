//! The cost of a training step, of a decoder's blueprint.

use super::blueprint::{Blueprint, GatedNorms, HeadNorms};
use crate::dropout::Dropouts;
use crate::footprint::{DecoderCost, DecoderNames, HalfNorms, Norms};

impl Blueprint {
    /// By what training steps with that dropout are counted.
    pub(crate) fn cost(&self, dropouts: Dropouts) -> DecoderCost {
        DecoderCost {
            d: self.d,
            inner: self.inner,
            n_layers: self.layers.len(),
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            activation: self.gate.cost(),
            head_norms: self.head_norms != HeadNorms::None,
            norms: Norms::Fused,
            vocabulary: self.vocab_size,
            context: Some(self.context),
            tied: self.tied,
            capped: self.logit_cap.is_some(),
            dropouts,
            names: self.names(),
        }
    }

    fn names(&self) -> DecoderNames {
        let half = |before, after| HalfNorms { before, after };
        let (input, post) = (Some("input_layernorm"), Some("post_attention_layernorm"));
        let last = Some("post_feedforward_layernorm");
        DecoderNames {
            tables: &["model.embed_tokens"],
            embedding_norm: None,
            blocks: "model.layers",
            norms: match self.norms {
                GatedNorms::Before => [half(input, None), half(post, None)],
                GatedNorms::After => [half(None, post), half(None, last)],
                GatedNorms::Around => {
                    [half(input, post), half(Some("pre_feedforward_layernorm"), last)]
                }
            },
            attention: match self.fused {
                true => &["self_attn.qkv_proj"],
                false => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            },
            attention_out: "self_attn.o_proj",
            activation: match self.fused {
                true => &["mlp.gate_up_proj"],
                false => &["mlp.gate_proj", "mlp.up_proj"],
            },
            activation_out: "mlp.down_proj",
            last_norm: "model.norm",
        }
    }
}
