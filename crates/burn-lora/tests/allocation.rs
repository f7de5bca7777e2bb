//! A training step makes nothing of the size of a weight, whatever format it is held in, and keeps for the
//! backward pass what its kind of adapter says, shown by counting what is allocated.

#![cfg(feature = "flex")]

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, Linear, PaddingConfig2d};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{DType, Distribution, Int, Tensor};
use burn_lora::{
    Adapter, AdapterConfig, ConvForward, Kernel, LoraForward, Method, Sizes, attach, embed,
    made_again, unembed, view,
};
use burn_lora_counting::{Counting, alive, measured};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WIDTH: usize = 2048;
const WEIGHT_BYTES: usize = WIDTH * WIDTH * 4;

/// Two adapted linears, one without an adapter between them, and a table on both ends.
#[derive(Module, Debug)]
struct Net {
    table: Embedding,
    first: Linear,
    plain: Linear,
    second: Linear,
}

impl Net {
    fn new(format: DType, config: &AdapterConfig) -> Self {
        let device = burn_lora::device::parse("flex").unwrap().autodiff();
        let weight = || {
            let weight = Tensor::<2>::random([WIDTH, WIDTH], Distribution::Default, &device);
            Param::from_tensor(weight.cast(format)).set_require_grad(false)
        };
        let linear = || Linear { weight: weight(), bias: None };
        let table = Embedding { weight: weight() };
        let mut net = Self { table, first: linear(), plain: linear(), second: linear() };
        for path in ["first.weight", "second.weight"] {
            let adapter = Adapter::init("default", config, &net.first.weight, 0).unwrap();
            net = attach(net, path, adapter).unwrap();
        }
        net
    }

    fn factored(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let x = self.first.lora_forward(embed(&self.table, ids));
        unembed(&self.table, self.second.lora_forward(self.plain.lora_forward(x)))
    }

    fn composed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.second.forward(self.first.forward(embed(&self.table, ids)))
    }
}

/// The largest single allocation of one step: forward, backward, AdamW.
fn largest_of_a_step(net: &Net, forward: impl Fn(&Net, Tensor<2, Int>) -> Tensor<3>) -> usize {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    let ids = Tensor::arange(0..16, &device).reshape([1, 16]);
    let mut optimizer = AdamWConfig::new().init();
    let step = || {
        let loss = forward(net, ids).powf_scalar(2.0).mean();
        let grads = GradientsParams::from_grads(loss.backward(), net);
        drop(optimizer.step(1e-3, net.clone(), grads));
    };
    measured(step).1.largest
}

const ROWS: usize = 1024;
const SIZES: Sizes = Sizes { d_in: 512, d_out: 384, rank: 32, groups: 1 };

/// A linear of these sizes with an adapter of that kind.
fn adapted(method: Method, dropout: f64) -> Linear {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    let Sizes { d_in, d_out, rank, .. } = SIZES;
    let weight = Tensor::<2>::random([d_in, d_out], Distribution::Default, &device);
    let weight = Param::from_tensor(weight).set_require_grad(false);
    let config = AdapterConfig::new(rank).with_method(method).with_dropout(dropout);
    let adapter = Adapter::init("default", &config, &weight, 0).unwrap();
    attach(Linear { weight, bias: None }, "weight", adapter).unwrap()
}

/// The values that a forward pass leaves alive, beside its output and for each row.
fn kept(method: Method, dropout: f64) -> f64 {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    let Sizes { d_in, d_out, .. } = SIZES;
    let linear = adapted(method, dropout);
    let pass = || {
        let x = Tensor::<2>::random([ROWS, d_in], Distribution::Default, &device).require_grad();
        let before = alive() - 4 * ROWS * d_in;
        let y = linear.lora_forward(x);
        let after = alive();
        assert_eq!(y.dims(), [ROWS, d_out]);
        (after as f64 - before as f64) / 4.0 / ROWS as f64 - d_out as f64
    };
    // Threads keep the panels of their first product.
    for _ in 0..3 {
        pass();
    }
    pass()
}

/// What a plan goes by. A row's sum of shards, or low-rank product, is 32 values: a quarter of it passes.
fn check_kept() {
    for (method, dropout) in Method::ALL.iter().flat_map(|method| [(*method, 0.0), (*method, 0.5)])
    {
        let input = if method.keeps_input() { SIZES.d_in } else { 0 };
        let (said, found) =
            ((method.kept(SIZES, dropout > 0.0) + input) as f64, kept(method, dropout));
        let what = format!("{method}, dropout {dropout}: {found} values a row, said are {said}");
        assert!(found < said + 8.0, "{what}");
        // DoRA with dropout keeps what is left of the input, and the input only where others do.
        let least = if method == Method::Dora { said - SIZES.d_in as f64 } else { said };
        assert!(found > least - 8.0, "{what}");
    }
}

/// Moves factors from where they start: a factor B of zeros gives A no gradient.
struct Moved;

impl ModuleMapper for Moved {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match param.is_require_grad() {
            true => param.map(|old| (old.inner() + 0.1).autodiff().require_grad()),
            false => param,
        }
    }
}

/// The bits of the gradients of what is trained.
struct Bits {
    gradients: GradientsParams,
    read: Vec<Vec<u32>>,
}

impl ModuleVisitor for Bits {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let values: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
            assert!(values.iter().any(|&value| value != 0.0));
            self.read.push(values.into_iter().map(f32::to_bits).collect());
        }
    }
}

/// A linear's input that is made again, and looked at in another shape, is not kept for factor A, whose gradient has the bits of one that is.
fn check_made_again() {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    let Sizes { d_in, d_out, rank, .. } = SIZES;
    let linear = adapted(Method::Lora, 0.0).map(&mut Moved);
    let sides = [0.5, 1.5].map(|least| {
        let numbers = Distribution::Uniform(least, least + 1.0);
        Tensor::<3>::random([2, ROWS / 2, d_in], numbers, &device).require_grad()
    });
    let product = |[a, b]: [Tensor<3>; 2]| a * b;
    let pass = |again: bool| {
        let before = alive();
        let x = match again {
            true => made_again(sides.clone(), product),
            false => product(sides.clone()),
        };
        let y = linear.lora_forward(view(x, [ROWS, d_in]));
        let kept = (alive() - before) as f64 / 4.0 / ROWS as f64 - d_out as f64;
        let gradients = GradientsParams::from_grads(y.powf_scalar(2.0).sum().backward(), &linear);
        let mut bits = Bits { gradients, read: Vec::new() };
        linear.visit(&mut bits);
        (kept, bits.read)
    };
    pass(true);
    let (kept, bits) = pass(false);
    let (kept_again, bits_again) = pass(true);
    // The low-rank product; and the input.
    let rank = rank as f64;
    assert!((rank..rank + 8.0).contains(&kept_again), "{kept_again} values a row");
    assert!(kept > rank + d_in as f64 - 8.0, "{kept} values a row");
    assert!(bits == bits_again && bits.len() == 2, "other gradients");
}

/// A convolution that is not its input's first sees 32 channels of 16 x 16 in a window of 3 x 3.
const CHANNELS: usize = 32;
const SIDE: usize = 16;
const BATCH: usize = 8;
const CONV_RANK: usize = 8;

/// The values that a forward pass of a convolution leaves alive, beside its output and for each position.
fn kept_of_convolution(method: Method, forward: impl Fn(&Conv2d, Tensor<4>) -> Tensor<4>) -> f64 {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    let conv = Conv2dConfig::new([CHANNELS, CHANNELS], [3, 3])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_bias(false)
        .init(&device);
    let (kernel, weight) = Kernel::of(&conv.weight, conv.groups);
    let config = AdapterConfig::new(CONV_RANK).with_method(method);
    let adapter = Adapter::init_convolution("default", &config, &weight, &kernel, 0).unwrap();
    let conv = attach(conv, "weight", adapter).unwrap();
    let positions = BATCH * SIDE * SIDE;
    let pass = || {
        let x = Tensor::<4>::random([BATCH, CHANNELS, SIDE, SIDE], Distribution::Default, &device);
        let x = x.require_grad();
        let before = alive() - 4 * positions * CHANNELS;
        let y = forward(&conv, x);
        let after = alive();
        assert_eq!(y.dims(), [BATCH, CHANNELS, SIDE, SIDE]);
        (after as f64 - before as f64) / 4.0 / positions as f64 - CHANNELS as f64
    };
    for _ in 0..3 {
        pass();
    }
    pass()
}

/// The low-rank activation, and the input where factor A is trained. (MiSS's kernel of ones, and A and B as kernels, are a few values a
/// position.)
fn check_kept_of_convolutions() {
    for (method, input) in [(Method::Lora, CHANNELS), (Method::LoraFa, 0), (Method::Miss, 0)] {
        let said = (CONV_RANK + input) as f64;
        let found = kept_of_convolution(method, |conv, x| conv.lora_forward(x));
        assert!((found - said).abs() < 4.0, "{method}: {found} values a position, said are {said}");
        // The same measurement does see the input that Burn's own convolution keeps.
        let composed = kept_of_convolution(method, |conv, x| conv.forward(x));
        assert!(composed >= CHANNELS as f64, "{method}: {composed}: the measurement is blind");
    }
}

/// One test, because all allocations of the process are counted.
#[test]
fn a_step_of_any_kind_makes_nothing_of_the_size_of_a_weight_and_keeps_what_is_said() {
    check_kept();
    check_made_again();
    check_kept_of_convolutions();
    for format in [DType::F32, DType::F16, DType::BF16] {
        for (method, dropout) in
            Method::ALL.iter().flat_map(|method| [(*method, 0.0), (*method, 0.5)])
        {
            let config =
                AdapterConfig::new(8).with_alpha(16.0).with_method(method).with_dropout(dropout);
            let net = Net::new(format, &config);
            let factored = largest_of_a_step(&net, Net::factored);
            let what =
                format!("{format:?}, {method}, dropout {dropout}: {factored} bytes in one piece");
            assert!(factored < WEIGHT_BYTES / 4, "{what} of {WEIGHT_BYTES}");
            // The same measurement does see the dense weight of the composed path, which takes activations in the weight's format.
            if format == DType::F32 && !method.shifts() {
                let composed = largest_of_a_step(&net, Net::composed);
                assert!(composed >= WEIGHT_BYTES, "{composed} bytes: the measurement is blind");
            }
        }
    }
}
