//! Who started this process as one of many, as launchers tell it: in the environment.
//!
//! Read in this order, since a launcher inside of another knows better: Open MPI (`OMPI_COMM_WORLD_RANK`, `OMPI_COMM_WORLD_SIZE`), other
//! MPIs and SLURM's PMI (`PMI_RANK`, `PMI_SIZE`), SLURM (`SLURM_PROCID`, `SLURM_STEP_NUM_TASKS` or `SLURM_NTASKS`), and the names that
//! torchrun and Kubernetes' training jobs set (`RANK`, `WORLD_SIZE`, beside `MASTER_ADDR`). The script of a SLURM batch job is one
//! process, however many tasks the job has.

use std::rc::Rc;

use super::Exchange;

/// Which of how many processes this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// From 0.
    pub rank: usize,
    /// How many.
    pub size: usize,
    /// The variable that told the rank.
    pub told_by: &'static str,
}

/// Why a process that was started as one of many cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A variable does not hold what it should.
    #[error(
        "{variable} is `{value}`, which is no {what}: start with mpirun or srun, or take {variable} out of the environment"
    )]
    Value {
        /// Which one.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        what: &'static str,
    },
    /// This build has no exchange.
    #[error(
        "this is rank {} of {} ({} says so), and this build cannot exchange anything with the others: build with \
         `--features mpi`, or start one process",
        launch.rank, launch.size, launch.told_by
    )]
    NotCompiled {
        /// Which of how many.
        launch: Launch,
    },
    /// The launcher started more processes than MPI sees.
    #[error(
        "{} says that this is rank {} of {}, and MPI sees {seen}: start with the mpirun of the MPI that this was built with; under \
         SLURM `srun --mpi=pmix`, or `pmi2`, as `srun --mpi=list` has it",
        launch.told_by, launch.rank, launch.size
    )]
    OtherWorld {
        /// Which of how many, as the launcher says.
        launch: Launch,
        /// How many MPI sees.
        seen: usize,
    },
    /// What a run needs would have to come by standard input.
    #[error(
        "this is rank {} of {} ({} says so), and a launcher may give standard input to the first alone: write the configuration to a \
         file that every rank can read, and name that",
        launch.rank, launch.size, launch.told_by
    )]
    StandardInput {
        /// Which of how many.
        launch: Launch,
    },
    /// MPI was set up in this process before.
    #[error(
        "MPI was set up in this process before: join the other ranks once, and keep what comes of it"
    )]
    Twice,
}

/// What the environment tells; none where this process is alone.
///
/// # Errors
///
/// A variable that holds no number, or a rank that is none of so many.
pub fn told(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Launch>, LaunchError> {
    let number = |name: &'static str| -> Result<Option<usize>, LaunchError> {
        let what = "number of a process, or of processes";
        variable(name)
            .map(|value| {
                let number = value.trim().parse::<usize>();
                number.map_err(|_| LaunchError::Value { variable: name, value, what })
            })
            .transpose()
    };
    let batch_script =
        variable("ENVIRONMENT").as_deref() == Some("BATCH") && variable("SLURM_STEP_ID").is_none();
    let launchers: [(&'static str, &[&'static str], bool); 4] = [
        ("OMPI_COMM_WORLD_RANK", &["OMPI_COMM_WORLD_SIZE"], true),
        ("PMI_RANK", &["PMI_SIZE"], true),
        ("SLURM_PROCID", &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"], !batch_script),
        ("RANK", &["WORLD_SIZE"], variable("MASTER_ADDR").is_some()),
    ];
    for (told_by, sizes, holds) in launchers {
        if !holds || variable(told_by).is_none() {
            continue;
        }
        let Some(&size) = sizes.iter().find(|size| variable(size).is_some()) else { continue };
        let (Some(rank), Some(count)) = (number(told_by)?, number(size)?) else { continue };
        if rank >= count {
            let value = rank.to_string();
            let what = "rank of as many as there are";
            return Err(LaunchError::Value { variable: told_by, value, what });
        }
        return Ok((count > 1).then_some(Launch { rank, size: count, told_by }));
    }
    Ok(None)
}

/// Which of how many processes this one was started as; none where it is alone.
///
/// # Errors
///
/// Those of [`told`].
pub fn launched() -> Result<Option<Launch>, LaunchError> {
    told(|name| std::env::var(name).ok())
}

/// Joins the ranks that this process was started with; none where it is alone. Once in a process.
///
/// # Errors
///
/// What the environment tells cannot be, or is not what this build or MPI can do.
pub fn join() -> Result<Option<Rc<dyn Exchange>>, LaunchError> {
    let Some(launch) = launched()? else { return Ok(None) };
    joined(launch).map(Some)
}

#[cfg(feature = "mpi")]
fn joined(launch: Launch) -> Result<Rc<dyn Exchange>, LaunchError> {
    Ok(Rc::new(super::mpi::Mpi::new(launch)?))
}

#[cfg(not(feature = "mpi"))]
fn joined(launch: Launch) -> Result<Rc<dyn Exchange>, LaunchError> {
    Err(LaunchError::NotCompiled { launch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<Option<Launch>, LaunchError> {
        told(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn every_launcher_is_understood_alike() {
        let cases: [(&[(&str, &str)], &str); 5] = [
            (
                &[("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "4")],
                "OMPI_COMM_WORLD_RANK",
            ),
            (&[("PMI_RANK", "1"), ("PMI_SIZE", "4")], "PMI_RANK"),
            (&[("SLURM_PROCID", "1"), ("SLURM_NTASKS", "4")], "SLURM_PROCID"),
            (
                &[("SLURM_PROCID", "1"), ("SLURM_NTASKS", "8"), ("SLURM_STEP_NUM_TASKS", "4")],
                "SLURM_PROCID",
            ),
            (&[("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "10.0.0.1")], "RANK"),
        ];
        for (set, told_by) in cases {
            assert_eq!(of(set), Ok(Some(Launch { rank: 1, size: 4, told_by })), "{set:?}");
        }
    }

    #[test]
    fn a_launcher_inside_of_another_is_the_one_that_counts() {
        let set = [
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "2"),
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
        ];
        let launch = Launch { rank: 3, size: 4, told_by: "OMPI_COMM_WORLD_RANK" };
        assert_eq!(of(&set), Ok(Some(launch)));
    }

    #[test]
    fn one_process_is_alone_and_so_is_the_script_of_a_batch_job() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "1")]), Ok(None));
        assert_eq!(
            of(&[("RANK", "3"), ("WORLD_SIZE", "4")]),
            Ok(None),
            "any program may set these"
        );
        let batch = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("ENVIRONMENT", "BATCH")];
        assert_eq!(of(&batch), Ok(None));
        let step = [&batch[..], &[("SLURM_STEP_ID", "0")]].concat();
        assert!(matches!(of(&step), Ok(Some(Launch { rank: 0, size: 4, .. }))));
    }

    #[test]
    fn a_variable_that_holds_no_rank_is_named() {
        for (rank, size) in [("x", "4"), ("4", "4"), ("-1", "4")] {
            let error = of(&[("PMI_RANK", rank), ("PMI_SIZE", size)]).unwrap_err().to_string();
            assert!(error.contains("PMI_RANK") && error.contains(rank), "{error}");
        }
    }

    #[cfg(not(feature = "mpi"))]
    #[test]
    fn a_build_that_cannot_exchange_names_the_one_that_can() {
        let launch = Launch { rank: 1, size: 4, told_by: "SLURM_PROCID" };
        let error = joined(launch).err().unwrap().to_string();
        for word in ["--features mpi", "rank 1 of 4", "SLURM_PROCID"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
