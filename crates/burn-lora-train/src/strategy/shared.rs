//! A step's micro-batches dealt out to the ranks.

use burn::data::dataloader::DataLoaderIterator;
use burn::module::Module;
use burn::tensor::Tensor;
use burn_train::Learner;

use super::{Accumulated, StepStrategy, with_targets};
use crate::TrainError;
use crate::exchange::{Flat, OrderedSum, Part};
use crate::learner::{Batch, Micro, TrainableModel, Trainee};
use crate::metrics::Tally;

impl<M: TrainableModel> StepStrategy<M> {
    /// As `accumulated`, of micro-batches that the ranks take in turn: the same bits, on all of them.
    ///
    /// Every rank makes all micro-batches of the step, which costs next to nothing, and so knows what the targets of all are and what
    /// is drawn in each.
    pub(super) fn shared(
        &self,
        learner: &Learner<Trainee<M>>,
        batches: &mut dyn DataLoaderIterator<Micro<M::Batch>>,
        step: usize,
    ) -> Result<Accumulated, TrainError> {
        let model = learner.model();
        let flat = Flat::of(&model);
        let mut sum = OrderedSum::new(&self.ranks, flat.lengths());
        let (mut tally, mut losses) = (Tally::default(), Vec::new());
        let mut mine: Option<Part> = None;
        for (index, micro) in (&mut *batches).enumerate() {
            let micro = with_targets(micro, step)?;
            let last = micro.last;
            let turn = self.ranks.turn(index);
            if turn == self.ranks.rank() && micro.batch.targets() > 0 {
                mine = Some(self.part(learner, &flat, micro)?);
            }
            if turn + 1 == self.ranks.size() || last {
                for told in sum.add(mine.take().as_ref())? {
                    tally.add(told.tally());
                    losses.push(told.loss());
                }
            }
            if last {
                break;
            }
        }
        let (values, there) = sum.finish()?;
        // A model lives on one device here; gradients know no autodiff.
        let device = model.devices().swap_remove(0).inner();
        let grads = flat.restored(&model, &values, &there, &device);
        let losses = match losses.is_empty() {
            true => Vec::new(),
            false => vec![Tensor::from_floats(losses.as_slice(), &device)],
        };
        Ok((tally, losses, grads))
    }

    /// Forward and backward of this rank's micro-batch, read from the device.
    fn part(
        &self,
        learner: &Learner<Trainee<M>>,
        flat: &Flat,
        micro: Micro<M::Batch>,
    ) -> Result<Part, TrainError> {
        let output = learner.train_step(micro);
        let loss = match output.item.unread {
            Some(loss) => loss.try_into_scalar::<f32>(),
            None => Ok(output.item.tally.loss as f32),
        };
        let loss = loss.map_err(TrainError::burn("reading the loss"))?;
        let (values, there) = flat
            .read(&learner.model(), output.grads)
            .map_err(TrainError::burn("reading the gradients"))?;
        let tally = Tally { loss: 0.0, ..output.item.tally };
        Ok(Part { values, there, loss, tally })
    }
}
