//! The name and the layout of a parameter in a PEFT file.

use crate::path::{join, last_segment, parent};
use crate::scan::{ParamInfo, ParamRole};
use crate::tensors::NamedTensor;

/// What every key starts with.
pub(crate) const PREFIX: &str = "base_model.model";

/// One parameter's place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The parameter's path in the model.
    pub(crate) path: String,
    /// The key in the file.
    pub(crate) key: String,
    /// The shape in the file.
    pub(crate) shape: Vec<usize>,
    /// Whether file and model have rows and columns exchanged.
    pub(crate) transposed: bool,
    /// The factor's linear layer, if it is one.
    pub(crate) factor_of: Option<String>,
}

/// Which of the two factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factor {
    /// `[d_in, rank]` in Burn, `[rank, d_in]` in a file.
    A,
    /// `[rank, d_out]` in Burn, `[d_out, rank]` in a file.
    B,
}

impl Factor {
    /// The key of this factor of a linear layer.
    pub(crate) fn key(self, layer: &str) -> String {
        let name = match self {
            Self::A => "lora_A.weight",
            Self::B => "lora_B.weight",
        };
        format!("{PREFIX}.{}", join(layer, name))
    }
}

impl Slot {
    /// The place of a parameter.
    pub(crate) fn of(param: &ParamInfo) -> Self {
        if let (ParamRole::Factor, Some(layer)) = (param.role, param.adapted_layer()) {
            let factor = if last_segment(&param.path) == "a" { Factor::A } else { Factor::B };
            return Self {
                path: param.path.clone(),
                key: factor.key(layer),
                shape: param.shape.iter().rev().copied().collect(),
                transposed: true,
                factor_of: Some(layer.to_owned()),
            };
        }
        let name = match (last_segment(&param.path), param.container.ends_with("Norm")) {
            ("gamma", true) => "weight",
            ("beta", true) => "bias",
            (name, _) => name,
        };
        let transposed = param.container == "Linear" && name == "weight" && param.shape.len() == 2;
        let mut shape = param.shape.clone();
        if transposed {
            shape.reverse();
        }
        Self {
            path: param.path.clone(),
            key: format!("{PREFIX}.{}", join(parent(&param.path), name)),
            shape,
            transposed,
            factor_of: None,
        }
    }

    /// Values as Burn stores them, as the file has them.
    pub(crate) fn named(self, values: Vec<f32>) -> NamedTensor {
        let values = match (self.transposed, self.shape.as_slice()) {
            (true, &[rows, columns]) => transpose(&values, columns, rows),
            _ => values,
        };
        NamedTensor { key: self.key, shape: self.shape, values }
    }

    /// Values as the file has them, as Burn stores them.
    pub(crate) fn stored(&self, values: Vec<f32>) -> Vec<f32> {
        match (self.transposed, self.shape.as_slice()) {
            (true, &[rows, columns]) => transpose(&values, rows, columns),
            _ => values,
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut transposed = Vec::with_capacity(values.len());
    for column in 0..columns {
        transposed.extend((0..rows).map(|row| values[row * columns + column]));
    }
    transposed
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;
    use proptest::prelude::*;

    use super::*;

    fn slot(path: &str, container: &str, shape: &[usize], role: ParamRole) -> Slot {
        Slot::of(&ParamInfo {
            path: path.into(),
            shape: shape.into(),
            container: container.into(),
            id: ParamId::new(),
            role,
        })
    }

    #[test]
    fn keys_and_shapes_are_pefts() {
        let a = slot("l.0.q.weight.lora.adapters.0.a", "Adapter", &[8, 2], ParamRole::Factor);
        assert_eq!(a.key, "base_model.model.l.0.q.lora_A.weight");
        assert_eq!(a.shape, [2, 8]);
        let b = slot("l.0.q.weight.lora.adapters.0.b", "Adapter", &[2, 6], ParamRole::Factor);
        assert_eq!(b.key, "base_model.model.l.0.q.lora_B.weight");
        assert_eq!(b.shape, [6, 2]);
        let linear = slot("head.weight", "Linear", &[8, 3], ParamRole::Base);
        assert_eq!(
            (linear.key.as_str(), &linear.shape[..]),
            ("base_model.model.head.weight", &[3, 8][..])
        );
        let embedding = slot("emb.weight", "Embedding", &[8, 3], ParamRole::Base);
        assert_eq!(embedding.shape, [8, 3]);
        assert_eq!(
            slot("n.gamma", "LayerNorm", &[3], ParamRole::Base).key,
            "base_model.model.n.weight"
        );
        assert_eq!(
            slot("n.beta", "LayerNorm", &[3], ParamRole::Base).key,
            "base_model.model.n.bias"
        );
        assert_eq!(slot("n.gamma", "Gate", &[3], ParamRole::Base).key, "base_model.model.n.gamma");
        assert_eq!(
            slot("weight", "Linear", &[1, 2], ParamRole::Base).key,
            "base_model.model.weight"
        );
    }

    #[test]
    fn transposing_exchanges_rows_and_columns() {
        assert_eq!(transpose(&[1., 2., 3., 4., 5., 6.], 2, 3), [1., 4., 2., 5., 3., 6.]);
    }

    proptest! {
        #[test]
        fn transposing_twice_is_nothing(rows in 0usize..6, columns in 0usize..6) {
            let values: Vec<f32> = (0..rows * columns).map(|v| v as f32).collect();
            prop_assert_eq!(&transpose(&transpose(&values, rows, columns), columns, rows), &values);
        }

        /// Out to the file's layout and back in is the identity for every slot.
        #[test]
        fn named_and_stored_undo_each_other(d_in in 1usize..6, d_out in 1usize..6) {
            let slot = slot("l.weight", "Linear", &[d_in, d_out], ParamRole::Base);
            let values: Vec<f32> = (0..d_in * d_out).map(|v| v as f32).collect();
            let named = slot.clone().named(values.clone());
            prop_assert_eq!(slot.stored(named.values), values);
        }
    }
}
