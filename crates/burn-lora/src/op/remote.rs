//! Products on a device elsewhere: asked for by name, so that the server takes its own.
//!
//! All other operations of this crate, and of those above it, go there as the single operations that they are made of, which every server
//! knows. Of a product that would leave the choice of a kernel to the server's Burn (`op/product.rs`).
//!
//! Where operations are collected into graphs before they are sent (Burn's `fusion`, on with any GPU backend) an operation with a kernel
//! for GPUs would be sent by its name alone, without the numbers it was called with. So the products are the only ones that [`RemoteRouter`]
//! has, beneath the graphs; the others are of `burn::backend::Remote`, above them, by default bodies whose operations join the graphs.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::server::RemoteServer;
use burn::tensor::{DType, Shape};
use burn_remote::RouterClient;
use burn_remote::ir::{BackendIr, CustomOpIr, HandleContainer, OperationIr, TensorIr};

use super::product::{ProductBackend, output};
use crate::device::RemoteRouter;

/// The name of [`ProductBackend::product`] on the way, as Burn's macro has it for graphs.
const PRODUCT: &str = "product";
/// That of [`ProductBackend::half_product`].
const HALF_PRODUCT: &str = "half_product";

impl ProductBackend for RemoteRouter {
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        let (shape, format) = (output(&lhs.shape(), &rhs.shape()), lhs.dtype());
        asked(PRODUCT, lhs, rhs, shape, format)
    }

    fn half_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (shape, format) = (output(&x.shape(), &weight.shape()), x.dtype());
        asked(HALF_PRODUCT, x, weight, shape, format)
    }
}

/// What the server makes of two tensors by the operation of that name.
fn asked(
    name: &'static str,
    lhs: FloatTensor<RemoteRouter>,
    rhs: FloatTensor<RemoteRouter>,
    shape: Shape,
    format: DType,
) -> FloatTensor<RemoteRouter> {
    let client = lhs.client.clone();
    let y = TensorIr::uninit(client.create_empty_handle(), shape, format);
    let operation = CustomOpIr::new(name, &[lhs.into_ir(), rhs.into_ir()], &[y]);
    client.register(OperationIr::Custom(operation)).swap_remove(0)
}

/// A server of devices of the backend `B` that knows these products.
pub(crate) fn with_products<B: ProductBackend + BackendIr>(server: RemoteServer) -> RemoteServer {
    server
        .with_custom_op::<B, _>(PRODUCT, |tensors, operation, _| {
            answer::<B>(tensors, operation, B::product);
        })
        .with_custom_op::<B, _>(HALF_PRODUCT, |tensors, operation, _| {
            answer::<B>(tensors, operation, B::half_product);
        })
}

fn answer<B: BackendIr>(
    tensors: &mut HandleContainer<B::Handle>,
    operation: &CustomOpIr,
    product: impl Fn(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) {
    let ([lhs, rhs], [y]) = operation.as_fixed::<2, 1>();
    let lhs = tensors.get_float_tensor::<B>(lhs);
    let rhs = tensors.get_float_tensor::<B>(rhs);
    tensors.register_float_tensor::<B>(&y.id, product(lhs, rhs));
}
