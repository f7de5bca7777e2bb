//! What surrounds the linears of a decoder, each as one operation with a backward of its own.
//!
//! Composed of single operations, a norm, a gate or an attention makes a tensor for every step of
//! its formula, forward and backward. As one operation it passes over its input once, keeps its
//! inputs alone for the backward, and recomputes what it needs:
//!
//! - [`rms_norm`]: `x / rms(x) · gamma`;
//! - [`silu_mul`]: `silu(gate) · up`;
//! - [`gelu_tanh`]: GELU by its tanh approximation;
//! - [`causal_attention`]: positions and causal attention, from the projections' own layout, with soft-capped scores
//!   and windows ([`Scores`]);
//! - attention over a cache of keys and values, which takes up the new ones where they belong;
//! - [`head_loss`]: the output head, a soft cap of its logits and the cross-entropy together, in chunks of rows, so
//!   that the logits over the vocabulary never exist as a whole.
//!
//! [`FusedBackend`] is a Burn backend extension like `burn_lora::LoraBackend`: its default bodies
//! (in `composed`) are made of what every backend has, Flex and the Cube backends have kernels (in `flex` and `cube`), and
//! `Autodiff<B>` has the backward passes (in `autodiff`), which call the backend's `…_grad`.
//!
//! Left out: dropout inside of attention, which runs composed; masks other than the causal one and its windows;
//! scores outside of a window are computed and thrown away.

mod autodiff;
mod backends;
mod cached;
mod composed;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod scores;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
#[cfg(feature = "cube")]
use burn::tensor::Shape;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_lora::{Frozen, FrozenBackend, FrozenWeight, view};

pub use cached::{Attended, CacheRow, CacheRows, Held};
pub(crate) use cached::{cached_attention, unseen};
pub use scores::Scores;

/// A score that must not count, or what is added to one: far below any score, and finite, so that a row of padding
/// with nothing to look at gives numbers (which nobody reads) instead of NaN.
pub(crate) const MASKED: f32 = -1e30;

/// Logits over a vocabulary that a loss has at a time, at most (64 MiB); one row of them, at least. The head is read and packed once for so
/// many rows: with half of them products with it are a tenth slower.
pub(crate) const LOGITS: usize = 1 << 24;

/// The same of an evaluation, which has four numbers for each (32 MiB of each).
const EVALUATED_LOGITS: usize = 1 << 23;

/// The same where it is not a CPU that computes (512 MiB): a product of a device needs a thousand rows to fill it.
const DEVICE_LOGITS: usize = 1 << 27;

/// How many of so many rows have their logits over a vocabulary of that size at a time in a loss on a CPU: equal shares of them.
pub(crate) fn rows_at_once(rows: usize, vocabulary: usize) -> usize {
    rows.div_ceil(rows.div_ceil(rows_of(LOGITS, vocabulary)).max(1)).max(1)
}

/// How many rows have their logits at a time in an evaluation, at most.
pub fn rows_evaluated_at_once(vocabulary: usize) -> usize {
    rows_of(EVALUATED_LOGITS, vocabulary)
}

/// How many rows over a vocabulary of that size so many logits are; one at least.
fn rows_of(logits: usize, vocabulary: usize) -> usize {
    (logits / vocabulary.max(1)).max(1)
}

/// What [`FusedBackend::head_loss_grad`] gives.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct HeadGrads<B: Backend> {
    /// The loss, `[1]`.
    pub loss: FloatTensor<B>,
    /// Its gradient with respect to the hidden rows, `[rows, d]`.
    pub hidden: FloatTensor<B>,
    /// Its gradient with respect to its weight, where it was asked for.
    #[extension_type]
    pub weight: WeightGrad<B>,
}

/// What [`FusedBackend::logits_loss_grad`] gives.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct LogitsLoss<B: Backend> {
    /// The sum over rows of `-log softmax(logits)[target]`, `[1]`.
    pub loss: FloatTensor<B>,
    /// Its gradient with respect to the logits before their cap, `[rows, vocabulary]`.
    pub dlogits: FloatTensor<B>,
}

/// The gradient of the head's weight.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub enum WeightGrad<B: Backend> {
    /// Nobody asked.
    Skipped,
    /// `[vocabulary, d]`.
    Dense(FloatTensor<B>),
}

/// How positions enter the scores of an attention.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub enum Encoding<B: Backend> {
    /// Not at all: the stream has them.
    Embedded,
    /// Pairs of queries and keys turn by their position (Su et al. 2021); with fewer pairs than half of a head, the
    /// rest of it stays.
    Rotary {
        /// Cosines, `[tokens, pairs]`; over a cache, of all rows or of each: `[batch · tokens, ..]`.
        cos: FloatTensor<B>,
        /// Sines, alike.
        sin: FloatTensor<B>,
    },
    /// A key adds its position times the head's slope (ALiBi, Press et al. 2022).
    Alibi {
        /// Slopes, `[heads]`.
        slopes: FloatTensor<B>,
    },
}

/// Which keys a query must not see: those that stand after it.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub enum Later<B: Backend> {
    /// The operation finds out for itself.
    Implied,
    /// `[tokens, tokens]`: true where the key, a column, stands after the query, a row; over a cache
    /// `[batch, 1, tokens, seen]`.
    Mask(BoolTensor<B>),
}

/// How the weight of an output head lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadLayout {
    /// `[vocabulary, d]`: the table of an embedding, that the head is tied to.
    Table,
    /// `[d, vocabulary]`: a linear's weight.
    Linear,
}

impl HeadLayout {
    /// How many logits a row gets from a weight of that shape.
    fn vocabulary(self, dims: [usize; 2]) -> usize {
        match self {
            Self::Table => dims[0],
            Self::Linear => dims[1],
        }
    }
}

/// The fused operations, for every backend.
///
/// What is `[batch, tokens, heads, head_dim]` here comes from a projection as it is; an [`Encoding`] is
/// constant.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait FusedBackend: FrozenBackend {
    /// See [`rms_norm`]; x: `[rows, d]`.
    #[fusion(dtype = x, shape = x)]
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        composed::rms_norm::<Self>(x, gamma, epsilon)
    }

    /// The gradient of x, `[rows, d]`, given that of the output.
    #[fusion(dtype = x, shape = x)]
    fn rms_norm_grad(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        composed::rms_norm_grad::<Self>(x, gamma, dy, epsilon)
    }

    /// See [`silu_mul`].
    #[fusion(dtype = gate, shape = gate)]
    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::silu_mul::<Self>(gate, up)
    }

    /// The gradients of gate and up, given that of the output.
    #[fusion(meta = |gate, _up, _dy| (gate.clone(), gate.clone()))]
    fn silu_mul_grad(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::silu_mul_grad::<Self>(gate, up, dy)
    }

    /// See [`gelu_tanh`].
    #[fusion(dtype = x, shape = x)]
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::gelu_tanh::<Self>(x)
    }

    /// The gradient of x, given that of the output.
    #[fusion(dtype = x, shape = x)]
    fn gelu_tanh_grad(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::gelu_tanh_grad::<Self>(x, dy)
    }

    /// See [`causal_attention`].
    #[fusion(dtype = q, shape = q)]
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] encoding: Encoding<Self>,
        scores: Scores,
        #[extension_type] later: Later<Self>,
    ) -> FloatTensor<Self> {
        composed::causal_attention::<Self>(q, k, v, encoding, scores, later)
    }

    /// The gradients of q, k and v, given that of the output.
    #[fusion(meta = |q, k, v, _encoding, _scores, _later, _dy| (q.clone(), k.clone(), v.clone()))]
    fn causal_attention_grad(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] encoding: Encoding<Self>,
        scores: Scores,
        #[extension_type] later: Later<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::causal_attention_grad::<Self>(q, k, v, encoding, scores, later, dy)
    }

    /// [`causal_attention`] of new tokens over the cache, which takes their keys and values up.
    #[fusion(default)]
    #[allow(clippy::too_many_arguments, reason = "an extension takes its tensors one by one")]
    fn cached_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] held: Held<Self>,
        #[extension_type] encoding: Encoding<Self>,
        scores: Scores,
        #[extension_type] later: Later<Self>,
        rows: CacheRows,
    ) -> Attended<Self> {
        cached::composed::<Self>([q, k, v], held, &encoding, scores, later, &rows)
    }

    /// The sum over rows of `-log softmax(cap(logits))[target]`, `[1]`; logits: `[rows, vocabulary]`, targets: `[rows, 1]`.
    #[fusion(dtype = logits, shape = Shape::new([1]))]
    fn logits_loss(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        cap: Option<f64>,
    ) -> FloatTensor<Self> {
        composed::logits_loss::<Self>(logits, targets, cap)
    }

    /// [`logits_loss`](Self::logits_loss) with the gradient of the logits.
    #[fusion(meta = |logits, _targets, _cap| LogitsLossMetadata {
        loss: TensorSpec::new(Shape::new([1]), logits.dtype),
        dlogits: logits.clone(),
    })]
    fn logits_loss_grad(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        cap: Option<f64>,
    ) -> LogitsLoss<Self> {
        composed::logits_loss_grad::<Self>(logits, targets, cap)
    }

    /// See [`head_loss`]; logits of so many rows exist at a time.
    #[fusion(default)]
    fn head_loss(
        hidden: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        layout: HeadLayout,
        targets: Vec<i32>,
        weight_grad: bool,
        cap: Option<f64>,
        at_once: usize,
    ) -> FloatTensor<Self> {
        let _ = weight_grad;
        composed::head_loss::<Self>(hidden, weight, layout, &targets, at_once, cap)
    }

    /// The loss with its gradients, that of a dense weight where `weight_grad` asks for it.
    #[fusion(default)]
    fn head_loss_grad(
        hidden: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        layout: HeadLayout,
        targets: Vec<i32>,
        weight_grad: bool,
        cap: Option<f64>,
        at_once: usize,
    ) -> HeadGrads<Self> {
        let head = (weight, layout, cap);
        composed::head_loss_grad::<Self>(hidden, head, &targets, weight_grad, at_once)
    }
}

/// `x / √(mean(x²) + epsilon) · gamma`, over the last dimension.
///
/// # Shapes
///
/// - x: `[.., d]`, gamma: `[d]`, output as x
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let shape = x.dims();
    let x = rows(x).into_dispatch();
    let y = <Dispatch as FusedBackend>::rms_norm(x, gamma.into_dispatch(), epsilon);
    view(Tensor::<2>::from_dispatch(y), shape)
}

/// `gate / (1 + e^-gate) · up`, element for element.
///
/// # Shapes
///
/// - gate and up alike, and the output as they are
pub fn silu_mul<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedBackend>::silu_mul(gate, up))
}

/// `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, element for element (Hendrycks and Gimpel 2016).
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as FusedBackend>::gelu_tanh(x.into_dispatch()))
}

/// How positions enter the scores of an attention: [`Encoding`], of tensors.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a pass has one")]
pub enum Positional {
    /// Not at all: the stream has them.
    Embedded,
    /// Pairs of queries and keys turn by their position (Su et al. 2021); with fewer pairs than half of a head, the
    /// rest of it stays.
    Rotary {
        /// Cosines, `[1, tokens, pairs]`, constants; over a cache, of each row.
        cos: Tensor<3>,
        /// Sines, alike.
        sin: Tensor<3>,
    },
    /// A key adds its position times the head's slope (ALiBi, Press et al. 2022).
    Alibi {
        /// Slopes, `[n_heads]`, constants.
        slopes: Tensor<1>,
    },
}

impl Positional {
    /// On primitives, the tables of rows one after the other.
    fn encoding(self) -> Encoding<Dispatch> {
        let table = |table: Tensor<3>| {
            let [rows, tokens, half] = table.dims();
            table.reshape([rows * tokens, half]).into_dispatch()
        };
        match self {
            Self::Embedded => Encoding::Embedded,
            Self::Rotary { cos, sin } => Encoding::Rotary { cos: table(cos), sin: table(sin) },
            Self::Alibi { slopes } => Encoding::Alibi { slopes: slopes.into_dispatch() },
        }
    }
}

/// Which keys stand after which queries, made on the device, once for all layers of a pass: `[tokens, tokens]`. None on a CPU, whose
/// attention looks at no such key.
pub fn later(tokens: usize, device: &Device) -> Option<Tensor<2, Bool>> {
    (!burn_lora::device::is_cpu(device)).then(|| {
        let positions = Tensor::<1, Int>::arange(0..tokens as i64, device);
        let seeing = positions.clone().reshape([tokens, 1]);
        seeing.lower(positions.reshape([1, tokens]))
    })
}

/// Causal attention of rows whose positions count from 0, keys shared by groups of query heads:
/// `softmax(scores) v`, with positions as `positional` says and the rest of the scores as [`Scores`].
///
/// # Shapes
///
/// - q: `[batch, tokens, n_heads, head_dim]`
/// - k and v: `[batch, tokens, n_kv_heads, head_dim]`; `n_kv_heads` divides `n_heads`
/// - later: what [`later`] gives for these tokens, or none
/// - output: as q
pub fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    positional: Positional,
    scores: Scores,
    later: Option<Tensor<2, Bool>>,
) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as FusedBackend>::causal_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        positional.encoding(),
        scores,
        later.map_or(Later::Implied, |later| Later::Mask(later.into_dispatch())),
    ))
}

/// The sum over rows of `-log softmax(logits)[target]`, in nats, with `logits = hidden weightᵀ` or, of a
/// linear's weight, `hidden W`; with a soft cap, of `cap · tanh(logits / cap)`.
///
/// The logits are formed for some rows at a time, and their gradient is taken then and there, so
/// that memory does not grow with `rows · vocabulary`. The weight gets a gradient where it is dense and
/// requires one; a linear's weight is frozen.
///
/// # Shapes
///
/// - hidden: `[rows, d]`
/// - weight: `[vocabulary, d]` or `[d, vocabulary]`, as `layout` says
/// - targets: one a row, within the vocabulary
/// - output: `[1]`
///
/// # Panics
///
/// Where the number of targets is not that of the rows, or a target is outside of the vocabulary.
pub fn head_loss(
    hidden: Tensor<2>,
    weight: impl Into<FrozenWeight>,
    layout: HeadLayout,
    targets: Vec<i32>,
    cap: Option<f64>,
) -> Tensor<1> {
    let weight = weight.into();
    let vocabulary = layout.vocabulary(weight.dims());
    assert_eq!(hidden.dims()[0], targets.len(), "one target a row");
    assert!(
        targets.iter().all(|&target| (0..vocabulary as i64).contains(&i64::from(target))),
        "a target outside of the vocabulary"
    );
    let weight_grad = layout == HeadLayout::Table
        && matches!(&weight, FrozenWeight::Dense(weight) if weight.is_require_grad());
    let most = if burn_lora::device::is_cpu(&hidden.device()) { LOGITS } else { DEVICE_LOGITS };
    let at_once = rows_of(most, vocabulary);
    let loss = <Dispatch as FusedBackend>::head_loss(
        hidden.into_dispatch(),
        weight.primitive(),
        layout,
        targets,
        weight_grad,
        cap,
        at_once,
    );
    Tensor::from_dispatch(loss)
}

/// `[.., d]` as `[rows, d]`.
fn rows<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let shape = x.dims();
    let d = shape[D - 1];
    let rows = shape[..D - 1].iter().product();
    x.reshape([rows, d])
}
