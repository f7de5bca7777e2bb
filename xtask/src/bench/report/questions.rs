//! The questions of the report, in order. A new one is an entry here.

use burn_lora_report::plot::Scale::{Linear, Log2, Log10};

use super::figure::Figure as F;
use super::question::{Column, Plot, Question, growing, held_against};
use super::row::{Key, OURS};
use Column::{Beside, Labels, Of};

/// All of them.
pub const QUESTIONS: [&Question; 13] = [
    &RANK, &FULL, &COMPOSED, &DORA, &KINDS, &DTYPE, &BACKEND, &SIZE, &TOKENS, &INFERENCE, &LIMIT,
    &PEERS, &QUALITY,
];

type Labelled = (Key, &'static [&'static str]);

const TRAINING: Labelled = (Key::Kind, &["training"]);

/// A method with its rank.
const WAY: &[Key] = &[Key::Method, Key::Rank, Key::Dtype];
/// What must be equal for two methods to be compared, and so names what is compared.
const CONDITIONS: &[Key] = &[Key::Model, Key::Dtype, Key::Backend, Key::Batch, Key::Processor];
const CONDITIONS_AND_RANK: &[Key] =
    &[Key::Model, Key::Dtype, Key::Backend, Key::Batch, Key::Rank, Key::Processor];
/// A cell in words.
const CELL: &[Key] =
    &[Key::Model, Key::Method, Key::Rank, Key::Dtype, Key::Backend, Key::Batch, Key::Processor];

const RANK: Question = Question {
    title: "What does rank cost?",
    missing: "No two cells of a method differ only in their rank.",
    rows: &[TRAINING],
    per: CONDITIONS,
    grows: growing(F::Rank, &[Key::Method]),
    columns: &[
        Labels("method", &[Key::Method, Key::Rank]),
        Of(F::Tokens),
        Of(F::Gradients),
        Of(F::Update),
        Of(F::Peak),
        Of(F::Trained),
        Of(F::Adapter),
        Of(F::Checkpoint),
    ],
    plots: &[
        Plot::over("rank-tokens", (F::Rank, Log2), (F::Tokens, Linear), &[Key::Method]),
        Plot::over("rank-memory", (F::Rank, Log2), (F::Peak, Linear), &[Key::Method]),
    ],
    ..Question::BLANK
};

/// LoRA against full fine-tuning.
pub const FULL: Question = Question {
    title: "What does full fine-tuning cost?",
    caption: "Ratios are LoRA's figure over full fine-tuning's. A checkpoint holds what is trained \
              and AdamW's two moments, in f32.",
    missing: "No conditions under which both LoRA and full fine-tuning were measured.",
    rows: &[TRAINING, (Key::Method, &["lora"])],
    one_rank: true,
    base: held_against(&[TRAINING, (Key::Method, &["full"])], CONDITIONS, ("full", "LoRA")),
    columns: &[
        Labels("model, backend, batch", CONDITIONS),
        Labels("rank", &[Key::Rank]),
        Beside(F::Tokens),
        Beside(F::Peak),
        Beside(F::Checkpoint),
        Of(F::TrainedShare),
    ],
    plots: &[Plot::Bars {
        stem: "full",
        title: "LoRA over full fine-tuning: more tokens a second and less memory are better",
        name: CONDITIONS,
        figures: &[F::Tokens, F::Peak],
    }],
    ..Question::BLANK
};

const COMPOSED: Question = Question {
    title: "What does the composed path cost?",
    caption: "Burn's `apply_lora` multiplies with `W + scale · A B`; the factored path never makes \
              that matrix. Ratios are the factored path's figure over the composed one's.",
    missing: "No cell of LoRA was measured through Burn's composed path too.",
    rows: &[TRAINING, (Key::Method, &["lora"])],
    base: held_against(
        &[TRAINING, (Key::Method, &["composed"])],
        CONDITIONS_AND_RANK,
        ("composed", "factored"),
    ),
    columns: &[
        Labels("model, backend, batch", CONDITIONS),
        Labels("rank", &[Key::Rank]),
        Beside(F::Tokens),
        Beside(F::Peak),
    ],
    plots: &[Plot::Bars {
        stem: "composed",
        title: "Factored over composed: more tokens a second and less memory are better",
        name: CONDITIONS_AND_RANK,
        figures: &[F::Tokens, F::Peak],
    }],
    ..Question::BLANK
};

/// DoRA against LoRA.
pub const DORA: Question = Question {
    title: "What does DoRA cost over LoRA?",
    caption: "Ratios are DoRA's figure over LoRA's.",
    missing: "No cell of LoRA was measured with DoRA too.",
    rows: &[TRAINING, (Key::Method, &["dora"])],
    base: held_against(
        &[TRAINING, (Key::Method, &["lora"])],
        CONDITIONS_AND_RANK,
        ("LoRA", "DoRA"),
    ),
    columns: &[
        Labels("model, backend, batch", CONDITIONS),
        Labels("rank", &[Key::Rank]),
        Beside(F::Tokens),
        Beside(F::Peak),
        Beside(F::Trained),
    ],
    ..Question::BLANK
};

/// Kinds of adapter that keep less, against LoRA.
const KINDS: Question = Question {
    title: "What do MiSS and LoRA-FA cost beside LoRA?",
    caption: "Ratios are the kind's figure over LoRA's.",
    missing: "No cell of LoRA was measured with MiSS or LoRA-FA too.",
    rows: &[TRAINING, (Key::Method, &["miss", "lora-fa"])],
    base: held_against(
        &[TRAINING, (Key::Method, &["lora"])],
        CONDITIONS_AND_RANK,
        ("LoRA", "the kind"),
    ),
    columns: &[
        Labels("kind", &[Key::Method]),
        Labels("model, backend, batch", CONDITIONS),
        Labels("rank", &[Key::Rank]),
        Beside(F::Tokens),
        Beside(F::Peak),
        Beside(F::Trained),
    ],
    ..Question::BLANK
};

const DTYPE: Question = Question {
    title: "What do half-precision weights cost and save?",
    caption: "The frozen matrices are held in 16 bits and multiplied in f32. Ratios are over f32.",
    missing: "No cell was measured with half-precision weights too.",
    rows: &[(Key::Dtype, &["f16", "bf16"])],
    base: held_against(
        &[(Key::Dtype, &[""])],
        &[Key::Model, Key::Backend, Key::Batch, Key::Method, Key::Rank, Key::Processor],
        ("f32", "16 bits"),
    ),
    columns: &[Labels("cell", CELL), Beside(F::Tokens), Beside(F::Base), Beside(F::Peak)],
    ..Question::BLANK
};

const BACKEND: Question = Question {
    title: "Which backend?",
    caption: "Ratios are over flex.",
    missing: "No cell was measured on flex and on another backend.",
    rows: &[TRAINING],
    base: held_against(
        &[TRAINING, (Key::Backend, &["flex"])],
        &[Key::Model, Key::Dtype, Key::Batch, Key::Method, Key::Rank, Key::Processor],
        ("flex", "backend"),
    ),
    columns: &[Labels("cell", CELL), Beside(F::Tokens), Beside(F::Peak)],
    plots: &[Plot::Bars {
        stem: "backend",
        title: "Over flex: more tokens a second and less memory are better",
        name: CELL,
        figures: &[F::Tokens, F::Peak],
    }],
    ..Question::BLANK
};

const SIZE: Question = Question {
    title: "How does cost grow with the model?",
    missing: "No method was measured on several models under equal conditions.",
    rows: &[TRAINING],
    per: &[Key::Backend, Key::Batch, Key::Processor],
    grows: growing(F::Size, WAY),
    columns: &[
        Labels("method", WAY),
        Labels("model", &[Key::Model]),
        Of(F::Size),
        Of(F::Tokens),
        Of(F::Step),
        Of(F::Peak),
    ],
    plots: &[
        Plot::over("size-tokens", (F::Size, Log10), (F::Tokens, Log10), WAY),
        Plot::over("size-memory", (F::Size, Log10), (F::Peak, Log10), WAY),
    ],
    ..Question::BLANK
};

const TOKENS: Question = Question {
    title: "How does cost grow with tokens?",
    missing: "No method was measured with several numbers of tokens on one model and backend.",
    rows: &[TRAINING],
    per: &[Key::Model, Key::Backend, Key::Processor],
    grows: growing(F::BatchTokens, WAY),
    columns: &[
        Labels("method", WAY),
        Labels("batch", &[Key::Batch]),
        Of(F::BatchTokens),
        Of(F::Tokens),
        Of(F::Step),
        Of(F::Peak),
    ],
    plots: &[
        Plot::over("tokens-tokens", (F::BatchTokens, Log2), (F::Tokens, Linear), WAY),
        Plot::over("tokens-memory", (F::BatchTokens, Log2), (F::Peak, Linear), WAY),
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
    columns: &[
        Labels("cell", CELL),
        Of(F::Base),
        Of(F::Attached),
        Of(F::Merged),
        Of(F::AttachedRatio),
        Of(F::MergedRatio),
    ],
    plots: &[Plot::Bars {
        stem: "inference",
        title: "Latency over the base model's",
        name: CELL,
        figures: &[F::AttachedRatio, F::MergedRatio],
    }],
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
    columns: &[
        Labels("cell", CELL),
        Of(F::Work),
        Of(F::Rate),
        Of(F::Products),
        Of(F::Whole),
        Of(F::Share),
    ],
    plots: &[Plot::Over {
        stem: "limit",
        x: (F::Work, Log10),
        y: (F::Share, Linear),
        series: &[Key::Method],
        joined: false,
    }],
    ..Question::BLANK
};

/// The same weights, adapter and batches with another library.
pub const PEERS: Question = Question {
    title: "Against other libraries",
    caption: "The same weights, adapter and batches, in processes that alternate. Ratios are ours \
              over theirs. Equal losses show that both do the same work.",
    missing: "No other library was measured in this run.",
    rows: &[(Key::Library, &[OURS])],
    base: held_against(
        &[(Key::Library, &["PEFT"])],
        &[Key::Workload, Key::Processor],
        ("PEFT", "ours"),
    ),
    columns: &[
        Labels("workload", &[Key::Workload]),
        Labels("processor", &[Key::Processor]),
        Beside(F::Tokens),
        Beside(F::Peak),
        Beside(F::FirstStep),
        Of(F::LossDifference),
    ],
    plots: &[Plot::Bars {
        stem: "peers",
        title: "Ours over theirs: more tokens a second and less memory are better",
        name: &[Key::Workload, Key::Processor],
        figures: &[F::Tokens, F::Peak],
    }],
    ..Question::BLANK
};

/// What methods and ranks come to on a task.
pub const QUALITY: Question = Question {
    title: "What does it come to?",
    missing: "No task was trained on in this run.",
    rows: &[(Key::Kind, &["outcome"])],
    per: &[Key::Task, Key::Processor],
    columns: &[Labels("method", WAY), Of(F::Trained), Of(F::Right), Of(F::EvalLoss)],
    plots: &[Plot::over("quality", (F::Rank, Log2), (F::Right, Linear), &[Key::Method])],
    ..Question::BLANK
};
