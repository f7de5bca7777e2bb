//! Rows longer than the model is to read.

use crate::error::DataError;
use crate::report::DataReport;
use crate::row::Place;
use crate::row_file::RowFile;

/// What becomes of a row with more tokens than are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverLong {
    /// What goes beyond is cut away.
    #[default]
    Cut,
    /// The row is left out and counted.
    Drop,
    /// The whole file is refused, with the places of such rows.
    Refuse,
}

impl OverLong {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Cut, Self::Drop, Self::Refuse];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Drop => "drop",
            Self::Refuse => "refuse",
        }
    }
}

/// The longest row allowed, and what becomes of longer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The longest row in tokens.
    pub max_length: usize,
    /// What becomes of longer rows.
    pub over_long: OverLong,
}

impl From<usize> for Limit {
    /// At most so many tokens; longer rows are cut.
    fn from(max_length: usize) -> Self {
        Self { max_length, over_long: OverLong::Cut }
    }
}

/// A row that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongRow {
    /// Where it stands.
    pub place: Place,
    /// Its tokens.
    pub length: usize,
}

/// Lets the rows of a file through or not, and keeps count.
pub(crate) struct Gate {
    limit: Limit,
    refused: Vec<LongRow>,
}

impl Gate {
    pub(crate) fn new(limit: Limit) -> Self {
        Self { limit, refused: Vec::new() }
    }

    /// Whether a row of this length is used, cut if it is too long.
    pub(crate) fn admit(&mut self, place: &Place, length: usize, report: &mut DataReport) -> bool {
        if length <= self.limit.max_length {
            return true;
        }
        match self.limit.over_long {
            OverLong::Cut => report.cut += 1,
            OverLong::Drop => report.dropped += 1,
            OverLong::Refuse => self.refused.push(LongRow { place: place.clone(), length }),
        }
        self.limit.over_long == OverLong::Cut
    }

    /// The error that refused rows come to, once all rows were seen.
    pub(crate) fn close(self, file: &RowFile) -> Result<(), DataError> {
        if self.refused.is_empty() {
            return Ok(());
        }
        Err(DataError::OverLong {
            path: file.path.clone(),
            rows: self.refused,
            max_length: self.limit.max_length,
        })
    }
}
