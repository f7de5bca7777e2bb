//! What a training step of a model keeps in memory, counted from shapes alone.
//!
//! A count follows a forward pass, operation by operation, and adds up what the backward pass of each keeps:
//! one for all decoders of blocks of two halves, one for all such encoders. Whoever changes what a
//! layer computes changes its count; a test compares the prediction that is made of it with the
//! measured peak of whole runs.
//!
//! Counted for f32 on the CPU backend Flex. Left out: weights, gradients and optimiser, which follow from
//! the parameters alone, and what an allocator loses to fragments.
//!
//! ```
//! use burn_lora_models::footprint::{BatchShape, Learned};
//! use burn_lora_models::{CausalConfig, ModelConfig};
//!
//! let text = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
//!     "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}"#;
//! let config = CausalConfig::from_json(text, "config.json".as_ref())?;
//! let batch = BatchShape { rows: 2, width: 8, segments: None, targets: 10 };
//! let queries = |path: &str| match path.ends_with("q_proj") {
//!     true => Learned::Factors { rank: 4, kept: 4, input: true },
//!     false => Learned::Nothing,
//! };
//! let cost = config.about().cost();
//! assert!(cost.footprint(&batch, &queries).kept > 0);
//! assert_eq!(cost.footprint(&batch, &|_| Learned::Nothing).kept, 0);
//! # Ok::<(), burn_lora_models::ModelError>(())
//! ```

mod decoder;
mod encoder;

pub(crate) use decoder::{DecoderCost, DecoderNames, HalfNorms, Norms};
pub(crate) use encoder::{EncoderCost, EncoderNames, EncoderNorms};

use crate::fused::{rows_at_once, rows_evaluated_at_once};
use crate::recompute::Recompute;

/// Tokens of a prompt that generation lets through a model at a time.
pub(crate) const PROMPT_TOKENS: usize = 256;

/// What is learned of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: it is frozen.
    Nothing,
    /// The factors of an adapter beside a linear's weight.
    Factors {
        /// Columns of A and rows of B.
        rank: usize,
        /// Values kept of each row beside the linear's input, such as its low-rank product.
        kept: usize,
        /// Whether the linear's input is kept for them; of a table, that of the head, which computes with them.
        input: bool,
    },
    /// Rows of an embedding's table, which a head that is the table follows.
    Rows,
    /// All of it.
    Whole,
}

impl Learned {
    pub(crate) fn any(self) -> bool {
        self != Self::Nothing
    }

    /// Whether the linear's input is kept.
    fn keeps_input(self) -> bool {
        match self {
            Self::Nothing | Self::Rows => false,
            Self::Factors { input, .. } => input,
            Self::Whole => true,
        }
    }

    /// Of a table: whether a head that is the table follows it.
    fn is_of_head(self) -> bool {
        matches!(self, Self::Rows | Self::Factors { input: true, .. })
    }

    /// Values kept of each of an embedding's ids: of an adapter, the rows of A that were looked up; of rows that are
    /// trained, which of them it is, and the two factors that say so.
    pub(crate) fn kept_of_ids(self) -> usize {
        match self {
            Self::Factors { kept, .. } => kept,
            Self::Rows => 3,
            Self::Nothing | Self::Whole => 0,
        }
    }
}

/// What is learned of the module at a path, such as `model.layers.0.self_attn.q_proj`.
pub type LearnedAt<'a> = dyn Fn(&str) -> Learned + 'a;

/// The size of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Rows.
    pub rows: usize,
    /// Tokens of each row, padding included.
    pub width: usize,
    /// Where rows hold several texts: how many texts there are in all, and the tokens of the longest.
    pub segments: Option<(usize, usize)>,
    /// Predictions that carry loss: tokens of a decoder, rows of a classifier.
    pub targets: usize,
}

impl BatchShape {
    /// Tokens, padding included.
    pub fn tokens(&self) -> usize {
        self.rows * self.width
    }

    /// Rows and tokens of each as attention sees them.
    pub(crate) fn attended(&self) -> (usize, usize) {
        self.segments.unwrap_or((self.rows, self.width))
    }
}

/// Bytes of one training step at its largest, beside weights, gradients and optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Kept from the forward to the backward pass by the layers.
    pub kept: u64,
    /// What the layers' backward pass makes again instead, one linear's input at a time.
    pub again: u64,
    /// Of the logits over the classes, and what is made of them.
    pub logits: u64,
    /// What exists beside `kept` for a moment, at most: in the layers, not at the logits.
    pub passing: u64,
    /// Of an evaluation, which has no backward pass, at most.
    pub evaluation: u64,
    /// What recomputing blocks changes.
    pub blocks: BlockFootprint,
}

/// The part of the blocks in what a training step keeps; of those that a gradient goes back through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockFootprint {
    /// Kept in all of them.
    pub kept: u64,
    /// Made again in all of them, instead of being kept.
    pub again: u64,
    /// Kept in the one that keeps most.
    pub largest: u64,
    /// Their inputs.
    pub inputs: u64,
}

impl Footprint {
    /// All of a training step together.
    pub fn step(&self) -> u64 {
        self.kept + self.logits.max(self.passing)
    }

    /// The same step with its blocks recomputed: their inputs are kept in place of what is in them, and in the
    /// backward pass one block is there at a time.
    #[must_use]
    pub fn recomputing(self) -> Self {
        let BlockFootprint { kept, largest, inputs, .. } = self.blocks;
        if inputs == 0 {
            return self;
        }
        // What seeds a block's backward pass is as large as its input, which both counts have.
        Self { kept: self.kept - kept + inputs, passing: self.passing + largest, ..self }
    }

    /// With the blocks recomputed, or not.
    #[must_use]
    pub fn with(self, recompute: Recompute) -> Self {
        match recompute {
            Recompute::None => self,
            Recompute::Block => self.recomputing(),
        }
    }
}

/// What training steps of a model cost, in memory and in operations, counted from its configuration.
pub trait CostModel {
    /// The footprint of a training step on a batch, given what is learned of each module.
    fn footprint(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> Footprint;

    /// Floating-point operations of attention in a training step on a batch, beside the linears'.
    fn attention_flops(&self, batch: &BatchShape) -> f64;

    /// Of those, the forward pass's.
    fn attention_forward_flops(&self, batch: &BatchShape) -> f64;

    /// Values of the queries of one token, over all layers.
    fn attention_width(&self) -> usize;

    /// How often a training step passes over what its layers keep or make again, beside its products.
    fn passes(&self) -> f64;

    /// Inputs and outputs of the product that each target goes through.
    fn head(&self) -> (usize, usize);

    /// Whether the linear at that path is the head's: it multiplies targets, not every token.
    fn is_of_head(&self, path: &str) -> bool;

    /// Bytes of writing `new` tokens after each of `rows` prompts of `prompt` tokens; 0 of a model that
    /// does not write.
    fn generating(&self, rows: usize, prompt: usize, new: usize) -> u64;
}

/// Bytes of so many f32 values.
pub(crate) fn floats(count: usize) -> u64 {
    4 * count as u64
}

/// The count of a decoder's head: logits over the vocabulary, and what is made of them.
pub(crate) struct HeadCount {
    /// Width of the residual stream.
    pub(crate) d: usize,
    pub(crate) vocabulary: usize,
    /// Whether it is the token table.
    pub(crate) tied: bool,
    /// The paths of the tables, of which one is the token table.
    pub(crate) tables: &'static [&'static str],
    /// Whether logits have a soft cap, whose slopes are there beside them.
    pub(crate) capped: bool,
}

impl HeadCount {
    /// Values in a training step: the rows that carry loss with their gradients, and the logits, those of
    /// some rows at a time, or of all where the head itself has an adapter, is trained apart from
    /// the embedding or follows what is learned of it.
    pub(crate) fn training(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> usize {
        let stream = 2 * batch.tokens() * self.d;
        let gathered = 3 * batch.targets * self.d;
        let apart = !self.tied && learned("lm_head").any();
        let follows = self.tied && self.tables.iter().any(|table| learned(table).is_of_head());
        let logits = match apart || follows {
            // Logits, their logarithms, and the gradients of both; and that of the columns which were put in place.
            true => (4 + usize::from(follows)) * batch.targets * self.vocabulary,
            false => {
                let at_once = rows_at_once(batch.targets, self.vocabulary).min(batch.targets);
                at_once * self.vocabulary * if self.capped { 2 } else { 1 }
            }
        };
        stream + gathered + logits
    }

    /// Values in an evaluation: some logits at a time, their logarithms and what is taken from them.
    pub(crate) fn evaluating(&self, batch: &BatchShape) -> usize {
        let at_once = rows_evaluated_at_once(self.vocabulary).min(batch.targets);
        2 * batch.tokens() * self.d + 4 * at_once * self.vocabulary
    }
}

/// What an activation keeps of each of its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActivationCost {
    /// Its inputs, and what is made of them on the way.
    pub(crate) kept: usize,
    /// Whether the output is made again, where what goes in has a gradient.
    pub(crate) again: bool,
}

/// What a backward pass that needs the input of a linear finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The input.
    Kept,
    /// What it is made of, which is kept anyway (`burn_lora::made_again`).
    MadeAgain,
}

impl Input {
    fn made_again(again: bool) -> Self {
        if again { Self::MadeAgain } else { Self::Kept }
    }
}

/// Counts along a forward pass: which values are tracked, and what is kept of them.
pub(crate) struct Pass<'a> {
    learned: &'a LearnedAt<'a>,
    /// Whether a gradient is wanted for the stream.
    pub(crate) tracked: bool,
    /// Values kept.
    pub(crate) kept: usize,
    /// Values made again instead.
    pub(crate) again: usize,
    /// Values of the blocks that went by.
    blocks: Blocks,
}

#[derive(Default)]
struct Blocks {
    /// Kept in them, made again in them, and kept in the one that keeps most.
    kept: usize,
    again: usize,
    largest: usize,
    /// How many of them a gradient passes.
    tracked: usize,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(learned: &'a LearnedAt<'a>) -> Self {
        Self { learned, tracked: false, kept: 0, again: 0, blocks: Blocks::default() }
    }

    /// The end of a block, before which so many values were kept, and made again.
    pub(crate) fn block_ends(&mut self, [kept, again]: [usize; 2]) {
        if self.tracked {
            let kept = self.kept - kept;
            self.blocks.kept += kept;
            self.blocks.again += self.again - again;
            self.blocks.largest = self.blocks.largest.max(kept);
            self.blocks.tracked += 1;
        }
    }

    /// What recomputing the blocks changes, of whose input there are so many values.
    pub(crate) fn blocks(&self, input: usize) -> BlockFootprint {
        let Blocks { kept, again, largest, tracked } = self.blocks;
        BlockFootprint {
            kept: floats(kept),
            again: floats(again),
            largest: floats(largest),
            inputs: floats(tracked * input),
        }
    }

    /// Keeps that many values if a gradient passes here.
    pub(crate) fn keep(&mut self, values: usize) {
        self.kept += if self.tracked { values } else { 0 };
    }

    /// Linears at `paths` that read one input of `rows` times `d_in`. It is kept once, however many of
    /// them need it again, or made again; each keeps what its kind of adapter needs beside it.
    pub(crate) fn linears(&mut self, paths: &[String], rows: usize, d_in: usize, input: Input) {
        let learned: Vec<Learned> = paths.iter().map(|path| (self.learned)(path)).collect();
        self.tracked |= learned.iter().any(|learned| learned.any());
        // A linear that is trained itself keeps its input, as it is.
        let kept = input == Input::Kept || learned.contains(&Learned::Whole);
        if learned.iter().any(|learned| learned.keeps_input()) {
            *(if kept { &mut self.kept } else { &mut self.again }) += rows * d_in;
        }
        for learned in learned {
            if let Learned::Factors { kept, .. } = learned {
                self.kept += rows * kept;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;
    use crate::families::bert::BertConfig;
    use crate::families::llama::LlamaConfig;
    use crate::registry::{CausalConfig, SequenceClassifierConfig};

    const FACTORS: Learned = Learned::Factors { rank: 4, kept: 4, input: true };
    const BATCH: BatchShape = BatchShape { rows: 2, width: 8, segments: None, targets: 10 };

    fn llama() -> LlamaConfig {
        let text = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 16,
            "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": true}"#;
        LlamaConfig::from_json(text, "config.json".as_ref()).unwrap()
    }

    /// With blocks recomputed: the inputs of those that a gradient passes, in place of what is in them.
    #[test]
    fn recomputed_blocks_keep_their_inputs() {
        let step = |learned: &LearnedAt<'_>| llama().about().cost().footprint(&BATCH, learned);
        let of_token = |bytes: u64| bytes as f64 / 4.0 / 16.0;
        let (all, again) = (step(&linears), step(&linears).recomputing());
        // 172 a layer, and the input of the last norm.
        assert_eq!(of_token(all.blocks.kept), 2.0 * 172.0);
        assert_eq!(of_token(all.blocks.largest), 172.0);
        assert_eq!(of_token(again.kept), 2.0 * 16.0 + 16.0);
        // One block, whose input is one of those, and what seeds its backward.
        assert_eq!(of_token(again.passing - all.passing), 172.0);
        assert_eq!((again.logits, again.evaluation), (all.logits, all.evaluation));
        // The blocks below the first that learns have nothing to recompute.
        let last =
            |path: &str| if path.contains("layers.1.") { linears(path) } else { Learned::Nothing };
        assert_eq!(of_token(step(&last).recomputing().kept), 16.0 + 16.0);
        // Nothing learned in blocks, nothing changed.
        let head = |path: &str| if path == "lm_head" { FACTORS } else { Learned::Nothing };
        assert_eq!(step(&head).recomputing(), step(&head));
    }

    fn kept_bytes(config: &impl ModelConfig, batch: &BatchShape, learned: &LearnedAt<'_>) -> u64 {
        config.about().cost().footprint(batch, learned).kept
    }

    /// Values kept for each of the sixteen tokens, with what is learned of the linears.
    fn kept(learned: &LearnedAt<'_>) -> f64 {
        kept_bytes(&llama(), &BATCH, learned) as f64 / 4.0 / 16.0
    }

    fn linears(path: &str) -> Learned {
        if path.ends_with("_proj") { FACTORS } else { Learned::Nothing }
    }

    #[test]
    fn a_decoders_layer_keeps_what_its_operations_need_again() {
        // Both norms' inputs 32, q, k and v 32, what attention gives 16, gate and up 64, seven low-rank products 28: 172 a layer.
        // Nothing is learned below the first norm, so that its output is kept in place of its input. The input of the last norm.
        assert_eq!(kept(&linears), 2.0 * 172.0 + 16.0);
        // What the other norms give, and the products of gate and up.
        let again = llama().about().cost().footprint(&BATCH, &linears).again;
        assert_eq!(again as f64 / 4.0 / 16.0, 3.0 * 16.0 + 2.0 * 32.0);
        // Where only the last layer learns, the first keeps nothing.
        let last =
            |path: &str| if path.contains("layers.1.") { linears(path) } else { Learned::Nothing };
        assert_eq!(kept(&last), 172.0 + 16.0);
        // Queries alone: their input and product in the first layer, and what a gradient passes on its
        // way to them: no input of another linear. In the second layer that of the norm before them.
        let queries = |path: &str| match path.ends_with("q_proj") {
            true => FACTORS,
            false => Learned::Nothing,
        };
        let first = 16.0 + 4.0 + 32.0 + 16.0 + 64.0;
        assert_eq!(kept(&queries), 2.0 * first + 16.0);
        // Whatever else a kind of adapter keeps is kept of each of seven linears.
        let more = |path: &str| match linears(path) {
            Learned::Factors { rank, kept, input } => {
                Learned::Factors { rank, kept: kept + 10, input }
            }
            learned => learned,
        };
        assert_eq!(kept(&more) - kept(&linears), 2.0 * 7.0 * 10.0);
        // A kind that needs no input leaves out those of the linears that are not made again: 16 a layer, and 16 that the first norm gives.
        // One linear beside them that needs its own keeps that of queries, keys and values.
        let without = |path: &str| match linears(path) {
            Learned::Factors { rank, kept, .. } => Learned::Factors { rank, kept, input: false },
            learned => learned,
        };
        assert_eq!(kept(&linears) - kept(&without), 2.0 * 16.0 + 16.0);
        let beside = |path: &str| if path.ends_with("v_proj") { FACTORS } else { without(path) };
        assert_eq!(kept(&beside) - kept(&without), 16.0);
        // Everything: nothing is made again, the embedding's gradient passes the first norm, and there are no factors.
        assert_eq!(kept(&|_| Learned::Whole), 2.0 * (236.0 - 28.0) + 16.0);
    }

    /// The two families of plain decoders, at the same sizes.
    fn plain(model_type: &str) -> CausalConfig {
        let text = format!(
            r#"{{"model_type": "{model_type}", "vocab_size": 64, "n_layer": 2, "n_head": 4,
                "n_positions": 32, "n_embd": 16, "hidden_size": 16, "attn_pdrop": 0.5,
                "embd_pdrop": 0.5, "resid_pdrop": 0.5, "attention_dropout": 0.5,
                "hidden_dropout": 0.5}}"#
        );
        CausalConfig::from_json(&text, "config.json".as_ref()).unwrap()
    }

    fn plain_kept(config: &CausalConfig, learned: &LearnedAt<'_>) -> f64 {
        kept_bytes(config, &BATCH, learned) as f64 / 4.0 / 16.0
    }

    #[test]
    fn a_plain_decoders_layer_keeps_what_its_operations_need_again() {
        let [gpt2, bloom] = ["gpt2", "bloom"].map(plain);
        // Inputs of three linears 48, queries, keys and values 48, GELU's input 64, four low-rank
        // products 16: 176 a layer, and the norms' 16 each, of which the first sees no gradient.
        let gpt2_linears = |path: &str| match path.contains(".c_") {
            true => FACTORS,
            false => Learned::Nothing,
        };
        let bloom_linears = |path: &str| match path.contains("dense") || path.contains("query") {
            true => FACTORS,
            false => Learned::Nothing,
        };
        let kept = 2.0 * 176.0 + 4.0 * 16.0;
        assert_eq!(plain_kept(&gpt2, &gpt2_linears), kept);
        assert_eq!(plain_kept(&bloom, &bloom_linears), kept);
        // Everything: the first norm's, and all that were divided; BLOOM's has one norm more.
        let whole = |_: &str| Learned::Whole;
        assert_eq!(plain_kept(&gpt2, &whole), 2.0 * (240.0 - 16.0) + 5.0 * 32.0);
        assert_eq!(plain_kept(&bloom, &whole), 2.0 * (240.0 - 16.0) + 6.0 * 32.0);
        // Dropout's masks: of both outputs of a layer; of the probabilities, which then are kept too.
        let more = |config: CausalConfig, learned: &LearnedAt<'_>| {
            plain_kept(&config.clone().with_dropout(), learned) - plain_kept(&config, learned)
        };
        let masks = 2.0 * (2.0 * 16.0 + 3.0 * 4.0 * 8.0);
        assert_eq!(more(gpt2, &gpt2_linears), masks);
        assert_eq!(more(bloom, &bloom_linears), masks);
    }

    #[test]
    fn described_decoders_keep_what_tells_them_from_llama() {
        let kept = |model_type: &str| {
            let text = format!(
                r#"{{"model_type": "{model_type}", "vocab_size": 64, "hidden_size": 16,
                    "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                    "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 32}}"#
            );
            let config = CausalConfig::from_json(&text, "config.json".as_ref()).unwrap();
            plain_kept(&config, &linears)
        };
        assert_eq!(kept("smollm3"), 2.0 * 172.0 + 16.0);
        // GELU of the gate is made again.
        assert_eq!(kept("gemma"), 2.0 * 172.0 + 16.0);
        // The inputs of two norms more.
        assert_eq!(kept("gemma2"), 2.0 * (172.0 + 32.0) + 16.0);
        // And those of queries and keys.
        assert_eq!(kept("gemma3_text"), 2.0 * (172.0 + 32.0 + 24.0) + 16.0);
        // Norms after, whose inputs are kept, and the stream that goes into linears; and those of queries and keys.
        assert_eq!(kept("olmo2"), 2.0 * (172.0 + 32.0 + 24.0) + 16.0);
        // Four low-rank products in place of seven.
        assert_eq!(kept("phi3"), 2.0 * (172.0 - 3.0 * 4.0) + 16.0);
    }

    #[test]
    fn packed_texts_take_what_they_are_padded_to_in_attention() {
        let packed = BatchShape { segments: Some((6, 4)), ..BATCH };
        let more = kept_bytes(&llama(), &packed, &linears) - kept_bytes(&llama(), &BATCH, &linears);
        // Six texts of four instead of two of eight: eight more tokens of q, k and v in both layers.
        assert_eq!(more, 4 * 2 * 8 * 32);
    }

    #[test]
    fn an_encoders_layer_keeps_what_its_operations_need_again() {
        let text = r#"{"model_type": "bert", "vocab_size": 64, "hidden_size": 16,
            "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "max_position_embeddings": 32, "hidden_act": "gelu"}"#;
        let config = BertConfig::from_json(text, "config.json".as_ref()).unwrap();
        let learned = |path: &str| match path.ends_with("query") || path.ends_with("dense") {
            true => FACTORS,
            false => Learned::Nothing,
        };
        // Inputs of the learning linears 64, GELU's 32, q, k and v 48, two norms 32, four low-rank
        // products 16, of every token; exponentials and probabilities of every head.
        // The wide product's output is the input of a learning linear: counted with it.
        let of_tokens = 16 * (16 + 16 + 16 + 32 + 32 + 48 + 32 + 16);
        let of_scores = 2 * (2 * 2 * 8 * 8);
        let kept = kept_bytes(&config, &BATCH, &learned);
        assert_eq!(kept, 4 * (of_tokens + of_scores));
        // Its own dropout keeps masks: of the probabilities, and of both outputs; nothing learns below the
        // embeddings' one.
        let dropping = kept_bytes(&config.with_dropout(), &BATCH, &learned);
        let masks = 2 * 2 * 8 * 8 + 2 * 16 * 16;
        assert_eq!(dropping - kept, 4 * masks);
    }

    /// The same sizes: DistilBERT keeps what BERT does, ModernBERT what its gated unit needs too.
    #[test]
    fn other_encoders_keep_what_tells_them_from_bert() {
        let config = |text: &str| {
            let text = format!(r#"{{"vocab_size": 64, "max_position_embeddings": 32, {text}}}"#);
            SequenceClassifierConfig::from_json(&text, "config.json".as_ref()).unwrap()
        };
        let distilbert = config(
            r#""model_type": "distilbert", "dim": 16, "hidden_dim": 32, "n_layers": 1, "n_heads": 2"#,
        );
        let modernbert = config(
            r#""model_type": "modernbert", "hidden_size": 16, "intermediate_size": 32,
                "num_hidden_layers": 2, "num_attention_heads": 2, "attention_dropout": 0.5,
                "mlp_dropout": 0.5"#,
        );
        let all = |path: &str| match path.contains("_lin")
            || path.contains("ffn.lin")
            || path.contains(".W")
        {
            true => FACTORS,
            false => Learned::Nothing,
        };
        let of_scores = 2 * (2 * 2 * 8 * 8);
        // Inputs of six linears in four 80 and GELU's 32, q, k and v 48, two norms 32, six low-rank products 24.
        let kept = kept_bytes(&distilbert, &BATCH, &all);
        assert_eq!(kept, 4 * (16 * (16 + 16 + 16 + 32 + 32 + 48 + 32 + 24) + of_scores));
        // Its own dropout: of the probabilities and of one output.
        let dropping = kept_bytes(&distilbert.with_dropout(), &BATCH, &all);
        assert_eq!(dropping - kept, 4 * (2 * 2 * 8 * 8 + 16 * 16));
        // Inputs of three linears 48, gate, its GELU and what it gates 96, q, k and v 48, four low-rank products 16 and
        // the gated unit's norm 16; the second layer's other norm, and the last.
        let kept = kept_bytes(&modernbert, &BATCH, &all);
        let of_layer = 16 * (16 + 16 + 16 + 96 + 48 + 16 + 16) + of_scores;
        assert_eq!(kept, 4 * (2 * of_layer + 2 * 16 * 16));
        // Of probabilities, of what attention adds and of what goes into the last linear, which then is kept.
        let dropping = kept_bytes(&modernbert.with_dropout(), &BATCH, &all);
        assert_eq!(dropping - kept, 4 * 2 * (2 * 2 * 8 * 8 + 16 * 16 + 2 * 16 * 32));
    }
}
