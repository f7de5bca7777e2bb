//! A hot swap of adapters of different ranks takes the bytes of their factors and nothing of the base, shown by counting what is
//! allocated.

#![cfg(feature = "flex")]

use std::fs;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Distribution, Tensor};
use burn_lora_counting::{Counting, measured};
use burn_lora_patch::peft::TENSORS_FILE;
use burn_lora_patch::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WIDTH: usize = 1024;
const WEIGHT_BYTES: usize = 4 * WIDTH * WIDTH;

#[derive(Module, Debug)]
struct Net {
    layers: Vec<Linear>,
}

/// One test, because all allocations of the process are counted.
#[test]
fn a_swap_takes_the_bytes_of_the_factors_and_none_of_the_base() {
    let device = burn_lora_patch::device::parse("flex").unwrap();
    let layers = (0..4).map(|_| LinearConfig::new(WIDTH, WIDTH).with_bias(false).init(&device));
    let base = Net { layers: layers.collect() };
    let x = Tensor::<2>::random([2, WIDTH], Distribution::Default, &device);
    let through = |net: &Net| -> Vec<f32> {
        let y = net.layers.iter().fold(x.clone(), |x, layer| layer.lora_forward(x));
        y.try_into_vec_as().unwrap()
    };
    let before = through(&base);
    let dirs = [16, 4].map(|rank| {
        let dir = tempfile::tempdir().unwrap();
        let adapted = base.clone().with_lora(&LoraConfig::new(rank)).unwrap().0;
        adapted.save_adapter(dir.path()).unwrap();
        dir
    });
    let (mut model, _) = base.load_adapter(dirs[1].path()).unwrap();
    for (dir, rank) in [(&dirs[0], 16), (&dirs[1], 4), (&dirs[0], 16)] {
        let file = fs::metadata(dir.path().join(TENSORS_FILE)).unwrap().len() as usize;
        assert!(file > 4 * 2 * WIDTH * rank * 4, "four layers of two factors");
        let (swapped, taken) = measured(|| model.swap_adapter("default", dir.path()).unwrap());
        // The file as it was read, its values, those in Burn's layout, and the tensors.
        assert!(taken.most < 4 * file + (1 << 18), "{} bytes of {file}", taken.most);
        assert!(taken.largest < WEIGHT_BYTES / 4, "{} bytes in one piece", taken.largest);
        model = swapped;
        assert_eq!(through(&model), before, "B is zero in both");
    }
    // The same measurement does see a weight.
    let (_, taken) = measured(|| model.clone().merge_lora().unwrap());
    assert!(taken.largest >= WEIGHT_BYTES, "{} bytes: the measurement is blind", taken.largest);
}
