//! Everything that can go wrong when a model is patched, merged, saved or loaded.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use burn_lora::{Init, LoraError, Method};
use burn_lora_text::{and, nearest, or};

use crate::combine::CombineProblem;
use crate::path::last_segment;
use crate::readers::ReaderProblem;
use crate::scan::ModuleKind;
use crate::targets::{as_pattern, is_all_linear};

/// Why a model could not be patched or changed, or an adapter not saved or loaded.
///
/// Whatever the variant, the model is as it was before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// Targets, excludes, layers or modules to save do not fit the model.
    #[error("{}", lines("the model cannot be patched as asked", problems))]
    Targets {
        /// Every problem found.
        problems: Vec<TargetProblem>,
    },
    /// The adapter's hyper-parameters are out of range.
    #[error("{}", lines("the adapter's settings are out of range", problems))]
    Settings {
        /// Every problem found.
        problems: Vec<LoraError>,
    },
    /// An adapter of one layer could not be built.
    #[error("no adapter can be built for `{layer}`: {source}")]
    Adapter {
        /// The layer.
        layer: String,
        /// Why not.
        source: LoraError,
    },
    /// The start follows from what goes into the layers.
    #[error(
        "the initialisation {init} starts from what goes into the layers: let the model read some batches in `Eva::pass`, and patch it \
         with `Eva::patch`"
    )]
    NeedsInputs {
        /// The initialisation asked for.
        init: Init,
    },
    /// The start follows from weights as they were.
    #[error(
        "the initialisation {init} starts from what weights lost in the format that they are held in: show each as it was to \
         `Loftq::show`, and patch the model with `Loftq::patch`"
    )]
    NeedsDense {
        /// The initialisation asked for.
        init: Init,
    },
    /// The start has nothing to do with weights as they were.
    #[error(
        "the initialisation is {init}, and weights as they were are looked at for loftq alone: set `with_init(Init::Loftq)`, or call `with_lora`"
    )]
    NotLoftq {
        /// The initialisation asked for.
        init: Init,
    },
    /// Weights that were not shown as they were.
    #[error(
        "{} were not shown as they were: give the weight of each to `Loftq::show`, or exclude it",
        burn_lora_text::listed(layers)
    )]
    NotShown {
        /// The layers.
        layers: Vec<String>,
    },
    /// A weight in PyTorch's layout, of which there are no blocks.
    #[error(
        "`{layer}` holds its weight [d_out, d_in], and blocks are held of [d_in, d_out] alone: show the weight with `Loftq::show`"
    )]
    LoftqLayout {
        /// The layer.
        layer: String,
    },
    /// The start has nothing to do with what goes into the layers.
    #[error(
        "the initialisation is {init}, and what goes into layers is looked at for eva alone: set `with_init(Init::Eva)`, or call `with_lora`"
    )]
    NotEva {
        /// The initialisation asked for.
        init: Init,
    },
    /// A setting of EVA is out of range.
    #[error("eva.{key} is {value}, which is outside {range}")]
    Eva {
        /// Which.
        key: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// Nothing, or too little, went into layers.
    #[error(
        "{} saw no input, or fewer rows of it than directions are looked for: give more batches, call the layer by `lora_forward`, or \
         exclude it",
        burn_lora_text::listed(layers)
    )]
    Unseen {
        /// The layers.
        layers: Vec<String>,
    },
    /// What goes into a layer has no directions.
    #[error(
        "what goes into `{layer}` is not finite: check the batches that the model reads, and its weights"
    )]
    InputNotFinite {
        /// The layer.
        layer: String,
    },
    /// The adapter is on the model already.
    #[error(
        "adapter `{name}` is already attached to {layers} linears: unload the model first, or load \
         values into the adapter that is there"
    )]
    AlreadyPatched {
        /// The adapter's name.
        name: String,
        /// How many layers carry it.
        layers: usize,
    },
    /// An adapter that trains modules whole, beside another one.
    #[error(
        "adapter `{wanted}` trains `{module}` whole, which the model holds once, also for `{present}`: \
         unload that one, or merge it for good with `merge_and_unload`, first"
    )]
    SavedBeside {
        /// The adapter asked for.
        wanted: String,
        /// A module that it trains whole.
        module: String,
        /// An adapter on the model.
        present: String,
    },
    /// The adapters on the model are merged into its weights.
    #[error("the model's adapters are merged: unmerge it before adapter `{name}` comes or goes")]
    Merged {
        /// The adapter that was to be added or taken away.
        name: String,
    },
    /// A weight is held in a number format that can be neither adapted nor trained.
    #[error(
        "`{layer}`{} is held as {format:?}: adapters are for weights of f32, f16 and bf16. Quantised weights \
         have to be dequantised first, or excluded",
        if *layers > 1 { format!(" and {} more", layers - 1) } else { String::new() }
    )]
    Format {
        /// The first such layer.
        layer: String,
        /// The format.
        format: DType,
        /// How many such layers there are.
        layers: usize,
    },
    /// A weight carries a reparameterisation of another kind.
    #[error(
        "`{path}` carries a reparameterization `{name}` that is not this crate's: call \
         `Module::materialize` first"
    )]
    ForeignReparameterization {
        /// The weight.
        path: String,
        /// The name of what hangs on it.
        name: String,
    },
    /// Two parameters have one path.
    #[error(
        "two parameters have the path `{path}` (a trailing underscore of a field is dropped): rename one of the fields"
    )]
    AmbiguousPath {
        /// The path.
        path: String,
    },
    /// The model has no adapter.
    #[error("the model has no adapter: add one (`with_lora`) or load one (`load_adapter`) first")]
    NoAdapter,
    /// The model has no adapter of that name.
    #[error("the model has no adapter `{name}`: {}", meant(name, present))]
    UnknownAdapter {
        /// The name asked for.
        name: String,
        /// The names there are.
        present: Vec<String>,
    },
    /// No parameter of the model is trained.
    #[error(
        "nothing of the model is trained: {}",
        if *merged {
            "its adapters are merged, and train when they are unmerged"
        } else {
            "patch it, or load an adapter with `LoadOptions::with_trainable(true)`"
        }
    )]
    NothingTrained {
        /// Whether there are adapters that are merged.
        merged: bool,
    },
    /// The model has several adapters where one is wanted.
    #[error(
        "the model has the adapters {}: a directory holds one, say which with `save_named_adapter`",
        and(present)
    )]
    SeveralAdapters {
        /// The names there are.
        present: Vec<String>,
    },
    /// A multiplier is not a number.
    #[error(
        "multiplier is {multiplier}, which is not a finite number: 0 gives the base model, 1 the adapter as trained"
    )]
    Multiplier {
        /// The multiplier asked for.
        multiplier: f64,
    },
    /// Merging would write infinities or not-a-numbers into the base.
    #[error(
        "merging into `{layer}` gives weights that are not finite: its factors or its base are \
         broken, go back to an earlier checkpoint; nothing was merged"
    )]
    NotFinite {
        /// The layer.
        layer: String,
    },
    /// Merging for good into a table would change the head that shares it.
    #[error(
        "`{table}` has an adapter and is the model's head too: merging it for good would change both; merge it beside the base (`merge`), \
         or take a base with a head of its own; nothing was merged"
    )]
    TiedTable {
        /// The table.
        table: String,
    },
    /// Merging for good would need a convolution without groups.
    #[error(
        "the adapter on `{layer}` sees the channels of all groups of the convolution, as PEFT's do, and no convolution with groups is what \
         the two are together: merge it beside the base (`merge`), for model code that calls `lora_forward`; nothing was merged"
    )]
    CrossesGroups {
        /// The layer.
        layer: String,
    },
    /// Merging for good a bias of factor B into a layer that has none.
    #[error(
        "`{layer}`{} no bias that the bias of factor B could be merged into: leave the adapter beside the base, or train it with \
         method = \"lora\", which has none; nothing was merged",
        if *layers > 1 { format!(" and {} more have", layers - 1) } else { " has".to_owned() }
    )]
    NoBias {
        /// The first such layer.
        layer: String,
        /// How many such layers there are.
        layers: usize,
    },
    /// A tensor's values could not be read from its device.
    #[error("the values of `{path}` cannot be read: {reason}")]
    Unreadable {
        /// The parameter.
        path: String,
        /// What the backend says.
        reason: String,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that an adapter directory must have is not there.
    #[error("{} is not an adapter directory: it has no `{missing}`{note}", dir.display())]
    NoAdapterFile {
        /// The directory.
        dir: PathBuf,
        /// The file.
        missing: &'static str,
        /// What is there instead, if that helps.
        note: String,
    },
    /// The adapter's configuration is not what it should be.
    #[error("{} cannot be understood: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// The adapter is of a kind that is not known here.
    #[error(
        "{} has peft_type {found}: only \"LORA\" and \"MISS\" are supported{}",
        path.display(),
        if *of_mlx {
            "; it is mlx-lm's: merge the adapter with `mlx_lm.fuse`, and take the fused model as the base"
        } else {
            ": merge the adapter with the tool that trained it (`merge_and_unload` in PEFT, where its kind has that), and take the \
             merged model as the base"
        }
    )]
    PeftType {
        /// The file.
        path: PathBuf,
        /// What it says, as JSON.
        found: String,
        /// Whether its keys are mlx-lm's.
        of_mlx: bool,
    },
    /// The adapter uses what is not supported yet.
    #[error("{}", lines(&format!("{} uses what is not supported yet", path.display()), settings))]
    Unsupported {
        /// The file, or the configuration's name.
        path: PathBuf,
        /// Every such setting, with its value.
        settings: Vec<String>,
    },
    /// The tensor file is damaged.
    #[error("{} is not a whole safetensors file ({reason}): copy or download it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// The adapter's values are broken.
    #[error(
        "`{key}` in {} holds {}{}: go back to an earlier checkpoint",
        path.display(),
        if value.is_finite() { format!("{value:.1e}, too large to compute with in f32") } else { value.to_string() },
        if *others > 0 { format!(", and {others} more tensors hold values of that kind") } else { String::new() }
    )]
    Values {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        key: String,
        /// The first such value in it: not finite, or too large to compute with.
        value: f64,
        /// How many tensors beside it hold such values.
        others: usize,
    },
    /// The adapter's values are such that what they change of a weight is broken.
    #[error(
        "`{key}` in {} and its `lora_B` change the weight by up to {most:.1e}, too large to compute with in f32: go back to an earlier \
         checkpoint",
        path.display()
    )]
    Change {
        /// The file.
        path: PathBuf,
        /// The first such factor A.
        key: String,
        /// The most that a number of the weight may be changed by.
        most: f64,
    },
    /// The tensors do not fit the model.
    #[error("{}", lines(&format!("the tensors of {origin} do not fit the model"), problems))]
    Keys {
        /// The file, or where else the tensors come from.
        origin: String,
        /// Every problem found.
        problems: Vec<KeyProblem>,
    },
    /// The configuration to save does not describe the adapter on the model.
    #[error(
        "the configuration says {setting} {configured}, the adapter on `{layer}` has {attached}: \
         save with the configuration that the model was patched with"
    )]
    Mismatch {
        /// What differs.
        setting: &'static str,
        /// The layer it was seen on.
        layer: String,
        /// The configuration's value.
        configured: String,
        /// The model's value.
        attached: String,
    },
    /// Adapters that cannot become one, or smaller.
    #[error(transparent)]
    Combine(#[from] CombineProblem),
    /// An adapter that another program reads wrong or not at all.
    #[error(transparent)]
    Reader(#[from] ReaderProblem),
    /// A parameter hangs on a weight that adapter files have no name for.
    #[error(
        "`{path}` hangs on a weight, but is no factor of a kind of adapter that files have a name \
         for: nothing was written"
    )]
    UnknownFactor {
        /// The parameter.
        path: String,
    },
}

/// Where a name in a configuration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In the targets.
    Target,
    /// In what is excluded.
    Exclude,
    /// In the modules that are trained whole.
    ModulesToSave,
    /// In the numbers of layers.
    Layer,
    /// In the names before the numbers of layers.
    LayersPattern,
    /// In the ranks by pattern.
    RankPattern,
    /// In the alphas by pattern.
    AlphaPattern,
    /// In the tokens whose rows are trained.
    Tokens,
    /// In the parameters that are adapted by themselves.
    Parameter,
}

impl Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Target => "target",
            Self::Exclude => "exclude",
            Self::ModulesToSave => "modules_to_save",
            Self::Layer => "layers_to_transform",
            Self::LayersPattern => "layers_pattern",
            Self::RankPattern => "rank_pattern",
            Self::AlphaPattern => "alpha_pattern",
            Self::Tokens => "trainable_token_indices",
            Self::Parameter => "target_parameters",
        })
    }
}

/// One thing that does not fit between a configuration and a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetProblem {
    /// No target is given.
    #[error("no target is given: name linear layers, or write \"all-linear\"")]
    Empty,
    /// An entry names nothing in the model.
    #[error("{role} `{entry}` matches nothing: {}{}", hint(nearest, existing), note(entry))]
    Unknown {
        /// Where the entry stands.
        role: Role,
        /// The entry.
        entry: String,
        /// The nearest names that exist, best first.
        nearest: Vec<String>,
        /// Names that exist, listed when none is near.
        existing: Vec<String>,
    },
    /// An entry names the output head of a model whose head is its token table.
    #[error(
        "{role} `{entry}` matches nothing: the model's head is its token table `{table}` (`tie_word_embeddings`) and no layer of its \
         own: {}",
        instead_of_head(*role, table)
    )]
    TiedHead {
        /// Where the entry stands.
        role: Role,
        /// The entry.
        entry: String,
        /// The token table.
        table: String,
    },
    /// A pattern matches no path in the model.
    #[error("{role} pattern `{pattern}` matches nothing: it must match a whole path, such as `{example}`{}", if *inside { ", of which it matches a part (begin it with `.*`?)" } else { "" })]
    PatternUnmatched {
        /// Where the pattern stands.
        role: Role,
        /// The pattern.
        pattern: String,
        /// A path in the model.
        example: String,
        /// Whether the pattern matches a part of that path.
        inside: bool,
    },
    /// An entry names a module, but not a linear layer.
    #[error("{role} `{entry}` names {} (`{path}`): {}{}", kind.described(), adaptable(*kind), inside(within))]
    NotLinear {
        /// Where the entry stands.
        role: Role,
        /// The entry.
        entry: String,
        /// A module it names.
        path: String,
        /// What that module is.
        kind: ModuleKind,
        /// Linear layers inside it.
        within: Vec<String>,
    },
    /// Everything an entry names is taken away by something else.
    #[error("target `{entry}` names {matched} layers, but {reason}")]
    Overruled {
        /// The entry.
        entry: String,
        /// How many linear layers it names.
        matched: usize,
        /// What takes them away.
        reason: String,
    },
    /// A pattern is not a regular expression.
    #[error("{role} pattern `{pattern}` is not a regular expression: {reason}")]
    Pattern {
        /// Where the pattern stands.
        role: Role,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern of ranks or alphas matches no layer that gets an adapter.
    #[error("{role} `{entry}` matches no layer that gets an adapter: {}", hint(nearest, existing))]
    NoLayer {
        /// Where the pattern stands.
        role: Role,
        /// The pattern.
        entry: String,
        /// The nearest names of adapted layers, best first.
        nearest: Vec<String>,
        /// Names of adapted layers, listed when none is near.
        existing: Vec<String>,
    },
    /// Patterns beside a kind of adapter whose files hold one rank for all layers.
    #[error("{role} has no meaning for {method}, whose layers have one rank: leave it out")]
    PatternOfKind {
        /// Where the patterns stand.
        role: Role,
        /// The kind of adapter.
        method: Method,
    },
    /// Tokens that the table has not, or that are named twice.
    #[error("trainable_token_indices of `{table}`: {reason}")]
    Tokens {
        /// The table.
        table: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Tokens beside a kind of adapter whose files have no place for their rows.
    #[error(
        "trainable_token_indices has no meaning for {method}, whose files have no place for rows of an embedding: leave it out"
    )]
    TokensOfKind {
        /// The kind of adapter.
        method: Method,
    },
    /// Tokens of a model without an embedding.
    #[error("trainable_token_indices names tokens, but the model has no embedding: leave it out")]
    NoTable,
    /// Tokens of what is no embedding.
    #[error(
        "trainable_token_indices `{entry}` names `{path}`, which is no embedding and no head: rows of those are trained; to train the \
         module whole, name it in modules_to_save"
    )]
    NotTable {
        /// The entry.
        entry: String,
        /// The module it names.
        path: String,
    },
    /// Other tokens of a head than of the table that it is.
    #[error(
        "trainable_token_indices `{head}` has other tokens than the token table, which is the model's head (`tie_word_embeddings`) and \
         is trained as one with it: leave `{head}` out, or give both the same tokens"
    )]
    TokensOfHead {
        /// The entry.
        head: String,
    },
    /// A kind of adapter that a head which is the table cannot compute with.
    #[error(
        "ensure_weight_tying has no meaning for {method} on `{table}`: the head that is the table cannot compute with what it makes of \
         the table: leave it out, or use lora"
    )]
    TiedKind {
        /// The table.
        table: String,
        /// The kind of adapter.
        method: Method,
    },
    /// Rows of a table that is trained otherwise, too.
    #[error("trainable_token_indices trains rows of `{table}`, which {other}: keep one of the two")]
    TokensBeside {
        /// The table.
        table: String,
        /// What trains it, too.
        other: &'static str,
    },
    /// A name of a parameter names one that is not adapted by itself.
    #[error("target_parameters `{entry}` names `{path}`, but {reason}")]
    NoParameter {
        /// The entry.
        entry: String,
        /// The parameter that it names.
        path: String,
        /// Why it is not adapted.
        reason: String,
    },
    /// A number of a layer matches nothing.
    #[error("layers_to_transform has {index}, but {}", existing_layers(existing, example.as_deref()))]
    Layer {
        /// The number.
        index: usize,
        /// The numbers of layers that the targets are in.
        existing: Vec<usize>,
        /// A targeted layer, named when none is in a numbered layer.
        example: Option<String>,
    },
    /// `layers_pattern` is set without `layers_to_transform`.
    #[error("layers_pattern is set, but layers_to_transform is not: set both or neither")]
    PatternWithoutLayers,
    /// The model has no linear layer at all, or none is left.
    #[error("no linear layer is left to adapt: the model has {linears}, {reason}")]
    NothingLeft {
        /// How many linear layers the model has.
        linears: usize,
        /// What became of them.
        reason: String,
    },
}

/// One thing that does not fit between tensors by key and a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// The model needs a tensor that is not there.
    #[error("missing: `{key}`, which the model needs with shape {expected:?}")]
    Missing {
        /// The key.
        key: String,
        /// The shape the model needs.
        expected: Vec<usize>,
    },
    /// Factors of a kind of adapter beside a configuration that does not say that they are.
    #[error(
        "{count} tensors are {what}, such as `{key}`, and `{switch}` in adapter_config.json is not true: set it, if the adapter was \
         trained so"
    )]
    SwitchedOff {
        /// The first of them.
        key: String,
        /// How many there are.
        count: usize,
        /// What they are.
        what: &'static str,
        /// PEFT's key for the kind.
        switch: &'static str,
    },
    /// There is a tensor that the model has no place for.
    #[error("surplus: `{key}` with shape {found:?}{}", match nearest { Some(key) => format!(", did the writer mean `{key}`?"), None => ", which no adapted layer or saved module of the model takes".to_owned() })]
    Surplus {
        /// The key.
        key: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The nearest key that the model takes.
        nearest: Option<String>,
    },
    /// All tensors have a name within that the model's have not.
    #[error(
        "their names have `{inserted}` within, and this model's have not ({count} tensors, the first meant for `{meant}`): load the \
         adapter onto the model that it was trained on, or take `{inserted}` out of the names"
    )]
    Inserted {
        /// What there is too much, with the dot behind it.
        inserted: String,
        /// The key that the first is without it.
        meant: String,
        /// How many tensors there are.
        count: usize,
    },
    /// A tensor has another shape than its place.
    #[error("shape: `{key}` is {found:?}, the model needs {expected:?}")]
    Shape {
        /// The key.
        key: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The shape the model needs.
        expected: Vec<usize>,
    },
    /// A factor has another rank than the configuration says.
    #[error(
        "rank: `{key}` is {found:?}, which is rank {rank}, the configuration says r = {configured} ({expected:?})"
    )]
    Rank {
        /// The key.
        key: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The shape the configuration and the model give.
        expected: Vec<usize>,
        /// The tensor's rank.
        rank: usize,
        /// The configuration's rank.
        configured: usize,
    },
    /// An embedding, saved beside the factors, has other rows than the model's.
    #[error(
        "rows: `{key}` is {found:?}, the model has {expected:?}: tokens were added before the training, and the base \
         must have them too; write it with them, `get_base_model().save_pretrained(DIR)` in PEFT, and name that one"
    )]
    Rows {
        /// The key.
        key: String,
        /// The shape of the tensor.
        found: Vec<usize>,
        /// The shape the model has.
        expected: Vec<usize>,
    },
    /// An output head, saved beside the factors, of a model that has none of its own.
    #[error(
        "surplus: `{key}`: this model has no head of its own to take it, and no token table of the same values; load it onto \
         a base with a head of its own (`tie_word_embeddings` false), or, where the adapter did not train the head (`modules_to_save`), save it with \
         `save_embedding_layers=False` in PEFT"
    )]
    TiedHead {
        /// The key.
        key: String,
    },
    /// A token table that was trained apart from the head that shares it.
    #[error(
        "apart: `{key}` was trained apart from the head that shares its table (`ensure_weight_tying` is false), and this model holds \
         the two as one: train it with `ensure_weight_tying=True` in PEFT, or load it onto a base with a head of its own"
    )]
    Apart {
        /// The key.
        key: String,
    },
    /// A factor of the head's adapter that is to be the table's, turned, and is not.
    #[error(
        "untied: `{key}` is not what the token table's adapter has, turned, though `ensure_weight_tying` says that the two are one: save \
         the adapter with PEFT anew, or leave the head's factors out"
    )]
    Untied {
        /// The key.
        key: String,
    },
    /// A factor of an adapter on the output head, of a model that has none of its own.
    #[error(
        "surplus: `{key}`: this model's head is no layer of its own (its token table, with `tie_word_embeddings`): train the adapter \
         without `lm_head` among its targets, or tied to the table (`ensure_weight_tying=True` in PEFT), or load it onto a base with a \
         head of its own"
    )]
    AdaptedHead {
        /// The key.
        key: String,
    },
    /// The tensors have names that another tool gives.
    #[error(
        "{count} {} {what}, such as `{key}`: {remedy}",
        if *count == 1 { "tensor has" } else { "tensors have" }
    )]
    Foreign {
        /// The first such tensor.
        key: String,
        /// How many there are.
        count: usize,
        /// What the names are.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A tensor holds no floating-point numbers of a kind that is read.
    #[error("dtype: `{key}` is {dtype}, only f32, f16 and bf16 are read")]
    Dtype {
        /// The key.
        key: String,
        /// The type of its elements.
        dtype: String,
    },
    /// A factor A sees the channels of all groups of a convolution, and the one on the model those of its own.
    #[error(
        "groups: `{key}` sees the channels of all groups of its convolution, and the adapter on the model those of one: load it as an \
         adapter of its own"
    )]
    CrossesGroups {
        /// The key.
        key: String,
    },
    /// The number of values is not what the shape says.
    #[error("values: `{key}` has {count} values, its shape {shape:?} has {expected}")]
    Count {
        /// The key.
        key: String,
        /// The shape that comes with the values.
        shape: Vec<usize>,
        /// How many values there are.
        count: usize,
        /// How many the shape has.
        expected: usize,
    },
}

/// `headline: problem`, or a line for each of several problems.
fn lines<P: Display>(headline: &str, problems: &[P]) -> String {
    match problems {
        [only] => format!("{headline}: {only}"),
        problems => {
            let told = burn_lora_text::lines(problems, "  - ");
            format!("{headline} ({} problems):{told}", problems.len())
        }
    }
}

/// The name of an adapter that was probably meant, or else those there are.
fn meant(name: &str, present: &[String]) -> String {
    match nearest(name, present) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", and(present)),
    }
}

/// `did you mean …?`, or else what there is.
fn hint(nearest: &[String], existing: &[String]) -> String {
    match (nearest, existing) {
        ([], []) => "the model has none".to_owned(),
        ([], existing) => format!("there are {}", and(existing)),
        (nearest, _) => format!("did you mean {}?", or(nearest)),
    }
}

/// What a name that looks like something else was probably meant to be.
fn note(entry: &str) -> String {
    if is_all_linear(entry) {
        return " (write \"all-linear\" alone, not in a list)".to_owned();
    }
    match as_pattern(entry) {
        Some(pattern) => format!(
            " (entries of a list are names, not patterns: write {{ regex = '{pattern}' }}, in code \
             Targets::regex)"
        ),
        None => String::new(),
    }
}

/// What to do where a head is named that is no layer.
fn instead_of_head(role: Role, table: &str) -> String {
    match role {
        Role::Exclude => "leave the entry out".to_owned(),
        _ => format!(
            "train the table whole (modules_to_save = [\"{}\"]){}, or take a base with a head of its own",
            last_segment(table),
            match role {
                Role::Target => ", adapt it and the head as one (ensure_weight_tying)",
                _ => "",
            }
        ),
    }
}

/// What can be adapted, of which a module is none.
pub(crate) fn adaptable(kind: ModuleKind) -> &'static str {
    match kind {
        ModuleKind::Embedding | ModuleKind::Convolution => {
            "this kind of adapter is for linear layers"
        }
        _ => "only linear layers, embeddings and convolutions are adapted",
    }
}

fn inside(within: &[String]) -> String {
    if within.is_empty() { String::new() } else { format!(", such as {} in it", and(within)) }
}

fn existing_layers(existing: &[usize], example: Option<&str>) -> String {
    match (existing, example) {
        ([], Some(example)) => format!(
            "no target is in a numbered layer: set layers_pattern to what stands before the number \
             (`{example}`)"
        ),
        ([], None) => "no linear layer is targeted".to_owned(),
        ([only], _) => format!("the targets are in layer {only} only"),
        ([first, .., last], _) if last - first + 1 == existing.len() => {
            format!("the targets are in layers {first} to {last}")
        }
        (existing, _) => format!("the targets are in layers {existing:?}"),
    }
}

impl PatchError {
    /// A file of tensors that is none: what it is, where that can be told, or what the parser says.
    pub fn damaged(path: &Path, said: &str) -> Self {
        let kind = burn_lora_files::kind::of_file(path);
        let reason = kind.map_or_else(|| said.to_owned(), |kind| kind.to_string());
        Self::Damaged { path: path.to_owned(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_offered_and_else_what_there_is() {
        let names = ["q_proj", "k_proj", "lm_head"].map(String::from);
        assert_eq!(hint(&[], &names), "there are `q_proj`, `k_proj` and `lm_head`");
        assert_eq!(hint(&names[..2], &names), "did you mean `q_proj` or `k_proj`?");
        assert_eq!(hint(&[], &[]), "the model has none");
    }
}
