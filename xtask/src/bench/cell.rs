//! One cell in a process of its own: builds the model, takes the steps, says what they cost.
//!
//! The process reads an [`Order`] as JSON from its standard input and prints a [`Measured`] as JSON. Steps are taken by the trainer's own
//! loop ([`take_steps`]); what is left out of a run is data, evaluations and checkpoints.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use burn::module::{Module, ParamGroup};
use burn::tensor::Device;
use burn_lora_config::{RunConfig, TrainSection};
use burn_lora_models::weights::Storage;
use burn_lora_models::{CausalLm, ClassifierConfig, Model, Recompute, SequenceClassifier};
use burn_lora_patch::peft::{self, LoadOptions, PeftConfig};
use burn_lora_patch::{LayerStatus, LoraConfig, TaskType, merge, patch, plan};
use burn_lora_report::record::StepRecord;
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::{system_memory, take_steps};
use serde::{Deserialize, Serialize};

use super::matrix::Shape;
use super::planned::planned;
use super::products::Products;
use super::record::{Cell, Latency, Measured, Method, StepTimes};
use super::workload::{Rows, Workload};

/// Classes of a classifier of the matrix.
pub const CLASSES: usize = 16;

/// What a process is to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The cell.
    pub cell: Cell,
    /// The text of the model's `config.json`.
    pub config: String,
    /// Seeds weights, adapter and batches.
    pub seed: u64,
    /// Steps that are not timed.
    pub warmup: usize,
    /// Steps that are.
    pub steps: usize,
    /// When the process was started, seconds since 1970.
    pub started: f64,
    /// A directory with `model/`, `adapter/` and `batches.json` to use instead of random ones.
    pub given: Option<PathBuf>,
    /// Whether the products of a step are measured alone as well.
    pub alone: bool,
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Measures the cell of the order.
///
/// # Errors
///
/// A line that says what could not be done.
pub fn measure(order: &Order) -> Result<Measured, String> {
    let plain = burn_lora::device::parse(&order.cell.backend).map_err(said)?;
    let device = match order.cell.method {
        Method::Merged => plain,
        _ => plain.autodiff(),
    };
    let shape = Shape::parse(&order.config, "config.json".as_ref())?;
    match &shape {
        Shape::Decoder(config) => run::<CausalLm>(order, &shape, config, Rows::tokens, &device),
        Shape::Encoder(config) => {
            let config = config.clone().with_num_labels(CLASSES);
            let batch = |rows: &Rows| rows.labels(CLASSES);
            run::<SequenceClassifier>(order, &shape, &config, batch, &device)
        }
    }
}

/// The model that was given, or a random one.
fn built<M: Model>(order: &Order, config: &M::Config, device: &Device) -> Result<M, String> {
    let at = Storage { device, dtype: order.cell.dtype };
    match &order.given {
        Some(dir) => Ok(M::load(&dir.join("model"), at, &mut |_, _| {}).map_err(said)?.0),
        None => M::random(config, order.seed, at).map_err(said),
    }
}

/// What is wrong, as a line.
pub fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn run<M: TrainableModel>(
    order: &Order,
    shape: &Shape,
    config: &M::Config,
    batch: impl Fn(&Rows) -> M::Batch,
    device: &Device,
) -> Result<Measured, String> {
    let cell = &order.cell;
    let workload = match &order.given {
        Some(dir) => Workload::read(&dir.join("batches.json"))?,
        None => {
            let steps = order.warmup + order.steps;
            Workload::random(cell, shape.about().vocab_size(), 0, steps, order.seed)
        }
    };
    let batches: Vec<M::Batch> = workload.batches.iter().map(batch).collect();
    let train = train_section(&workload, cell.recompute)?;
    let planned = planned::<M>(order, config, &train, &batches, device)?;
    let model: M = built(order, config, device)?;
    let linears: Vec<(usize, usize)> = plan(&model, &patching(M::TASK, cell, order.seed))
        .map_err(said)?
        .layers()
        .iter()
        .filter(|layer| layer.status == LayerStatus::Adapted)
        .map(|layer| (layer.d_in, layer.d_out))
        .collect();
    let products = Products::of(cell, shape, &linears);
    let mut measured =
        Measured { flops: products.flops(), planned_bytes: planned, ..Measured::default() };
    if cell.method == Method::Merged {
        infer(order, model, &batches, device, &mut measured)?;
    } else {
        let model = adapted(order, model, &mut measured)?;
        steps(order, &train, model, batches, device, &mut measured)?;
    }
    measured.peak_bytes =
        system_memory::peak().ok_or("the peak memory of this process is not known here")?;
    let plain = device.clone().without_autodiff();
    let weights = cell.dtype.bytes(measured.parameters as u64);
    measured.device_bytes = held(measured.device_bytes.max(reserved(&plain)), weights, &plain)?;
    if order.alone {
        measured.products_seconds = products.seconds(&plain);
    }
    Ok(measured)
}

/// What the device's allocator has taken of the device's memory, in bytes, where the backend tells. Pages that are
/// free again stay with it, so after a step it is what the step needed.
fn reserved(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

/// What the allocator told, where that can be true: a device with memory of its own holds at least the weights.
fn held(told: Option<u64>, weights: u64, device: &Device) -> Result<Option<u64>, String> {
    match told {
        None if burn_lora::device::is_cpu(device) => Ok(None),
        None => Err("the device's allocator does not tell what it holds".to_owned()),
        Some(bytes) if bytes < weights => Err(format!(
            "the device's allocator says that it held {bytes} bytes, less than the {weights} of the weights alone"
        )),
        Some(bytes) => Ok(Some(bytes)),
    }
}

/// Rank `r`, alpha `2 r`, every linear but the head.
pub fn patching(task: TaskType, cell: &Cell, seed: u64) -> LoraConfig {
    let rank = cell.rank.unwrap_or(1);
    let kind = match cell.method {
        Method::Dora => burn_lora::Method::Dora,
        Method::Miss => burn_lora::Method::Miss,
        Method::LoraFa => burn_lora::Method::LoraFa,
        Method::Full | Method::Lora | Method::Composed | Method::Merged => burn_lora::Method::Lora,
    };
    LoraConfig::new(rank).with_method(kind).with_task_type(task).with_seed(seed)
}

/// The model with what the method trains attached to it, and everything else frozen.
fn adapted<M: TrainableModel>(
    order: &Order,
    mut model: M,
    measured: &mut Measured,
) -> Result<M, String> {
    let cell = &order.cell;
    let config = patching(M::TASK, cell, order.seed);
    let base = Module::num_params(&model) as u64;
    (measured.parameters, measured.trainable) = (base, base);
    match cell.method {
        Method::Full => {}
        Method::Lora | Method::Dora | Method::Miss | Method::LoraFa => {
            let report = match &order.given {
                Some(dir) => {
                    let options = LoadOptions::new().with_trainable(true);
                    peft::load(&mut model, dir.join("adapter"), &options).map_err(said)?
                }
                None => patch(&mut model, &config).map_err(said)?,
            };
            measured.trainable = report.trainable() as u64;
            measured.parameters = report.total() as u64;
            measured.adapter_bytes = Some(adapter_bytes(&model, &config)?);
        }
        Method::Composed | Method::Merged => {
            let report = plan(&model, &config).map_err(said)?;
            let weights: Vec<String> = report
                .layers()
                .iter()
                .filter(|layer| layer.status == LayerStatus::Adapted)
                .map(|layer| format!("{}.weight", layer.path))
                .collect();
            let rank = cell.rank.unwrap_or(1);
            let lora = burn::module::Lora::new(rank, 2.0 * rank as f64)
                .set_param_group(ParamGroup::from_paths(weights));
            model = model.apply_lora(lora);
            measured.trainable = report.trainable() as u64;
            measured.parameters = report.total() as u64;
        }
    }
    // The value and AdamW's two moments.
    measured.checkpoint_bytes = measured.trainable * 4 * 3;
    Ok(model)
}

fn adapter_bytes<M: Module>(model: &M, config: &LoraConfig) -> Result<u64, String> {
    let dir = tempfile::tempdir().map_err(said)?;
    peft::save(model, dir.path(), &PeftConfig::new(config)).map_err(said)?;
    let file = dir.path().join("adapter_model.safetensors");
    Ok(std::fs::metadata(file).map_err(said)?.len())
}

fn steps<M: TrainableModel>(
    order: &Order,
    train: &TrainSection,
    model: M,
    batches: Vec<M::Batch>,
    device: &Device,
    measured: &mut Measured,
) -> Result<(), String> {
    let told: Rc<RefCell<Vec<(StepRecord, f64, f64)>>> = Rc::default();
    let most: Rc<RefCell<Option<u64>>> = Rc::default();
    let (listener, largest) = (told.clone(), most.clone());
    let (warmup, plain) = (order.warmup, device.clone().without_autodiff());
    let stepped = move |record: &StepRecord, gradients: f64| {
        listener.borrow_mut().push((*record, gradients, now()));
        // Asking drains what is queued, which belongs into a step's time: only where it is not timed.
        if record.step <= warmup {
            let now = (*largest.borrow()).max(reserved(&plain));
            *largest.borrow_mut() = now;
        }
    };
    take_steps(model, train, batches, stepped).map_err(said)?;
    measured.device_bytes = most.take();
    for (step, (record, gradients, at)) in told.take().into_iter().enumerate() {
        measured.losses.push(record.loss);
        if step == 0 {
            measured.first_step_seconds = at - order.started;
        }
        if step >= order.warmup {
            let optimizer = record.seconds - gradients;
            measured.steps.push(StepTimes { gradients, optimizer });
        }
    }
    Ok(())
}

/// `[train]` of a run that takes the workload's steps.
fn train_section(workload: &Workload, recompute: Recompute) -> Result<TrainSection, String> {
    let Workload { learning_rate, weight_decay, clip, batches, .. } = workload;
    let text = format!(
        "[model]\npath = '.'\n[data]\ntrain = '.'\n[output]\ndir = '.'\n[train]\nsteps = {}\n\
         schedule = 'constant'\nwarmup = 0\nlearning_rate = {learning_rate}\n\
         weight_decay = {weight_decay}\nclip = {clip}\nrecompute = '{}'\n",
        batches.len(),
        recompute.name()
    );
    Ok(RunConfig::parse(&text, "the workload", &[]).map_err(said)?.train)
}

/// Alternates between the base, the adapted and the merged model.
fn infer<M: TrainableModel>(
    order: &Order,
    model: M,
    batches: &[M::Batch],
    device: &Device,
    measured: &mut Measured,
) -> Result<(), String> {
    let config = patching(M::TASK, &order.cell, order.seed);
    measured.parameters = Module::num_params(&model) as u64;
    let mut adapted = model.clone();
    let report = patch(&mut adapted, &config).map_err(said)?;
    measured.trainable = report.trainable() as u64;
    measured.adapter_bytes = Some(adapter_bytes(&adapted, &config)?);
    let mut merged = adapted.clone();
    merge(&mut merged).map_err(said)?;
    let mut latency = Latency::default();
    for (pass, batch) in batches.iter().enumerate() {
        for (model, times) in [
            (&model, &mut latency.base),
            (&adapted, &mut latency.adapter),
            (&merged, &mut latency.merged),
        ] {
            let started = Instant::now();
            let logits = model.target_logits(batch, device);
            device.sync().map_err(said)?;
            drop(logits);
            if pass >= order.warmup {
                times.push(started.elapsed().as_secs_f64());
            }
        }
        if pass == 0 {
            measured.first_step_seconds = now() - order.started;
        }
    }
    measured.latency = Some(latency);
    Ok(())
}

/// How many bytes a cell is sure to need: weights, gradients, AdamW's moments, and the logits of an inference cell.
///
/// Counted on the shape; building the model would take the memory in question.
///
/// # Errors
///
/// A line that says what is wrong with the shape.
pub fn least_bytes(cell: &Cell, shape: &Shape) -> Result<u64, String> {
    let report = shape.planned(&patching(TaskType::CausalLm, cell, 0))?;
    let base = (report.total() - report.trainable()) as u64;
    let copies = match cell.method {
        Method::Full => 4,
        Method::Composed | Method::Merged => 2,
        Method::Lora | Method::Dora | Method::Miss | Method::LoraFa => 1,
    };
    let logits = match cell.method {
        Method::Merged => cell.tokens() * shape.classes(),
        _ => 0,
    };
    Ok(cell.dtype.bytes(base) * copies + 4 * logits as u64)
}

#[cfg(test)]
mod tests {
    use burn_lora_models::weights::WeightDtype;

    use super::*;

    const CONFIG: &str = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 16,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": true}"#;

    fn order(method: Method) -> Order {
        let rank = method.has_rank().then_some(2);
        Order {
            cell: Cell {
                model: "tiny".into(),
                backend: "flex".into(),
                dtype: WeightDtype::F32,
                recompute: Recompute::None,
                batch: 2,
                length: 8,
                method,
                rank,
            },
            config: CONFIG.into(),
            seed: 3,
            warmup: 1,
            steps: 2,
            started: now(),
            given: None,
            alone: true,
        }
    }

    #[test]
    fn every_method_starts_from_the_same_loss_and_is_measured() {
        use Method::{Composed, Dora, Full, Lora, LoraFa, Miss};
        let [full, lora, composed, dora, miss, lora_fa] =
            [Full, Lora, Composed, Dora, Miss, LoraFa]
                .map(|method| measure(&order(method)).unwrap());
        for measured in [&full, &lora, &composed, &dora, &miss, &lora_fa] {
            assert_eq!((measured.losses.len(), measured.steps.len()), (3, 2));
            // B starts at zero: the first loss is the base model's, whatever is attached.
            let off = (measured.losses[0] - full.losses[0]).abs();
            assert!(off < 1e-5, "{} and {}", measured.losses[0], full.losses[0]);
            assert!(measured.peak_bytes > 0 && measured.first_step_seconds > 0.0);
            assert!(measured.products_seconds > 0.0);
        }
        // Per block, at rank 2: q and o 16 + 16, k and v 16 + 8, gate, up and down 16 + 24.
        let factors = 2 * 2 * (2 * 32 + 2 * 24 + 3 * 40);
        assert_eq!((lora.trainable, composed.trainable), (factors, factors));
        // A magnitude a column: q and o 16, k and v 8, gate and up 24, down 16.
        assert_eq!(dora.trainable, factors + 2 * (2 * 16 + 2 * 8 + 2 * 24 + 16));
        // Two rows of a block: q and o 16, k and v 8, gate and up 24, down 16.
        assert_eq!(miss.trainable, 2 * 2 * (2 * 16 + 2 * 8 + 2 * 24 + 16));
        // As many as B has, of an adapter that is as large as LoRA's.
        assert_eq!((lora_fa.trainable, lora_fa.parameters), (miss.trainable, lora.parameters));
        assert_eq!(full.trainable, full.parameters);
        assert_eq!(lora.parameters, full.parameters + factors);
        assert_eq!(lora.checkpoint_bytes, 12 * factors);
        assert!(lora.adapter_bytes.unwrap() > 4 * factors);
    }

    /// Rounding to 8 bits moves a loss of ln 64 by far less than a hundredth, but moves it.
    #[test]
    fn half_precision_weights_are_what_the_steps_are_taken_on() {
        let mut half = order(Method::Lora);
        half.cell.dtype = WeightDtype::Bf16;
        let [half, whole] = [half, order(Method::Lora)].map(|order| measure(&order).unwrap());
        let off = (half.losses[0] - whole.losses[0]).abs();
        assert!(off > 0.0 && off < 1e-2, "{off}");
    }

    #[test]
    fn device_memory_that_cannot_be_true_is_no_measurement() {
        let cpu = burn_lora::device::parse("cpu").unwrap();
        assert_eq!(held(None, 100, &cpu), Ok(None));
        assert_eq!(held(Some(100), 100, &cpu), Ok(Some(100)));
        for bytes in [0, 99] {
            let error = held(Some(bytes), 100, &cpu).unwrap_err();
            assert!(error.contains(&format!("{bytes} bytes, less than the 100")), "{error}");
        }
        #[cfg(feature = "wgpu")]
        {
            let gpu = burn_lora::device::parse("wgpu").unwrap();
            assert!(held(None, 0, &gpu).unwrap_err().contains("does not tell"));
        }
    }

    #[test]
    fn merged_inference_is_measured_three_ways() {
        let latency = measure(&order(Method::Merged)).unwrap().latency.unwrap();
        for times in [latency.base, latency.adapter, latency.merged] {
            assert_eq!(times.len(), 2);
        }
    }

    /// Per block, q and o 16 x 16, k and v 16 x 8, gate, up and down 16 x 24; the table 64 x 16; norms of 16, two a block and one.
    #[test]
    fn the_least_memory_is_counted_on_the_shape() {
        let shape = Shape::parse(CONFIG, "config.json".as_ref()).unwrap();
        let base = 2 * (2 * 256 + 2 * 128 + 3 * 384) + 1024 + 5 * 16;
        let least = |method| least_bytes(&order(method).cell, &shape).unwrap();
        assert_eq!(least(Method::Lora), 4 * base);
        assert_eq!(least(Method::Full), 16 * base);
        assert_eq!(least(Method::Merged), 8 * base + 4 * 16 * 64);
    }
}
