//! What goes into linear layers, shown to whoever wants to see it.
//!
//! Within [`with_inputs`] every linear that is called by [`LoraForward`](crate::LoraForward) shows its input, with the
//! identity of its weight. Nothing hangs on the model for that, and nothing is kept.
//!
//! Left out: model code that calls `Linear::forward`, which nobody can look into.

use std::cell::RefCell;
use std::rc::Rc;

use burn::module::ParamId;
use burn::tensor::Tensor;

/// Is given a weight's identity and what goes into its layer, `[rows, d_in]`.
type Watch = Rc<dyn Fn(ParamId, Tensor<2>)>;

thread_local! {
    /// Who looks on, within [`with_inputs`] on this thread.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// What `scope` makes while `watch` is shown the input of every linear that goes through
/// [`LoraForward`](crate::LoraForward) on this thread, `[rows, d_in]`, with the identity of its weight (of an adapted
/// layer, too). Scopes may be nested; the inner one counts.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// use burn::nn::LinearConfig;
/// use burn::tensor::Tensor;
/// use burn_lora::{LoraForward, with_inputs};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora::device::parse("cpu")?;
/// let linear = LinearConfig::new(8, 4).init(&device);
/// let (id, rows) = (linear.weight.id, Rc::new(Cell::new(0)));
/// let seen = Rc::clone(&rows);
/// let watch = move |weight, x: Tensor<2>| {
///     assert_eq!(weight, id);
///     seen.set(seen.get() + x.dims()[0]);
/// };
/// with_inputs(watch, || linear.lora_forward(Tensor::<3>::ones([2, 5, 8], &device)));
/// assert_eq!(rows.get(), 10);
/// # Ok(())
/// # }
/// ```
pub fn with_inputs<R>(
    watch: impl Fn(ParamId, Tensor<2>) + 'static,
    scope: impl FnOnce() -> R,
) -> R {
    /// Gives the place back to who had it, also when the scope panics.
    struct Outer(Option<Watch>);
    impl Drop for Outer {
        fn drop(&mut self) {
            WATCH.set(self.0.take());
        }
    }
    let _outer = Outer(WATCH.replace(Some(Rc::new(watch))));
    scope()
}

/// Shows what goes into a layer to who looks on.
pub(crate) fn show(weight: ParamId, x: &Tensor<2>) {
    // Not held while it is called: what is shown may be computed with.
    let watch = WATCH.with_borrow(Clone::clone);
    if let Some(watch) = watch {
        watch(weight, x.clone());
    }
}
