//! What the command line offers where a library says no: the flags and verbs of this binary.

use burn_lora::device::DeviceError;
use burn_lora_app::AppError;
use burn_lora_app::combine::{Combination, CombineProblem, PatchError};
use burn_lora_app::export::ReaderProblem;
use burn_lora_app::sweep::SweepError;
use burn_lora_train::TrainError;

/// What to type, if there is something.
pub fn hint(error: &AppError) -> Option<String> {
    match error {
        AppError::Train(error) => of_run(error),
        AppError::Sweep(error) => of_sweep(error),
        AppError::Device(error) => of_device(error),
        AppError::OutputExists { .. } => Some("`--overwrite` replaces it".to_owned()),
        AppError::UnknownAdapter { .. } => {
            Some("`--adapter NAME=DIR` brings another one".to_owned())
        }
        AppError::NoBase { .. } => Some("`--base DIR` names it".to_owned()),
        AppError::MergeDiffers { .. } => {
            Some("`--tolerance` allows more, and without `--verify` nothing is compared".to_owned())
        }
        _ => None,
    }
}

fn of_run(error: &TrainError) -> Option<String> {
    match error {
        TrainError::Exists { resumable: true, removable: true, .. } => {
            Some("`--resume` goes on with it, `--overwrite` starts over".to_owned())
        }
        TrainError::Exists { resumable: true, removable: false, .. } => {
            Some("`--resume` goes on with it".to_owned())
        }
        TrainError::Exists { removable: true, .. } => Some("`--overwrite` starts over".to_owned()),
        TrainError::NothingToResume { .. } => {
            Some("`--overwrite` in the place of `--resume` starts over".to_owned())
        }
        TrainError::Checkpoint { whole: None, .. } => {
            Some("`--overwrite` in the place of `--resume` starts over".to_owned())
        }
        TrainError::Metrics { .. } => {
            Some("`--allow-changed metrics` goes on with what is left of it".to_owned())
        }
        TrainError::InputsChanged { kinds, .. } => {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            Some(format!("`--allow-changed {}` goes on all the same", kinds.join(",")))
        }
        TrainError::ResumeDiffers { lengths_only: true, .. } => {
            Some("`--extend` takes more steps than the run was to take".to_owned())
        }
        TrainError::Device(error) => of_device(error),
        TrainError::DeviceLost { .. } => Some(format!("{SERVE}; `--resume` goes on with a run")),
        TrainError::NothingHeldOut { .. } => Some("`--set data.eval=FILE` names them".to_owned()),
        TrainError::Patch(PatchError::Combine(problem)) => of_combining(problem),
        TrainError::Patch(PatchError::Reader(problem)) => Some(of_reading(problem)),
        TrainError::NotFetched { name, .. } => Some(format!("run `burn-lora fetch {name}` first")),
        TrainError::TooLarge { suggestion, .. } => {
            let fits = suggestion.as_ref().map_or_else(String::new, |suggestion| {
                let sets: Vec<String> =
                    suggestion.overrides().iter().map(|set| format!("--set {set}")).collect();
                format!("add `{}`; ", sets.join(" "))
            });
            Some(format!(
                "{fits}`burn-lora plan` shows what needs it, and `--no-memory-check` starts all the same"
            ))
        }
        _ => None,
    }
}

/// What lends a device.
const SERVE: &str = "`burn-lora serve-device --listen HOST:PORT --device DEVICE` serves one";

fn of_device(error: &DeviceError) -> Option<String> {
    matches!(error, DeviceError::Unreachable { .. }).then(|| SERVE.to_owned())
}

fn of_combining(problem: &CombineProblem) -> Option<String> {
    match problem {
        CombineProblem::Ranks { combination, .. } => {
            let cut = match combination {
                Combination::Linear => "svd".to_owned(),
                other => format!("{other}_svd"),
            };
            Some(format!("`--method cat` or `--method {cut}`"))
        }
        CombineProblem::Density { .. } => Some("`--density 0.5` keeps half".to_owned()),
        CombineProblem::Weights { .. } => Some("`--weights 0.7,0.4` are two".to_owned()),
        CombineProblem::OneAdapter => Some("`burn-lora compress` cuts one to a rank".to_owned()),
        CombineProblem::Kind { .. } => {
            Some("`burn-lora merge` writes the merged model, `burn-lora extract BASE MERGED` the adapter".to_owned())
        }
        _ => None,
    }
}

fn of_reading(problem: &ReaderProblem) -> String {
    match problem {
        ReaderProblem::Rank { most, .. } => {
            format!("`burn-lora compress ADAPTER --rank {most}` does that")
        }
        ReaderProblem::Kind { .. }
        | ReaderProblem::Parameters { .. }
        | ReaderProblem::Table { .. } => {
            "`burn-lora merge` writes the merged model, `burn-lora extract BASE MERGED` the adapter"
                .to_owned()
        }
        _ => {
            "`burn-lora merge` writes the merged model, `burn-lora export --gguf` as one GGUF file"
                .to_owned()
        }
    }
}

fn of_sweep(error: &SweepError) -> Option<String> {
    match error {
        SweepError::Open { .. }
        | SweepError::Empty { .. }
        | SweepError::Twice { .. }
        | SweepError::Directories => {
            Some("an axis is one `--set KEY=VALUE,VALUE`, and one value an override".to_owned())
        }
        SweepError::Differs { .. } => Some("`--out` names another directory".to_owned()),
        SweepError::NothingToGather { .. } => {
            Some("`--set` gives the axes, and `--out` the directory".to_owned())
        }
        SweepError::NoProgram { .. } => {
            Some("`--shard I/N` runs a share of the points wherever it is started".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use burn_lora_app::export::Reader;
    use burn_lora_train::inputs::Changed;

    use super::*;

    fn check(error: impl Into<AppError>, parts: &[&str]) {
        let error = error.into();
        let hint = hint(&error).unwrap_or_default();
        for part in parts {
            assert!(hint.contains(part), "{part} is not in {hint:?} of {error}");
            assert!(!error.to_string().contains(part), "{part} is the command line's: {error}");
        }
    }

    #[test]
    fn what_a_library_refuses_is_met_with_the_flag_that_helps() {
        let dir = || "runs/x".into();
        let exists = |resumable| TrainError::Exists { dir: dir(), resumable, removable: true };
        check(exists(true), &["--resume", "--overwrite"]);
        check(exists(false), &["--overwrite"]);
        check(TrainError::NothingToResume { dir: dir() }, &["--overwrite"]);
        let checkpoint = TrainError::Checkpoint {
            path: dir(),
            file: "state.json".into(),
            reason: "is not there".into(),
            whole: None,
        };
        check(checkpoint, &["--overwrite"]);
        let metrics = TrainError::Metrics { path: dir(), line: 3, reason: "is torn".into() };
        check(metrics, &["--allow-changed metrics"]);
        let kinds = vec![Changed::Data, Changed::Base];
        let changed = TrainError::InputsChanged { dir: dir(), changes: vec![], kinds };
        check(changed, &["--allow-changed data,base"]);
        let differences = vec!["train.steps: 3 -> 9".into()];
        let longer = TrainError::ResumeDiffers { dir: dir(), differences, lengths_only: true };
        check(longer, &["--extend"]);
        check(TrainError::NothingHeldOut { dir: dir() }, &["--set data.eval=FILE"]);
        check(
            TrainError::NotFetched { name: "org/a".into(), note: String::new() },
            &["burn-lora fetch org/a"],
        );
        let too_large = TrainError::TooLarge { needed: 2, free: 1, suggestion: None };
        check(too_large, &["burn-lora plan", "--no-memory-check"]);
        check(SweepError::Open { set: "a=[".into() }, &["--set KEY=VALUE,VALUE"]);
        check(SweepError::Directories, &["--set"]);
        check(SweepError::Differs { runs: vec![(dir(), vec!["a: 1 -> 2".into()])] }, &["--out"]);
        check(SweepError::NothingToGather { dir: dir() }, &["--set", "--out"]);
        let source = std::io::ErrorKind::NotFound.into();
        let missing = SweepError::NoProgram { program: "sbatch", source, advice: "ask for it" };
        check(missing, &["--shard I/N"]);
        let (difference, tolerance) = (1.0, 0.5);
        check(AppError::MergeDiffers { difference, tolerance }, &["--tolerance", "--verify"]);
        let ranks = CombineProblem::Ranks {
            layer: "a".into(),
            combination: Combination::Ties,
            ranks: vec![2, 4],
        };
        let combined = |problem| TrainError::Patch(PatchError::Combine(problem));
        check(combined(ranks), &["--method cat", "--method ties_svd"]);
        check(combined(CombineProblem::OneAdapter), &["burn-lora compress"]);
        let rank = ReaderProblem::Rank { dir: dir(), layer: "a".into(), rank: 600, most: 512 };
        check(TrainError::Patch(rank.into()), &["burn-lora compress", "--rank 512"]);
        let (reader, title) = (Reader::Vllm, "DoRA");
        let kind = ReaderProblem::Kind { dir: dir(), reader, title };
        check(TrainError::Patch(kind.into()), &["burn-lora merge", "burn-lora extract"]);
        let bias = ReaderProblem::Bias { dir: dir(), reader, bias: "all".into() };
        check(TrainError::Patch(bias.into()), &["burn-lora merge"]);
        check(AppError::NoBase { adapter: dir() }, &["--base DIR"]);
        let weights = CombineProblem::Weights { given: 1, adapters: 2 };
        check(combined(weights), &["--weights"]);
        let unreachable =
            DeviceError::Unreachable { name: "remote://a:1".into(), reason: "refused".into() };
        check(unreachable.clone(), &["burn-lora serve-device"]);
        check(TrainError::from(unreachable), &["burn-lora serve-device"]);
        let lost = TrainError::DeviceLost { address: "a:1".into() };
        check(lost, &["burn-lora serve-device", "--resume"]);
        let adapter = AppError::UnknownAdapter { name: "a".into(), known: "b".into() };
        check(adapter, &["--adapter NAME=DIR"]);
        check(AppError::OutputExists { path: "a".into() }, &["--overwrite"]);
    }

    #[test]
    fn what_no_flag_helps_with_gets_none() {
        assert_eq!(hint(&AppError::Exists { out: "a".into() }), None);
        assert_eq!(hint(&TrainError::Packing.into()), None);
    }
}
