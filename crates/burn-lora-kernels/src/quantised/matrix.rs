//! A quantised matrix that a Flex tensor carries.
//!
//! A weight in a Burn module is a parameter, whose shape, identity and freezing are read from its tensor, and whatever walks through
//! a module (visitors, mappers, clones, devices) takes that tensor along. The tensor made here is of the weight's shape and of f32
//! and costs nothing of either: both of its strides are 0, so that every number of it is the first of its buffer, the mark of the
//! head, which is not a number. Behind it lie the blocks. What asks the weight finds them; what computes with the tensor itself,
//! which it must not, gets NaN and shows it.

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::{HEAD, Head, Quantised, QuantisedRef};

/// A quantised matrix in the buffer of a Flex tensor, shared with it.
#[derive(Debug, Clone)]
pub struct QuantisedMatrix {
    carrier: FlexTensor,
    head: Head,
}

impl QuantisedMatrix {
    /// The tensor that carries the matrix, of its shape.
    pub fn carrier(matrix: Quantised) -> FlexTensor {
        let layout = Layout::new(Shape::from(matrix.head.shape()), vec![0, 0], 0);
        FlexTensor::new(Bytes::from_elems(matrix.words), layout, DType::F32)
    }

    /// What the tensor carries; none of any other tensor. A carrier is never transposed, sliced or reshaped: what would come of
    /// it is none any more.
    pub fn of(tensor: &FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        if tensor.dtype() != DType::F32 || layout.strides() != [0, 0] || layout.start_offset() != 0
        {
            return None;
        }
        let head = Head::of(tensor.bytes())?;
        let whole = layout.shape()[..] == head.shape();
        whole.then(|| Self { carrier: tensor.clone(), head })
    }

    /// To read.
    pub fn view(&self) -> QuantisedRef<'_> {
        QuantisedRef { head: self.head, blocks: &self.carrier.bytes()[4 * HEAD..] }
    }
}
