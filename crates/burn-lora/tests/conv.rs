//! Adapters on convolutions against float64 by the definition, with stride, padding, dilation and groups, and the factored path
//! against the composed one of Burn's own `forward`.

mod test_device;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1dConfig, Conv2d, Conv2dConfig, Conv3dConfig};
use burn::nn::{PaddingConfig1d, PaddingConfig2d, PaddingConfig3d};
use burn::tensor::{Device, Distribution, FloatDType, Tensor, TensorData};
use burn_lora::{
    Adapter, AdapterConfig, Adapters, ConvForward, Init, Kernel, LoraError, Method, attach,
    attach_sets, by_row, detach, sets,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sums of some fifty products of size 1, and of some hundred for gradients of factors, in f32, relative to the largest entry.
const TOLERANCE: f64 = 2e-5;

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap()
}

/// One convolution of two dimensions.
#[derive(Debug, Clone, Copy)]
struct Case {
    channels: usize,
    outputs: usize,
    window: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    rank: usize,
    crossing: bool,
}

const PLAIN: Case = Case {
    channels: 4,
    outputs: 6,
    window: [3, 2],
    stride: [2, 1],
    padding: [1, 2],
    dilation: [1, 1],
    groups: 1,
    rank: 3,
    crossing: false,
};

const CASES: [Case; 5] = [
    PLAIN,
    Case { dilation: [2, 3], ..PLAIN },
    Case { dilation: [1, 2], groups: 2, rank: 4, ..PLAIN },
    // One channel a group.
    Case { window: [3, 3], padding: [1, 1], groups: 4, outputs: 8, rank: 4, ..PLAIN },
    Case { dilation: [2, 1], groups: 2, rank: 4, crossing: true, ..PLAIN },
];

const BATCH: usize = 2;
const SIZE: [usize; 2] = [7, 6];
const SCALE: f64 = 1.25;

/// What float64 gives.
struct Expected {
    y: Vec<f64>,
    dx: Vec<f64>,
    da: Vec<f64>,
    db: Vec<f64>,
    dm: Vec<f64>,
    dblock: Vec<f64>,
}

/// The numbers of a case, each rounded to f32.
struct Numbers {
    case: Case,
    x: Vec<f64>,
    /// `[outputs, channels / groups, places]`.
    weight: Vec<f64>,
    bias: Vec<f64>,
    /// `[seen channels · places, rank]`.
    a: Vec<f64>,
    /// `[rank / groups, outputs]`.
    b: Vec<f64>,
    magnitude: Vec<f64>,
    /// MiSS's, `[outputs, rank]`.
    block: Vec<f64>,
    dy: Vec<f64>,
}

impl Case {
    fn places(&self) -> usize {
        self.window[0] * self.window[1]
    }

    fn d_in(&self) -> usize {
        self.channels / self.groups * self.places()
    }

    /// Positions of the output.
    fn positions(&self) -> [usize; 2] {
        let along = |at: usize| {
            let reach = self.dilation[at] * (self.window[at] - 1) + 1;
            (SIZE[at] + 2 * self.padding[at] - reach) / self.stride[at] + 1
        };
        [along(0), along(1)]
    }

    fn numbers(&self) -> Numbers {
        // Rounded to f32, so that both computations start from equal numbers.
        let numbers = |count: usize, seed: u64| -> Vec<f64> {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..count).map(|_| f64::from(rng.random_range(-1.0_f32..1.0))).collect()
        };
        let seen = if self.crossing { self.groups } else { 1 };
        let outputs = BATCH * self.outputs * self.positions().iter().product::<usize>();
        Numbers {
            case: *self,
            x: numbers(BATCH * self.channels * SIZE[0] * SIZE[1], 1),
            weight: numbers(self.outputs * self.d_in(), 2),
            bias: numbers(self.outputs, 3),
            a: numbers(seen * self.d_in() * self.rank, 4),
            b: numbers(self.rank / self.groups * self.outputs, 5),
            magnitude: numbers(self.outputs, 6).iter().map(|value| value + 1.5).collect(),
            block: numbers(self.outputs * self.rank, 8),
            dy: numbers(outputs, 7),
        }
    }
}

impl Numbers {
    /// What A has for an output's part `k` of the rank at a channel of all, and where that lies; none where it sees it not.
    fn at_a(&self, output: usize, k: usize, channel: usize, place: usize) -> Option<usize> {
        let Case { channels, outputs, groups, rank, crossing, .. } = self.case;
        let group = output / (outputs / groups);
        let own = channels / groups;
        let row = match crossing {
            true => channel,
            false if channel / own == group => channel % own,
            false => return None,
        };
        Some((row * self.case.places() + place) * rank + group * (rank / groups) + k)
    }

    /// Where MiSS's block has what an output sees of a channel; none where it sees it not.
    fn at_block(&self, output: usize, channel: usize, place: usize) -> Option<usize> {
        let Case { channels, outputs, groups, rank, .. } = self.case;
        let own = channels / groups;
        let is_seen = channel / own == output / (outputs / groups);
        let row = channel % own * self.case.places() + place;
        is_seen.then_some(output * rank + row % rank)
    }

    /// Over all channels, `[outputs, channels, places]`: the weight, and the change without its scale.
    fn dense(&self, method: Method) -> (Vec<f64>, Vec<f64>) {
        let Case { channels, outputs, groups, rank, .. } = self.case;
        let (places, own) = (self.case.places(), channels / groups);
        let mut weight = vec![0.0; outputs * channels * places];
        let mut change = weight.clone();
        for output in 0..outputs {
            for channel in 0..channels {
                for place in 0..places {
                    let at = (output * channels + channel) * places + place;
                    if channel / own == output / (outputs / groups) {
                        weight[at] = self.weight[(output * own + channel % own) * places + place];
                    }
                    if method == Method::Miss {
                        let block = self.at_block(output, channel, place);
                        change[at] = block.map_or(0.0, |block| self.block[block]);
                        continue;
                    }
                    for k in 0..rank / groups {
                        if let Some(a) = self.at_a(output, k, channel, place) {
                            change[at] += self.b[k * outputs + output] * self.a[a];
                        }
                    }
                }
            }
        }
        (weight, change)
    }

    /// The norms that DoRA divides by: of `W + scale · change`, or of what PEFT takes it for with groups.
    fn norms(&self) -> Vec<f64> {
        let Case { channels, outputs, groups, rank, .. } = self.case;
        let (places, d_in) = (self.case.places(), self.case.d_in());
        // PEFT's A [rank, channels · places] and B [outputs, rank / groups].
        let columns = channels * places;
        let mut a = vec![0.0; rank * columns];
        for k in 0..rank {
            // Some output of the group that this part of the rank is of.
            let output = k / (rank / groups) * (outputs / groups);
            for column in 0..columns {
                let (channel, place) = (column / places, column % places);
                let at = self.at_a(output, k % (rank / groups), channel, place);
                a[k * columns + column] = at.map_or(0.0, |at| self.a[at]);
            }
        }
        let part = rank / groups;
        let b = |flat: usize| self.b[flat % part * outputs + flat / part];
        let product: Vec<f64> = (0..outputs / groups * columns)
            .map(|at| {
                let (row, column) = (at / columns, at % columns);
                (0..rank).map(|k| b(row * rank + k) * a[k * columns + column]).sum()
            })
            .collect();
        (0..outputs)
            .map(|output| {
                let of = output * d_in..(output + 1) * d_in;
                let squares = of.map(|at| (self.weight[at] + SCALE * product[at]).powi(2));
                squares.sum::<f64>().sqrt()
            })
            .collect()
    }

    /// For every product of an output's entry with an input's: both their places and that in a kernel over all channels.
    fn taps(&self, mut each: impl FnMut(usize, usize, usize)) {
        let Case { channels, outputs, window, stride, padding, dilation, .. } = self.case;
        let positions = self.case.positions();
        for row in 0..BATCH * outputs {
            let (batch, output) = (row / outputs, row % outputs);
            for position in 0..positions[0] * positions[1] {
                let from = [position / positions[1], position % positions[1]];
                for tap in 0..channels * self.case.places() {
                    let (channel, place) = (tap / self.case.places(), tap % self.case.places());
                    let place = [place / window[1], place % window[1]];
                    let along = |at: usize| {
                        let to = from[at] * stride[at] + place[at] * dilation[at];
                        to.checked_sub(padding[at]).filter(|to| *to < SIZE[at])
                    };
                    if let (Some(i), Some(j)) = (along(0), along(1)) {
                        let x = ((batch * channels + channel) * SIZE[0] + i) * SIZE[1] + j;
                        let kernel = output * channels * self.case.places() + tap;
                        each(row * positions[0] * positions[1] + position, x, kernel);
                    }
                }
            }
        }
    }

    fn expected(&self, method: Method) -> Expected {
        let Case { channels, outputs, groups, rank, .. } = self.case;
        let columns = channels * self.case.places();
        let positions: usize = self.case.positions().iter().product();
        let (weight, change) = self.dense(method);
        let scale = if method.scaled() { SCALE } else { 1.0 };
        let norms = self.norms();
        let gain = |output: usize| match method {
            Method::Dora => self.magnitude[output] / norms[output],
            _ => 1.0,
        };
        let turned: Vec<f64> = weight.iter().zip(&change).map(|(w, c)| w + scale * c).collect();
        let kernel: Vec<f64> =
            turned.iter().enumerate().map(|(at, v)| gain(at / columns) * v).collect();
        let bias = |at: usize| self.bias[at / positions % outputs];
        let mut y: Vec<f64> = (0..self.dy.len()).map(bias).collect();
        let mut dx = vec![0.0; self.x.len()];
        let mut dk = vec![0.0; kernel.len()];
        self.taps(|of_y, of_x, of_kernel| {
            y[of_y] += self.x[of_x] * kernel[of_kernel];
            dx[of_x] += self.dy[of_y] * kernel[of_kernel];
            dk[of_kernel] += self.dy[of_y] * self.x[of_x];
        });
        let (mut da, mut db) = (vec![0.0; self.a.len()], vec![0.0; self.b.len()]);
        let mut dm = vec![0.0; outputs];
        let mut dblock = vec![0.0; self.block.len()];
        for (at, dk) in dk.iter().enumerate() {
            let (output, tap) = (at / columns, at % columns);
            let (channel, place) = (tap / self.case.places(), tap % self.case.places());
            dm[output] += dk * turned[at] / norms[output];
            if let Some(block) = self.at_block(output, channel, place) {
                dblock[block] += dk;
            }
            for k in 0..rank / groups {
                if let Some(a) = self.at_a(output, k, channel, place) {
                    let b = k * outputs + output;
                    da[a] += gain(output) * SCALE * dk * self.b[b];
                    db[b] += gain(output) * SCALE * dk * self.a[a];
                }
            }
        }
        Expected { y, dx, da, db, dm, dblock }
    }

    fn conv(&self, device: &Device) -> Conv2d {
        let Case { channels, outputs, window, stride, padding, dilation, groups, .. } = self.case;
        let [top, left] = padding;
        let mut conv = Conv2dConfig::new([channels, outputs], window)
            .with_stride(stride)
            .with_padding(PaddingConfig2d::Explicit(top, left, top, left))
            .with_dilation(dilation)
            .with_groups(groups)
            .init(device);
        let shape = [outputs, channels / groups, window[0], window[1]];
        conv.weight =
            Param::from_tensor(tensor(&self.weight, shape, device)).set_require_grad(false);
        conv.bias = Some(Param::from_tensor(tensor(&self.bias, [outputs], device)));
        conv
    }

    fn adapter(&self, method: Method, conv: &Conv2d) -> Adapter {
        let config = AdapterConfig::new(self.case.rank)
            .with_alpha(SCALE * self.case.rank as f64)
            .with_method(method);
        let (kernel, weight) = Kernel::of(&conv.weight, conv.groups);
        let kernel = kernel.with_crossing(self.case.crossing);
        Adapter::convolution_from_values("one", &config, &weight, &kernel, |factor| {
            let values = match factor.name {
                "a" => &self.a,
                "b" => &self.b,
                "block" => &self.block,
                _ => &self.magnitude,
            };
            values.iter().map(|value| *value as f32).collect()
        })
        .unwrap()
    }

    fn x(&self, device: &Device) -> Tensor<4> {
        tensor(&self.x, [BATCH, self.case.channels, SIZE[0], SIZE[1]], device)
    }
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

fn check<const D: usize>(what: &str, found: Tensor<D>, expected: &[f64]) {
    let found = values(found);
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= TOLERANCE * largest, "{what} {at}: {found} is not {expected}");
    }
}

fn convolving() -> impl Iterator<Item = Method> {
    Method::ALL.iter().copied().filter(|method| method.convolves())
}

#[test]
fn outputs_and_all_gradients_are_those_of_float64() {
    let all = [Method::Lora, Method::Dora, Method::Miss, Method::LoraFa];
    assert_eq!(convolving().collect::<Vec<_>>(), all);
    let device = device().autodiff();
    for case in CASES {
        let numbers = case.numbers();
        // MiSS has no factor that could see the channels of other groups.
        for method in convolving().filter(|method| !case.crossing || *method != Method::Miss) {
            let what = |part: &str| format!("{case:?} {method} {part}");
            let expected = numbers.expected(method);
            let plain = numbers.conv(&device);
            let adapter = numbers.adapter(method, &plain);
            let conv = attach(plain, "weight", adapter).unwrap();
            let set = sets(&conv).remove(0).1;
            let adapter = set.get("one").unwrap();
            let [rows, columns] = case.positions();
            let dy = tensor(&numbers.dy, [BATCH, case.outputs, rows, columns], &device);

            let compare = |path: &str, y: Tensor<4>, x: Tensor<4>| {
                check(&what(&format!("{path} y")), y.clone(), &expected.y);
                let grads = (y * dy.clone()).sum().backward();
                check(&what(&format!("{path} dx")), x.grad(&grads).unwrap(), &expected.dx);
                let factors =
                    [("a", &expected.da), ("b", &expected.db), ("block", &expected.dblock)];
                for (name, expected) in factors {
                    let Some(factor) = adapter.factor::<2>(name) else { continue };
                    let grad = factor.val().grad(&grads);
                    let trained = method.factor(name).unwrap().trained;
                    assert_eq!(grad.is_some(), trained, "{}", what(name));
                    if let Some(grad) = grad {
                        check(&what(&format!("{path} d{name}")), grad, expected);
                    }
                }
                if let Some(magnitude) = adapter.factor::<1>("magnitude") {
                    let grad = magnitude.val().grad(&grads).unwrap();
                    check(&what(&format!("{path} dm")), grad, &expected.dm);
                }
            };
            let x = numbers.x(&device).require_grad();
            compare("factored", conv.lora_forward(x.clone()), x);
            if !case.crossing {
                let x = numbers.x(&device).require_grad();
                compare("composed", conv.forward(x.clone()), x);
            }

            // Merged, and taken off again.
            let flat = conv.weight.base().reshape([case.outputs, case.d_in()]);
            let merged = attach_sets(detach(conv.clone()), |path| {
                (path == "weight").then(|| set.clone().merge(flat.clone()))
            });
            let x = numbers.x(&device);
            check(&what("merged"), merged.lora_forward(x.clone()), &expected.y);
            if !case.crossing {
                check(&what("merged, composed"), merged.forward(x), &expected.y);
            }
            let base = values(numbers.conv(&device).weight.val());
            assert_eq!(values(detach(merged).weight.val()), base);
        }
    }
}

/// The same through other modules of Burn's, of which the composed forward is the twin.
#[test]
fn one_and_three_dimensions_are_what_their_composed_forward_gives() {
    let device = device();
    let one = Conv1dConfig::new(6, 9, 4)
        .with_stride(2)
        .with_dilation(2)
        .with_padding(PaddingConfig1d::Same)
        .with_groups(3)
        .init(&device);
    let three = Conv3dConfig::new([4, 6], [2, 3, 1])
        .with_stride([1, 2, 1])
        .with_padding(PaddingConfig3d::Explicit(1, 1, 0))
        .with_groups(2)
        .init(&device);
    for method in convolving() {
        let config = AdapterConfig::new(6).with_method(method);
        let moved = |weight: &Param<Tensor<2>>, kernel: &Kernel| {
            let mut value = 0.3_f32;
            let mut next = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| {
                        value = (value * 7.3 + 0.31) % 1.0;
                        value - 0.4
                    })
                    .collect()
            };
            let sizes = [weight.dims()[0], weight.dims()[1]];
            Adapter::convolution_from_values("x", &config, weight, kernel, |factor| {
                match factor.name {
                    "a" => next(sizes[0] * 6),
                    "b" => next(6 / kernel.groups * sizes[1]),
                    "block" => next(6 * sizes[1]),
                    _ => next(sizes[1]),
                }
            })
            .unwrap()
        };
        let (kernel, weight) = Kernel::of(&one.weight, one.groups);
        let adapted = attach(one.clone(), "weight", moved(&weight, &kernel)).unwrap();
        let x = Tensor::<3>::random([2, 6, 11], Distribution::Default, &device);
        near(method, values(adapted.lora_forward(x.clone())), values(adapted.forward(x)));
        let (kernel, weight) = Kernel::of(&three.weight, three.groups);
        let adapted = attach(three.clone(), "weight", moved(&weight, &kernel)).unwrap();
        let x = Tensor::<5>::random([2, 4, 3, 5, 4], Distribution::Default, &device);
        near(method, values(adapted.lora_forward(x.clone())), values(adapted.forward(x)));
    }
}

fn near(method: Method, ours: Vec<f32>, theirs: Vec<f32>) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        // Sums of some thirty products of size 1 in another order.
        assert!((ours - theirs).abs() < 2e-5, "{method}: {ours} is not {theirs}");
    }
}

#[test]
fn a_fresh_adapter_starts_at_the_base_with_pefts_bounds() {
    let device = device();
    let conv = Conv2dConfig::new([32, 16], [3, 3]).with_groups(2).init(&device);
    let (kernel, weight) = Kernel::of(&conv.weight, conv.groups);
    assert_eq!((kernel.channels, kernel.window.as_slice()), (16, &[3, 3][..]));
    let x = Tensor::<4>::random([1, 32, 4, 4], Distribution::Default, &device);
    let base = values(conv.forward(x.clone()));
    for method in convolving() {
        for init in [Init::Kaiming, Init::Gaussian] {
            if init != Init::Kaiming && !method.drawn() {
                continue;
            }
            let config = AdapterConfig::new(4).with_method(method).with_init(init);
            let fresh =
                |seed| Adapter::init_convolution("x", &config, &weight, &kernel, seed).unwrap();
            if !method.drawn() {
                assert!(
                    values(fresh(3).factor::<2>("block").unwrap().val()).iter().all(|v| *v == 0.0)
                );
                let adapted = attach(conv.clone(), "weight", fresh(3)).unwrap();
                near(method, values(adapted.lora_forward(x.clone())), base.clone());
                near(method, values(adapted.forward(x.clone())), base.clone());
                continue;
            }
            let a = values(fresh(3).factor::<2>("a").unwrap().val());
            assert_eq!(a, values(fresh(3).factor::<2>("a").unwrap().val()));
            assert_ne!(a, values(fresh(4).factor::<2>("a").unwrap().val()));
            if init == Init::Kaiming {
                // One over the root of the inputs of an output.
                let bound = 1.0 / 144.0_f32.sqrt();
                assert!(a.iter().all(|value| value.abs() <= bound));
                assert!(a.iter().any(|value| value.abs() > 0.98 * bound));
            }
            let b = fresh(3).factor::<2>("b").unwrap();
            assert_eq!(b.dims(), [2, 16]);
            assert!(values(b.val()).iter().all(|value| *value == 0.0));
            let adapted = attach(conv.clone(), "weight", fresh(3)).unwrap();
            near(method, values(adapted.lora_forward(x.clone())), base.clone());
            near(method, values(adapted.forward(x.clone())), base.clone());
        }
    }
}

#[test]
fn what_no_convolutions_adapter_can_be_is_refused() {
    let device = device();
    let conv = Conv2dConfig::new([8, 8], [1, 1]).with_groups(4).init(&device);
    let (kernel, weight) = Kernel::of(&conv.weight, conv.groups);
    let refused = |config: AdapterConfig| {
        Adapter::init_convolution("x", &config, &weight, &kernel, 0).unwrap_err()
    };
    let rank = refused(AdapterConfig::new(6));
    assert_eq!(rank, LoraError::Groups { rank: 6, groups: 4 });
    assert!(rank.to_string().contains("use a rank that 4 divides (4 or 8)"), "{rank}");
    assert!(refused(AdapterConfig::new(3)).to_string().contains("divides (4)"));
    let method = Method::LoraBias;
    let error = refused(AdapterConfig::new(4).with_method(method));
    assert_eq!(error, LoraError::ConvolutionMethod { method });
    // MiSS deals no rank out: each group has all of it, as far as an output sees so many inputs.
    let miss = |rank| AdapterConfig::new(rank).with_method(Method::Miss);
    assert_eq!(refused(miss(3)), LoraError::Shards { rank: 3, d_in: 2 });
    Adapter::init_convolution("x", &miss(2), &weight, &kernel, 0).unwrap();
    for init in [Init::Pissa, Init::Olora, Init::Orthogonal] {
        let error = refused(AdapterConfig::new(4).with_init(init));
        assert_eq!(error, LoraError::ConvolutionInit { init });
    }
}

/// Dropout takes elements of A's input: of the factored path each for itself, of the composed one a channel in all places.
#[test]
fn dropout_takes_elements_of_the_input_and_never_of_the_base() {
    let device = device().autodiff();
    let mut conv = Conv2dConfig::new([16, 1], [1, 3]).with_bias(false).init(&device);
    conv.weight = Param::from_tensor(Tensor::zeros([1, 16, 1, 3], &device));
    let (kernel, weight) = Kernel::of(&conv.weight, 1);
    let config = AdapterConfig::new(1).with_alpha(1.0).with_dropout(0.5);
    let ones = |factor: &burn_lora::Factor| match factor.name {
        "a" => vec![1.0; 48],
        _ => vec![1.0],
    };
    let adapter = Adapter::convolution_from_values("x", &config, &weight, &kernel, ones).unwrap();
    let conv = attach(conv, "weight", adapter).unwrap();
    let composed = values(conv.weight.val());
    let channels: Vec<f32> = composed.chunks(3).map(|places| places[0]).collect();
    assert!(composed.chunks(3).all(|places| places.iter().all(|value| *value == places[0])));
    assert!(channels.iter().all(|value| [0.0, 2.0].contains(value)), "{channels:?}");
    // One of each among sixteen, but for one draw in thirty thousand; the generator is seeded by nobody here, so twice.
    let again: Vec<f32> = values(conv.weight.val()).chunks(3).map(|places| places[0]).collect();
    assert!([channels, again].concat().windows(2).any(|pair| pair[0] != pair[1]));

    // A single channel's element at one position: the sum over channels is a sum of zeros and twos that differs by position.
    let x = Tensor::<4>::ones([1, 16, 8, 3], &device);
    let y = values(conv.lora_forward(x));
    assert!(y.iter().all(|value| value % 2.0 == 0.0 && (0.0..=96.0).contains(value)), "{y:?}");
    assert!(y.windows(2).any(|pair| pair[0] != pair[1]), "{y:?}");
    // Nothing is dropped where nothing is trained.
    let x = Tensor::<4>::ones([1, 16, 1, 3], &self::device());
    assert_eq!(values(conv.valid().lora_forward(x)), [48.0]);
}

#[test]
fn a_multiplier_is_a_share_of_the_change_and_rows_have_the_adapter_that_they_name() {
    let device = device();
    let case = CASES[2];
    let numbers = case.numbers();
    let plain = numbers.conv(&device);
    let crossing = Case { crossing: true, ..case }.numbers();
    let (lora, dora) =
        (numbers.adapter(Method::Lora, &plain), crossing.adapter(Method::Dora, &plain));
    let with = |adapter: &Adapter| {
        let set = Adapters::single(adapter.clone()).with_turned(true);
        attach_sets(plain.clone(), move |path| (path == "weight").then(|| set.clone()))
    };
    let x = numbers.x(&device);
    let base = plain.lora_forward(x.clone());
    let off = with(&lora.clone().with_multiplier(0.0));
    assert_eq!(values(off.lora_forward(x.clone())), values(base.clone()));
    let half = with(&dora.clone().with_multiplier(0.5)).lora_forward(x.clone());
    let whole = with(&dora).lora_forward(x.clone());
    let expected = base.clone() + (whole - base.clone()).mul_scalar(0.5);
    check("half of it", half, &values(expected).iter().map(|v| f64::from(*v)).collect::<Vec<_>>());

    let rows = by_row(&[Some("one"), None], || with(&lora).lora_forward(x.clone()));
    let alone = with(&lora).lora_forward(x).narrow(0, 0, 1);
    let expected = Tensor::cat(vec![alone, base.narrow(0, 1, 1)], 0);
    check("rows", rows, &values(expected).iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
}

#[test]
fn a_kernel_in_sixteen_bits_is_computed_in_f32() {
    let device = device();
    let numbers = PLAIN.numbers();
    let mut plain = numbers.conv(&device);
    let half = plain.weight.val().cast(FloatDType::BF16);
    let x = numbers.x(&device);
    plain.weight = Param::from_tensor(half.clone().cast(FloatDType::F32));
    let wide = attach(plain.clone(), "weight", numbers.adapter(Method::Dora, &plain)).unwrap();
    plain.weight = Param::from_tensor(half);
    let narrow = attach(plain.clone(), "weight", numbers.adapter(Method::Dora, &plain)).unwrap();
    near(Method::Dora, values(narrow.lora_forward(x.clone())), values(wide.lora_forward(x)));
}

#[test]
#[should_panic(expected = "call `lora_forward`")]
fn an_adapter_that_sees_other_groups_is_never_composed_wrongly() {
    let device = device();
    let numbers = CASES[4].numbers();
    let plain = numbers.conv(&device);
    let adapter = numbers.adapter(Method::Lora, &plain);
    let conv = attach(plain, "weight", adapter).unwrap();
    conv.forward(numbers.x(&device));
}
