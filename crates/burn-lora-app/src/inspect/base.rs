//! The weights of the base beside an adapter's changes, where the base is at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora_models::weights::norms;
use burn_lora_train::located::{located, present};
use burn_lora_train::observe::Observer;

use super::Inspection;
use crate::AppError;

impl Inspection {
    /// Reads the adapted layers' weights from the base: the one given, or else the one that the configuration names, if it
    /// lies here. Nothing is downloaded.
    pub(super) fn measured(mut self, base: Option<&Path>) -> Result<Self, AppError> {
        let layers = || {
            let adapted = self.layers.iter().map(|layer| layer.path.as_str());
            adapted.chain(self.blocks.iter().map(|block| block.path.as_str()))
        };
        let found = match base {
            Some(base) => {
                present(base)?;
                let dir = located(base, &Observer::silent())?;
                Some((norms(&dir, layers())?, dir))
            }
            None => self.base_model.as_deref().map(Path::new).and_then(|base| {
                present(base).ok()?;
                let dir = located(base, &Observer::silent()).ok()?;
                // A base that cannot be read is not asked for.
                Some((norms(&dir, layers()).ok()?, dir))
            }),
        };
        if let Some((norms, dir)) = found {
            self.set(&norms, dir);
        }
        Ok(self)
    }

    fn set(&mut self, norms: &BTreeMap<String, (Vec<usize>, f64)>, dir: PathBuf) {
        for layer in &mut self.layers {
            let ([_, d_in], [d_out, _]) = (layer.shape_a, layer.shape_b);
            layer.norm_weight = norms
                .get(&layer.path)
                .filter(|(shape, _)| is_of(shape, d_in, d_out))
                .map(|(_, norm)| *norm);
        }
        for block in &mut self.blocks {
            let Some((shape, norm)) = norms.get(&block.path) else { continue };
            let d_out = block.shape[1];
            let d_in = match shape[..] {
                [rows, d_in] if rows == d_out => d_in,
                [d_in, columns] if columns == d_out => d_in,
                _ => continue,
            };
            block.norm_weight = Some(*norm);
            block.norm_change = Some(block.norm_over(d_in));
        }
        if !self.layers.is_empty() && self.layers.iter().all(|layer| layer.norm_weight.is_none()) {
            self.notes.push(format!("`{}` has none of the adapted layers' weights", dir.display()));
        }
        self.base = Some(dir);
    }
}

/// Whether a file's weight is that of a linear with these sizes, which files store either way.
fn is_of(shape: &[usize], d_in: usize, d_out: usize) -> bool {
    shape == [d_out, d_in] || shape == [d_in, d_out]
}
