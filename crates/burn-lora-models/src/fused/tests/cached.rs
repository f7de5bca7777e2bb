//! Rows in pieces over a cache against the attention of whole rows.

use burn::backend::Dispatch;
use burn::tensor::{Device, Int, Tensor};

use super::{all_scores, check_close};
use crate::fused::cached::composed;
use crate::fused::{
    Attended, CacheRow, CacheRows, Held, Later, Positional, Scores, cached_attention,
    causal_attention, unseen,
};

const HEADS: usize = 6;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 8;
/// Room for more than the tokens of any row.
const ROOM: usize = 96;

fn device() -> Device {
    burn_lora::device::parse(&super::test_device::name()).unwrap()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    super::random(shape, &device())
}

fn floats(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// How positions enter, of positions `0..tokens`.
fn positionals(tokens: usize) -> [Positional; 4] {
    let angles: Tensor<3> =
        Tensor::<1, Int>::arange(0..tokens as i64, &device()).float().reshape([1, -1, 1])
            * Tensor::<3>::from_floats([[[1.0, 0.3, 0.1, 0.01]]], &device());
    let some = angles.clone().narrow(2, 0, 3);
    [
        Positional::Embedded,
        Positional::Rotary { cos: angles.clone().cos(), sin: angles.sin() },
        Positional::Rotary { cos: some.clone().cos(), sin: some.sin() },
        Positional::Alibi { slopes: random([HEADS]) },
    ]
}

/// That of some rows of positions.
fn at(positional: &Positional, positions: &[Vec<usize>]) -> Positional {
    let Positional::Rotary { cos, sin } = positional else { return positional.clone() };
    let table = |table: &Tensor<3>| {
        let row = |row: &Vec<usize>| {
            let columns = row.iter().map(|&p| table.clone().narrow(1, p, 1)).collect();
            Tensor::cat(columns, 1)
        };
        Tensor::cat(positions.iter().map(row).collect::<Vec<_>>(), 0)
    };
    Positional::Rotary { cos: table(cos), sin: table(sin) }
}

type Pass = fn(
    [Tensor<4>; 3],
    [Tensor<4>; 2],
    (Positional, Scores),
    CacheRows,
) -> (Tensor<4>, [Tensor<4>; 2]);

fn fused(
    qkv: [Tensor<4>; 3],
    held: [Tensor<4>; 2],
    (positional, scores): (Positional, Scores),
    rows: CacheRows,
) -> (Tensor<4>, [Tensor<4>; 2]) {
    let tokens = qkv[0].dims()[1];
    let unseen = unseen(&rows.rows, tokens, &device());
    cached_attention(qkv, held, positional, scores, unseen, rows)
}

fn made_of_operations(
    qkv: [Tensor<4>; 3],
    held: [Tensor<4>; 2],
    (positional, scores): (Positional, Scores),
    rows: CacheRows,
) -> (Tensor<4>, [Tensor<4>; 2]) {
    let tokens = qkv[0].dims()[1];
    let unseen = unseen(&rows.rows, tokens, &device());
    let later = unseen.map_or(Later::Implied, |unseen| Later::Mask(unseen.into_dispatch()));
    let qkv = qkv.map(Tensor::into_dispatch);
    let [keys, values] = held.map(Tensor::into_dispatch);
    let held = Held { keys, values };
    let encoding = positional.encoding();
    let Attended { y, held } = composed::<Dispatch>(qkv, held, &encoding, scores, later, &rows);
    (Tensor::from_dispatch(y), [held.keys, held.values].map(Tensor::from_dispatch))
}

/// Rows in pieces of different lengths, in slots 1 to 3 of 5, against the attention of whole rows.
#[test]
fn rows_in_pieces_attend_as_whole_rows_do() {
    let (rows, tokens) = (3, 90);
    // New tokens of each row in each pass: many (more than a tile), one, none.
    let passes = [[40, 1, 7], [1, 1, 1], [0, 80, 1], [1, 1, 0], [30, 5, 70]];
    for (positional, scores) in positionals(tokens)
        .into_iter()
        .flat_map(|positional| all_scores(HEAD_DIM).map(|scores| (positional.clone(), scores)))
    {
        let [q, k, v] =
            [HEADS, KV_HEADS, KV_HEADS].map(|heads| random([rows, tokens, heads, HEAD_DIM]));
        let inputs = [&q, &k, &v].map(Clone::clone);
        let [a, b, c] = inputs;
        let whole = causal_attention(a, b, c, positional.clone(), scores, None);
        for (name, pass) in [("fused", fused as Pass), ("composed", made_of_operations as Pass)] {
            let slots = || random([5, KV_HEADS, ROOM, HEAD_DIM]);
            let (mut held, mut at_row) = ([slots(), slots()], [0; 3]);
            let untouched = held.clone().map(|h| floats(h.narrow(0, 4, 1)));
            for lengths in passes {
                let columns = *lengths.iter().max().unwrap();
                // Padding repeats the last token.
                let positions: Vec<Vec<usize>> = at_row
                    .iter()
                    .map(|&at| (at..at + columns).map(|p| p.min(tokens - 1)).collect())
                    .collect();
                let piece = |x: &Tensor<4>| {
                    let row = |(row, positions): (usize, &Vec<usize>)| {
                        let x = x.clone().narrow(0, row, 1);
                        let columns = positions.iter().map(|&p| x.clone().narrow(1, p, 1));
                        Tensor::cat(columns.collect::<Vec<_>>(), 1)
                    };
                    Tensor::cat(positions.iter().enumerate().map(row).collect::<Vec<_>>(), 0)
                };
                let of = at_row.iter().zip(lengths).map(|(&held, new)| CacheRow { held, new });
                let of = CacheRows { first: 1, rows: of.collect() };
                let qkv = [piece(&q), piece(&k), piece(&v)];
                let (y, now) = pass(qkv, held, (at(&positional, &positions), scores), of);
                held = now;
                for (row, new) in lengths.into_iter().enumerate().filter(|&(_, new)| new > 0) {
                    let got = floats(y.clone().narrow(0, row, 1).narrow(1, 0, new));
                    let expected = whole.clone().narrow(0, row, 1).narrow(1, at_row[row], new);
                    check_close(&got, &floats(expected), name);
                    at_row[row] += new;
                }
            }
            assert_eq!(held.map(|h| floats(h.narrow(0, 4, 1))), untouched, "{name}: another slot");
        }
    }
}
