//! What must be equal for two figures to be compared: model, backend, batch and length.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::bench::record::{Cell, Method};
use crate::bench::statistics::Summary;

/// A cell without its method and rank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conditions {
    /// The model's name.
    pub model: String,
    /// The backend's name.
    pub backend: String,
    /// Rows of a batch.
    pub batch: usize,
    /// Tokens of a row.
    pub length: usize,
}

impl Conditions {
    /// Those of a cell.
    pub fn of(cell: &Cell) -> Self {
        let Cell { model, backend, batch, length, .. } = cell.clone();
        Self { model, backend, batch, length }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}x{}", self.model, self.backend, self.batch, self.length)
    }
}

/// A method with its rank: `lora r=16`, `full`.
pub fn way(method: Method, rank: Option<usize>) -> String {
    match rank {
        Some(rank) => format!("{} r={rank}", method.name()),
        None => method.name().to_owned(),
    }
}

/// The cells that share conditions, in the order in which they are found.
pub fn by_conditions(found: &[Summary]) -> Vec<(Conditions, Vec<&Summary>)> {
    let mut groups: Vec<(Conditions, Vec<&Summary>)> = Vec::new();
    for summary in found {
        let conditions = Conditions::of(&summary.cell);
        match groups.iter_mut().find(|(of, _)| *of == conditions) {
            Some((_, group)) => group.push(summary),
            None => groups.push((conditions, vec![summary])),
        }
    }
    groups
}

/// From the smallest model to the largest; the cells of a model stay in order.
pub fn by_size(mut found: Vec<Summary>) -> Vec<Summary> {
    let sizes: BTreeMap<String, u64> =
        sizes(&found).into_iter().map(|(model, size)| (model.to_owned(), size)).collect();
    found.sort_by_key(|summary| sizes.get(&summary.cell.model).copied());
    found
}

/// The size of each model: the fewest parameters any of its cells counts, for adapters add to them.
pub fn sizes(found: &[Summary]) -> BTreeMap<&str, u64> {
    let mut sizes = BTreeMap::new();
    for summary in found {
        for process in &summary.processes {
            let size = sizes.entry(summary.cell.model.as_str()).or_insert(process.parameters);
            *size = process.parameters.min(*size);
        }
    }
    sizes
}

/// The rank of LoRA that stands for LoRA: the one measured under most conditions.
pub fn usual_rank(found: &[Summary]) -> Option<usize> {
    let mut ranks: BTreeMap<usize, BTreeSet<Conditions>> = BTreeMap::new();
    for summary in found.iter().filter(|summary| summary.cell.method == Method::Lora) {
        if let Some(rank) = summary.cell.rank {
            ranks.entry(rank).or_default().insert(Conditions::of(&summary.cell));
        }
    }
    // Of equally frequent ones the smallest: the last maximum in descending order.
    ranks.into_iter().rev().max_by_key(|(_, conditions)| conditions.len()).map(|(rank, _)| rank)
}

/// Two methods under equal conditions.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// LoRA through the factored path.
    pub lora: &'a Summary,
    /// What it is compared with.
    pub other: &'a Summary,
}

/// LoRA and full fine-tuning: one pair per conditions, at the usual rank, or the smallest where
/// that one is missing.
pub fn with_full(found: &[Summary]) -> Vec<Pair<'_>> {
    let usual = usual_rank(found);
    let pair = |group: &Vec<&'_ Summary>| -> Option<(usize, usize)> {
        let position = |method, rank: Option<usize>| {
            group.iter().position(|summary| {
                summary.cell.method == method && (rank.is_none() || summary.cell.rank == rank)
            })
        };
        // Cells are in order of rank, so that any rank is the smallest.
        let lora = position(Method::Lora, usual).or_else(|| position(Method::Lora, None))?;
        Some((lora, position(Method::Full, None)?))
    };
    by_conditions(found)
        .iter()
        .filter_map(|(_, group)| {
            pair(group).map(|(lora, other)| Pair { lora: group[lora], other: group[other] })
        })
        .collect()
}

/// LoRA and Burn's composed path, at every rank that both were measured at.
pub fn with_composed(found: &[Summary]) -> Vec<Pair<'_>> {
    let composed = |lora: &Summary| {
        let cell = Cell { method: Method::Composed, ..lora.cell.clone() };
        found.iter().find(|summary| summary.cell == cell)
    };
    found
        .iter()
        .filter(|summary| summary.cell.method == Method::Lora)
        .filter_map(|lora| Some(Pair { lora, other: composed(lora)? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Line;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn pairs_are_made_under_equal_conditions_at_the_usual_rank() {
        let lines = [
            sample(Method::Lora, Some(2), 0, &[1.0]),
            sample(Method::Lora, Some(8), 0, &[1.0]),
            sample(Method::Full, None, 0, &[3.0]),
            sample(Method::Composed, Some(8), 0, &[2.0]),
        ];
        let found = summaries(&lines);
        // Both ranks were measured once: the smaller one stands for LoRA.
        assert_eq!(usual_rank(&found), Some(2));
        let [full] = &with_full(&found)[..] else { panic!("one pair") };
        assert_eq!((full.lora.cell.rank, full.other.cell.method), (Some(2), Method::Full));
        let [composed] = &with_composed(&found)[..] else { panic!("one pair") };
        assert_eq!((composed.lora.cell.rank, composed.other.cell.rank), (Some(8), Some(8)));
        assert_eq!(by_conditions(&found).len(), 1);
        assert_eq!(sizes(&found)["tiny"], 1000);
    }

    #[test]
    fn models_are_put_in_order_of_their_size() {
        let mut lines = Vec::new();
        for (model, parameters) in [("a-11m", 11), ("b-1m", 1), ("c-35m", 35)] {
            for rank in [1, 2] {
                let Line::Sample(mut one) = sample(Method::Lora, Some(rank), 0, &[1.0]) else {
                    panic!("a sample")
                };
                one.cell.model = model.to_owned();
                one.measured.parameters = parameters + rank as u64;
                lines.push(Line::Sample(one));
            }
        }
        let order: Vec<(String, Option<usize>)> = by_size(summaries(&lines))
            .into_iter()
            .map(|summary| (summary.cell.model, summary.cell.rank))
            .collect();
        let models: Vec<&str> = order.iter().map(|(model, _)| model.as_str()).collect();
        assert_eq!(models, ["b-1m", "b-1m", "a-11m", "a-11m", "c-35m", "c-35m"]);
        assert_eq!((order[0].1, order[1].1), (Some(1), Some(2)));
    }
}
