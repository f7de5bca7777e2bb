//! Which blocks attend over a window, as `config.json` says it.

use super::blueprint::LayerPlan;
use crate::config::Problems;

/// `layer_types` and `sliding_window`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerTypes<'a> {
    /// A word for each block.
    pub(crate) types: Option<&'a [String]>,
    /// The keys that a query of a `sliding_attention` sees at most.
    pub(crate) window: Option<usize>,
}

impl LayerTypes<'_> {
    /// Gives the blocks their windows: those that `types` names, or, where it says nothing, those of which
    /// `by_default` holds.
    pub(crate) fn apply(
        self,
        layers: &mut [LayerPlan],
        by_default: impl Fn(usize) -> bool,
        problems: &mut Problems,
    ) {
        if let Some(types) = self.types
            && types.len() != layers.len()
        {
            problems.add(format!(
                "`layer_types` has {} entries, `num_hidden_layers` is {}",
                types.len(),
                layers.len()
            ));
            return;
        }
        for (index, plan) in layers.iter_mut().enumerate() {
            let slides = match self.types.map(|types| types[index].as_str()) {
                None => by_default(index),
                Some("sliding_attention") => true,
                Some("full_attention") => false,
                Some(other) => {
                    problems.add(format!(
                        "`layer_types` has `{other}`: supported are `full_attention`, `sliding_attention`"
                    ));
                    return;
                }
            };
            match self.window {
                _ if !slides => {}
                Some(window @ 1..) => plan.scores.window = Some(window),
                other => {
                    let said = other.map_or("missing".to_owned(), |window| format!("{window}"));
                    problems.add(format!(
                        "`sliding_window` is {said}, and block {index} attends over it: at least 1 is needed"
                    ));
                    return;
                }
            }
        }
    }
}
