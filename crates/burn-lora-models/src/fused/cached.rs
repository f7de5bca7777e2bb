//! Attention of new tokens over a cache of keys and values, which takes them up.
//!
//! A row of a pass has a slot of the cache, where the key of position `p` lies in column `p`. The body here is
//! made of what every backend has; rows that see fewer columns than the longest of a pass are masked.

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{
    Backend, Dispatch, ExtensionType, TensorMetadata, get_or_init_device_settings,
};
use burn::tensor::{Bool, Device, Shape, Slice, Tensor, TensorData};
use burn_lora::ProductBackend;

use super::composed::{Sizes, biased, capped, placed};
use super::{Encoding, FusedBackend, Later, MASKED, Positional, Scores};

/// What a row of a pass has of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRow {
    /// Tokens that the slot held before the pass: the position of the row's first new one.
    pub held: usize,
    /// New tokens; what the pass has beyond is padding.
    pub new: usize,
}

/// The rows of a pass, in slots that lie side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRows {
    /// The slot of the first.
    pub first: usize,
    /// What each has of its slot.
    pub rows: Vec<CacheRow>,
}

impl CacheRows {
    /// Columns of the longest row, with its new tokens; at least one.
    pub(super) fn seen(&self) -> usize {
        self.rows.iter().map(|row| row.held + row.new).fold(1, usize::max)
    }
}

/// Keys and values, `[slots, n_kv_heads, room, head_dim]` each.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Held<B: Backend> {
    /// Keys, as the scores take them.
    pub keys: FloatTensor<B>,
    /// Values.
    pub values: FloatTensor<B>,
}

/// What an attention over a cache gives.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Attended<B: Backend> {
    /// The output, `[batch, tokens, n_heads, head_dim]`.
    pub y: FloatTensor<B>,
    /// The cache with the new tokens.
    #[extension_type]
    pub held: Held<B>,
}

/// Which columns a token must not see, made on the device once for all layers of a pass: `[batch, 1, tokens,
/// seen]`. None on a CPU, whose attention looks at no such column.
pub(crate) fn unseen(rows: &[CacheRow], tokens: usize, device: &Device) -> Option<Tensor<4, Bool>> {
    (!burn_lora::device::is_cpu(device)).then(|| {
        let rows = CacheRows { first: 0, rows: rows.to_vec() };
        Tensor::from_data(hidden(&rows, tokens, None), device)
    })
}

/// True where a column stands after the token that would see it, or its window has passed it, `[batch, 1, tokens, seen]`.
fn hidden(rows: &CacheRows, tokens: usize, window: Option<usize>) -> TensorData {
    let seen = rows.seen();
    let columns = |row: &CacheRow| {
        let held = row.held;
        let passed =
            move |t: usize| window.map_or(0, |window| (held + t + 1).saturating_sub(window));
        (0..tokens)
            .flat_map(move |t| (0..seen).map(move |column| column > held + t || column < passed(t)))
    };
    let values: Vec<bool> = rows.rows.iter().flat_map(columns).collect();
    TensorData::new(values, [rows.rows.len(), 1, tokens, seen])
}

/// `softmax(scores) v` of new tokens, causal, over what their rows' slots hold and their own keys, which are taken
/// up: the output, and keys and values of all slots.
///
/// The cache is changed where it lies if nobody else holds it.
///
/// # Shapes
///
/// - qkv: `[batch, tokens, n_heads, head_dim]`, and of keys and values `[batch, tokens, n_kv_heads, head_dim]`
/// - held: keys and values, `[slots, n_kv_heads, room, head_dim]`
/// - unseen: what [`unseen`] gives for these rows, or none
/// - output: as q
pub(crate) fn cached_attention(
    qkv: [Tensor<4>; 3],
    held: [Tensor<4>; 2],
    positional: Positional,
    scores: Scores,
    unseen: Option<Tensor<4, Bool>>,
    rows: CacheRows,
) -> (Tensor<4>, [Tensor<4>; 2]) {
    let [q, k, v] = qkv.map(Tensor::into_dispatch);
    let [keys, values] = held.map(Tensor::into_dispatch);
    let later = unseen.map_or(Later::Implied, |unseen| Later::Mask(unseen.into_dispatch()));
    let Attended { y, held } = <Dispatch as FusedBackend>::cached_attention(
        q,
        k,
        v,
        Held { keys, values },
        positional.encoding(),
        scores,
        later,
        rows,
    );
    (Tensor::from_dispatch(y), [held.keys, held.values].map(Tensor::from_dispatch))
}

/// The default body.
pub(super) fn composed<B: ProductBackend>(
    [q, k, v]: [FloatTensor<B>; 3],
    held: Held<B>,
    encoding: &Encoding<B>,
    scores: Scores,
    later: Later<B>,
    rows: &CacheRows,
) -> Attended<B> {
    let sizes = Sizes::of::<B>(&q, &k);
    let Sizes { batch, tokens, heads, n_kv_heads, .. } = sizes;
    let (seen, device) = (rows.seen(), q.device());
    let keys = taken_up::<B>(held.keys, placed::<B>(k, encoding), rows);
    let values = taken_up::<B>(held.values, v, rows);
    let columns = |cache: &FloatTensor<B>| {
        let all = Slice::from(..);
        let slots = Slice::from(rows.first..rows.first + batch);
        B::float_slice(cache.clone(), &[slots, all, Slice::from(0..seen), all])
    };
    let q = B::float_mul_scalar(placed::<B>(q, encoding), scores.scale.into());
    let scored = B::product(sizes.stack::<B>(q), B::float_swap_dims(columns(&keys), 2, 3));
    let shape = Shape::new([batch, heads, tokens, seen]);
    let scored = B::float_reshape(capped::<B>(scored, scores.cap), shape.clone());
    let scored = biased::<B>(scored, encoding);
    let unseen: BoolTensor<B> = match (later, scores.window_within(seen)) {
        (Later::Mask(unseen), None) => unseen,
        // What is given knows of no window.
        (_, window) => {
            let settings = get_or_init_device_settings::<B>(&device);
            let data = hidden(rows, tokens, window).convert_dtype(settings.bool_dtype.into());
            B::bool_from_data(data, &device)
        }
    };
    let scored = B::float_mask_fill(scored, B::bool_expand(unseen, shape), MASKED.into());
    let shape = Shape::new([batch, n_kv_heads, sizes.rows(), seen]);
    let weights = B::float_reshape(B::softmax(scored, 3), shape);
    let y = sizes.unstack::<B>(B::product(weights, columns(&values)));
    Attended { y, held: Held { keys, values } }
}

/// A cache with new keys or values, `[batch, tokens, heads, head_dim]`, behind those of their rows.
fn taken_up<B: Backend>(
    cache: FloatTensor<B>,
    new: FloatTensor<B>,
    of: &CacheRows,
) -> FloatTensor<B> {
    let new = B::float_swap_dims(new, 1, 2);
    let all = Slice::from(..);
    // Rows from `index` on that stand at one place.
    let write = |cache, index: usize, count: usize, row: CacheRow| {
        let CacheRow { held, new: tokens } = row;
        if tokens == 0 {
            return cache;
        }
        let rows = Slice::from(index..index + count);
        let part = B::float_slice(new.clone(), &[rows, all, Slice::from(0..tokens), all]);
        let slots = Slice::from(of.first + index..of.first + index + count);
        B::float_slice_assign(cache, &[slots, all, Slice::from(held..held + tokens), all], part)
    };
    let mut index = 0;
    of.rows.chunk_by(|a, b| a == b).fold(cache, |cache, alike| {
        let from = index;
        index += alike.len();
        write(cache, from, alike.len(), alike[0])
    })
}
