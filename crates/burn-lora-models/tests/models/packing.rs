//! Several texts in one row against each in a row of its own.

use burn::tensor::{Int, Tensor, TensorData};
use burn_lora_models::{CausalLm, Decoder, Model};

use crate::fixture::{DECODERS, device, floats, golden, largest_difference};

fn ids(rows: &[Vec<i32>], width: usize) -> Tensor<2, Int> {
    let padded = rows.iter().flat_map(|row| {
        let mut row = row.clone();
        row.resize(width, 0);
        row
    });
    let data = TensorData::new(padded.collect::<Vec<i32>>(), [rows.len(), width]);
    Tensor::from_data(data, &device())
}

fn largest(one: Tensor<3>, other: Tensor<3>) -> f32 {
    let [_, _, width] = one.dims();
    largest_difference(&floats(one), &floats(other), width, |_| true)
}

/// Values around 1 after at most five blocks, each a few sums of float32 products in another order.
const TOLERANCE: f32 = 1e-5;

#[test]
fn segments_of_a_row_come_out_as_they_would_alone() {
    let texts: [Vec<i32>; 4] =
        [vec![5, 9, 200, 3], vec![17, 4], vec![80, 81, 82, 83, 84, 85], vec![7, 8, 9]];
    for architecture in DECODERS {
        let (model, _) = CausalLm::load(&golden(architecture), &device(), &mut |_, _| {}).unwrap();
        let rows = [[&texts[0][..], &texts[1]].concat(), [&texts[2][..], &texts[3]].concat()];
        let segments = [vec![4, 2], vec![6, 3]];
        let packed = model.hidden_packed(ids(&rows, 10), &segments);
        let places = [(0, 0), (0, 4), (1, 0), (1, 6)];
        for (text, (row, start)) in texts.iter().zip(places) {
            let alone =
                model.hidden(ids(std::slice::from_ref(text), text.len()), &[text.len()], None);
            let got = packed.clone().slice([row..row + 1, start..start + text.len()]);
            let difference = largest(got, alone);
            assert!(difference < TOLERANCE, "{architecture}, {row}, {start}: {difference}");
        }
        // What the second text sees of the first would show here.
        let joined = model.hidden(ids(&rows, 10), &[6, 9], None);
        let leaked = largest(joined, packed);
        assert!(leaked > 100.0 * TOLERANCE, "{architecture}: {leaked}");
    }
}
