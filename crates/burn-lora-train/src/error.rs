//! Everything that can stop a run, one variant per cause.

use std::path::PathBuf;

use burn_lora::device::DeviceError;
use burn_lora_files::IoError;
use burn_lora_files::lock::Owner;
use burn_lora_hub::HubError;
use burn_lora_models::ModelError;
use burn_lora_patch::PatchError;
use burn_lora_report::ReportError;
use burn_lora_text::{listed, size};

use crate::directory::instead;
use crate::exchange::ExchangeError;
use crate::exchange::launch::LaunchError;
use crate::inputs::Changed;
use crate::plan::Suggestion;
use crate::scene::Scene;
use burn_lora_config::{ConfigErrors, UnwritableError};
use burn_lora_data::DataError;

/// Why a run cannot start, go on or be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration has problems.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A configuration that no file can hold.
    #[error(transparent)]
    Unwritable(#[from] UnwritableError),
    /// The device cannot be had.
    #[error("[train] device: {0}")]
    Device(#[from] DeviceError),
    /// The model, its files or its tokenizer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Targets, or adapter files.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The hub.
    #[error(transparent)]
    Hub(Box<HubError>),
    /// What names a model is no path here, and the hub does not give it.
    #[error(
        "there is no `{name}` here{note}: if a directory or file is meant, put the model there or name its place. As a model of the hub: {source}"
    )]
    NoSuchModel {
        /// What was given.
        name: String,
        /// What may have been meant, in brackets.
        note: String,
        /// What the hub said.
        source: Box<HubError>,
    },
    /// A model would have to be downloaded where nothing is to be.
    #[error(
        "`{name}` is not here{note} and not in the cache, and nothing is to be downloaded: fetch it first"
    )]
    NotFetched {
        /// The model.
        name: String,
        /// What may have been meant, in brackets.
        note: String,
    },
    /// What a run measured cannot be drawn.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A file or directory cannot be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A file of a run directory is damaged.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint is not as it was written.
    #[error(
        "`{file}` of the checkpoint `{}` {reason}; {}",
        path.display(),
        whole.as_ref().map_or_else(
            || "no other checkpoint is whole, so start over".to_owned(),
            |whole| format!(
                "`{}` is whole: remove `{}` to go on from there", whole.display(), path.display()
            ),
        )
    )]
    Checkpoint {
        /// Its directory.
        path: PathBuf,
        /// The file that is not as it was written.
        file: String,
        /// In what way.
        reason: String,
        /// The newest checkpoint that is whole.
        whole: Option<PathBuf>,
    },
    /// A checkpoint is of another run.
    #[error(
        "the checkpoint `{}` is of a run with other settings or another seed: put this run's own back, or remove it",
        path.display()
    )]
    OtherRun {
        /// Its directory.
        path: PathBuf,
    },
    /// The records that a checkpoint covers are not as they were written.
    #[error(
        "`{}`: line {line} {reason}; put the file back as it was, or allow `metrics` to have changed, to go on with what is left of it",
        path.display()
    )]
    Metrics {
        /// The file.
        path: PathBuf,
        /// The first line that is not right, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Files that the run stands on have changed since its checkpoint.
    #[error(
        "cannot resume `{}`: since the checkpoint {}; put the files back, allow {} to have changed, or start a new run",
        dir.display(),
        changes.join(", "),
        kinds.iter().map(|kind| format!("`{}`", kind.name())).collect::<Vec<_>>().join(" and ")
    )]
    InputsChanged {
        /// The run directory.
        dir: PathBuf,
        /// What has changed, file by file.
        changes: Vec<String>,
        /// Of which kinds that is.
        kinds: Vec<Changed>,
    },
    /// A template that writes the date writes another one than when the run began.
    #[error(
        "the chat template writes the date, and `{}` began at another: its rows would not be the same; resume with the environment variable \
         SOURCE_DATE_EPOCH={time}, the time of its beginning",
        dir.display()
    )]
    OtherDate {
        /// The run directory.
        dir: PathBuf,
        /// In seconds since 1970-01-01.
        time: i64,
    },
    /// Another process has the run directory.
    #[error(
        "another process is running in `{}`{}: wait for it, stop it, or name another `[output] dir`",
        dir.display(),
        owner.as_ref().map_or_else(String::new, |owner| format!(
            " (process {} on {})", owner.pid, owner.host
        ))
    )]
    Running {
        /// The run directory.
        dir: PathBuf,
        /// Which process, where it told.
        owner: Option<Owner>,
    },
    /// The run directory is gone, or another's.
    #[error(
        "`{}` was removed while the run was going on, so nothing of it can be kept: start it again",
        dir.display()
    )]
    Vanished {
        /// The run directory.
        dir: PathBuf,
    },
    /// The run directory holds a run already.
    #[error(
        "`{}` holds a run already: {}",
        dir.display(),
        match (resumable, removable) {
            (true, true) => "go on with it, start over, or name another `[output] dir`",
            (true, false) => "go on with it, or name another `[output] dir`",
            (false, true) => "it was stopped before its first checkpoint; start over, or name another `[output] dir`",
            (false, false) => "it was stopped before its first checkpoint, and files lie there that no run wrote; name another `[output] dir`",
        }
    )]
    Exists {
        /// The run directory.
        dir: PathBuf,
        /// Whether it has a checkpoint.
        resumable: bool,
        /// Whether nothing lies there that no run wrote, so that it can be started over.
        removable: bool,
    },
    /// What lies in the run directory was not written by a run.
    #[error(
        "`{}` holds what no run of this program wrote, or not as it is now: {}; move it away, or name another `[output] dir`",
        dir.display(),
        listed(files)
    )]
    Foreign {
        /// The run directory.
        dir: PathBuf,
        /// The files, relative to it.
        files: Vec<String>,
    },
    /// What should be the run directory is something else.
    #[error("`{}` is no directory: name another `[output] dir`", dir.display())]
    NoDirectory {
        /// What is there.
        dir: PathBuf,
    },
    /// There is nothing to resume.
    #[error("`{}` holds no checkpoint to go on from: start the run anew", dir.display())]
    NothingToResume {
        /// The run directory.
        dir: PathBuf,
    },
    /// The configuration of the run to resume is gone.
    #[error(
        "`{0}` has checkpoints and no `config.toml`, which says what they are of: put it back, or the run file that the run was started with in its place (`cp RUN_FILE {0}/config.toml`)",
        dir.display()
    )]
    NoConfig {
        /// The run directory.
        dir: PathBuf,
    },
    /// The configuration differs from that of the run to resume.
    #[error(
        "cannot resume `{}`: these settings differ from the run's: {}; set them back, or start a new run",
        dir.display(),
        differences.join(", ")
    )]
    ResumeDiffers {
        /// The run directory.
        dir: PathBuf,
        /// `key: then -> now`, one for each.
        differences: Vec<String>,
        /// Whether all of them only say how many steps there are.
        lengths_only: bool,
    },
    /// A longer run was asked for that is not longer.
    #[error(
        "the run in `{}` has taken {taken} steps already, and {steps} in all are asked for: give more `[train] steps` or `epochs`",
        dir.display()
    )]
    NotLonger {
        /// The run directory.
        dir: PathBuf,
        /// Steps taken.
        taken: usize,
        /// Steps in all.
        steps: usize,
    },
    /// The model has a head of another number of classes than the rows.
    #[error(
        "the head of `{}` has {outputs} outputs ({}), and there are {} classes ({}): name all {outputs} in [data] labels, in \
         the order of the outputs, or take the tensors `{group}…` out of the files, so that a head of {} starts afresh",
        dir.display(), listed(named), classes.len(), listed(classes), classes.len()
    )]
    Head {
        /// The model's directory.
        dir: PathBuf,
        /// How many outputs the head has.
        outputs: usize,
        /// What they are called.
        named: Vec<String>,
        /// The classes of the rows, or those that the configuration names.
        classes: Vec<String>,
        /// What the keys of the head's tensors begin with.
        group: &'static str,
    },
    /// Rows may be longer than the model can read.
    #[error(
        "[data] max_length = {max_length} is more than the {limit} tokens that the model reads at once: lower it"
    )]
    TooLong {
        /// What the configuration says.
        max_length: usize,
        /// What the model has.
        limit: usize,
    },
    /// The run needs more memory than there is.
    #[error(
        "this run needs {} of memory and there are {}: {}",
        size(*needed), size(*free),
        suggestion.as_ref().map_or_else(
            || "no smaller batch or shorter row makes it fit, so take a smaller model or `[adapter] rank`".to_owned(),
            |suggestion| format!("it fits with {suggestion}"),
        )
    )]
    TooLarge {
        /// The most bytes that it would have resident.
        needed: u64,
        /// The bytes that this process may have.
        free: u64,
        /// Settings with which it fits.
        suggestion: Option<Suggestion>,
    },
    /// A token that the model has no row for.
    #[error(
        "the token `{token}` has the id {id}, and the model's token table has {vocabulary} rows: the tokenizer is another model's, or has tokens that were added to it alone; take the model's own tokenizer, or a model whose table was enlarged with it"
    )]
    UnknownToken {
        /// The token's id.
        id: u32,
        /// The token.
        token: String,
        /// Rows of the table.
        vocabulary: usize,
    },
    /// A token that should end texts, and that the model has no row for.
    #[error(
        "`eos_token_id` is {id}, which is no token of the model, whose table has {vocabulary} rows: write the id of the token that ends a text into generation_config.json, or into config.json where there is no other"
    )]
    UnknownEnd {
        /// What stands there.
        id: u32,
        /// Rows of the table.
        vocabulary: usize,
    },
    /// Rows that are classified cannot share a row.
    #[error("[data] packing: a row that is classified stands alone; leave `packing` out")]
    Packing,
    /// An entry that names no trained parameter.
    #[error(
        "[train] no_decay: `{entry}` is the name of no trained parameter, nor the end of one{}",
        nearest.as_ref().map_or_else(
            || format!(", such as `{example}`"),
            |name| format!("; did you mean `{name}`?"),
        )
    )]
    NoDecay {
        /// The entry.
        entry: String,
        /// A name like it.
        nearest: Option<String>,
        /// The name of one of them.
        example: String,
    },
    /// The loss or the gradients became NaN or infinite.
    #[error(
        "step {step}: the {what} is {value}, so no further step can be right; the run stopped before using it{scene}. {}",
        match (*step, *what) {
            (1, "loss") => "Nothing was learned by then: the base model's weights are broken, or these rows are",
            _ => "Lower `[train] learning_rate` or `[adapter] alpha`, or lengthen `warmup`; `weight_decay` is seldom above 0.1",
        }
    )]
    NotFinite {
        /// The step, counted from 1.
        step: usize,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The value.
        value: f64,
        /// Where it happened.
        scene: Scene,
    },
    /// The loss on held-out rows is NaN or infinite.
    #[error("{}", not_finite_held_out(*step, *value, scene))]
    EvaluationNotFinite {
        /// The steps taken before the evaluation; none where a finished run is evaluated.
        step: Option<usize>,
        /// The value.
        value: f64,
        /// Where it happened.
        scene: Scene,
    },
    /// The first step's gradients are all 0, or there are none.
    #[error(
        "step 1: no gradient reaches what is to be trained, so nothing would be learned. The loss is {loss:.4}: {}",
        if *loss == 0.0 {
            "these rows are known already"
        } else {
            "the layers that `[adapter] targets` names have no part in it, or `alpha` is 0; name others, or raise it"
        }
    )]
    NoGradient {
        /// The loss, in nats a target.
        loss: f64,
    },
    /// A step has nothing to predict.
    #[error("step {step}: no token of its rows carries loss, so there is nothing to learn{scene}")]
    NothingToLearn {
        /// The step, counted from 1.
        step: usize,
        /// Where it happened.
        scene: Scene,
    },
    /// A finished run has no rows to be measured on.
    #[error(
        "no rows were held out of the run in `{}`, so there is nothing to measure it on: give rows that it was not trained on as `data.eval`",
        dir.display()
    )]
    NothingHeldOut {
        /// The run directory.
        dir: PathBuf,
    },
    /// Generated texts are to be scored, but no held-out row has a text to compare with.
    #[error(
        "{}: no row has a prompt and an answer, so that generated texts have nothing to be compared with: leave `[train] exact_match` and `bleu` \
         out, or hold out rows that have them",
        path.display()
    )]
    NothingToScore {
        /// The held-out rows.
        path: PathBuf,
    },
    /// Other rows would be held out than were when the run was trained.
    #[error(
        "the run in `{}` held out other rows: `data.held_out`, `train.seed` and the training files decide which, and with other ones rows that were trained on would be counted; \
         leave them as the run has them, or give rows as `data.eval`",
        dir.display()
    )]
    OtherHeldOut {
        /// The run directory.
        dir: PathBuf,
    },
    /// The rows are held out of a file that has changed since.
    #[error(
        "`{}` is not what the run in `{}` was trained on, so that the rows that it held out cannot be found in it: put the file back, or give rows as `data.eval`",
        path.display(),
        dir.display()
    )]
    HeldOutChanged {
        /// The run directory.
        dir: PathBuf,
        /// The training file.
        path: PathBuf,
    },
    /// Burn, or its data loader, stopped.
    #[error("{doing} failed: {source}")]
    Burn {
        /// What was done.
        doing: &'static str,
        /// What Burn says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The run has nothing to merge or to evaluate.
    #[error("`{}` is no finished run: {}", dir.display(), instead::reason(dir, missing))]
    Unfinished {
        /// The run directory.
        dir: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// This process was started as one of many, which it cannot be.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The ranks cannot give each other anything any more.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The device is elsewhere, and the connection to it broke.
    #[error(
        "the connection to the device `remote://{address}` broke: its server was stopped or failed (what it printed last may say why), or \
         the network went away; start the server again, and go on from the newest checkpoint, or anew where there is none"
    )]
    DeviceLost {
        /// `HOST:PORT` of the server.
        address: String,
    },
    /// Another rank has ended the run.
    #[error("rank {rank} ended the run: {reason}")]
    OtherRank {
        /// Which one.
        rank: usize,
        /// What it says.
        reason: String,
    },
    /// A rank stands on something else than the first one.
    #[error(
        "rank {rank} differs from rank 0: {}; give every rank the same program, configuration and files",
        differences.join("; ")
    )]
    RankDiffers {
        /// Which one.
        rank: usize,
        /// What is different, one for each.
        differences: Vec<String>,
    },
    /// What a rank trains is not bit for bit what the first one trains.
    #[error(
        "after step {step} rank {rank} has other weights than rank 0, so no checkpoint was written: processors, or devices, of one kind \
         compute to the same bits; take such ones, and go on from the newest checkpoint"
    )]
    RankDrifted {
        /// Which one.
        rank: usize,
        /// Steps taken.
        step: usize,
    },
    /// There are more ranks than rows in a step.
    #[error(
        "a step has {rows} rows, which {ranks} ranks cannot share: start no more than {rows} ranks, or raise `[train] batch_size` or \
         `accumulate`"
    )]
    TooManyRanks {
        /// How many ranks.
        ranks: usize,
        /// Rows of a step.
        rows: usize,
    },
    /// More threads than there is any use for.
    #[error(
        "[train] threads = {threads} on {cores} cores: they would wait for each other, a step for minutes; give as many as there are cores, or leave it out"
    )]
    TooManyThreads {
        /// What the configuration says.
        threads: usize,
        /// Cores of this machine.
        cores: usize,
    },
    /// The thread pool was already set up.
    #[error("[train] threads = {threads} cannot be set: {reason}")]
    Threads {
        /// What the configuration says.
        threads: usize,
        /// What the thread pool said.
        reason: String,
    },
}

fn not_finite_held_out(step: Option<usize>, value: f64, scene: &Scene) -> String {
    match step {
        None => {
            format!(
                "the held-out loss is {value}{scene}: the weights are broken, or these rows are"
            )
        }
        Some(0) => format!(
            "before the first step the held-out loss is {value}{scene}: the base model's weights are broken, or these rows are"
        ),
        Some(step) => format!(
            "after step {step} the held-out loss is {value}, so the run stopped{scene}. Lower `[train] learning_rate` or \
             `[adapter] alpha`, or lengthen `warmup`"
        ),
    }
}

impl From<HubError> for TrainError {
    fn from(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl TrainError {
    /// For `map_err` on file operations.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let at = IoError::at(action, path);
        move |source| at(source).into()
    }

    /// For `map_err` on what Burn does.
    pub(crate) fn burn<E>(doing: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Burn { doing, source: source.into() }
    }
}
