//! `--filter rank=8,16`: which cells of a matrix to keep.

use std::str::FromStr;

use super::record::Cell;

/// An axis and the values that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    axis: Axis,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Model,
    Method,
    Rank,
    Backend,
    Dtype,
    Recompute,
    Batch,
    Length,
}

/// A filter that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No `axis=values`.
    #[error("`{0}` is no filter: write an axis and values, such as rank=8,16")]
    Form(String),
    /// No such axis.
    #[error(
        "there is no axis `{0}`: there are model, method, rank, backend, dtype, recompute, batch, length"
    )]
    Axis(String),
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let form = || FilterError::Form(text.to_owned());
        let (axis, values) = text.split_once('=').ok_or_else(form)?;
        let axis = match axis.trim() {
            "model" => Axis::Model,
            "method" => Axis::Method,
            "rank" => Axis::Rank,
            "backend" => Axis::Backend,
            "dtype" => Axis::Dtype,
            "recompute" => Axis::Recompute,
            "batch" => Axis::Batch,
            "length" => Axis::Length,
            other => return Err(FilterError::Axis(other.to_owned())),
        };
        let values: Vec<String> = values
            .split(',')
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect();
        match values.is_empty() {
            true => Err(form()),
            false => Ok(Self { axis, values }),
        }
    }
}

impl Filter {
    /// Whether the cell has one of the values. A cell without a rank passes every rank: it is what
    /// the ranks are compared with.
    pub fn keeps(&self, cell: &Cell) -> bool {
        let value = match self.axis {
            Axis::Model => cell.model.clone(),
            Axis::Method => cell.method.name().to_owned(),
            Axis::Rank => match cell.rank {
                Some(rank) => rank.to_string(),
                None => return true,
            },
            Axis::Backend => cell.backend.clone(),
            Axis::Dtype => cell.dtype.name().to_owned(),
            Axis::Recompute => cell.recompute.name().to_owned(),
            Axis::Batch => cell.batch.to_string(),
            Axis::Length => cell.length.to_string(),
        };
        self.values.contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_with_what_would_be() {
        for text in ["rank", "rank=", "rank= , "] {
            assert_eq!(text.parse::<Filter>(), Err(FilterError::Form(text.to_owned())));
        }
        assert_eq!("ranks=8".parse::<Filter>(), Err(FilterError::Axis("ranks".to_owned())));
    }
}
