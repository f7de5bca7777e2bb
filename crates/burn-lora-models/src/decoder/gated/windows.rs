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
        let slide = problems.take(sliding_blocks(self.types, layers.len(), by_default));
        for (index, (plan, slides)) in layers.iter_mut().zip(slide).enumerate() {
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

/// Which of so many blocks attend over a window: those that `types` says, or, where it says nothing, those of which
/// `by_default` holds.
///
/// # Errors
///
/// A list of another length, and a kind of block that there is not.
pub(crate) fn sliding_blocks(
    types: Option<&[String]>,
    blocks: usize,
    by_default: impl Fn(usize) -> bool,
) -> Result<Vec<bool>, Vec<String>> {
    let Some(types) = types else { return Ok((0..blocks).map(by_default).collect()) };
    if types.len() != blocks {
        return Err(vec![format!(
            "`layer_types` has {} entries, `num_hidden_layers` is {blocks}",
            types.len()
        )]);
    }
    let slides = |kind: &String| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => Err(vec![format!(
            "`layer_types` has `{other}`: supported are `full_attention`, `sliding_attention`"
        )]),
    };
    types.iter().map(slides).collect()
}
