//! A Flex tensor's values as a slice, and a tensor from values.

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::half::{HalfRef, Halves};
use super::product::MatRef;

/// A Flex tensor of `f32`, to be read by a kernel.
#[derive(Debug, Clone)]
pub struct Floats(FlexTensor);

impl Floats {
    /// The tensor with its values in order, copied where they were not; none where it is not `f32`.
    pub fn contiguous(tensor: FlexTensor) -> Option<Self> {
        (tensor.dtype() == DType::F32).then(|| Self(tensor.to_contiguous()))
    }

    /// The tensor as it lies, for [`Self::matrix`]; none where it is not a matrix of `f32`.
    pub fn strided(tensor: FlexTensor) -> Option<Self> {
        let fits = tensor.dtype() == DType::F32
            && tensor.layout().num_dims() == 2
            && tensor.layout().strides().iter().all(|&stride| stride >= 0);
        fits.then_some(Self(tensor))
    }

    /// Its sizes.
    pub fn dims(&self) -> &[usize] {
        self.0.layout().shape()
    }

    /// Its values, in order. Empty of a tensor that is not contiguous.
    pub fn values(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_default()
    }

    /// A matrix, as it lies.
    ///
    /// # Panics
    ///
    /// Where the tensor has other than two dimensions.
    pub fn matrix(&self) -> MatRef<'_> {
        let layout = self.0.layout();
        let (&[rows, columns], &[down, along]) = (&layout.shape()[..], layout.strides()) else {
            panic!("a matrix has two dimensions");
        };
        let data = self.0.storage::<f32>().get(layout.start_offset()..).unwrap_or_default();
        MatRef::new(data, [rows, columns], [down.unsigned_abs(), along.unsigned_abs()])
    }

    /// Its values, in order, to overwrite: the tensor's own memory where nobody else holds it, a
    /// copy otherwise. Empty of a tensor that is not contiguous.
    pub fn values_mut(&mut self) -> &mut [f32] {
        if !self.0.is_contiguous() {
            return &mut [];
        }
        let count = self.0.layout().num_elements();
        &mut self.0.storage_mut::<f32>()[..count]
    }

    /// The tensor.
    pub fn into_tensor(self) -> FlexTensor {
        self.0
    }

    /// A tensor of these values in order.
    ///
    /// # Panics
    ///
    /// Where the shape does not hold as many.
    pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
        let shape = shape.into();
        assert_eq!(values.len(), shape.num_elements(), "values of a tensor");
        FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
    }
}

/// A Flex matrix of f16 or bf16, to be read by a kernel.
#[derive(Debug, Clone)]
pub struct HalfMatrix(FlexTensor);

impl HalfMatrix {
    /// The matrix with its values in order, copied where they were not; none of another type or number
    /// of dimensions.
    pub fn contiguous(tensor: FlexTensor) -> Option<Self> {
        let fits =
            matches!(tensor.dtype(), DType::F16 | DType::BF16) && tensor.layout().num_dims() == 2;
        fits.then(|| Self(tensor.to_contiguous()))
    }

    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        let shape = self.0.layout().shape();
        [shape[0], shape[1]]
    }

    /// Its values.
    pub fn matrix(&self) -> HalfRef<'_> {
        let values = match self.0.dtype() {
            DType::F16 => Halves::F16(self.0.as_slice().unwrap_or_default()),
            _ => Halves::Bf16(self.0.as_slice().unwrap_or_default()),
        };
        HalfRef::dense(values, self.dims())
    }
}
