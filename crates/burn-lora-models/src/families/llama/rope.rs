//! Rotary positions: the configuration in its two spellings, and the tables.
//!
//! Pair `i` of a head turns by `position · f_i`, `f_i = theta^(-2i / head_dim)`; the pairs are
//! `(x_i, x_(i + head_dim / 2))`, as Hugging Face's weights expect.

use std::f64::consts::TAU;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, Value};

use crate::decoder::Positions;
use crate::fused::Positional;

/// How fast the pairs of a head turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies.
    pub theta: f64,
    /// Changes to them for longer contexts.
    pub scaling: Option<RopeScaling>,
}

impl Default for RopeConfig {
    /// Frequencies of base 10,000, as they are.
    fn default() -> Self {
        Self { theta: 10_000.0, scaling: None }
    }
}

/// Changes to the frequencies for longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// Llama 3's: slow pairs are slowed by `factor`, fast ones stay, those between are blended.
    Llama3 {
        /// By how much the slow ones are slowed.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are slow.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are fast.
        high_freq_factor: f64,
        /// The context that the model was first trained with.
        original_max_position_embeddings: f64,
    },
}

impl RopeConfig {
    /// From the keys of a `config.json`: `rope_theta` and `rope_scaling` as transformers 4 wrote
    /// them, or `rope_parameters`, which holds both, as 5 writes them.
    ///
    /// # Errors
    ///
    /// A line for every value that is missing, wrong or not supported.
    pub fn from_parts(
        theta: Option<f64>,
        scaling: Option<&Value>,
        parameters: Option<&Value>,
    ) -> Result<Self, Vec<String>> {
        let given = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
        let (name, value) = match given(parameters) {
            Some(value) => ("rope_parameters", value),
            None => ("rope_scaling", given(scaling).unwrap_or(Value::Object(Map::new()))),
        };
        let Value::Object(map) = value else {
            return Err(vec![format!("`{name}` is {value}: an object is needed")]);
        };
        if map.values().any(Value::is_object) {
            return Err(vec![format!("`{name}` differs from layer to layer: not supported")]);
        }
        let mut reader = Reader { name, map: &map, problems: Vec::new() };
        let theta = match map.contains_key("rope_theta") {
            true => reader.positive("rope_theta"),
            false => theta.unwrap_or(10_000.0),
        };
        if theta.is_nan() || theta <= 0.0 {
            reader.problems.push(format!("`rope_theta` is {theta}: it must be positive"));
        }
        if map.contains_key("partial_rotary_factor")
            && reader.positive("partial_rotary_factor") != 1.0
        {
            reader.problems.push(format!("`{name}.partial_rotary_factor`: only 1 is supported"));
        }
        // The oldest files say `type`.
        let kind = map.get("rope_type").or_else(|| map.get("type")).unwrap_or(&Value::Null);
        let scaling = match kind {
            Value::Null => None,
            Value::String(kind) if kind == "default" => None,
            Value::String(kind) if kind == "llama3" => Some(RopeScaling::Llama3 {
                factor: reader.positive("factor"),
                low_freq_factor: reader.positive("low_freq_factor"),
                high_freq_factor: reader.positive("high_freq_factor"),
                original_max_position_embeddings: reader
                    .positive("original_max_position_embeddings"),
            }),
            other => {
                reader.problems.push(format!(
                    "`{name}.rope_type` is {other}: supported are \"default\" and \"llama3\""
                ));
                None
            }
        };
        if let Some(RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. }) = scaling
            && high_freq_factor <= low_freq_factor
        {
            reader.problems.push(format!(
                "`{name}.high_freq_factor` ({high_freq_factor}) must be above `low_freq_factor` \
                 ({low_freq_factor})"
            ));
        }
        match reader.problems.is_empty() {
            true => Ok(Self { theta, scaling }),
            false => Err(reader.problems),
        }
    }

    /// What the frequency of each pair of a head is divided by, `head_dim / 2` of them; none where no
    /// frequency is changed.
    pub(crate) fn factors(&self, head_dim: usize) -> Option<Vec<f32>> {
        self.scaling?;
        let plain = Self { scaling: None, ..*self }.frequencies(head_dim);
        let scaled = self.frequencies(head_dim);
        Some(plain.into_iter().zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect())
    }

    /// The angle by which each pair turns per position, in radians: `head_dim / 2` of them.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        (0..head_dim / 2)
            .map(|pair| self.theta.powf(-((2 * pair) as f64) / head_dim as f64))
            .map(|frequency| match self.scaling {
                None => frequency,
                Some(scaling) => scaling.apply(frequency),
            })
            .collect()
    }
}

impl RopeScaling {
    fn apply(self, frequency: f64) -> f64 {
        let Self::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } = self;
        let turns = original_max_position_embeddings * frequency / TAU;
        // 0 for the slow pairs, 1 for the fast ones.
        let kept =
            ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
        kept * frequency + (1.0 - kept) * frequency / factor
    }
}

struct Reader<'a> {
    name: &'static str,
    map: &'a Map<String, Value>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn positive(&mut self, key: &str) -> f64 {
        match self.map.get(key).map(|value| (value, value.as_f64())) {
            Some((_, Some(value))) if value > 0.0 => return value,
            Some((value, _)) => self
                .problems
                .push(format!("`{}.{key}` is {value}: a positive number is needed", self.name)),
            None => self.problems.push(format!("`{}.{key}` is missing", self.name)),
        }
        1.0
    }
}

/// Cosines and sines of every position and pair, `[positions, head_dim / 2]` each: constants, but a
/// module, so that they move between devices with the model.
#[derive(Module, Debug)]
pub struct RopeTables {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RopeTables {
    /// Computed in f64 on the host. The tables carry no autodiff: they are constants to both a
    /// model that is trained and one that is not.
    pub(crate) fn new(
        config: &RopeConfig,
        head_dim: usize,
        positions: usize,
        device: &Device,
    ) -> Self {
        let frequencies = config.frequencies(head_dim);
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..positions)
                .flat_map(|position| {
                    frequencies.iter().map(move |f| of(position as f64 * f) as f32)
                })
                .collect();
            let data = TensorData::new(values, [positions, frequencies.len()]);
            Tensor::from_data(data, &device.clone().without_autodiff())
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// The turns of these positions.
    pub(crate) fn at(&self, positions: &Positions) -> Positional {
        Positional::Rotary {
            cos: positions.rows(self.cos.clone()),
            sin: positions.rows(self.sin.clone()),
        }
    }
}
