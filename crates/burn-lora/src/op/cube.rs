//! Products on the Cube backends (wgpu, CUDA): which of cubek's kernels multiplies is said here, and neither measured nor left to the
//! device.
//!
//! An f32 product takes the kernel of plain units, which computes in f32. The kernels of tensor cores would round its operands to TF32:
//! off by 1e-3, where this project's values are held to 1e-4. A product with a weight of 16 bits takes those, with sums and output in
//! f32, and where there are none the plain one in that format.
//!
//! Burn's autotune is not asked: it compiles some fifteen kernels for every new shape, in every process anew, at about a second each on
//! CUDA. One kernel serves all shapes here, but for a few that its tiling tells apart (`cube/parts.rs`: large and small tiles, and sums in
//! parts). Nor is a choice kept on disk: that takes a database
//! among the dependencies (cubecl's `persistence`), and the driver keeps what it compiled by itself.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy;
use cubek::std::InputBinding;

use self::parts::Parts;
use super::product::{ProductBackend, output};
use crate::kernel::fresh;

mod branch;
mod narrow;
mod parts;

/// Whose arithmetic a product takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Units {
    /// Plain units, in the operands' format.
    Plain,
    /// Tensor cores, where the device has them for these formats.
    Tensor,
}

impl ProductBackend for CubeBackend {
    fn product(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
        scaled(lhs, rhs, 1.0)
    }

    fn half_product(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        let (of_x, format) = (x.dtype, weight.dtype);
        if format != DType::F16 {
            return multiply(Self::float_cast(x, format.into()), weight, of_x, Units::Tensor, 1.0);
        }
        // f16 ends at 65504 and at 6e-8, where gradients are: each row is held in units of its largest
        // value. A row of zeros stays one.
        let unit = Self::float_max_abs_dim(x.clone(), 1);
        let unit = Self::float_clamp_min(unit, f32::MIN_POSITIVE.into());
        let x = Self::float_cast(Self::float_div(x, unit.clone()), format.into());
        Self::float_mul(multiply(x, weight, of_x, Units::Tensor, 1.0), unit)
    }
}

/// The product of operands of 16 bits in their format, by tensor cores where there are any, with sums and output in f32.
///
/// # Shapes
///
/// - lhs: `[.., rows, n]`, rhs: `[.., n, columns]`, with the same dimensions before
/// - output: `[.., rows, columns]`
pub fn half_matrices(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
    multiply(lhs, rhs, DType::F32, Units::Tensor, 1.0)
}

/// `scale · lhs rhs` in the operands' format.
fn scaled(lhs: CubeTensor, rhs: CubeTensor, scale: f64) -> CubeTensor {
    let format = lhs.dtype;
    multiply(lhs, rhs, format, Units::Plain, scale)
}

/// `scale` times the product, its output in `format`; in parts of the sums where whole ones leave most of the device idle.
fn multiply(
    lhs: CubeTensor,
    rhs: CubeTensor,
    format: DType,
    units: Units,
    scale: f64,
) -> CubeTensor {
    let shape = output(lhs.meta.shape(), rhs.meta.shape());
    if lhs.meta.shape().num_elements() == 0 || rhs.meta.shape().num_elements() == 0 {
        return CubeBackend::float_zeros(shape, &lhs.device, format.into());
    }
    let last = shape.num_dims() - 1;
    let hardware = &lhs.client.properties().hardware;
    let multiprocessors = hardware.num_streaming_multiprocessors.map(|count| count as usize);
    let rows_lie = lhs.meta.strides()[last] == 1;
    let parts = Parts::of(&shape, lhs.meta.shape()[last], rows_lie, multiprocessors);
    // Parts of 16 bits would be rounded one by one.
    if parts.count == 1 || format != DType::F32 {
        let y = launch(lhs, rhs, shape, format, units, parts);
        return if scale == 1.0 { y } else { CubeBackend::float_mul_scalar(y, scale.into()) };
    }
    let (lhs, rhs) =
        (parts::split(lhs, last, parts.count), parts::split(rhs, last - 1, parts.count));
    let mut of_parts = shape;
    of_parts.insert(0, parts.count);
    parts::sum(launch(lhs, rhs, of_parts, format, units, parts), scale)
}

/// The kernels of tensor cores, fastest first. On an H200 a product of 4,096 x 2,048 and 2,048 x 8,192 in bf16 takes 0.6 ms by the first,
/// 1.0 ms by the second, 1.5 ms by the last. A device that lacks what one needs says so before it starts it.
fn tensor_cores(lhs: &CubeTensor, rhs: &CubeTensor) -> Vec<Strategy> {
    let ordered = OrderedSelectionArgs {
        tile_matmul: TileMatmulKind::Mma,
        partition_k: Some(2),
        row_count: Some(8),
        rows_per_plane: Some(2),
    };
    let mut all = vec![
        Strategy::OrderedDoubleMma(BlueprintStrategy::Inferred(ordered)),
        Strategy::SimpleCyclicCmma(Default::default()),
    ];
    if bulk_copies(lhs) && bulk_copies(rhs) {
        all.insert(0, Strategy::SpecializedTmaMma(BlueprintStrategy::Inferred(().into())));
    }
    all
}

/// Whether the memory accelerator of a GPU copies tiles of it: rows begin at whole 16 bytes, and a tile fits into the matrix.
fn bulk_copies(matrix: &CubeTensor) -> bool {
    let (shape, strides) = (matrix.meta.shape(), matrix.meta.strides());
    let last = shape.num_dims() - 1;
    shape[last].min(shape[last - 1]) >= 64
        && strides.iter().all(|stride| *stride == 1 || stride.is_multiple_of(8))
}

/// The product by the first kernel for these units that the device has.
fn launch(
    lhs: CubeTensor,
    rhs: CubeTensor,
    shape: Shape,
    format: DType,
    units: Units,
    parts: Parts,
) -> CubeTensor {
    let y = fresh(&lhs, shape, format);
    let client = lhs.client.clone();
    let [of_lhs, of_rhs, of_y] = [lhs.dtype, rhs.dtype, format].map(dtype_to_storage_type);
    let plain = SimpleUnitSelectionArgs { tile_size: parts.tile() };
    let plain = Strategy::SimpleUnit(BlueprintStrategy::Inferred(plain));
    let strategies = match units {
        Units::Plain => vec![plain],
        Units::Tensor => tensor_cores(&lhs, &rhs).into_iter().chain([plain]).collect(),
    };
    let mut failed = None;
    for strategy in strategies {
        let globals = MatmulGlobalElems { lhs: of_lhs, rhs: of_rhs, out: of_y };
        let launched = launch_ref(
            &strategy.into(),
            &client,
            InputBinding::new(lhs.clone().binding(), of_lhs),
            InputBinding::new(rhs.clone().binding(), of_rhs),
            y.clone().binding(),
            &mut MatmulElems::from_globals(&globals),
        );
        match launched {
            Ok(()) => return y,
            Err(error) => failed = Some(error),
        }
    }
    panic!("no kernel of this device multiplies {of_lhs} with {of_rhs}: {failed:?}");
}
