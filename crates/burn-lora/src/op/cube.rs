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
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy;
use cubek::std::InputBinding;

use self::parts::Parts;
use super::product::{ProductBackend, output};

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
        let format = lhs.dtype;
        multiply(lhs, rhs, format, Units::Plain)
    }

    fn half_product(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        let (of_x, format) = (x.dtype, weight.dtype);
        if format != DType::F16 {
            return multiply(Self::float_cast(x, format.into()), weight, of_x, Units::Tensor);
        }
        // f16 ends at 65504 and at 6e-8, where gradients are: each row is held in units of its largest
        // value. A row of zeros stays one.
        let unit = Self::float_max_abs_dim(x.clone(), 1);
        let unit = Self::float_clamp_min(unit, f32::MIN_POSITIVE.into());
        let x = Self::float_cast(Self::float_div(x, unit.clone()), format.into());
        Self::float_mul(multiply(x, weight, of_x, Units::Tensor), unit)
    }
}

/// The product, its output in `format`; in parts of the sums where whole ones leave most of the device idle.
fn multiply(lhs: CubeTensor, rhs: CubeTensor, format: DType, units: Units) -> CubeTensor {
    let shape = output(lhs.meta.shape(), rhs.meta.shape());
    if lhs.meta.shape().num_elements() == 0 || rhs.meta.shape().num_elements() == 0 {
        return CubeBackend::float_zeros(shape, &lhs.device, format.into());
    }
    let last = shape.num_dims() - 1;
    let hardware = &lhs.client.properties().hardware;
    let multiprocessors = hardware.num_streaming_multiprocessors.map(|count| count as usize);
    let parts = Parts::of(&shape, lhs.meta.shape()[last], multiprocessors);
    // Parts of 16 bits would be rounded one by one.
    if parts.count == 1 || format != DType::F32 {
        return launch(lhs, rhs, shape, format, units, parts);
    }
    let (lhs, rhs) =
        (parts::split(lhs, last, parts.count), parts::split(rhs, last - 1, parts.count));
    let mut of_parts = shape;
    of_parts.insert(0, parts.count);
    parts::sum(launch(lhs, rhs, of_parts, format, units, parts))
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
    let y = empty_device_dtype(lhs.client.clone(), lhs.device.clone(), shape, format);
    let client = lhs.client.clone();
    let [of_lhs, of_rhs, of_y] = [lhs.dtype, rhs.dtype, format].map(dtype_to_storage_type);
    let plain = SimpleUnitSelectionArgs { tile_size: parts.tile() };
    let plain = Strategy::SimpleUnit(BlueprintStrategy::Inferred(plain));
    let strategies = match units {
        Units::Plain => vec![plain],
        Units::Tensor => vec![Strategy::SimpleCyclicCmma(Default::default()), plain],
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
