//! The operations with sizes of SmolLM2-135M, and their formulas.

use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{DType, Tensor};
use burn_lora::lora_linear;
use burn_lora_models::fused::{
    HeadLayout, Positional, Scores, causal_attention, gelu_tanh, head_loss, rms_norm, silu_mul,
};

use super::{BF16, Checker, Done, Side, Values};

/// Checks an operation; its rows of tokens are divided by the number.
type Operation = fn(&mut Checker<'_>, usize) -> Done;

/// All of them.
pub const OPERATIONS: [(&str, Operation); 6] = [
    ("linear", linear),
    ("norm", norm),
    ("gate", gate),
    ("gelu", gelu),
    ("attention", attention),
    ("head", head),
];

const ROWS: usize = 512;

fn linear(checker: &mut Checker<'_>, by: usize) -> Done {
    for (d_in, d_out, rank) in [(576, 1536, 16), (1536, 576, 1), (576, 192, 128)] {
        let weight = checker.random([d_in, d_out], (d_in as f32).powf(-0.5));
        let inputs = [
            checker.random([ROWS / by, d_in], 1.0),
            checker.random([d_in, rank], (d_in as f32).powf(-0.5)),
            checker.random([rank, d_out], (rank as f32).powf(-0.5)),
        ];
        checker.compare(
            &format!("lora {d_in}x{d_out} r={rank}"),
            ["x", "A", "B"],
            &inputs,
            |side, [x, a, b]| lora_linear(x, side.constant(&weight), a, b, 2.0, None),
            |side, [x, a, b]| {
                x.clone().matmul(side.constant(&weight)) + x.matmul(a).matmul(b) * 2.0
            },
        )?;
    }
    match checker.halves {
        true => half_linear(checker, by),
        false => Ok(()),
    }
}

/// Over a weight held in bf16, with sizes that suit tensor cores and some that do not.
fn half_linear(checker: &mut Checker<'_>, by: usize) -> Done {
    let tolerance = std::mem::replace(&mut checker.tolerance, BF16);
    for (rows, d_in, d_out) in [(ROWS / by, 576, 1536), (37, 576, 49), (200, 1000, 264)] {
        let mut weight = checker.random([d_in, d_out], (d_in as f32).powf(-0.5));
        // Numbers that bf16 has.
        for value in &mut weight.values {
            *value = f32::from_bits(value.to_bits() & 0xffff_0000);
        }
        let inputs = [
            checker.random([rows, d_in], 1.0),
            checker.random([d_in, 16], (d_in as f32).powf(-0.5)),
            checker.random([16, d_out], 0.25),
        ];
        checker.compare(
            &format!("lora bf16 {rows}x{d_in}x{d_out}"),
            ["x", "A", "B"],
            &inputs,
            |side, [x, a, b]| {
                lora_linear(x, side.constant(&weight).cast(DType::BF16), a, b, 2.0, None)
            },
            |side, [x, a, b]| {
                x.clone().matmul(side.constant(&weight)) + x.matmul(a).matmul(b) * 2.0
            },
        )?;
    }
    checker.tolerance = tolerance;
    Ok(())
}

fn norm(checker: &mut Checker<'_>, by: usize) -> Done {
    let gamma = checker.random([576], 1.0);
    let inputs = [checker.random([ROWS / by, 576], 1.0)];
    checker.compare(
        "rms_norm",
        ["x"],
        &inputs,
        |side, [x]| rms_norm(x, side.constant(&gamma), 1e-5),
        |side, [x]| {
            let mean = x.clone().powf_scalar(2.0).mean_dim(1);
            x / (mean + 1e-5).sqrt() * side.constant(&gamma).unsqueeze()
        },
    )
}

fn gate(checker: &mut Checker<'_>, by: usize) -> Done {
    let shape = [ROWS / by, 1536];
    let inputs = [checker.random(shape, 4.0), checker.random(shape, 1.0)];
    checker.compare(
        "silu_mul",
        ["gate", "up"],
        &inputs,
        |_, [gate, up]| silu_mul(gate, up),
        |_, [gate, up]| silu(gate) * up,
    )
}

fn gelu(checker: &mut Checker<'_>, by: usize) -> Done {
    let inputs = [checker.random([ROWS / by, 1536], 2.0)];
    checker.compare(
        "gelu_tanh",
        ["x"],
        &inputs,
        |_, [x]| gelu_tanh(x),
        |_, [x]| {
            let cube = x.clone() * x.clone() * x.clone();
            let inner = (x.clone() + cube * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
            x * (inner.tanh() + 1.0) * 0.5
        },
    )
}

/// The width of a head.
const HEAD: usize = 64;

fn attention(checker: &mut Checker<'_>, by: usize) -> Done {
    for (batch, tokens, heads, shared, turns) in [
        (2, 128 / by, 9, 3, true),
        (1, 200 / by, 4, 4, true),
        (1, 100 / by, 4, 2, true),
        (2, 96 / by, 6, 6, false),
    ] {
        let angles = checker.random([tokens, HEAD / 2], 3.0);
        let table = |f: fn(f32) -> f32| Values {
            shape: angles.shape,
            values: angles.values.iter().map(|&angle| f(angle)).collect(),
        };
        let positions = match turns {
            true => Positions::Turn { cos: table(f32::cos), sin: table(f32::sin) },
            false => Positions::Slope(Values {
                shape: [heads],
                values: (1..=heads).map(|head| (-(head as f32)).exp2()).collect(),
            }),
        };
        let inputs = [
            checker.random([batch, tokens, heads, HEAD], 1.0),
            checker.random([batch, tokens, shared, HEAD], 1.0),
            checker.random([batch, tokens, shared, HEAD], 1.0),
        ];
        let name = if turns { "attention" } else { "attention alibi" };
        let tolerance = checker.tolerance;
        let mut formats = vec![(DType::F32, "", tolerance)];
        if checker.halves && turns {
            formats.push((DType::BF16, " bf16", BF16));
        }
        for (format, named, tolerance) in formats {
            let scores = Scores { format, ..Scores::of_heads(HEAD) };
            checker.tolerance = tolerance;
            checker.compare(
                &format!("{name}{named} {tokens}x{heads}/{shared}"),
                ["q", "k", "v"],
                &inputs,
                |side, [q, k, v]| causal_attention(q, k, v, positions.on(side), scores, None),
                |side, inputs| attention_by_formula(side, inputs, &positions),
            )?;
        }
        checker.tolerance = tolerance;
    }
    Ok(())
}

fn head(checker: &mut Checker<'_>, by: usize) -> Done {
    // The second one takes several chunks on a CPU; on a device one is as large as it.
    for (rows, width, vocabulary, cap) in [
        (64 / by, 576, 4096, None),
        (200, 16, 200_000 / by, None),
        (100, 16, 200_000 / by, Some(3.0)),
    ] {
        let targets: Vec<i32> = (0..rows).map(|row| (row * 31 % vocabulary) as i32).collect();
        let inputs = [checker.random([rows, width], 1.0), checker.random([vocabulary, width], 0.2)];
        checker.compare(
            &format!("head_loss {rows}x{vocabulary}{}", if cap.is_some() { " capped" } else { "" }),
            ["hidden", "table"],
            &inputs,
            |_, [hidden, table]| {
                head_loss(hidden, table, HeadLayout::Table, targets.clone(), cap).unsqueeze()
            },
            |side, [hidden, table]| {
                let logits = hidden.matmul(table.transpose());
                let logits = match cap {
                    Some(cap) => (logits / cap).tanh() * cap,
                    None => logits,
                };
                let logs = log_softmax(logits, 1);
                logs.gather(1, side.index(&targets)).sum().neg().unsqueeze()
            },
        )?;
    }
    Ok(())
}

/// How positions enter the scores, as numbers.
enum Positions {
    /// Angles' cosines and sines, `[tokens, HEAD / 2]`.
    Turn { cos: Values<2>, sin: Values<2> },
    /// ALiBi's slopes, `[heads]`.
    Slope(Values<1>),
}

impl Positions {
    fn on(&self, side: &Side) -> Positional {
        match self {
            Self::Turn { cos, sin } => {
                let table = |table| side.constant::<2>(table).unsqueeze::<3>();
                Positional::Rotary { cos: table(cos), sin: table(sin) }
            }
            Self::Slope(slopes) => Positional::Alibi { slopes: side.constant(slopes) },
        }
    }
}

/// Keys and values repeated for every query head, whole scores, a mask.
fn attention_by_formula(
    side: &Side,
    [q, k, v]: [Tensor<4>; 3],
    positions: &Positions,
) -> Tensor<4> {
    let [batch, tokens, heads, width] = q.dims();
    let shared = k.dims()[2];
    let repeat = |x: Tensor<4>| {
        x.reshape([batch, shared, 1, tokens * width])
            .repeat_dim(2, heads / shared)
            .reshape([batch, heads, tokens, width])
    };
    let mask = (0..tokens * tokens)
        .map(|at| if at % tokens <= at / tokens { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let mut bias = side.constant(&Values { shape: [1, 1, tokens, tokens], values: mask });
    let turned = |x: Tensor<4>| match positions {
        Positions::Turn { cos, sin } => {
            let half = width / 2;
            let table = |values| side.constant::<2>(values).reshape([1, tokens, 1, half]);
            let (cos, sin) = (table(cos), table(sin));
            let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
            let first = a.clone() * cos.clone() - b.clone() * sin.clone();
            Tensor::cat(vec![first, b * cos + a * sin], 3)
        }
        Positions::Slope(_) => x,
    };
    if let Positions::Slope(slopes) = positions {
        let places = (0..tokens).map(|key| key as f32).collect();
        let places = side.constant(&Values { shape: [1, 1, 1, tokens], values: places });
        bias = bias + side.constant::<1>(slopes).reshape([1, heads, 1, 1]) * places;
    }
    let (q, k) = (turned(q).swap_dims(1, 2), repeat(turned(k).swap_dims(1, 2)));
    let v = repeat(v.swap_dims(1, 2));
    let scores = q.matmul(k.swap_dims(2, 3)) / (width as f64).sqrt() + bias;
    softmax(scores, 3).matmul(v).swap_dims(1, 2)
}
