//! What a cell is planned to have resident at its peak, before its model is made.
//!
//! That is the trainer's own plan ([`Steps`]), on the cell's shape and batches.

use burn::tensor::Device;
use burn_lora_config::TrainSection;
use burn_lora_models::footprint::BatchShape;
use burn_lora_train::learner::{Batch, TrainableModel};
use burn_lora_train::plan::{Steps, Trained};
use burn_lora_train::system_memory;

use super::cell::{Order, patching, said};
use super::record::Method;

/// The peak of the cell's process, in bytes, of which the model is not made yet; none on other backends than Flex, whose steps are
/// the ones that are counted.
///
/// # Errors
///
/// What the model or the targets say.
pub fn planned<M: TrainableModel>(
    order: &Order,
    shape: &M::Config,
    train: &TrainSection,
    batches: &[M::Batch],
    device: &Device,
) -> Result<Option<u64>, String> {
    let Some(process) = system_memory::resident().filter(|_| burn_lora::device::is_flex(device))
    else {
        return Ok(None);
    };
    let config = patching(M::TASK, &order.cell, order.seed);
    let batches: Vec<BatchShape> = batches.iter().map(Batch::shape).collect();
    let (dtype, batches, adapter) = (order.cell.dtype, &batches, Trained::Adapter(&config));
    let steps = |trained| Steps { dtype, trained, train, batches, process };
    let memory = match order.cell.method {
        Method::Full => steps(Trained::Whole).memory::<M>(shape),
        Method::Composed => steps(Trained::Composed(&config)).memory::<M>(shape),
        Method::Lora | Method::Dora | Method::Miss | Method::LoraFa => {
            steps(adapter).memory::<M>(shape)
        }
        Method::Merged => steps(adapter).passes::<M>(shape),
    };
    Ok(Some(memory.map_err(said)?.peak))
}
