//! A linear layer of which rows go each through an adapter of their own, as one operation on a backend's primitives.
//!
//! ```text
//! y = x W           y[rows of g] += scale_g · (x[rows of g] A_g) B_g          for each group g of rows
//! ```
//!
//! One product with the frozen weight for all rows, and a narrow one for each group: what is multiplied is what one adapter's
//! product takes, however many there are. On Flex the narrow ones are spread over the cores together and added where the wide
//! one lies (`burn_lora_kernels::groups`); other backends take the default body.
//!
//! It is for inference. The default body is made of operations that have gradients, and so is [`Autodiff`]'s.

mod backends;
#[cfg(feature = "flex")]
mod flex;

use std::ops::Range;

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType, TensorMetadata, backend_extension,
};
use burn::tensor::{Shape, Slice, Tensor};
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;

use super::{Frozen, FrozenWeight, Lora, LoraBackend, Several};

/// Two factors whose product is added to a weight.
#[derive(Debug, Clone)]
pub(crate) struct LowRank {
    /// `[d_in, rank]`.
    pub(crate) a: Tensor<2>,
    /// `[rank, d_out]`.
    pub(crate) b: Tensor<2>,
    /// What their product is multiplied by.
    pub(crate) scale: f64,
}

/// Rows and the adapter that they go through, as primitives of backend `B`.
#[derive(ExtensionType, Debug, Clone)]
pub struct Group<B: Backend> {
    /// The adapter.
    #[extension_type]
    pub lora: Lora<B>,
    /// The rows, in their order, those that lie together as one; no other group has one of them.
    pub rows: Vec<Range<usize>>,
}

/// The groups of a batch.
pub type Groups<B> = Several<Group<B>>;

/// The operation, for every backend that has it.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait GroupBackend: LoraBackend {
    /// `x W`, to whose rows the low-rank product of their group is added, for `x: [rows, d_in]`.
    #[fusion(default)]
    fn lora_groups(
        x: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        #[extension_type] groups: Groups<Self>,
    ) -> FloatTensor<Self> {
        composed(x, weight, groups)
    }
}

impl<B: GroupBackend, C: CheckpointStrategy> GroupBackend for Autodiff<B, C> {}

/// The default body: made of what every backend has, and the twin that kernels are tested against.
fn composed<B: LoraBackend>(
    x: FloatTensor<B>,
    weight: Frozen<B>,
    groups: Groups<B>,
) -> FloatTensor<B> {
    let y = weight.multiply(x.clone());
    let [count, d_out]: [usize; 2] = y.shape().dims();
    let of = |tensor: &FloatTensor<B>, rows: &Range<usize>| {
        let rows = [Slice::from(rows.clone()), Slice::full()];
        B::float_slice(tensor.clone(), &rows)
    };
    let mut parts: Vec<(Range<usize>, FloatTensor<B>)> = Vec::new();
    for Group { lora, rows } in groups.0 {
        let mut own: Vec<_> = rows.iter().map(|rows| of(&x, rows)).collect();
        let own = if own.len() == 1 { own.remove(0) } else { B::float_cat(own, 0) };
        let low = B::float_mul_scalar(B::product(own, lora.a), lora.scale.into());
        let change = B::product(low, lora.b);
        let mut from = 0;
        for rows in rows {
            let to = from + rows.len();
            parts.push((rows, of(&change, &(from..to))));
            from = to;
        }
    }
    parts.sort_by_key(|(rows, _)| rows.start);
    let (device, format) = (y.device(), y.dtype());
    let zeros = |rows: usize| {
        (rows > 0).then(|| B::float_zeros(Shape::new([rows, d_out]), &device, format.into()))
    };
    let (mut all, mut from) = (Vec::with_capacity(2 * parts.len() + 1), 0);
    for (rows, part) in parts {
        all.extend(zeros(rows.start - from));
        from = rows.end;
        all.push(part);
    }
    all.extend(zeros(count - from));
    B::float_add(y, B::float_cat(all, 0))
}

/// `x W`, to whose rows the low-rank product of their group is added.
///
/// # Shapes
///
/// - x: `[rows, d_in]`, weight: `[d_in, d_out]`, output: `[rows, d_out]`
/// - the rows of a group in their order, and none of them in two groups
pub(crate) fn lora_groups(
    x: Tensor<2>,
    weight: FrozenWeight,
    groups: Vec<(LowRank, Vec<Range<usize>>)>,
) -> Tensor<2> {
    let each = groups.into_iter().map(|(LowRank { a, b, scale }, rows)| Group {
        lora: Lora { a: a.into_dispatch(), b: b.into_dispatch(), scale },
        rows,
    });
    let groups = Several(each.collect());
    Tensor::from_dispatch(<Dispatch as GroupBackend>::lora_groups(
        x.into_dispatch(),
        weight.primitive(),
        groups,
    ))
}
