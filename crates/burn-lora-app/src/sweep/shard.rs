//! A share of a sweep's points, for a process among several.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::SweepError;

/// The points `index`, `index + count`, `index + 2 · count`, … of a grid; written `index/count`. The `count` shards of one count part
/// the grid: every point is of one of them. Where there are fewer points than shards, some have none.
///
/// ```
/// use burn_lora_app::sweep::Shard;
///
/// let shard: Shard = "1/3".parse()?;
/// let points: Vec<usize> = (0..7).filter(|&place| shard.has(place)).collect();
/// assert_eq!(points, [1, 4]);
/// # Ok::<(), burn_lora_app::sweep::SweepError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// All points.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// All shards of a count, in order.
    pub fn all(count: usize) -> impl Iterator<Item = Self> {
        (0..count).map(move |index| Self { index, count })
    }

    /// Which of the shards it is, counted from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// Whether it is all points.
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// Whether the point at this place of the grid, counted from 0, is one of its.
    pub fn has(self, place: usize) -> bool {
        place % self.count == self.index
    }

    /// Of what there is of every point of the grid, in its order, that of its own points, with their places.
    pub fn of<T>(self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = (usize, T)> {
        all.into_iter().enumerate().filter(move |(place, _)| self.has(*place))
    }
}

impl FromStr for Shard {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some((index.trim().parse().ok()?, count.trim().parse().ok()?))
        });
        match parts {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(SweepError::NoShard { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// As it is written.
impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "3/3", "0/0", "-1/2", "1/2/3", "a/b", "1/", "/2", "0.5/2"] {
            match text.parse::<Shard>() {
                Err(SweepError::NoShard { text: told }) => assert_eq!(told, text),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!("0/1".parse::<Shard>().unwrap(), Shard::WHOLE);
        assert_eq!(" 2 / 3 ".parse::<Shard>().unwrap().to_string(), "2/3");
    }

    proptest! {
        #[test]
        fn the_shards_of_a_count_part_the_grid(points in 0..200_usize, count in 1..50_usize) {
            let mut shards = vec![Vec::new(); points];
            for shard in Shard::all(count) {
                prop_assert_eq!(shard.to_string().parse::<Shard>().unwrap(), shard);
                for (_, shards) in shard.of(&mut shards) {
                    shards.push(shard.index());
                }
            }
            for (place, shards) in shards.iter().enumerate() {
                prop_assert_eq!(&shards[..], [place % count]);
            }
        }

        #[test]
        fn no_shard_has_two_points_more_than_another(points in 0..200_usize, count in 1..50_usize) {
            let sizes: Vec<usize> =
                Shard::all(count).map(|shard| shard.of(0..points).count()).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{sizes:?}");
        }
    }
}
