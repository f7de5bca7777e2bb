//! How a linear layer's weight lies, and how that is known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the weight of a linear layer lies.
///
/// Burn's own `Linear` holds `[d_in, d_out]`. Other types do as they like, and a name says nothing: where a
/// type called `Linear` has a bias, the bias's size says which side is the output; where it has none, or the
/// weight is square, it is taken for Burn's. What is said with
/// [`with_linear_type`](crate::LoraConfig::with_linear_type) holds in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `[d_in, d_out]`, as Burn's `Linear`.
    InOut,
    /// `[d_out, d_in]`, as PyTorch's.
    OutIn,
}

/// The types whose 2-D `weight` is a linear layer's, by name, beside `Linear`.
pub type LinearTypes = BTreeMap<String, Layout>;

/// The name that Burn's own linear layer has.
const LINEAR: &str = "Linear";

/// How a weight of that shape lies in a module of type `container` with a bias of that size; none where
/// that is no linear layer.
pub(crate) fn layout(
    types: &LinearTypes,
    container: &str,
    [rows, columns]: [usize; 2],
    bias: Option<usize>,
) -> Option<Layout> {
    match (types.get(container), bias) {
        (Some(declared), _) => Some(*declared),
        (None, _) if container != LINEAR => None,
        (None, None) => Some(Layout::InOut),
        (None, Some(size)) if size == columns => Some(Layout::InOut),
        (None, Some(size)) if size == rows => Some(Layout::OutIn),
        (None, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_or_a_declaration_says_how_a_weight_lies_and_a_name_does_not() {
        let types = LinearTypes::from([("Dense".to_owned(), Layout::OutIn)]);
        let of = |container: &str, shape, bias| layout(&types, container, shape, bias);
        assert_eq!(of("Linear", [3, 5], Some(5)), Some(Layout::InOut));
        assert_eq!(of("Linear", [3, 5], Some(3)), Some(Layout::OutIn));
        assert_eq!(of("Linear", [3, 5], None), Some(Layout::InOut));
        assert_eq!(of("Linear", [3, 5], Some(4)), None);
        assert_eq!(of("Dense", [3, 5], Some(5)), Some(Layout::OutIn));
        assert_eq!(of("Embedding", [3, 5], None), None);
        let declared = LinearTypes::from([("Linear".to_owned(), Layout::OutIn)]);
        assert_eq!(layout(&declared, "Linear", [4, 4], Some(4)), Some(Layout::OutIn));
    }
}
