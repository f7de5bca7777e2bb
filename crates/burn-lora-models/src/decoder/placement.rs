//! Where the tokens of one forward pass stand: their positions, and which of them see which.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_lora::FrozenWeight;

use super::cache::KvCache;
use super::packed::Packed;
use crate::fused::{CacheRow, MASKED, unseen};

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

/// Which positions a block goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerPositions {
    /// Those of the pass.
    #[default]
    Common,
    /// Those of blocks with a window, where they have positions of their own.
    Local,
    /// None: it does not know where tokens stand.
    Unknown,
}

/// Where the tokens of one forward pass stand.
#[derive(Debug, Clone)]
pub struct Placement {
    stream: Positions,
    attended: Positions,
    /// Of what a pass makes beside its input: nothing of that is differentiated.
    device: Device,
    packed: Option<Packed>,
    cached: Option<Cached>,
}

/// What a pass over a cache has of it.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// What each row's slot holds, and gets.
    pub(super) rows: Vec<CacheRow>,
    /// Which keys a token must not see, where the attention wants to be told.
    pub(super) unseen: Option<Tensor<4, Bool>>,
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
                attended: positions,
                device,
                packed: None,
                cached: None,
            };
        };
        let rows = cache.take_up(lengths);
        let positions = positions(&rows, tokens);
        let unseen = unseen(&rows, tokens, &device);
        Self {
            stream: positions.clone(),
            attended: positions,
            device,
            packed: None,
            cached: Some(Cached { rows, unseen }),
        }
    }

    /// Rows of `tokens` columns that hold segments of these lengths, one after the other, then padding.
    pub(super) fn packed(tokens: usize, segments: &[Vec<usize>], device: &Device) -> Self {
        let packed = Packed::new(segments, tokens, device);
        let row = |lengths: &Vec<usize>| {
            let mut row: Vec<usize> = lengths.iter().flat_map(|&length| 0..length).collect();
            row.resize(tokens, 0);
            row
        };
        Self {
            stream: Positions::Each {
                positions: segments.iter().flat_map(row).collect(),
                columns: tokens,
            },
            attended: Positions::Range { first: 0, columns: packed.longest() },
            device: device.clone().without_autodiff(),
            packed: Some(packed),
            cached: None,
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

    /// Where constants of the pass are made.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Where the pass goes on from a cache.
    pub(super) fn cached(&self) -> Option<&Cached> {
        self.cached.as_ref()
    }

    /// Where rows hold several segments that attend to themselves alone.
    pub(super) fn segments(&self) -> Option<&Packed> {
        self.packed.as_ref()
    }
}

/// Positions of `tokens` new columns behind what rows hold already.
fn positions(rows: &[CacheRow], tokens: usize) -> Positions {
    let first = rows.first().map_or(0, |row| row.held);
    if rows.iter().all(|row| row.held == first) {
        return Positions::Range { first, columns: tokens };
    }
    let positions = rows.iter().flat_map(|row| row.held..row.held + tokens).collect();
    Positions::Each { positions, columns: tokens }
}

/// Token `t` sees the columns up to its own, of which so many as fit into the window: `[1, 1, tokens, tokens]`.
pub(super) fn causal(tokens: usize, window: Option<usize>, device: &Device) -> Tensor<4> {
    let sees = move |t: usize, s: usize| s <= t && window.is_none_or(|window| t - s < window);
    let values: Vec<f32> = (0..tokens)
        .flat_map(|t| (0..tokens).map(move |s| if sees(t, s) { 0.0 } else { MASKED }))
        .collect();
    Tensor::from_data(TensorData::new(values, [1, 1, tokens, tokens]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_on_where_it_has_ended() {
        let row = |held| CacheRow { held, new: 2 };
        let expected = vec![3, 4, 0, 1];
        let each = positions(&[row(3), row(0)], 2);
        assert_eq!(each, Positions::Each { positions: expected, columns: 2 });
        assert_eq!(positions(&[row(3), row(3)], 2), Positions::Range { first: 3, columns: 2 });
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
