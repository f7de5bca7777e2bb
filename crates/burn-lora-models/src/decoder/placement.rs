//! Where the tokens of one forward pass stand: their positions, and which of them see which.

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_lora::FrozenWeight;

use super::cache::KvCache;
use super::packed::Packed;

/// Added to a score that must not count: far below any score, and finite, so that a row of padding
/// with nothing to look at gives numbers (which nobody reads) instead of NaN.
const MASKED: f32 = -1e30;

/// Positions of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Positions {
    /// In every row from `first` on.
    Range {
        /// That of the first column.
        first: usize,
        /// How many columns.
        columns: usize,
    },
    /// Of each column of each row, row by row.
    Each {
        /// The positions, `rows · columns` of them.
        positions: Vec<usize>,
        /// How many columns.
        columns: usize,
    },
}

impl Positions {
    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        match self {
            Self::Range { columns, .. } | Self::Each { columns, .. } => *columns,
        }
    }

    /// The position after the last.
    pub(crate) fn end(&self) -> usize {
        match self {
            Self::Range { first, columns } => first + columns,
            Self::Each { positions, .. } => positions.iter().max().map_or(0, |last| last + 1),
        }
    }

    /// The rows of `table` (`[positions, d]`) at these positions, `[1 or batch, columns, d]` in f32.
    ///
    /// Padding past the table's end takes its last row: nobody reads what becomes of it.
    pub fn rows(&self, table: Tensor<2>) -> Tensor<3> {
        let device = table.device();
        let table = FrozenWeight::from(table);
        let [last, d] = table.dims();
        if let &Self::Range { first, columns } = self
            && first + columns <= last
        {
            return table.rows(first, columns).unsqueeze::<3>();
        }
        let index = |position: &usize| (*position).min(last - 1) as i32;
        let index: Vec<i32> = match self {
            Self::Range { first, columns } => {
                (*first..first + columns).map(|p| index(&p)).collect()
            }
            Self::Each { positions, .. } => positions.iter().map(index).collect(),
        };
        let rows = index.len().checked_div(self.columns()).unwrap_or(0);
        let data = TensorData::new(index, [rows * self.columns()]);
        let index = Tensor::<1, Int>::from_data(data, &device);
        table.gather(index).reshape([rows, self.columns(), d])
    }
}

/// Where the tokens of one forward pass stand.
#[derive(Debug, Clone)]
pub struct Placement {
    stream: Positions,
    attended: Positions,
    keys: Positions,
    cached: bool,
    /// Of what a pass makes beside its input: nothing of that is differentiated.
    device: Device,
    mask: Option<Tensor<4>>,
    packed: Option<Packed>,
}

impl Placement {
    /// `tokens` new columns, of which row `i` has `lengths[i]` tokens, then padding; after what the
    /// cache holds, which is told of them.
    pub(super) fn new(
        tokens: usize,
        lengths: &[usize],
        cache: Option<&mut KvCache>,
        device: &Device,
    ) -> Self {
        let device = device.clone().without_autodiff();
        let Some(cache) = cache else {
            // Padding is on the right and attention is causal: no token sees padding.
            let positions = Positions::Range { first: 0, columns: tokens };
            return Self {
                stream: positions.clone(),
                attended: positions.clone(),
                keys: positions,
                cached: false,
                device,
                mask: None,
                packed: None,
            };
        };
        let past = cache.len();
        cache.grow(tokens, lengths);
        let keys = positions(cache.rows());
        let stream = match &keys {
            Positions::Range { .. } => Positions::Range { first: past, columns: tokens },
            Positions::Each { positions, columns } => Positions::Each {
                positions: positions
                    .chunks(*columns)
                    .flat_map(|row| &row[past..])
                    .copied()
                    .collect(),
                columns: tokens,
            },
        };
        let mask = masked(cache.rows(), past, tokens, &device);
        Self { attended: stream.clone(), stream, keys, cached: true, device, mask, packed: None }
    }

    /// Rows of `tokens` columns that hold segments of these lengths, one after the other, then padding.
    pub(super) fn packed(tokens: usize, segments: &[Vec<usize>], device: &Device) -> Self {
        let packed = Packed::new(segments, tokens, device);
        let row = |lengths: &Vec<usize>| {
            let mut row: Vec<usize> = lengths.iter().flat_map(|&length| 0..length).collect();
            row.resize(tokens, 0);
            row
        };
        let attended = Positions::Range { first: 0, columns: packed.longest() };
        Self {
            stream: Positions::Each {
                positions: segments.iter().flat_map(row).collect(),
                columns: tokens,
            },
            keys: attended.clone(),
            attended,
            cached: false,
            device: device.clone().without_autodiff(),
            mask: None,
            packed: Some(packed),
        }
    }

    /// Positions of the columns of `ids`, as a table that is added to the embedding is asked for.
    pub fn stream(&self) -> &Positions {
        &self.stream
    }

    /// Positions of the rows that attention sees: those of the ids, or packed segments.
    pub fn attended(&self) -> &Positions {
        &self.attended
    }

    /// Positions of all that those rows see: the cached columns, then their own.
    pub fn keys(&self) -> &Positions {
        &self.keys
    }

    /// Added to the scores, `[1 or batch, 1, tokens, seen]`; none where all may see all, and without
    /// a cache, where the attention is causal by itself.
    pub(super) fn mask(&self) -> Option<&Tensor<4>> {
        self.mask.as_ref()
    }

    /// Where constants of the pass are made.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the pass goes on from a cache.
    pub(super) fn is_cached(&self) -> bool {
        self.cached
    }

    /// Where rows hold several segments that attend to themselves alone.
    pub(super) fn segments(&self) -> Option<&Packed> {
        self.packed.as_ref()
    }
}

/// Positions of columns some of which are padding: padding takes none.
fn positions(rows: &[Vec<bool>]) -> Positions {
    let columns = rows.first().map_or(0, Vec::len);
    if rows.iter().flatten().all(|&token| token) {
        return Positions::Range { first: 0, columns };
    }
    let row = |row: &Vec<bool>| {
        let mut next = 0;
        let position = |&token: &bool| {
            let position = next;
            next += usize::from(token);
            position
        };
        row.iter().map(position).collect::<Vec<usize>>()
    };
    Positions::Each { positions: rows.iter().flat_map(row).collect(), columns }
}

/// Token `t` sees the columns up to its own.
pub(super) fn causal(tokens: usize, device: &Device) -> Option<Tensor<4>> {
    (tokens > 1).then(|| {
        let values: Vec<f32> = (0..tokens)
            .flat_map(|t| (0..tokens).map(move |s| if s <= t { 0.0 } else { MASKED }))
            .collect();
        Tensor::from_data(TensorData::new(values, [1, 1, tokens, tokens]), device)
    })
}

/// Token `t` sees the tokens of its row, not its padding, up to its own column.
fn masked(rows: &[Vec<bool>], past: usize, tokens: usize, device: &Device) -> Option<Tensor<4>> {
    if past == 0 {
        return causal(tokens, device);
    }
    let seen = past + tokens;
    if tokens == 1 && rows.iter().flatten().all(|&token| token) {
        return None;
    }
    let mut values = Vec::with_capacity(rows.len() * tokens * seen);
    for row in rows {
        for t in 0..tokens {
            values.extend(row.iter().enumerate().map(|(s, &token)| match token && s <= past + t {
                true => 0.0,
                false => MASKED,
            }));
        }
    }
    let data = TensorData::new(values, [rows.len(), 1, tokens, seen]);
    Some(Tensor::from_data(data, device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_takes_no_position() {
        let rows = [vec![true, true, false, true], vec![true, false, false, true]];
        let positions = positions(&rows);
        let expected = vec![0, 1, 2, 2, 0, 1, 1, 1];
        assert_eq!(positions, Positions::Each { positions: expected, columns: 4 });
    }

    #[test]
    fn positions_start_again_with_every_segment_of_a_row() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let placement = Placement::packed(5, &[vec![2, 3], vec![4]], &device);
        let expected = vec![0, 1, 0, 1, 2, 0, 1, 2, 3, 0];
        assert_eq!(*placement.stream(), Positions::Each { positions: expected, columns: 5 });
        assert_eq!(*placement.attended(), Positions::Range { first: 0, columns: 4 });
    }
}
