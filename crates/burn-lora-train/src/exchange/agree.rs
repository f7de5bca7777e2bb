//! Whether all ranks stand on the same: settings and files before the first step, weights before a checkpoint.

use burn::module::Module;
use burn_lora_config::RunConfig;
use burn_lora_files::digest::Running;
use burn_lora_patch::trainable_tensors;

use super::Ranks;
use super::told::all;
use crate::TrainError;
use crate::inputs::Inputs;

/// Sees to it that every rank has the configuration, the data and the base of the first. All of the configuration: what is only
/// measured or shown decides what is exchanged, and when.
///
/// # Errors
///
/// One has not: it is named, with what is different.
pub(crate) fn agree_on_origin(
    ranks: &Ranks,
    config: &RunConfig,
    inputs: &Inputs,
) -> Result<(), TrainError> {
    if ranks.are_one() {
        return Ok(());
    }
    // Every rank has a device and threads of its own.
    let mut config = config.clone();
    (config.train.device, config.train.threads) = ("auto".to_owned(), None);
    let program = format!("program = {}\n", env!("CARGO_PKG_VERSION"));
    let told = all(ranks, &(program + &config.to_toml()?, inputs.clone()))?;
    let Some(((settings, inputs), others)) = told.split_first() else { return Ok(()) };
    for (rank, (other_settings, other_inputs)) in (1..).zip(others) {
        let files = other_inputs.changes(inputs).into_iter().map(|(_, line)| line);
        let lines = (other_settings != settings).then(|| other_lines(other_settings, settings));
        let differences: Vec<String> = lines.into_iter().chain(files).collect();
        if !differences.is_empty() {
            return Err(TrainError::RankDiffers { rank, differences });
        }
    }
    Ok(())
}

/// `it has seed = 3 in the place of seed = 0`, of the lines that are not the same.
fn other_lines(other: &str, first: &str) -> String {
    let only = |of: &str, not: &str| {
        let lines = of.lines().filter(|line| !not.lines().any(|other| other == *line));
        let lines: Vec<&str> = lines.collect();
        if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") }
    };
    format!("it has {} in the place of {}", only(other, first), only(first, other))
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

    fn config(more: &[&str]) -> RunConfig {
        let more: Vec<String> = more.iter().map(|&set| set.to_owned()).collect();
        let text =
            "[model]\npath = 'm'\n[data]\ntrain = 't'\n[train]\nsteps = 3\n[output]\ndir = 'o'\n";
        RunConfig::parse(text, "run.toml", &more).unwrap()
    }

    fn inputs(rows: &str) -> Inputs {
        let data = [("rows.jsonl".to_owned(), Digest::of(rows.as_bytes()))].into();
        Inputs { data, ..Inputs::default() }
    }

    #[test]
    fn the_rank_that_stands_on_something_else_is_named_with_what_that_is() {
        let agreed = on_ranks(3, |ranks| {
            let device = ["train.device=\"cuda:1\""];
            let device = if ranks.rank() == 1 { &device[..] } else { &[] };
            agree_on_origin(&ranks, &config(device), &inputs("d"))
        });
        assert!(agreed.into_iter().all(|agreed| agreed.is_ok()));
        // What decides no step decides how many there are, and when ranks meet.
        let cases: [(&[&str], &str, &str); 3] = [
            (&["train.seed=3"], "d", "it has seed = 3 in the place of seed = 0"),
            (&["train.steps=4"], "d", "it has steps = 4 in the place of steps = 3"),
            (&[], "e", "`rows.jsonl` has other content"),
        ];
        for (more, rows, told) in cases {
            for refused in on_ranks(3, |ranks| {
                let (more, rows) = if ranks.rank() == 2 { (more, rows) } else { (&[][..], "d") };
                agree_on_origin(&ranks, &config(more), &inputs(rows))
            }) {
                match refused {
                    Err(TrainError::RankDiffers { rank: 2, differences }) => {
                        assert_eq!(differences, [told]);
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
