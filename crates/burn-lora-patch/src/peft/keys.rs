//! The name and the layout of a parameter in a PEFT file.
//!
//! The names of factors are those of the adapter crate's table of kinds
//! ([`Method`](burn_lora::Method)). A parameter that hangs on a weight and is no factor of that table
//! keeps its own path, which is nobody else's key, and is written to no file.

use std::collections::BTreeMap;

use burn_lora::{Factor, FactorPath, Kernel, Method, Sizes, Stack};

use crate::config::HEAD;
use crate::error::KeyProblem;
use crate::layout::Layout;
use crate::path::{join, last_segment, parent};
use crate::scan::{LinearLayer, ParamInfo, ParamRole, Parameter};

/// A tensor's values on the host, in PEFT's layout (a linear's weight is `[d_out, d_in]`).
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The name, such as `base_model.model.layers.0.q_proj.lora_A.weight`.
    pub key: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub values: Vec<f32>,
}

/// The module of a layer's own parameters, where it has an adapter.
const BASE_LAYER: &str = "base_layer";

/// What every key starts with.
pub(super) const PREFIX: &str = "base_model.model";

/// One parameter's place in a file.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The parameter's path in the model; empty where the parameter is still to be made.
    pub(crate) path: String,
    /// The key in the file.
    pub(crate) key: String,
    /// The shape in the file.
    pub(crate) shape: Vec<usize>,
    /// Whether file and model have rows and columns exchanged.
    pub(crate) transposed: bool,
    /// What the parameter is to an adapter.
    pub(crate) part: Part,
    /// Whether a file may be without it.
    pub(crate) optional: bool,
    /// Whether the file holds the factor with what stands beside it
    /// ([`Adapter::beside`](burn_lora::Adapter::beside)), so that its rank is twice the model's.
    pub(crate) is_widened: bool,
    /// Groups of a convolution whose channels the file's factor A sees, and the model's does not: 1 where they are as many.
    pub(crate) unseen_groups: usize,
    /// Of factor B of a [`Stack`](burn_lora::Stack): its matrices, whose parts of the rank the file has one value of each after
    /// the other; 1 of all else.
    pub(crate) dealt: usize,
}

/// What a parameter is to an adapter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// A factor of the table.
    Factor(&'static Factor),
    /// Of the base model.
    Base,
    /// Something that hangs on a weight, and that no file has a name for.
    Unknown,
}

impl Slot {
    /// The place of a parameter.
    pub(crate) fn of(param: &ParamInfo) -> Self {
        let path = param.path.clone();
        if param.role != ParamRole::Factor {
            let name = match (last_segment(&path), param.container.ends_with("Norm")) {
                ("gamma", true) => "weight",
                ("beta", true) => "bias",
                (name, _) => name,
            };
            let matrix = param.layout == Some(Layout::InOut);
            // PEFT puts what it wraps into a module of its own.
            let module = match param.adapted {
                true => join(parent(&path), BASE_LAYER),
                false => parent(&path).to_owned(),
            };
            let key = prefixed(&module, name);
            return Self::new(path, key, param.shape.clone(), matrix, Part::Base);
        }
        match FactorPath::parse(&path) {
            Some(FactorPath { weight, factor, .. }) => {
                let module = wrapped(parent(weight), param.parameter.as_ref());
                let key = prefixed(&module, key_in(factor, param.of_table));
                let slot = Self::new(path, key, param.shape.clone(), true, Part::Factor(factor));
                match (&param.kernel, &param.parameter) {
                    (Some(kernel), _) => slot.of_convolution(factor, kernel),
                    (None, Some(parameter)) => slot.of_stack(factor, parameter.stack),
                    (None, None) => slot,
                }
            }
            None => {
                let key = prefixed("", &path);
                Self::new(path, key, param.shape.clone(), false, Part::Unknown)
            }
        }
    }

    /// The place of a factor of a layer's adapter.
    pub(crate) fn factor(factor: &'static Factor, layer: &LinearLayer, rank: usize) -> Self {
        let sizes = layer.sizes(rank);
        let weight = layer.weight_path();
        let module = wrapped(parent(&weight), layer.parameter.as_ref());
        let key = prefixed(&module, key_in(factor, layer.table));
        let slot = Self::new(String::new(), key, factor.shape(sizes), true, Part::Factor(factor));
        match (&layer.kernel, layer.stack()) {
            (Some(kernel), _) => slot.of_convolution(factor, kernel),
            (None, Some(stack)) => slot.of_stack(factor, stack),
            (None, None) => slot,
        }
    }

    /// The place of a factor of matrices that lie in one parameter, from that of a linear layer of its size. B is
    /// `[rank, count · d_out]` here, a matrix' outputs next to each other, and `[d_out, rank · count]` in the file, a column of
    /// every matrix for each of the rank.
    fn of_stack(mut self, factor: &Factor, stack: Stack) -> Self {
        let writes = |d_out| factor.shape(Sizes { d_in: 0, d_out, rank: 0, groups: 1 });
        if let (&[wide, rank], true) = (self.shape.as_slice(), writes(1) != writes(2)) {
            let count = stack.count.max(1);
            self.shape = vec![wide / count, rank * count];
            self.dealt = count;
        }
        self
    }

    /// The place of a factor of a convolution, from that of a linear layer of its size. PEFT's A sees the channels of all
    /// groups.
    fn of_convolution(mut self, factor: &Factor, kernel: &Kernel) -> Self {
        let reads = |d_in| factor.shape(Sizes { d_in, d_out: 0, rank: 0, groups: 1 });
        let reads_inputs = reads(1) != reads(2);
        let ones = vec![1; kernel.window.len()];
        self.shape = match self.shape.as_slice() {
            &[outputs] => [vec![1, outputs], ones].concat(),
            &[rank, inputs] if reads_inputs => {
                let all = kernel.groups * kernel.channels;
                self.unseen_groups = all * kernel.places() / inputs.max(1);
                [vec![rank, all], kernel.window.clone()].concat()
            }
            matrix => [matrix, ones.as_slice()].concat(),
        };
        self
    }

    /// Whether the values of a file have something where the model's factor has no place: for channels of other groups.
    pub(crate) fn crosses(&self, values: &[f32]) -> bool {
        self.unseen_groups > 1
            && values.iter().enumerate().any(|(at, value)| *value != 0.0 && !self.is_seen(at))
    }

    /// Whether the entry of that number of the file is one of the model's.
    fn is_seen(&self, at: usize) -> bool {
        let [rank, all] = self.matrix();
        let (row, column) = (at / all, at % all);
        // Rows and channels are dealt out in their order.
        row * self.unseen_groups / rank == column * self.unseen_groups / all
    }

    /// Rows, and all dimensions beside them, in the file.
    fn matrix(&self) -> [usize; 2] {
        let rows = self.shape.first().copied().unwrap_or(1);
        [rows, self.shape.iter().skip(1).product()]
    }

    /// From a shape as Burn has it.
    fn new(path: String, key: String, mut shape: Vec<usize>, transposed: bool, part: Part) -> Self {
        if transposed {
            shape.reverse();
        }
        let (optional, is_widened, unseen_groups, dealt) = (false, false, 1, 1);
        Self { path, key, shape, transposed, part, optional, is_widened, unseen_groups, dealt }
    }

    /// The place of a factor with what stands beside it.
    pub(crate) fn widened(mut self) -> Self {
        if let Some(at) = self.rank_at() {
            self.shape[at] *= 2;
            self.is_widened = true;
        }
        self
    }

    /// How many values of a factor follow each other, as Burn stores it, before those of what is beside it.
    fn run(&self) -> usize {
        let rows: usize = self.rank_at().map_or(0, |at| self.shape[..=at].iter().product());
        (rows / 2).max(1)
    }

    /// A factor and what stands beside it, as Burn stores the whole.
    pub(crate) fn joined(&self, own: &[f32], beside: &[f32]) -> Vec<f32> {
        let runs = own.chunks(self.run()).zip(beside.chunks(self.run()));
        runs.flat_map(|(own, beside)| own.iter().chain(beside)).copied().collect()
    }

    /// What [`joined`](Self::joined) put together.
    pub(crate) fn halves(&self, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut own, mut beside) = (Vec::new(), Vec::new());
        for (at, run) in values.chunks(self.run()).enumerate() {
            if at % 2 == 0 { own.extend(run) } else { beside.extend(run) }
        }
        (own, beside)
    }

    /// Whether it is a bias of the base: of a norm, too, whose bias Burn calls `beta`.
    pub(crate) fn is_bias(&self) -> bool {
        matches!(self.part, Part::Base) && last_segment(&self.key) == "bias"
    }

    /// Which dimension in the file is the rank.
    pub(crate) fn rank_at(&self) -> Option<usize> {
        let Part::Factor(factor) = self.part else { return None };
        // Of rows of an embedding there are as many as there are tokens.
        if Method::Tokens.factors().iter().any(|rows| rows.key == factor.key) {
            return None;
        }
        let sizes = |rank| Sizes { d_in: 0, d_out: 0, rank, groups: 1 };
        let shape = |rank| factor.shape(sizes(rank)).into_iter().rev();
        shape(1).zip(shape(2)).position(|(one, two)| one != two)
    }

    /// Values as Burn stores them, as the file has them.
    pub(crate) fn named(self, values: Vec<f32>) -> NamedTensor {
        let values = match self.transposed && self.shape.len() > 1 {
            true if self.dealt > 1 => {
                let [d_out, columns] = self.matrix();
                let place = |at: usize| {
                    let (o, k, e) = (at / columns, at % columns / self.dealt, at % self.dealt);
                    values[(k * self.dealt + e) * d_out + o]
                };
                (0..values.len()).map(place).collect()
            }
            true => {
                let [rows, columns] = self.matrix();
                self.over_all(transpose(&values, columns / self.unseen_groups, rows))
            }
            false => values,
        };
        NamedTensor { key: self.key, shape: self.shape, values }
    }

    /// Values as the file has them, as Burn stores them.
    pub(crate) fn stored(&self, values: Vec<f32>) -> Vec<f32> {
        if !self.transposed || self.shape.len() < 2 {
            return values;
        }
        let [rows, columns] = self.matrix();
        if self.dealt > 1 {
            let place = |at: usize| {
                let (of, o) = (at / rows, at % rows);
                values[o * columns + of]
            };
            return (0..values.len()).map(place).collect();
        }
        let seen = match self.unseen_groups {
            1 => values,
            _ => {
                let all = values.into_iter().enumerate();
                all.filter(|(at, _)| self.is_seen(*at)).map(|(_, value)| value).collect()
            }
        };
        transpose(&seen, rows, columns / self.unseen_groups)
    }

    /// The rows of a factor A for the channels of one group, with zeros for those of the others.
    fn over_all(&self, own: Vec<f32>) -> Vec<f32> {
        if self.unseen_groups == 1 {
            return own;
        }
        let mut own = own.into_iter();
        let all: usize = self.matrix().into_iter().product();
        let place = |at| if self.is_seen(at) { own.next().unwrap_or_default() } else { 0.0 };
        (0..all).map(place).collect()
    }
}

/// The module of a parameter's adapter: what PEFT wraps once more for each adapted parameter after it.
fn wrapped(module: &str, parameter: Option<&Parameter>) -> String {
    let times = parameter.map_or(0, |parameter| parameter.wrapped);
    (0..times).fold(module.to_owned(), |module, _| join(&module, BASE_LAYER))
}

/// Sees to it that no value is left out for which the factors of the model have no place.
pub(crate) fn crossing(
    slots: &[Slot],
    values: &BTreeMap<String, Vec<f32>>,
) -> Result<(), KeyProblem> {
    let crosses = |slot: &&Slot| values.get(&slot.key).is_some_and(|it| slot.crosses(it));
    match slots.iter().find(crosses) {
        Some(slot) => Err(KeyProblem::CrossesGroups { key: slot.key.clone() }),
        None => Ok(()),
    }
}

/// What follows the path of a linear layer, or of an embedding.
fn key_in(factor: &'static Factor, table: bool) -> &'static str {
    if table { factor.table_key } else { factor.key }
}

/// The keys of the factors of a head that is a table with an adapter, each with that of the table's factor which it is, turned.
pub(crate) fn of_tied_head(table: &str) -> [(String, String); 2] {
    // The table's change is A B, and the head's the same the other way round: Bᵀ Aᵀ.
    let factor = |name| Method::default().factor(name);
    [("a", "b"), ("b", "a")].map(|(own, of)| {
        let own = factor(own).map_or("", |factor| factor.key);
        let of = factor(of).map_or("", |factor| factor.table_key);
        (prefixed(HEAD, own), prefixed(table, of))
    })
}

/// The key of a linear layer's factor.
pub fn factor_key(layer: &str, factor: &Factor) -> String {
    prefixed(layer, factor.key)
}

/// The layer and the factor of a kind of adapter that a key names, if it names one.
///
/// ```
/// use burn_lora::Method;
/// use burn_lora_patch::peft::factor_of;
///
/// let key = "base_model.model.layers.0.q_proj.lora_A.weight";
/// let (layer, factor) = factor_of(Method::Lora, key).unwrap();
/// assert_eq!((layer, factor.name), ("layers.0.q_proj", "a"));
/// assert!(factor_of(Method::Lora, "base_model.model.q.lora_magnitude_vector").is_none());
/// ```
pub fn factor_of(method: Method, key: &str) -> Option<(&str, &'static Factor)> {
    method
        .factors()
        .iter()
        .find_map(|factor| Some((bare(key).strip_suffix(factor.key)?.strip_suffix('.')?, factor)))
}

/// A key without what PEFT puts before all of them.
pub fn bare(key: &str) -> &str {
    key.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('.')).unwrap_or(key)
}

/// The key of a parameter of a module.
pub(crate) fn prefixed(module: &str, name: &str) -> String {
    format!("{PREFIX}.{}", join(module, name))
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
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
            layout: (container == "Linear").then_some(Layout::InOut),
            adapted: false,
            of_table: false,
            kernel: None,
            parameter: None,
        })
    }

    #[test]
    fn keys_and_shapes_are_pefts() {
        let factor = |end: &str, shape: &[usize]| {
            let path = format!("l.0.q.weight.lora.adapters.0.factors.{end}");
            slot(&path, "Dora", shape, ParamRole::Factor)
        };
        for kind in ["Lora", "Dora"] {
            let a = factor(&format!("{kind}.a"), &[8, 2]);
            assert_eq!(a.key, "base_model.model.l.0.q.lora_A.weight");
            assert_eq!((&a.shape[..], a.rank_at()), (&[2, 8][..], Some(0)));
            let b = factor(&format!("{kind}.b"), &[2, 6]);
            assert_eq!(b.key, "base_model.model.l.0.q.lora_B.weight");
            assert_eq!((&b.shape[..], b.rank_at()), (&[6, 2][..], Some(1)));
        }
        let magnitude = factor("Dora.magnitude", &[6]);
        assert_eq!(magnitude.key, "base_model.model.l.0.q.lora_magnitude_vector");
        assert_eq!((&magnitude.shape[..], magnitude.rank_at()), (&[6][..], None));
        let beta = factor("LoraBias.beta", &[6]);
        assert_eq!(beta.key, "base_model.model.l.0.q.lora_B.bias");
        assert_eq!((&beta.shape[..], beta.rank_at()), (&[6][..], None));
        let rows = factor("Tokens.rows", &[6, 2]);
        assert_eq!(rows.key, "base_model.model.l.0.q.token_adapter.trainable_tokens_delta");
        assert_eq!((&rows.shape[..], rows.rank_at()), (&[2, 6][..], None));
        let block = factor("Miss.block", &[6, 2]);
        assert_eq!(block.key, "base_model.model.l.0.q.miss_block");
        assert_eq!((&block.shape[..], block.rank_at()), (&[2, 6][..], Some(0)));
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

    /// PEFT 0.21.2's `Conv2d(8, 12, (3, 5), groups=4)` at rank 4: an A that sees all 8 channels.
    #[test]
    fn a_convolutions_factors_have_pefts_shapes_and_an_a_of_one_group_zeros_for_the_others() {
        let kernel = Kernel::new(&[12, 2, 3, 5], 4);
        let layer = LinearLayer {
            path: "c".into(),
            d_in: 30,
            d_out: 12,
            layout: Layout::OutIn,
            dtype: None,
            device: burn_lora::device::parse("cpu").unwrap(),
            table: false,
            kernel: Some(kernel.clone()),
            parameter: None,
        };
        let of = |name: &str, layer: &LinearLayer| {
            Slot::factor(Method::Dora.factor(name).unwrap(), layer, 4)
        };
        let (a, b, m) = (of("a", &layer), of("b", &layer), of("magnitude", &layer));
        assert_eq!((a.shape.as_slice(), a.rank_at()), (&[4, 8, 3, 5][..], Some(0)));
        assert_eq!((b.shape.as_slice(), b.rank_at()), (&[12, 1, 1, 1][..], Some(1)));
        assert_eq!(m.shape, [1, 12, 1, 1]);
        assert_eq!(a.key, "base_model.model.c.lora_A.weight");

        // [d_in, rank] of the model, d_in two channels of fifteen places.
        let own: Vec<f32> = (0..30 * 4).map(|at| at as f32 + 1.0).collect();
        let file = a.clone().named(own.clone()).values;
        assert_eq!(file.len(), 4 * 8 * 15);
        for row in 0..4 {
            for column in 0..8 * 15 {
                let expected = match column / 30 == row {
                    true => own[column % 30 * 4 + row],
                    false => 0.0,
                };
                assert_eq!(file[row * 120 + column], expected, "{row} {column}");
            }
        }
        assert!(!a.crosses(&file));
        assert_eq!(a.stored(file.clone()), own);
        let mut trained_there = file;
        trained_there[119] = 0.5;
        assert!(a.crosses(&trained_there));
        let crossing = LinearLayer { kernel: Some(kernel.with_crossing(true)), ..layer };
        let a = of("a", &crossing);
        assert_eq!((a.shape.as_slice(), a.unseen_groups), (&[4, 8, 3, 5][..], 1));
        let stored = a.stored(trained_there.clone());
        assert_eq!(stored[119 * 4], 0.5);
        assert_eq!(a.named(stored).values, trained_there);
    }

    /// PEFT's `ParamWrapper`: A is `[count · rank, d_in]` by matrix, B `[d_out, rank · count]` by rank.
    #[test]
    fn a_stacks_factors_lie_as_pefts() {
        let (count, d_in, d_out, rank) = (3, 4, 5, 2);
        let parameter = |wrapped| Parameter {
            path: "l.experts.up".into(),
            stack: Stack::new(count, true),
            is_stack: true,
            wrapped,
        };
        let layer = |wrapped| LinearLayer {
            path: "l.experts.up".into(),
            d_in,
            d_out,
            layout: Layout::OutIn,
            dtype: None,
            device: burn_lora::device::parse("cpu").unwrap(),
            table: false,
            kernel: None,
            parameter: Some(parameter(wrapped)),
        };
        let of = |name: &str, wrapped| {
            Slot::factor(Method::Lora.factor(name).unwrap(), &layer(wrapped), rank)
        };
        let (a, b) = (of("a", 0), of("b", 1));
        assert_eq!(a.key, "base_model.model.l.experts.lora_A.weight");
        assert_eq!(b.key, "base_model.model.l.experts.base_layer.lora_B.weight");
        assert_eq!((a.shape.as_slice(), a.rank_at()), (&[count * rank, d_in][..], Some(0)));
        assert_eq!((b.shape.as_slice(), b.rank_at()), (&[d_out, rank * count][..], Some(1)));
        // Here A is [d_in, count · rank] and B [rank, count · d_out].
        let value = |e: usize, k: usize, other: usize| (100 * e + 10 * k + other) as f32;
        let mut own = Vec::new();
        for i in 0..d_in {
            own.extend((0..count * rank).map(|at| value(at / rank, at % rank, i)));
        }
        let file = a.clone().named(own.clone()).values;
        for (at, found) in file.iter().enumerate() {
            let row = at / d_in;
            assert_eq!(*found, value(row / rank, row % rank, at % d_in), "{at}");
        }
        assert_eq!(a.stored(file), own);
        let mut own = Vec::new();
        for k in 0..rank {
            own.extend((0..count * d_out).map(|at| value(at / d_out, k, at % d_out)));
        }
        let file = b.clone().named(own.clone()).values;
        for (at, found) in file.iter().enumerate() {
            let column = at % (rank * count);
            assert_eq!(*found, value(column % count, column / count, at / (rank * count)), "{at}");
        }
        assert_eq!(b.stored(file), own);
    }

    /// A third factor was once written as B, over B's own values.
    #[test]
    fn a_factor_that_no_table_knows_gets_no_ones_key() {
        let known = |key: &str| {
            let factors = Method::ALL.iter().flat_map(|method| method.factors());
            factors.into_iter().any(|factor| key.ends_with(factor.key))
        };
        for end in ["0.factors.Lora.c", "0.factors.Lora.magnitude", "0.factors.Loha.a", "0.a", "x"]
        {
            let path = format!("l.0.q.weight.lora.adapters.{end}");
            let slot = slot(&path, "Lora", &[8, 2], ParamRole::Factor);
            assert!(matches!(slot.part, Part::Unknown), "{path}");
            assert_eq!(slot.key, format!("base_model.model.{path}"));
            assert!(!known(&slot.key), "{path}");
        }
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

        /// A factor of `[d_in, rank]` with another beside it is the rows of both, one after the other.
        #[test]
        fn joined_and_halves_undo_each_other(d_in in 1usize..6, d_out in 1usize..6, rank in 1usize..4) {
            let layer = LinearLayer {
                path: "l".into(),
                d_in,
                d_out,
                layout: Layout::InOut,
                dtype: None,
                device: burn_lora::device::parse("cpu").unwrap(),
                table: false,
                kernel: None,
                parameter: None,
            };
            for factor in Method::Lora.factors() {
                let slot = Slot::factor(factor, &layer, rank).widened();
                let count = factor.shape(layer.sizes(rank)).into_iter().product::<usize>();
                let own: Vec<f32> = (0..count).map(|v| v as f32).collect();
                let beside: Vec<f32> = own.iter().map(|v| -v - 1.0).collect();
                let whole = slot.joined(&own, &beside);
                prop_assert_eq!(slot.halves(&whole), (own.clone(), beside.clone()));
                // In the file, [2 · rank, d_in] or [d_out, 2 · rank].
                let named = slot.clone().named(whole);
                let at = slot.rank_at().unwrap();
                prop_assert_eq!(named.shape[at], 2 * rank);
                let first = if at == 0 { count } else { rank };
                let file = Slot::factor(factor, &layer, rank).named(own).values;
                prop_assert_eq!(&named.values[..first], &file[..first]);
                prop_assert!(named.values[first..2 * first].iter().all(|value| *value < 0.0));
            }
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
