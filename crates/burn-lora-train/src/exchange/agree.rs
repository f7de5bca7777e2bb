//! Whether all ranks stand on the same: settings and files before the first step, weights before a checkpoint.

use burn::module::Module;
use burn_lora_files::digest::Running;
use burn_lora_patch::trainable_tensors;

use super::Ranks;
use super::told::all;
use crate::TrainError;
use crate::checkpoint::Origin;

/// Sees to it that every rank has the settings, the data and the base of the first.
///
/// # Errors
///
/// One has not: it is named, with what is different.
pub(crate) fn agree_on_origin(ranks: &Ranks, mine: &Origin) -> Result<(), TrainError> {
    if ranks.are_one() {
        return Ok(());
    }
    let program = env!("CARGO_PKG_VERSION").to_owned();
    let told = all(ranks, &(program, mine.clone()))?;
    let Some(((program, first), others)) = told.split_first() else { return Ok(()) };
    for (rank, (other_program, other)) in (1..).zip(others) {
        let mut differences: Vec<String> =
            other.inputs.changes(&first.inputs).into_iter().map(|(_, line)| line).collect();
        if (other.seed, &other.settings) != (first.seed, &first.settings) {
            differences.insert(0, "the configuration is another".to_owned());
        }
        if other_program != program {
            differences.insert(0, format!("the program is {other_program} and not {program}"));
        }
        if !differences.is_empty() {
            return Err(TrainError::RankDiffers { rank, differences });
        }
    }
    Ok(())
}

/// Sees to it that what is trained has the same bits on all ranks.
///
/// # Errors
///
/// It has not on one; a tensor cannot be read.
pub(crate) fn agree_on_weights<M: Module>(
    ranks: &Ranks,
    model: &M,
    step: usize,
) -> Result<(), TrainError> {
    if ranks.are_one() {
        return Ok(());
    }
    let mut content = Running::default();
    for tensor in trainable_tensors(model)? {
        content.add(tensor.key.as_bytes());
        content.add(bytemuck::cast_slice(&tensor.values));
    }
    let digests = ranks.gather(content.so_far().sha256.as_bytes())?;
    match digests.iter().position(|digest| Some(digest) != digests.first()) {
        Some(rank) => Err(TrainError::RankDrifted { rank, step }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn_lora_files::digest::Digest;

    use super::*;
    use crate::exchange::ranks::tests::on_ranks;
    use crate::inputs::Inputs;

    fn origin(settings: &str, data: &str) -> Origin {
        let inputs = Inputs {
            data: [("rows.jsonl".to_owned(), Digest::of(data.as_bytes()))].into(),
            ..Inputs::default()
        };
        Origin { seed: 1, settings: settings.to_owned(), inputs }
    }

    #[test]
    fn the_rank_that_stands_on_something_else_is_named_with_what_that_is() {
        let agreed = on_ranks(3, |ranks| agree_on_origin(&ranks, &origin("s", "d")));
        assert!(agreed.into_iter().all(|agreed| agreed.is_ok()));
        let cases = [("other", "d", "configuration"), ("s", "other", "`rows.jsonl`")];
        for (settings, data, told) in cases {
            for refused in on_ranks(3, |ranks| {
                let mine = match ranks.rank() {
                    2 => origin(settings, data),
                    _ => origin("s", "d"),
                };
                agree_on_origin(&ranks, &mine)
            }) {
                match refused {
                    Err(TrainError::RankDiffers { rank: 2, differences }) => {
                        assert!(differences[0].contains(told), "{differences:?}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn weights_of_other_bits_are_no_checkpoint() {
        let ended = on_ranks(3, |ranks| {
            let device = burn_lora::device::parse("cpu").unwrap().autodiff();
            let mut model = LinearConfig::new(1, 1).init(&device);
            let value = if ranks.rank() == 1 { 0.5_f32.next_up() } else { 0.5 };
            model.weight = burn::module::Param::from_data([[value]], &device);
            model.bias = None;
            agree_on_weights(&ranks, &model, 7)
        });
        for ended in ended {
            assert!(
                matches!(ended, Err(TrainError::RankDrifted { rank: 1, step: 7 })),
                "{ended:?}"
            );
        }
    }
}
