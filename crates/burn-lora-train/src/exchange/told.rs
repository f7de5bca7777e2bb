//! What ranks tell each other as text: measures of an evaluation, generated texts, a checkpoint.

use burn_lora_files as files;
use burn_lora_report::sample::Sample;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::Ranks;
use crate::TrainError;
use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::metrics::Tally;

/// What every rank tells, in their order.
///
/// # Errors
///
/// A rank has ended, is gone, or is another program.
pub(super) fn all<T: Serialize + DeserializeOwned>(
    ranks: &Ranks,
    mine: &T,
) -> Result<Vec<T>, TrainError> {
    let text = serde_json::to_vec(mine).map_err(TrainError::burn("telling the other ranks"))?;
    let read = |text: Vec<u8>| {
        serde_json::from_slice(&text).map_err(TrainError::burn("hearing from the other ranks"))
    };
    ranks.gather(&text)?.into_iter().map(read).collect()
}

/// The pieces of all ranks in the order in which they were dealt out in turn.
fn in_turn<T>(of_ranks: Vec<Vec<T>>) -> Vec<T> {
    let count = of_ranks.iter().map(Vec::len).sum();
    let mut of_ranks: Vec<_> = of_ranks.into_iter().map(Vec::into_iter).collect();
    let size = of_ranks.len().max(1);
    (0..count).filter_map(|index| of_ranks.get_mut(index % size)?.next()).collect()
}

/// The measures of a batch, exactly: the loss by its bits.
#[derive(Serialize, Deserialize)]
struct Measures {
    loss: u64,
    correct: usize,
    targets: usize,
    tokens: usize,
}

/// The measures of all batches of an evaluation, in order, of those that each rank has measured in its turn.
///
/// # Errors
///
/// A rank has ended, or is gone.
pub(crate) fn tallies(ranks: &Ranks, mine: Vec<Tally>) -> Result<Vec<Tally>, TrainError> {
    if ranks.are_one() {
        return Ok(mine);
    }
    let told = |Tally { loss, correct, targets, tokens }: Tally| {
        let loss = loss.to_bits();
        Measures { loss, correct, targets, tokens }
    };
    let heard = |Measures { loss, correct, targets, tokens }: Measures| {
        let loss = f64::from_bits(loss);
        Tally { loss, correct, targets, tokens }
    };
    let mine: Vec<Measures> = mine.into_iter().map(told).collect();
    Ok(in_turn(all(ranks, &mine)?).into_iter().map(heard).collect())
}

/// The texts for all prompts, in order, of those that each rank has generated in its turn.
///
/// # Errors
///
/// A rank has ended, or is gone.
pub(crate) fn samples(ranks: &Ranks, mine: Vec<Sample>) -> Result<Vec<Sample>, TrainError> {
    if ranks.are_one() {
        return Ok(mine);
    }
    type Texts = (String, String, Vec<String>, String);
    let told = |sample: Sample| -> Texts {
        (sample.prompt, sample.expected, sample.alternatives, sample.output)
    };
    let mine: Vec<Texts> = mine.into_iter().map(told).collect();
    let heard = |(prompt, expected, alternatives, output): Texts| Sample {
        prompt,
        expected,
        alternatives,
        before: None,
        output,
    };
    Ok(in_turn(all(ranks, &mine)?).into_iter().map(heard).collect())
}

/// The checkpoint that the first rank goes on from, on all of them; on the others it lies in the directory that comes with it, since
/// their machines may not have the run's. Its files are compared with its manifest there once more.
///
/// # Errors
///
/// A file cannot be read or written; a rank has ended, or is gone.
pub(crate) fn checkpoint_of_first(
    ranks: &Ranks,
    here: Option<Checkpoint>,
) -> Result<(Option<Checkpoint>, Option<TempDir>), TrainError> {
    if ranks.are_one() {
        return Ok((here, None));
    }
    let place = here.as_ref().map(|checkpoint| checkpoint.path.clone());
    let names = place.as_ref().map(|place| files::names(place)).transpose()?;
    let of_first = all(ranks, &names)?.into_iter().next().flatten();
    let Some(names) = of_first else { return Ok((None, None)) };
    let scratch = if ranks.is_first() { None } else { Some(temporary()?) };
    let step = here.as_ref().map_or(0, |checkpoint| checkpoint.step);
    let step = all(ranks, &step)?.into_iter().next().unwrap_or_default();
    for name in names {
        let bytes = match &place {
            Some(place) => files::read(&place.join(&name))?,
            None => Vec::new(),
        };
        let bytes = ranks.of_first(&bytes)?;
        if let Some(scratch) = &scratch {
            files::write(&Checkpoints::place(scratch.path(), step).join(&name), &bytes)?;
        }
    }
    match scratch {
        None => Ok((here, None)),
        Some(scratch) => Ok((Checkpoints::new(scratch.path(), 1).newest()?, Some(scratch))),
    }
}

fn temporary() -> Result<TempDir, TrainError> {
    let parent = std::env::temp_dir();
    tempfile::tempdir_in(&parent).map_err(TrainError::io("write", parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ranks::tests::on_ranks;

    #[test]
    fn what_is_dealt_out_in_turn_comes_back_in_order() {
        assert_eq!(in_turn(vec![vec![0, 3, 6], vec![1, 4], vec![2, 5]]), [0, 1, 2, 3, 4, 5, 6]);
        assert!(in_turn::<u8>(vec![vec![], vec![]]).is_empty());
    }

    #[test]
    fn every_rank_has_the_measures_of_all_bit_for_bit() {
        let tally = |index: usize| Tally {
            loss: if index == 3 { f64::NAN } else { 0.1 * index as f64 },
            correct: index,
            targets: 2,
            tokens: 3,
        };
        let all: Vec<Tally> = (0..5).map(tally).collect();
        for heard in on_ranks(2, |ranks| {
            let mine = all.iter().copied().skip(ranks.rank()).step_by(ranks.size());
            tallies(&ranks, mine.collect()).unwrap()
        }) {
            let bits = |tallies: &[Tally]| -> Vec<(u64, usize)> {
                tallies.iter().map(|tally| (tally.loss.to_bits(), tally.correct)).collect()
            };
            assert_eq!(bits(&heard), bits(&all));
        }
    }

    #[test]
    fn the_other_ranks_get_the_checkpoint_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        crate::checkpoint::of_nothing(dir.path(), 12);
        let steps = on_ranks(3, |ranks| {
            let here = ranks
                .is_first()
                .then(|| Checkpoints::new(dir.path(), 1).newest().unwrap().unwrap());
            let (checkpoint, scratch) = checkpoint_of_first(&ranks, here).unwrap();
            assert_eq!(scratch.is_none(), ranks.is_first());
            checkpoint.unwrap().step
        });
        assert_eq!(steps, [12; 3]);
        let none = on_ranks(2, |ranks| checkpoint_of_first(&ranks, None).unwrap().0);
        assert_eq!(none, [None, None]);
    }
}
