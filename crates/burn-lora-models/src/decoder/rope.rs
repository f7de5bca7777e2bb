//! Rotary positions: the frequencies, and the tables of the rows in use.
//!
//! Pair `i` of a head turns by `position · f_i`, `f_i = theta^(-2i / d)`, where `d` is the width of a head, or of
//! that part at its beginning which turns; the pairs are `(x_i, x_(i + d / 2))`, as Hugging Face's weights expect.

mod settings;

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

pub(crate) use settings::turned;

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
    /// All pairs are slowed alike (Chen et al. 2023).
    Linear {
        /// By how much.
        factor: f64,
    },
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
        match self {
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let turns = original_max_position_embeddings * frequency / TAU;
                // 0 for the slow pairs, 1 for the fast ones.
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let kept = kept.clamp(0.0, 1.0);
                kept * frequency + (1.0 - kept) * frequency / factor
            }
        }
    }
}

/// The turns of positions: constants of a pass, made for the longest row that was seen so far and kept for the next.
///
/// No table of the whole context is made: what `config.json` says of it costs nothing until a row is that long.
#[derive(Module, Debug)]
pub struct RopeTables {
    /// One a pair.
    #[module(skip)]
    frequencies: Arc<[f64]>,
    #[module(skip)]
    made: Arc<Mutex<Option<Tables>>>,
}

/// Cosines and sines of every position up to some one, `[positions, pairs]` each. They carry no autodiff: they
/// are constants to a model that is trained and to one that is not.
#[derive(Debug, Clone)]
struct Tables {
    device: Device,
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RopeTables {
    /// Of heads that turn so many of their numbers.
    pub(crate) fn new(config: &RopeConfig, turned: usize) -> Self {
        let frequencies = config.frequencies(turned).into();
        Self { frequencies, made: Arc::default() }
    }

    /// The turns of these positions, on a device without autodiff.
    pub(crate) fn at(&self, positions: &Positions, device: &Device) -> Positional {
        let Tables { cos, sin, .. } = self.tables(positions.end(), device);
        Positional::Rotary { cos: positions.rows(cos), sin: positions.rows(sin) }
    }

    /// Tables of at least so many positions.
    fn tables(&self, positions: usize, device: &Device) -> Tables {
        // Nothing that holds the lock can leave half a table.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |made: &&Tables| made.cos.dims()[0] >= positions && made.device == *device;
        if let Some(tables) = made.as_ref().filter(fits) {
            return tables.clone();
        }
        // Rows that grow by a token at a time are not to make a table each.
        made.insert(Tables::new(&self.frequencies, positions.next_power_of_two(), device)).clone()
    }
}

impl Tables {
    /// Computed in f64 on the host.
    fn new(frequencies: &[f64], positions: usize, device: &Device) -> Self {
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..positions)
                .flat_map(|position| {
                    frequencies.iter().map(move |f| of(position as f64 * f) as f32)
                })
                .collect();
            let data = TensorData::new(values, [positions, frequencies.len()]);
            Tensor::from_data(data, device)
        };
        Self { device: device.clone(), cos: table(f64::cos), sin: table(f64::sin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(tensor: Tensor<3>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// A hostile configuration names 2^40 positions; a row has as many tokens as it has.
    #[test]
    fn tables_are_made_for_the_rows_in_use_and_hold_the_same_turns_however_long() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let rope = RopeTables::new(&RopeConfig::default(), 4);
        let shared = rope.clone();
        let made = |of: &RopeTables| of.made.lock().unwrap().as_ref().map(|t| t.cos.dims()[0]);
        assert_eq!(made(&rope), None, "nothing before a row is there");
        let turns = |positions: &Positions| match rope.at(positions, &device) {
            Positional::Rotary { cos, sin } => (floats(cos), floats(sin)),
            other => panic!("{other:?}"),
        };
        let short = turns(&Positions::Range { first: 0, columns: 5 });
        assert_eq!(made(&shared), Some(8), "a copy shares what is made");
        let long = turns(&Positions::Range { first: 0, columns: 100 });
        assert_eq!(made(&rope), Some(128));
        assert_eq!((&long.0[..10], &long.1[..10]), (&short.0[..], &short.1[..]));
        // Pairs turn by 1 and by 1/100 a position.
        let expected = [9.0_f64.cos() as f32, 0.09_f64.cos() as f32];
        assert_eq!(turns(&Positions::Range { first: 9, columns: 1 }).0, expected);
        let each = Positions::Each { positions: vec![0, 9, 3, 9], columns: 2 };
        assert_eq!(turns(&each).0[2..4], expected);
    }
}
