//! Layers from the tensors of a source.

use burn::module::{Param, ParamId};
use burn::nn::{Embedding, LayerNorm, LayerNormConfig, Linear, RmsNorm};
use burn::tensor::{Device, Tensor};
use burn_lora::FrozenWeight;

use super::{Role, Source, TensorSpec, WeightDtype};
use crate::ModelError;

/// Builds layers at a path, from a source, on a device.
///
/// ```
/// use burn_lora_models::weights::{Builder, Random};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora::device::parse("cpu")?;
/// let mut source = Random::new(0, 0.02);
/// let mut builder = Builder::new(&mut source, &device);
/// let linear = builder.at("mlp").linear("up_proj", 8, 16, true)?; // `mlp.up_proj.weight`, `.bias`
/// assert_eq!(linear.weight.dims(), [8, 16]);
/// # Ok(())
/// # }
/// ```
pub struct Builder<'a> {
    source: &'a mut dyn Source,
    at: Storage<'a>,
    path: String,
}

/// Where a model's parameters are made, and in which number format its matrices are held. A device
/// alone stands for f32.
#[derive(Debug, Clone, Copy)]
pub struct Storage<'a> {
    /// The device.
    pub device: &'a Device,
    /// The format of matrices. Those that are not in f32 are frozen.
    pub dtype: WeightDtype,
}

impl Storage<'_> {
    /// The same, if the device has numbers of that format.
    pub(crate) fn supported(self) -> Result<Self, ModelError> {
        let has = match self.dtype.is_quantised() {
            true => burn_lora::device::is_flex(self.device),
            false => self.device.supports_dtype(self.dtype.dtype()),
        };
        if has { Ok(self) } else { Err(self.unsupported()) }
    }

    fn unsupported(self) -> ModelError {
        let device = burn_lora::device::name(self.device);
        ModelError::WeightDtype { dtype: self.dtype.name(), device }
    }
}

impl<'a> From<&'a Device> for Storage<'a> {
    fn from(device: &'a Device) -> Self {
        Self { device, dtype: WeightDtype::F32 }
    }
}

impl<'a> Builder<'a> {
    /// A builder at the root.
    pub fn new(source: &'a mut dyn Source, at: impl Into<Storage<'a>>) -> Self {
        Self { source, at: at.into(), path: String::new() }
    }

    /// A builder one level (or, with dots in the name, several) below.
    pub fn at(&mut self, name: &str) -> Builder<'_> {
        let path = self.key(name);
        Builder { path, source: &mut *self.source, at: self.at }
    }

    /// `count` layers, at `name.0`, `name.1` and so on.
    ///
    /// # Errors
    ///
    /// What `build` says.
    pub fn list<T>(
        &mut self,
        name: &str,
        count: usize,
        build: impl Fn(Builder<'_>) -> Result<T, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        (0..count).map(|index| build(self.at(&format!("{name}.{index}")))).collect()
    }

    /// The output head at `lm_head`, without a bias; none where it is the token table.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn head(
        &mut self,
        tied: bool,
        d: usize,
        vocabulary: usize,
    ) -> Result<Option<Linear>, ModelError> {
        match tied {
            true => Ok(None),
            false => self.linear("lm_head", d, vocabulary, false).map(Some),
        }
    }

    /// The number format that a tensor of that role is held in.
    pub fn dtype(&self, role: Role) -> WeightDtype {
        self.at.dtype.of_role(role)
    }

    /// The device that the layers are made on.
    pub fn device(&self) -> &Device {
        self.at.device
    }

    /// A linear: `weight [d_in, d_out]`, `bias [d_out]`.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn linear(
        &mut self,
        name: &str,
        d_in: usize,
        d_out: usize,
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let mut layer = self.at(name);
        let weight = layer.param("weight", [d_out, d_in], Role::Linear, [d_in, d_out])?;
        let bias = match bias {
            true => Some(layer.param("bias", [d_out], Role::Bias, [d_out])?),
            false => None,
        };
        Ok(Linear { weight, bias })
    }

    /// A linear with a bias whose weight files store `[d_in, d_out]`, as Burn does (transformers'
    /// `Conv1D`).
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn conv1d(&mut self, name: &str, d_in: usize, d_out: usize) -> Result<Linear, ModelError> {
        let mut layer = self.at(name);
        let weight = layer.param("weight", [d_in, d_out], Role::Conv1d, [d_in, d_out])?;
        let bias = Some(layer.param("bias", [d_out], Role::Bias, [d_out])?);
        Ok(Linear { weight, bias })
    }

    /// An embedding: `weight [rows, d]`.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn embedding(
        &mut self,
        name: &str,
        rows: usize,
        d: usize,
    ) -> Result<Embedding, ModelError> {
        let weight = self.at(name).param("weight", [rows, d], Role::Embedding, [rows, d])?;
        Ok(Embedding { weight })
    }

    /// A root-mean-square norm: `weight [d]`.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn rms_norm(&mut self, name: &str, d: usize, epsilon: f64) -> Result<RmsNorm, ModelError> {
        let gamma = self.at(name).param("weight", [d], Role::Scale, [d])?;
        Ok(RmsNorm { gamma, epsilon })
    }

    /// A root-mean-square norm whose weight, `[d]`, is what its scale has above one (Gemma).
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn centred_rms_norm(
        &mut self,
        name: &str,
        d: usize,
        epsilon: f64,
    ) -> Result<RmsNorm, ModelError> {
        let gamma = self.at(name).param("weight", [d], Role::Bias, [d])?;
        Ok(RmsNorm { gamma, epsilon })
    }

    /// A layer norm: `weight [d]`, `bias [d]`.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn layer_norm(
        &mut self,
        name: &str,
        d: usize,
        epsilon: f64,
    ) -> Result<LayerNorm, ModelError> {
        let mut norm = self.unbiased_layer_norm(name, d, epsilon)?;
        norm.beta = Some(self.at(name).param("bias", [d], Role::Bias, [d])?);
        Ok(norm)
    }

    /// A layer norm that only scales: `weight [d]`.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn unbiased_layer_norm(
        &mut self,
        name: &str,
        d: usize,
        epsilon: f64,
    ) -> Result<LayerNorm, ModelError> {
        let gamma = self.at(name).param("weight", [d], Role::Scale, [d])?;
        // Burn gives no other way to set epsilon; the parameters it makes are lazy and dropped.
        let mut norm = LayerNormConfig::new(d).with_epsilon(epsilon).init(self.at.device);
        (norm.gamma, norm.beta) = (gamma, None);
        Ok(norm)
    }

    fn key(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }

    fn param<const D: usize>(
        &mut self,
        name: &str,
        stored: [usize; D],
        role: Role,
        shape: [usize; D],
    ) -> Result<Param<Tensor<D>>, ModelError> {
        let Storage { device, dtype } = self.at;
        let dtype = dtype.of_role(role);
        let spec = TensorSpec { key: self.key(name), shape: stored.to_vec(), role, dtype };
        let trainable = dtype == WeightDtype::F32;
        let param = match self.source.values(&spec)? {
            Some(values) if values.overflowed() => {
                return Err(ModelError::WeightRange { key: spec.key, dtype: dtype.name() });
            }
            Some(values) => match values.data(shape) {
                Ok(data) => device.memory_persistent_allocations(data, |data| {
                    Param::from_tensor(Tensor::from_data(data, (device, dtype.dtype())))
                }),
                Err(blocks) => {
                    let weight = FrozenWeight::quantised(blocks, device);
                    let carrier = weight.ok_or_else(|| self.at.unsupported())?.into_tensor();
                    Param::from_tensor(Tensor::from_dispatch(carrier.into_dispatch()))
                }
            },
            None => Param::uninitialized(
                ParamId::new(),
                move |device, _| Tensor::zeros(shape, (device, dtype.dtype())),
                device.clone(),
                trainable,
                shape.into(),
            ),
        };
        Ok(if trainable { param } else { param.set_require_grad(false) })
    }
}
