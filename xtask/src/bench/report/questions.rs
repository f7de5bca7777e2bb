//! The questions of the report, in order. A new one is an entry here.

use burn_lora_report::plot::Scale::{Linear, Log2, Log10};
use burn_lora_report::plot::Stroke::{Dots, LineAndDots};

use super::figure::Figure as F;
use super::question::{Base, Plot, Question};
use super::row::Key;
use super::rows::OURS;

/// All of them.
pub const QUESTIONS: [&Question; 15] = [
    &RANK, &FULL, &COMPOSED, &DORA, &KINDS, &DTYPE, &RECOMPUTE, &BACKEND, &SIZE, &TOKENS,
    &INFERENCE, &LIMIT, &PEERS, &LIBRARIES, &QUALITY,
];

type Labelled = (Key, &'static [&'static str]);

const TRAINING: Labelled = (Key::Kind, &["training"]);
const OF_LORA: &[Labelled] = &[TRAINING, (Key::Method, &["lora"])];

/// A method with its rank.
const WAY: &[Key] = &[Key::Method, Key::Rank, Key::Dtype, Key::Recompute];
/// What must be equal for two methods to be compared, and so names what is compared.
const CONDITIONS: &[Key] =
    &[Key::Model, Key::Dtype, Key::Recompute, Key::Backend, Key::Batch, Key::Processor];
/// A cell in words.
pub const CELL: &[Key] = &[
    Key::Model,
    Key::Method,
    Key::Rank,
    Key::Dtype,
    Key::Recompute,
    Key::Backend,
    Key::Batch,
    Key::Processor,
];

/// The first columns of a table of methods under equal conditions.
const COMPARED: &[(&str, &[Key])] =
    &[("model, backend, batch", CONDITIONS), ("rank", &[Key::Rank])];

const SPEED_AND_MEMORY: &[F] = &[F::TOKENS, F::PEAK];

const RANK: Question = Question {
    title: "What does rank cost?",
    missing: "No two cells of a method differ only in their rank.",
    rows: &[TRAINING],
    per: CONDITIONS,
    series: &[Key::Method],
    grows: Some(F::RANK),
    labels: &[("method", &[Key::Method, Key::Rank])],
    figures: &[F::TOKENS, F::GRADIENTS, F::UPDATE, F::PEAK, F::TRAINED, F::ADAPTER, F::CHECKPOINT],
    plots: &[
        Plot::Over("rank-tokens", (F::RANK, Log2), (F::TOKENS, Linear), LineAndDots),
        Plot::Over("rank-memory", (F::RANK, Log2), (F::PEAK, Linear), LineAndDots),
    ],
    ..Question::BLANK
};

/// LoRA against full fine-tuning.
pub const FULL: Question = Question {
    title: "What does full fine-tuning cost?",
    caption: "Ratios are LoRA's figure over full fine-tuning's. A checkpoint holds what is trained \
              and AdamW's two moments, in f32.",
    missing: "No conditions under which both LoRA and full fine-tuning were measured.",
    rows: OF_LORA,
    base: Some(Base { key: Key::Method, is: "full", names: ("full", "LoRA") }),
    one_rank: true,
    labels: COMPARED,
    beside: &[F::TOKENS, F::PEAK, F::CHECKPOINT],
    figures: &[F::TRAINED_SHARE],
    plots: &[Plot::Bars(
        "full",
        "LoRA over full fine-tuning: more tokens a second and less memory are better",
        SPEED_AND_MEMORY,
    )],
    ..Question::BLANK
};

const COMPOSED: Question = Question {
    title: "What does the composed path cost?",
    caption: "Burn's `apply_lora` multiplies with `W + scale · A B`; the factored path never makes \
              that matrix. Ratios are the factored path's figure over the composed one's.",
    missing: "No cell of LoRA was measured through Burn's composed path too.",
    rows: OF_LORA,
    base: Some(Base { key: Key::Method, is: "composed", names: ("composed", "factored") }),
    labels: COMPARED,
    beside: SPEED_AND_MEMORY,
    plots: &[Plot::Bars(
        "composed",
        "Factored over composed: more tokens a second and less memory are better",
        SPEED_AND_MEMORY,
    )],
    ..Question::BLANK
};

/// DoRA against LoRA.
pub const DORA: Question = Question {
    title: "What does DoRA cost over LoRA?",
    caption: "Ratios are DoRA's figure over LoRA's.",
    missing: "No cell of LoRA was measured with DoRA too.",
    rows: &[TRAINING, (Key::Method, &["dora"])],
    base: Some(Base { key: Key::Method, is: "lora", names: ("LoRA", "DoRA") }),
    labels: COMPARED,
    beside: &[F::TOKENS, F::PEAK, F::TRAINED],
    ..Question::BLANK
};

/// Kinds of adapter that keep less, against LoRA.
const KINDS: Question = Question {
    title: "What do MiSS and LoRA-FA cost beside LoRA?",
    caption: "Ratios are the kind's figure over LoRA's.",
    missing: "No cell of LoRA was measured with MiSS or LoRA-FA too.",
    rows: &[TRAINING, (Key::Method, &["miss", "lora-fa"])],
    base: Some(Base { key: Key::Method, is: "lora", names: ("LoRA", "the kind") }),
    labels: &[("kind", &[Key::Method]), COMPARED[0], COMPARED[1]],
    beside: &[F::TOKENS, F::PEAK, F::TRAINED],
    ..Question::BLANK
};

const DTYPE: Question = Question {
    title: "What does a base of fewer bits cost and save?",
    caption: "The frozen matrices are held in 16 bits, or in blocks of 8 or 4, and multiplied in f32. \
              Ratios are over f32.",
    missing: "No cell was measured with a base of fewer bits too.",
    rows: &[(Key::Dtype, &["f16", "bf16", "q8", "q4", "nf4"])],
    base: Some(Base { key: Key::Dtype, is: "", names: ("f32", "fewer bits") }),
    labels: &[("workload", &[Key::Workload]), ("library", &[Key::Library]), ("cell", CELL)],
    beside: &[F::TOKENS, F::BASE, F::PEAK],
    ..Question::BLANK
};

const RECOMPUTE: Question = Question {
    title: "What do recomputed blocks cost and save?",
    caption: "Of each block the input alone is kept, and its forward pass is taken again on the way \
              back. Ratios are over keeping everything.",
    missing: "No cell was measured with recomputed blocks too.",
    rows: &[TRAINING, (Key::Recompute, &["recomputed"])],
    base: Some(Base { key: Key::Recompute, is: "", names: ("kept", "recomputed") }),
    labels: &[("cell", CELL)],
    beside: SPEED_AND_MEMORY,
    ..Question::BLANK
};

const BACKEND: Question = Question {
    title: "Which backend?",
    caption: "Ratios are over flex.",
    missing: "No cell was measured on flex and on another backend.",
    rows: &[TRAINING],
    base: Some(Base { key: Key::Backend, is: "flex", names: ("flex", "backend") }),
    labels: &[("cell", CELL)],
    beside: SPEED_AND_MEMORY,
    plots: &[Plot::Bars(
        "backend",
        "Over flex: more tokens a second and less memory are better",
        SPEED_AND_MEMORY,
    )],
    ..Question::BLANK
};

const SIZE: Question = Question {
    title: "How does cost grow with the model?",
    missing: "No method was measured on several models under equal conditions.",
    rows: &[TRAINING],
    per: &[Key::Backend, Key::Batch, Key::Processor],
    series: WAY,
    grows: Some(F::SIZE),
    labels: &[("method", WAY), ("model", &[Key::Model])],
    figures: &[F::SIZE, F::TOKENS, F::STEP, F::PEAK],
    plots: &[
        Plot::Over("size-tokens", (F::SIZE, Log10), (F::TOKENS, Log10), LineAndDots),
        Plot::Over("size-memory", (F::SIZE, Log10), (F::PEAK, Log10), LineAndDots),
    ],
    ..Question::BLANK
};

const TOKENS: Question = Question {
    title: "How does cost grow with tokens?",
    missing: "No method was measured with several numbers of tokens on one model and backend.",
    rows: &[TRAINING],
    per: &[Key::Model, Key::Backend, Key::Processor],
    series: WAY,
    grows: Some(F::BATCH_TOKENS),
    labels: &[("method", WAY), ("batch", &[Key::Batch])],
    figures: &[F::BATCH_TOKENS, F::TOKENS, F::STEP, F::PEAK],
    plots: &[
        Plot::Over("tokens-tokens", (F::BATCH_TOKENS, Log2), (F::TOKENS, Linear), LineAndDots),
        Plot::Over("tokens-memory", (F::BATCH_TOKENS, Log2), (F::PEAK, Linear), LineAndDots),
    ],
    ..Question::BLANK
};

/// Forward passes without an adapter, with it, and after merging it.
pub const INFERENCE: Question = Question {
    title: "What does an adapter cost in inference?",
    caption: "The three alternate in one process. A merged model computes the base model's \
              products and no others, so that its ratio shows the noise.",
    missing: "No inference was measured.",
    rows: &[(Key::Kind, &["inference"])],
    labels: &[("cell", CELL)],
    figures: &[F::BASE, F::ATTACHED, F::MERGED, F::ATTACHED_RATIO, F::MERGED_RATIO],
    plots: &[Plot::Bars(
        "inference",
        "Latency over the base model's",
        &[F::ATTACHED_RATIO, F::MERGED_RATIO],
    )],
    ..Question::BLANK
};

const LIMIT: Question = Question {
    title: "How close is it to the machine's limit?",
    caption: "The share is the time of a step's products alone over the time of the step. What is \
              missing to 100 % is everything else: attention, norms, activations, the loss, AdamW, \
              and memory traffic between them. Of an inference cell it is a forward pass of the \
              merged model.",
    missing: "No products were measured.",
    rows: &[(Key::Kind, &["training", "inference"])],
    series: &[Key::Method],
    labels: &[("cell", CELL)],
    figures: &[F::WORK, F::RATE, F::PRODUCTS, F::WHOLE, F::SHARE],
    plots: &[Plot::Over("limit", (F::WORK, Log10), (F::SHARE, Linear), Dots)],
    ..Question::BLANK
};

/// The same weights, adapter and batches with another library.
pub const PEERS: Question = Question {
    title: "Against other libraries",
    caption: "The same weights, adapter and batches, in processes that alternate. Ratios are ours \
              over theirs. Equal losses show that both do the same work.",
    missing: "No other library was measured in this run.",
    rows: &[(Key::Library, &[OURS])],
    base: Some(Base { key: Key::Library, is: "PEFT", names: ("PEFT", "ours") }),
    labels: &[
        ("workload", &[Key::Workload]),
        ("base", &[Key::Dtype]),
        ("processor", &[Key::Processor]),
    ],
    beside: &[F::TOKENS, F::PEAK, F::FIRST_STEP],
    figures: &[F::LOSS_DIFFERENCE],
    plots: &[Plot::Bars(
        "peers",
        "Ours over theirs: more tokens a second and less memory are better",
        SPEED_AND_MEMORY,
    )],
    ..Question::BLANK
};

/// Every library, with each base that it was given.
const LIBRARIES: Question = Question {
    title: "Every library with every base",
    caption: "The same adapter and batches; a base of fewer bits is made of the f32 one. Processes \
              alternate.",
    missing: "No library was measured in this run.",
    rows: &[(Key::Kind, &["peer"])],
    per: &[Key::Workload, Key::Processor],
    labels: &[("library", &[Key::Library, Key::Dtype])],
    figures: &[F::TOKENS, F::PEAK, F::FIRST_STEP],
    ..Question::BLANK
};

/// What methods and ranks come to on a task.
pub const QUALITY: Question = Question {
    title: "What does it come to?",
    missing: "No task was trained on in this run.",
    rows: &[(Key::Kind, &["outcome"])],
    per: &[Key::Task, Key::Processor],
    series: &[Key::Method],
    labels: &[("method", WAY)],
    figures: &[F::TRAINED, F::RIGHT, F::EVAL_LOSS],
    plots: &[Plot::Over("quality", (F::RANK, Log2), (F::RIGHT, Linear), LineAndDots)],
    ..Question::BLANK
};
