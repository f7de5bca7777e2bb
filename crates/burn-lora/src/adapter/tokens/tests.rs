//! Trained rows against float64, by the definition: a table in which they are put.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;

use super::super::reference::Matrix;
use super::super::test_device;
use crate::{Adapter, Adapters, LoraError, Method, Sizes, attach, attach_sets, detach};
use crate::{embed, head_table, sets, unembed};

const ROWS: usize = 19;
const D: usize = 8;
const IDS: [usize; 3] = [5, 17, 0];
/// Sums of 8 float32 products of values around 1.
const TOLERANCE: f64 = 5e-6;

fn device() -> Device {
    crate::device::parse(&test_device::name()).unwrap()
}

fn table(device: &Device) -> (Embedding, Matrix) {
    let values = Matrix::random(ROWS, D, 1);
    let mut embedding = EmbeddingConfig::new(ROWS, D).init(device);
    embedding.weight = Param::from_tensor(to_tensor(&values, device)).set_require_grad(false);
    (embedding, values)
}

fn to_tensor(matrix: &Matrix, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = matrix.values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new(values, [matrix.rows, matrix.columns]), device)
}

/// Tokens that are trained, one of them twice, and such as are not; the last trained one does not come.
const TOKENS: [usize; 6] = [3, 5, 18, 5, 17, 11];

fn ids(device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = TOKENS.iter().map(|id| *id as i32).collect();
    Tensor::from_data(TensorData::new(ids, [2, 3]), device)
}

/// Rows of their own, `[3, D]`, on the table.
fn trained(embedding: &Embedding) -> (Adapter, Matrix) {
    let rows = Matrix::random(IDS.len(), D, 2);
    let values = rows.transposed().values.iter().map(|value| *value as f32).collect();
    let made = Adapter::tokens_from_values("one", &IDS, &embedding.weight, values).unwrap();
    (made, rows)
}

/// The table with the rows in it, moved there by a part.
fn replaced(table: &Matrix, rows: &Matrix, part: f64) -> Matrix {
    Matrix::from_fn(ROWS, D, |i, j| match IDS.iter().position(|id| *id == i) {
        Some(at) => table.at(i, j) + part * (rows.at(at, j) - table.at(i, j)),
        None => table.at(i, j),
    })
}

fn rows_of(table: &Matrix) -> Matrix {
    Matrix::from_fn(TOKENS.len(), D, |i, j| table.at(TOKENS[i], j))
}

fn values<const N: usize>(tensor: Tensor<N>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

fn check_close<const N: usize>(what: &str, found: Tensor<N>, expected: &Matrix) {
    let found = values(found);
    assert_eq!(found.len(), expected.values.len(), "{what}");
    for (found, expected) in found.iter().zip(&expected.values) {
        let off = (f64::from(*found) - expected).abs();
        assert!(off < TOLERANCE * expected.abs().max(1.0), "{what}: {found} is not {expected}");
    }
}

/// Exact where the multiplier is 1: by ids, composed, merged beside the base and for good.
#[test]
fn rows_are_in_the_table_of_the_embedding_and_of_a_head_that_is_it() {
    let device = device();
    let (plain, table) = table(&device);
    let (made, rows) = trained(&plain);
    let hidden = Matrix::random(4, D, 3);
    for multiplier in [1.0, 0.0, 0.25] {
        let set = Adapters::single(made.clone().with_multiplier(multiplier));
        let merged = set.clone().merge(plain.weight.base());
        let expected = replaced(&table, &rows, multiplier);
        for set in [set, merged] {
            let adapted = attach_sets(plain.clone(), |_| Some(set.clone()));
            let what = format!("{multiplier}, merged {}", set.is_merged());
            check_close(&what, embed(&adapted, ids(&device)), &rows_of(&expected));
            check_close(&what, adapted.forward(ids(&device)), &rows_of(&expected));
            check_close(&what, adapted.weight.val(), &expected);
            if multiplier == 1.0 {
                let exact: Vec<f32> = rows_of(&expected).values.iter().map(|v| *v as f32).collect();
                assert_eq!(values(embed(&adapted, ids(&device))), exact);
                assert_eq!(values(adapted.weight.val()), values(to_tensor(&expected, &device)));
            }
            let logits = unembed(&adapted, to_tensor(&hidden, &device));
            check_close(&what, logits, &hidden.times(&expected.transposed()));
            assert_eq!(head_table(&adapted).is_none(), multiplier != 0.0);
            let off = detach(adapted);
            assert_eq!(values(off.weight.val()), values(plain.weight.val()));
            assert!(head_table(&off).is_some());
        }
    }
}

/// Of what is trained alone, summed over the tokens that name it, and for a head over all rows of logits.
#[test]
fn gradients_are_of_the_trained_rows_and_no_others() {
    let device = device().autodiff();
    let (plain, table) = table(&device);
    let (made, rows) = trained(&plain);
    let adapted = attach(plain, "weight", made).unwrap();
    let param = sets(&adapted)[0].1.get("one").unwrap().factor::<2>("rows").unwrap();
    assert_eq!(param.dims(), [D, IDS.len()]);

    let weights = Matrix::random(TOKENS.len(), D, 4);
    let weighted = to_tensor(&weights, &device).reshape([2, 3, D]);
    let grads = (embed(&adapted, ids(&device)) * weighted).sum().backward();
    let of_ids = Matrix::from_fn(D, IDS.len(), |j, at| {
        let named = (0..TOKENS.len()).filter(|token| TOKENS[*token] == IDS[at]);
        named.map(|token| weights.at(token, j)).sum()
    });
    check_close("d rows", param.val().grad(&grads).unwrap(), &of_ids);

    let (hidden, weights) = (Matrix::random(4, D, 5), Matrix::random(4, ROWS, 6));
    let x = to_tensor(&hidden, &device).require_grad();
    let logits = unembed(&adapted, x.clone());
    let grads = (logits * to_tensor(&weights, &device)).sum().backward();
    let all = weights.transposed().times(&hidden);
    let of_head = Matrix::from_fn(D, IDS.len(), |j, at| all.at(IDS[at], j));
    check_close("d rows of the head", param.val().grad(&grads).unwrap(), &of_head);
    let expected = weights.times(&replaced(&table, &rows, 1.0));
    check_close("d hidden", x.grad(&grads).unwrap(), &expected);
    assert!(adapted.weight.base().grad(&grads).is_none());
}

#[test]
fn training_starts_at_the_rows_of_the_table_bit_for_bit() {
    let device = device().autodiff();
    let (plain, _) = table(&device);
    let made = Adapter::tokens("one", &IDS, &plain.weight).unwrap();
    assert_eq!(made.token_ids(), Some(&IDS[..]));
    assert_eq!((made.method(), made.rank(), made.weight_shape()), (Method::Tokens, 3, [ROWS, D]));
    let sizes = Sizes { d_in: ROWS, d_out: D, rank: 3, groups: 1 };
    assert_eq!(Method::Tokens.trained(sizes), 3 * D);
    let adapted = attach(plain.clone(), "weight", made).unwrap();
    assert_eq!(adapted.num_params() - plain.num_params(), 3 * D);
    assert_eq!(values(embed(&adapted, ids(&device))), values(plain.forward(ids(&device))));
    let moved = adapted.valid().train();
    assert_eq!(values(embed(&moved, ids(&device))), values(plain.forward(ids(&device))));
}

/// Two that train the same row add what they change of it, as all kinds do.
#[test]
fn several_add_what_they_change() {
    let device = device();
    let (plain, table) = table(&device);
    let (one, rows) = trained(&plain);
    let own = Matrix::random(2, D, 7);
    let values = own.transposed().values.iter().map(|value| *value as f32).collect();
    let two = Adapter::tokens_from_values("two", &[17, 3], &plain.weight, values).unwrap();
    let expected = Matrix::from_fn(ROWS, D, |i, j| {
        let of_two = [17, 3].iter().position(|id| *id == i);
        let change = of_two.map_or(0.0, |at| own.at(at, j) - table.at(i, j));
        replaced(&table, &rows, 1.0).at(i, j) + change
    });
    for set in [
        Adapters::single(one.clone()).with(two.clone()),
        Adapters::single(two.clone()).with(one.clone()),
    ] {
        let both = attach_sets(plain.clone(), |_| Some(set.clone()));
        check_close("both", embed(&both, ids(&device)), &rows_of(&expected));
        check_close("composed", both.weight.val(), &expected);
        let hidden = Matrix::random(4, D, 3);
        let logits = unembed(&both, to_tensor(&hidden, &device));
        check_close("logits", logits, &hidden.times(&expected.transposed()));
    }
}

#[test]
fn tokens_that_a_table_has_not_or_that_come_twice_are_refused_with_the_range() {
    let (plain, _) = table(&device());
    let refused = |ids: &[usize]| Adapter::tokens("one", ids, &plain.weight).unwrap_err();
    let beyond = refused(&[3, 19]);
    assert_eq!(beyond, LoraError::Row { id: 19, rows: ROWS });
    assert!(beyond.to_string().contains("token 19 is not in the table, whose rows are 0 to 18"));
    assert_eq!(refused(&[3, 4, 3]), LoraError::RowTwice { id: 3 });
    assert_eq!(refused(&[]), LoraError::NoRows);
    let values = vec![0.0; D];
    let few = Adapter::tokens_from_values("one", &[1, 2], &plain.weight, values).unwrap_err();
    assert_eq!(few, LoraError::FactorValues { factor: "rows".into(), shape: vec![D, 2], count: D });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whichever rows, the table is that with the rows put in it, and nothing else moves by a bit.
    #[test]
    fn any_rows_are_put_where_they_belong(
        ids in proptest::collection::btree_set(0usize..ROWS, 1..ROWS),
        seed in 0u64..50,
    ) {
        let (plain, table) = table(&device());
        let ids: Vec<usize> = ids.into_iter().rev().collect();
        let rows = Matrix::random(ids.len(), D, seed);
        let turned = rows.transposed().values.iter().map(|value| *value as f32).collect();
        let made = Adapter::tokens_from_values("x", &ids, &plain.weight, turned).unwrap();
        let adapted = attach(plain, "weight", made).unwrap();
        let expected = Matrix::from_fn(ROWS, D, |i, j| match ids.iter().position(|id| *id == i) {
            Some(at) => rows.at(at, j),
            None => table.at(i, j),
        });
        let expected: Vec<f32> = expected.values.iter().map(|value| *value as f32).collect();
        prop_assert_eq!(values(adapted.weight.val()), expected);
    }
}
