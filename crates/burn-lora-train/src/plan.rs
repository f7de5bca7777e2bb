//! What a run will need, before it takes it: memory by part, and time.
//!
//! The device, the tokenizer and the rows are read as a run reads them; of the model only the shapes are.
//! [`Memory`] is counted from those and from the largest batch that the run will see
//! ([`burn_lora_models::footprint`] says what a layer keeps); [`Pace`] comes from a few products of the
//! model's own shapes, measured here and now; [`Limit`] is what the run may grow to. A run that
//! would need more is refused by [`train`](crate::run::train) before its weights are read.
//!
//! Counted for the CPU. On a GPU, or a device elsewhere, the count serves as an estimate, set beside the memory that the device tells of; nothing is refused.
//!
//! ```no_run
//! use burn_lora_config::RunConfig;
//! use burn_lora_train::observe::Observer;
//! use burn_lora_train::plan::plan;
//!
//! let config = RunConfig::read("configs/quickstart.toml", &[])?;
//! let plan = plan(config, &Observer::silent())?;
//! println!("{plan}");
//! # Ok::<(), burn_lora_train::TrainError>(())
//! ```

mod batches;
mod crossing;
mod limit;
mod lines;
mod memory;
mod pace;
mod steps;
mod suggestion;

use std::collections::{BTreeMap, HashMap};

use burn_lora::{AdapterConfig, Method, Products, Sizes};
use burn_lora_models::footprint::Learned;
use burn_lora_models::gguf::block_bytes;
use burn_lora_models::weights::Role;
use burn_lora_models::{Recompute, WeightDtype};
use burn_lora_patch::{
    Bias, LayerReport, LayerStatus, LoraConfig, ParamInfo, ParamRole, PatchReport, SavedModule,
    Scan,
};
use serde::Serialize;

use crate::elsewhere::computing;
use crate::exchange::{Ranks, bytes_a_step, cut, measured};
use crate::learner::TrainableModel;
use crate::observe::Observer;
use crate::prepare::{Kind, ReadRun, Wanted, patch_config, read};
use crate::{TrainError, system_memory, with_model};
use burn_lora_config::{AdapterSection, RunConfig, TrainSection};
use burn_lora_report::summary::Recomputed;

use batches::Batches;
use memory::Needs;

pub use crossing::PlannedConnection;
pub use limit::{Limit, Place};
pub use memory::Memory;
pub use pace::Pace;
pub use steps::{Steps, Trained};
pub use suggestion::Suggestion;
use suggestion::{resized, suggestion};

/// What a run will need, and whether it is there.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The most memory that the run will have resident.
    pub memory: Memory,
    /// Whose memory that is.
    pub place: Place,
    /// What there is; none where this system, or the device, does not tell.
    pub limit: Option<Limit>,
    /// Whether it fits; true where there is no limit to compare with.
    pub fits: bool,
    /// Settings with which it would fit; only where it does not.
    pub suggestion: Option<Suggestion>,
    /// The largest batch that the run will see.
    pub batch: LargestBatch,
    /// How many parameters are trained.
    pub trainable: usize,
    /// How many there are, those of the adapter among them.
    pub total: usize,
    /// Steps of the run.
    pub steps: usize,
    /// What recomputing blocks saves and costs; none where nothing is recomputed.
    pub recomputed: Option<Recomputed>,
    /// How fast it will be, without what ranks exchange; none where it was not measured.
    pub pace: Option<Pace>,
    /// What a step exchanges, where several ranks take the run.
    pub exchange: Option<PlannedExchange>,
    /// What goes over the connection to the device, where that is elsewhere.
    pub connection: Option<PlannedConnection>,
}

/// What a step exchanges between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlannedExchange {
    /// How many ranks there are.
    pub ranks: usize,
    /// Bytes of gradients that a rank gives the others in a step.
    pub bytes: u64,
    /// Seconds that it takes, measured with as many zeros between ranks that wait for nothing else; none where they were not there.
    pub seconds: Option<f64>,
}

/// The batch that needs most.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LargestBatch {
    /// Rows.
    pub rows: usize,
    /// Tokens of each, padding included.
    pub width: usize,
    /// Tokens that carry loss, or rows to classify.
    pub targets: usize,
}

/// Plans a run: memory and time.
///
/// # Errors
///
/// Whatever is wrong with configuration, device, tokenizer, data, the model's configuration or targets.
pub fn plan(config: RunConfig, observer: &Observer) -> Result<Plan, TrainError> {
    plan_shared(config, Shared::ALONE, observer)
}

/// [`plan`] of a run that so many ranks will take, each on a machine like this one: memory and time of one of them, and the bytes that
/// it exchanges; how long those take is not known before the ranks are there. The rows of a step are cut as the run cuts them.
///
/// # Errors
///
/// Those of [`plan`], and a step with fewer rows than there are ranks.
pub fn plan_for_ranks(
    mut config: RunConfig,
    ranks: usize,
    observer: &Observer,
) -> Result<Plan, TrainError> {
    let ranks = ranks.max(1);
    let train = &mut config.train;
    let rows = train.batch_size.saturating_mul(train.accumulate);
    let parts = cut(train.batch_size, train.accumulate, ranks);
    (train.batch_size, train.accumulate) = parts.ok_or(TrainError::TooManyRanks { ranks, rows })?;
    let accumulate = train.accumulate;
    let mut plan = plan_shared(config, Shared { ranks, neighbours: 1 }, observer)?;
    plan.exchange = (ranks > 1).then(|| {
        let bytes = bytes_a_step(plan.trainable, accumulate, ranks);
        PlannedExchange { ranks, bytes, seconds: None }
    });
    Ok(plan)
}

/// Who takes a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shared {
    /// How many ranks.
    pub ranks: usize,
    /// How many of them share this machine's memory.
    pub neighbours: usize,
}

impl Shared {
    /// One process does.
    pub const ALONE: Self = Self { ranks: 1, neighbours: 1 };
}

/// [`plan`] of one rank of those that take a run, without what they exchange.
pub(crate) fn plan_shared(
    config: RunConfig,
    shared: Shared,
    observer: &Observer,
) -> Result<Plan, TrainError> {
    let device = config.train.device.clone();
    computing(&device, || {
        with_model!(Kind::of(&config, observer)?, Model => {
            with_pace::<Model>(&read::<Model>(config, Wanted::All, observer)?, shared, observer)
        })
    })
}

/// The memory of a rank's run that has been read, before its model is. `process` is what the process has
/// resident without a model, where it holds one already.
pub(crate) fn memory_plan<M: TrainableModel>(
    run: &ReadRun<M>,
    process: Option<u64>,
    shared: Shared,
) -> Result<Plan, TrainError> {
    let outline = Outline::read(run)?;
    Ok(memory_of(run, &outline, &Batches::of(run, shared.ranks), (process, shared)))
}

impl Plan {
    /// What a step of so many micro-batches exchanges, and how long that takes, as measured now; none where this process is alone.
    ///
    /// # Errors
    ///
    /// A rank has ended, or is gone.
    pub(crate) fn exchanging(
        &self,
        ranks: &Ranks,
        accumulate: usize,
    ) -> Result<Option<PlannedExchange>, TrainError> {
        let bytes = bytes_a_step(self.trainable, accumulate, ranks.size());
        let seconds = measured(ranks, self.trainable, accumulate)?;
        Ok(seconds.is_some().then(|| PlannedExchange { ranks: ranks.size(), bytes, seconds }))
    }
}

impl Plan {
    /// The run may start.
    ///
    /// # Errors
    ///
    /// It needs more memory than there is.
    pub fn admit(&self) -> Result<(), TrainError> {
        match self.limit {
            Some(limit) if !self.fits && self.place == Place::Process => {
                Err(TrainError::TooLarge {
                    needed: self.memory.peak,
                    free: limit.bytes,
                    suggestion: self.suggestion.clone(),
                })
            }
            _ => Ok(()),
        }
    }
}

/// A model by its shapes, and what is learned of it.
struct Outline<M> {
    model: M,
    scan: Scan,
    /// None where every parameter is trained.
    report: Option<PatchReport>,
    /// What the adapters are made from, where there are any.
    adapter: Option<AdapterConfig>,
    /// What is learned of each linear that learns something.
    linears: HashMap<String, Learned>,
    /// The bytes of matrices that are held in a file's own blocks, by path.
    blocks: BTreeMap<String, u64>,
}

impl<M: TrainableModel> Outline<M> {
    /// Of a run that was read.
    fn read(run: &ReadRun<M>) -> Result<Self, TrainError> {
        let mut outline = Self::of(run.base.outline(&run.config, &run.device)?, &run.config)?;
        if run.config.model.held().is_quantised() {
            outline.blocks = block_bytes(&run.base.place)?;
        }
        Ok(outline)
    }

    /// Of a model that exists by its shapes, as that run would train it.
    fn of(model: M, run: &RunConfig) -> Result<Self, TrainError> {
        match &run.adapter {
            AdapterSection::Lora(section) => {
                Self::adapted(model, &patch_config(section, M::TASK, run.train.seed))
            }
            _ => Ok(Self::whole(model)),
        }
    }

    /// Of one of which every parameter is trained.
    fn whole(model: M) -> Self {
        let scan = Scan::of(&model);
        Self {
            model,
            scan,
            report: None,
            adapter: None,
            linears: HashMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// Of one that is patched so.
    fn adapted(model: M, config: &LoraConfig) -> Result<Self, TrainError> {
        let scan = Scan::of(&model);
        let report = burn_lora_patch::plan(&model, config)?;
        let AdapterConfig { method, dropout, .. } = config.adapter;
        let learned = |layer: &LayerReport| match layer.status {
            LayerStatus::Adapted => {
                let rank = layer.rank;
                let sizes =
                    Sizes { d_in: layer.d_in, d_out: layer.d_out, rank, groups: layer.groups() };
                let dropout = dropout > 0.0 && !layer.table;
                let kept = method.kept(sizes, dropout);
                let input = method.keeps_input() && (!layer.table || layer.tied);
                Some((layer.path.clone(), Learned::Factors { rank, kept, input }))
            }
            LayerStatus::TrainedWhole => Some((layer.path.clone(), Learned::Whole)),
            _ => None,
        };
        let mut linears: HashMap<String, Learned> =
            report.layers().iter().filter_map(learned).collect();
        linears.extend(report.tokens().iter().map(|rows| (rows.path.clone(), Learned::Rows)));
        if config.bias == Bias::All {
            // A gradient goes through whatever has a bias; nothing is kept for the bias itself.
            let whole = |module: &str| {
                let within = |saved: &SavedModule| {
                    let rest = module.strip_prefix(saved.path.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                report.saved().iter().any(within)
            };
            let biased = scan.params().iter().filter_map(|param| {
                let (module, name) = param.path.rsplit_once('.')?;
                matches!(name, "bias" | "beta").then(|| module.to_owned())
            });
            for module in biased.filter(|module| !whole(module)) {
                linears.entry(module).or_insert(Learned::Factors {
                    rank: 0,
                    kept: 0,
                    input: false,
                });
            }
        }
        let (report, adapter) = (Some(report), Some(config.adapter.clone()));
        Ok(Self { model, scan, report, adapter, linears, blocks: BTreeMap::new() })
    }
}

impl<M> Outline<M> {
    /// How many parameters are trained.
    fn trainable(&self) -> usize {
        self.report.as_ref().map_or_else(|| self.base(), PatchReport::trainable)
    }

    /// How many there are, those of the adapter among them.
    fn total(&self) -> usize {
        self.report.as_ref().map_or_else(|| self.base(), PatchReport::total)
    }

    /// How many the base has.
    fn base(&self) -> usize {
        self.base_params().map(ParamInfo::count).sum()
    }

    /// Bytes that the base takes where its matrices are held in `dtype`. What is trained is f32.
    fn base_bytes(&self, dtype: WeightDtype) -> u64 {
        let bytes = |param: &ParamInfo| match self.learned(&param.path) {
            Learned::Whole => WeightDtype::F32.bytes_of(&param.shape),
            _ => self.blocks.get(&param.path).copied().unwrap_or_else(|| {
                let table = param.container == "Embedding";
                let role = if table { Role::Embedding } else { Role::Linear };
                dtype.of_role(role).bytes_of(&param.shape)
            }),
        };
        self.base_params().map(bytes).sum()
    }

    fn base_params(&self) -> impl Iterator<Item = &ParamInfo> {
        self.scan.params().iter().filter(|param| param.role == ParamRole::Base)
    }

    /// The products of an adapter of that rank beside a linear's own.
    fn products(&self, (d_in, d_out): (usize, usize), rank: usize) -> Products {
        let products = |method: Method| method.products(Sizes { d_in, d_out, rank, groups: 1 });
        self.adapter.as_ref().map(|adapter| products(adapter.method)).unwrap_or_default()
    }

    /// What is learned of the module at a path.
    fn learned(&self, path: &str) -> Learned {
        let Some(report) = &self.report else { return Learned::Whole };
        let below = |module: &SavedModule| {
            path.strip_prefix(&module.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match self.linears.get(path) {
            Some(learned) => *learned,
            None if report.saved().iter().any(below) => Learned::Whole,
            None => Learned::Nothing,
        }
    }
}

fn memory_of<M: TrainableModel>(
    run: &ReadRun<M>,
    outline: &Outline<M>,
    batches: &Batches,
    (process, shared): (Option<u64>, Shared),
) -> Plan {
    let process = process.or_else(system_memory::resident).unwrap_or(0);
    let needs = Needs::of(run, outline, process, shared.ranks);
    let evaluation = batches.evaluation;
    let with = |train: &TrainSection| {
        let largest = outline.largest(&batches.training, train.recompute);
        (needs.memory(outline, &largest, evaluation.as_ref(), train), largest)
    };
    let (memory, largest) = with(&run.config.train);
    let recomputed = (run.config.train.recompute != Recompute::None).then(|| {
        let kept = TrainSection { recompute: Recompute::None, ..run.config.train.clone() };
        let (without, _) = with(&kept);
        Recomputed {
            saved: without.peak.saturating_sub(memory.peak),
            operations: pace::recomputed(outline, batches, run.config.train.recompute),
        }
    });
    let place = Place::of(&run.device);
    let limit = Limit::of(&run.device).map(|limit| match place {
        Place::Process => limit.among(shared.neighbours),
        Place::Device => limit,
    });
    let fits = limit.is_none_or(|limit| memory.peak <= limit.bytes);
    let suggestion = match limit {
        Some(limit) if !fits => suggestion(&run.config, &largest, |shape, train| {
            let evaluation = evaluation
                .map(|of| resized(&of, of.rows.min(train.batch_size), of.width.min(shape.width)));
            needs.memory(outline, shape, evaluation.as_ref(), train).peak <= limit.bytes
        }),
        _ => None,
    };
    let batch = LargestBatch { rows: largest.rows, width: largest.width, targets: largest.targets };
    let (trainable, total) = (outline.trainable(), outline.total());
    let steps = batches.steps;
    let pace = None;
    let connection = burn_lora::device::connection(&run.device)
        .map(|_| PlannedConnection::of(outline, batches, &memory, &run.config.train));
    Plan {
        memory,
        place,
        limit,
        fits,
        suggestion,
        batch,
        trainable,
        total,
        steps,
        recomputed,
        pace,
        exchange: None,
        connection,
    }
}

fn with_pace<M: TrainableModel>(
    run: &ReadRun<M>,
    shared: Shared,
    observer: &Observer,
) -> Result<Plan, TrainError> {
    for note in run.base.notes(&run.tokenizer) {
        observer.note(note);
    }
    let outline = &Outline::read(run)?;
    let batches = Batches::of(run, shared.ranks);
    let mut plan = memory_of(run, outline, &batches, (None, shared));
    if plan.fits {
        observer.stage("measuring products");
        plan.pace = pace::measured(run, outline, &batches)?;
        observer.done();
    }
    Ok(plan)
}
