//! What the command line offers where a library says no: the flags and verbs of this binary.

use burn_lora_app::AppError;
use burn_lora_app::sweep::SweepError;
use burn_lora_train::TrainError;

/// What to type, if there is something.
pub fn hint(error: &AppError) -> Option<String> {
    match error {
        AppError::Train(error) => of_run(error),
        AppError::Sweep(error) => of_sweep(error),
        AppError::UnknownAdapter { .. } => {
            Some("`--adapter NAME=DIR` brings another one".to_owned())
        }
        AppError::MergeDiffers { .. } => {
            Some("`--tolerance` allows more, and without `--verify` nothing is compared".to_owned())
        }
        _ => None,
    }
}

fn of_run(error: &TrainError) -> Option<String> {
    match error {
        TrainError::Exists { .. } => {
            Some("`--resume` goes on with it, `--overwrite` starts over".to_owned())
        }
        TrainError::NothingToResume { .. } => Some("leave `--resume` out".to_owned()),
        TrainError::NotFetched { name } => Some(format!("run `burn-lora fetch {name}` first")),
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

fn of_sweep(error: &SweepError) -> Option<String> {
    match error {
        SweepError::Open { .. }
        | SweepError::Empty { .. }
        | SweepError::Twice { .. }
        | SweepError::Directories => {
            Some("an axis is one `--set KEY=VALUE,VALUE`, and one value an override".to_owned())
        }
        SweepError::Differs { .. } => Some("`--out` names another directory".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
        check(TrainError::Exists { dir: dir() }, &["--resume", "--overwrite"]);
        check(TrainError::NothingToResume { dir: dir() }, &["--resume"]);
        check(TrainError::NotFetched { name: "org/a".into() }, &["burn-lora fetch org/a"]);
        let too_large = TrainError::TooLarge { needed: 2, free: 1, suggestion: None };
        check(too_large, &["burn-lora plan", "--no-memory-check"]);
        check(SweepError::Open { set: "a=[".into() }, &["--set KEY=VALUE,VALUE"]);
        check(SweepError::Directories, &["--set"]);
        check(SweepError::Differs { runs: vec![(dir(), vec!["a: 1 -> 2".into()])] }, &["--out"]);
        let (difference, tolerance) = (1.0, 0.5);
        check(AppError::MergeDiffers { difference, tolerance }, &["--tolerance", "--verify"]);
        let adapter = AppError::UnknownAdapter { name: "a".into(), known: "b".into() };
        check(adapter, &["--adapter NAME=DIR"]);
    }

    #[test]
    fn what_no_flag_helps_with_gets_none() {
        assert_eq!(hint(&AppError::Exists { out: "a".into() }), None);
        assert_eq!(hint(&TrainError::Packing.into()), None);
    }
}
