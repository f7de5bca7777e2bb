//! Gradients as one flat buffer, and back.
//!
//! The trained parameters in the order of a walk, each in the order of its rows. Every rank has the same model, and so the same order.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, TensorReadError};

/// Where each trained parameter lies in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flat {
    lengths: Vec<usize>,
}

impl Flat {
    /// Of what is trained of the model.
    pub fn of<M: Module>(model: &M) -> Self {
        let mut lengths = Lengths(Vec::new());
        model.visit(&mut lengths);
        Self { lengths: lengths.0 }
    }

    /// The values of each.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The gradients as one buffer, and which of them there are; zeros in the places of the others.
    ///
    /// # Errors
    ///
    /// A gradient cannot be read from its device.
    pub fn read<M: Module>(
        &self,
        model: &M,
        grads: GradientsParams,
    ) -> Result<(Vec<f32>, Vec<bool>), TensorReadError> {
        let values = Vec::with_capacity(self.lengths.iter().sum());
        let there = Vec::with_capacity(self.lengths.len());
        let mut read = Read { grads, values, there, error: None };
        model.visit(&mut read);
        match read.error {
            Some(error) => Err(error),
            None => Ok((read.values, read.there)),
        }
    }

    /// The gradients that are there, on the device; it knows no autodiff, as gradients do not.
    pub fn restored<M: Module>(
        &self,
        model: &M,
        values: &[f32],
        there: &[bool],
        device: &Device,
    ) -> GradientsParams {
        let mut restore =
            Restore { grads: GradientsParams::new(), rest: values, there: there.iter(), device };
        model.visit(&mut restore);
        restore.grads
    }
}

/// The values of the parameter, if it is trained. A frozen weight is not looked at: it may hold an adapter, and be long to compose.
fn trained<const D: usize>(param: &Param<Tensor<D>>) -> Option<[usize; D]> {
    param.is_require_grad().then(|| param.val().dims())
}

struct Lengths(Vec<usize>);

impl ModuleVisitor for Lengths {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(trained(param).map(|shape| shape.iter().product::<usize>()));
    }
}

struct Read {
    grads: GradientsParams,
    values: Vec<f32>,
    there: Vec<bool>,
    error: Option<TensorReadError>,
}

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(shape) = trained(param) else { return };
        let grad = self.grads.remove::<D>(param.id);
        self.there.push(grad.is_some());
        match grad.map(Tensor::try_into_vec_as::<f32>) {
            Some(Ok(values)) => self.values.extend(values),
            Some(Err(error)) => self.error = self.error.take().or(Some(error)),
            None => {
                let end = self.values.len() + shape.iter().product::<usize>();
                self.values.resize(end, 0.0);
            }
        }
    }
}

struct Restore<'a> {
    grads: GradientsParams,
    rest: &'a [f32],
    there: std::slice::Iter<'a, bool>,
    device: &'a Device,
}

impl ModuleVisitor for Restore<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(shape) = trained(param) else { return };
        let (values, rest) = self.rest.split_at(shape.iter().product());
        self.rest = rest;
        if self.there.next() == Some(&true) {
            let data = TensorData::new(values.to_vec(), shape);
            self.grads.register(param.id, Tensor::<D>::from_data(data, self.device));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    #[derive(Module, Debug)]
    struct Three {
        frozen: Linear,
        unused: Linear,
        used: Linear,
    }

    #[test]
    fn gradients_come_back_as_they_were_and_none_where_there_was_none() {
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        let linear = |d_out| LinearConfig::new(3, d_out).init(&device);
        let model = Three { frozen: linear(5).no_grad(), unused: linear(4), used: linear(2) };
        let x = Tensor::<2>::ones([2, 3], &device) * 0.5;
        let grads = || {
            let loss = model.used.forward(x.clone()).powf_scalar(2.0).sum();
            GradientsParams::from_grads(loss.backward(), &model)
        };
        let flat = Flat::of(&model);
        assert_eq!(flat.lengths(), [12, 4, 6, 2]);
        let (values, there) = flat.read(&model, grads()).unwrap();
        assert_eq!((values.len(), &there[..]), (24, &[false, false, true, true][..]));
        let back = flat.restored(&model, &values, &there, &device.clone().inner());
        assert_eq!(back.len(), 2);
        let bits = |grads: &GradientsParams| -> Vec<u32> {
            let grad = grads.get::<2>(model.used.weight.id).unwrap();
            assert_eq!(grad.dims(), [3, 2]);
            grad.try_into_vec_as::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(bits(&back), bits(&grads()));
    }
}
