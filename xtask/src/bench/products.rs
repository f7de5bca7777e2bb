//! The matrix products of a step: how many operations they are, and how long they take alone.
//!
//! Their time alone is the limit that a step is held against. It is measured shape by shape, on the
//! same backend, in the same process, after the steps; attention's products over tokens count in
//! the operations, but not in the limit.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};

use super::matrix::Shape;
use super::record::{Cell, Method};

/// `[m, k] x [k, n]`.
type Product = [usize; 3];

/// The products of one step, each with how often it is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Products {
    shapes: BTreeMap<Product, usize>,
    /// Operations of attention over tokens.
    attention: f64,
}

impl Products {
    /// Those of a cell whose model has these linears (`d_in`, `d_out`), all of them adapted.
    pub fn of(cell: &Cell, shape: &Shape, linears: &[(usize, usize)]) -> Self {
        let tokens = cell.tokens();
        let mut shapes = BTreeMap::new();
        let mut add = |product: Product| *shapes.entry(product).or_insert(0) += 1;
        let trains = cell.method != Method::Merged;
        for &(d_in, d_out) in linears {
            add([tokens, d_in, d_out]);
            if trains {
                add([tokens, d_out, d_in]);
            }
            if matches!(cell.method, Method::Full | Method::Composed) {
                add([d_in, tokens, d_out]);
            }
            let rank = cell.rank.unwrap_or(0);
            match cell.method {
                Method::Full | Method::Merged => {}
                Method::Lora | Method::Dora | Method::LoraFa => {
                    if cell.method == Method::Dora {
                        // The columns' norms, of which nothing goes back.
                        add([rank, d_in, d_out]);
                        add([rank, d_in, rank]);
                        add([rank, rank, d_out]);
                    }
                    add([tokens, d_in, rank]);
                    add([tokens, rank, d_out]);
                    add([rank, tokens, d_out]);
                    add([tokens, d_out, rank]);
                    if cell.method != Method::LoraFa {
                        add([d_in, tokens, rank]);
                    }
                    add([tokens, rank, d_in]);
                }
                Method::Miss => {
                    add([tokens, rank, d_out]);
                    add([rank, tokens, d_out]);
                    add([tokens, d_out, rank]);
                }
                Method::Composed => {
                    add([d_in, rank, d_out]);
                    add([d_in, d_out, rank]);
                    add([rank, d_in, d_out]);
                }
            }
        }
        let causal = matches!(shape, Shape::Decoder(_));
        if causal {
            let (d, vocabulary) = shape.about().cost().head();
            add([tokens, d, vocabulary]);
            if trains {
                add([tokens, vocabulary, d]);
            }
            if cell.method == Method::Full {
                add([vocabulary, tokens, d]);
            }
        }
        // Scores and mixtures: two products forward, four backward; half of them where no token
        // sees the ones after it.
        let pairs = (cell.batch * cell.length * cell.length) as f64;
        let passes = if trains { 6.0 } else { 2.0 };
        let seen = if causal { 0.5 } else { 1.0 };
        let attention = 2.0 * passes * seen * pairs * shape.about().cost().attention_width() as f64;
        Self { shapes, attention }
    }

    /// Multiplications and additions.
    pub fn flops(&self) -> f64 {
        let dense = self.shapes.iter().map(|(&[m, k, n], &count)| 2.0 * (m * k * n * count) as f64);
        dense.sum::<f64>() + self.attention
    }

    /// How long they take alone on the device, in seconds: each shape's median of three, times how
    /// often it is computed.
    pub fn seconds(&self, device: &Device) -> f64 {
        self.shapes.iter().map(|(&product, &count)| time(product, device) * count as f64).sum()
    }
}

fn time([m, k, n]: Product, device: &Device) -> f64 {
    let random = |shape| Tensor::<2>::random(shape, Distribution::Default, device);
    let (lhs, rhs) = (random([m, k]), random([k, n]));
    let mut times: Vec<f64> = (0..4)
        .map(|_| {
            let started = Instant::now();
            let product = lhs.clone().matmul(rhs.clone());
            // A backend that computes lazily has to be asked.
            let _done = device.sync();
            drop(product);
            started.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_lora_models::Recompute;
    use burn_lora_models::weights::WeightDtype;

    fn cell(method: Method) -> Cell {
        let rank = method.has_rank().then_some(2);
        Cell {
            model: "m".into(),
            backend: "flex".into(),
            dtype: WeightDtype::F32,
            recompute: Recompute::None,
            batch: 3,
            length: 5,
            method,
            rank,
        }
    }

    fn shape() -> Shape {
        let json = r#"{"model_type": "llama", "vocab_size": 11, "hidden_size": 4,
            "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "max_position_embeddings": 32}"#;
        Shape::parse(json, "config.json".as_ref()).unwrap()
    }

    #[test]
    fn operations_are_those_counted_by_hand() {
        // 15 tokens, one linear 4 x 8, rank 2, a head 4 x 11; 75 pairs of tokens, 4 across.
        let (linear, head, pairs) = (2.0 * 15.0 * 32.0, 2.0 * 15.0 * 44.0, 2.0 * 75.0 * 4.0);
        let skinny = 2.0 * 15.0 * 2.0 * (4.0 + 8.0);
        let flops = |method| Products::of(&cell(method), &shape(), &[(4, 8)]).flops();
        assert_eq!(flops(Method::Merged), linear + head + pairs);
        assert_eq!(flops(Method::Full), 3.0 * linear + 3.0 * head + 3.0 * pairs);
        assert_eq!(flops(Method::Lora), 2.0 * linear + 3.0 * skinny + 2.0 * head + 3.0 * pairs);
        let norms = 2.0 * (2.0 * 4.0 * 8.0 + 2.0 * 4.0 * 2.0 + 2.0 * 2.0 * 8.0);
        assert_eq!(flops(Method::Dora) - flops(Method::Lora), norms);
        let of_a = 2.0 * 15.0 * 2.0 * 4.0;
        assert_eq!(flops(Method::Lora) - flops(Method::LoraFa), of_a);
        let block = 3.0 * 2.0 * 15.0 * 2.0 * 8.0;
        assert_eq!(flops(Method::Miss), 2.0 * linear + block + 2.0 * head + 3.0 * pairs);
        let composed = 3.0 * 2.0 * 4.0 * 2.0 * 8.0;
        assert_eq!(flops(Method::Composed), 3.0 * linear + composed + 2.0 * head + 3.0 * pairs);
    }
}
