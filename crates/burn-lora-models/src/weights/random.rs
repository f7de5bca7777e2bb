//! Seeded random tensors: a model to pre-train, a head to fine-tune.

use burn_lora_files::fnv;
use burn_lora_kernels::normal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Role, Source, TensorSpec, Values};
use crate::ModelError;

/// Normal numbers for matrices and embeddings, ones for scales, zeros for biases.
///
/// Each tensor has a generator of its own, keyed by the seed and its path: adding a layer, or
/// building in another order, changes no other tensor.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    std: f64,
}

impl Random {
    /// `std` is the standard deviation, `initializer_range` in Hugging Face's configurations.
    pub fn new(seed: u64, std: f64) -> Self {
        Self { seed, std }
    }
}

impl Source for Random {
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError> {
        let len = spec.len();
        let values = match spec.role {
            Role::Scale => vec![1.0; len],
            Role::Bias => vec![0.0; len],
            Role::Linear | Role::Conv1d | Role::Embedding => {
                normal(self.seed, &spec.key, self.std, len)
            }
        };
        if !spec.dtype.is_quantised() {
            return Ok(Some(Values::rounded(values, spec.dtype)));
        }
        // Drawn as Burn has them, whatever the format.
        let [first, second] = [spec.shape[0], spec.shape[1]];
        let shape = if spec.role == Role::Linear { [second, first] } else { [first, second] };
        Values::quantised(&values, shape, false, spec).map(Some)
    }
}

/// Values that a core draws at a time: whole pairs.
const CHUNK: usize = 1 << 16;

/// Of those, so many are made together: whole pairs.
const TOGETHER: usize = 512;

/// Words of the generator's stream that make a value: a number of 64 bits.
const WORDS: usize = 2;

/// Box and Muller's, both of each pair used. The stream is one, whatever draws which part of it.
fn normal(seed: u64, path: &str, std: f64, len: usize) -> Vec<f32> {
    let generator = generator(seed, path);
    let mut values = vec![0.0; len];
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(index, chunk)| {
        let mut rng = generator.clone();
        rng.set_word_pos((index * CHUNK * WORDS) as u128);
        let (mut words, mut made) = ([0_u64; TOGETHER], [0.0; TOGETHER]);
        for values in chunk.chunks_mut(TOGETHER) {
            let words = &mut words[..values.len().next_multiple_of(2)];
            rng.fill(words);
            normal::normal(words, std, &mut made);
            values.copy_from_slice(&made[..values.len()]);
        }
    });
    values
}

fn generator(seed: u64, path: &str) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv::hash(path).to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::WeightDtype;

    /// Models that were drawn before keep their weights.
    #[test]
    fn what_many_cores_draw_is_what_one_draws() {
        let mut rng = generator(3, "a");
        let mut one = Vec::new();
        while one.len() < 3 * CHUNK + 1 {
            let radius = 0.5 * (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
            one.extend([(radius * cos) as f32, (radius * sin) as f32]);
        }
        one.truncate(3 * CHUNK + 1);
        assert_eq!(normal(3, "a", 0.5, one.len()), one);
    }

    fn spec(key: &str, role: Role) -> TensorSpec {
        let dtype = WeightDtype::F32;
        TensorSpec { key: key.into(), shape: vec![100, 101], role, dtype }
    }

    fn values(mut source: Random, spec: &TensorSpec) -> Vec<f32> {
        match source.values(spec).unwrap().unwrap() {
            Values::F32(values) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_depend_on_seed_and_path_alone() {
        let draw = |seed, key| {
            let mut source = Random::new(seed, 0.02);
            source.values(&spec("other", Role::Linear)).unwrap();
            values(source, &spec(key, Role::Linear))
        };
        let alone = values(Random::new(5, 0.02), &spec("a", Role::Linear));
        assert_eq!(draw(5, "a"), alone);
        assert_ne!(draw(6, "a"), alone);
        assert_ne!(draw(5, "b"), alone);
    }

    #[test]
    fn matrices_are_normal_with_the_given_deviation() {
        let values = values(Random::new(1, 0.02), &spec("a", Role::Embedding));
        let n = values.len() as f64;
        assert_eq!(n, 10_100.0);
        let moment = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / n;
        // Four standard errors of each moment's estimate over n draws.
        assert!(moment(1).abs() < 4.0 * 0.02 / n.sqrt());
        assert!((moment(2).sqrt() / 0.02 - 1.0).abs() < 4.0 / (2.0 * n).sqrt());
        // A normal's fourth moment is three times its variance squared; a uniform's is 1.8 times.
        assert!((moment(4) / moment(2).powi(2) - 3.0).abs() < 4.0 * (24.0 / n).sqrt());
    }

    #[test]
    fn scales_are_one_and_biases_zero() {
        let all = |role| values(Random::new(1, 0.02), &spec("a", role));
        assert!(all(Role::Scale).iter().all(|&v| v == 1.0));
        assert!(all(Role::Bias).iter().all(|&v| v == 0.0));
    }
}
