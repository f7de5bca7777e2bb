//! `--on`: the scheduler that runs a sweep's points, and what is said to it.

use std::ffi::OsString;
use std::path;

use burn_lora_app::AppError;
use burn_lora_app::sweep::{self, Here, Launch, Ray, Scheduler, Slurm};
use burn_lora_files::IoError;
use clap::CommandFactory;
use clap::error::ErrorKind;

use super::Sweep;

/// Where the points run.
#[derive(clap::Args)]
pub struct On {
    /// Let the scheduler of a cluster run the points; its machines see this directory under the same path
    #[arg(long, value_name = "SCHEDULER")]
    on: Option<Which>,
    /// With --on slurm: options of sbatch, such as `--sbatch "--partition=gpu --gres=gpu:1"`
    #[arg(long, value_name = "OPTIONS", requires = "on", conflicts_with_all = ["shard", "gather"], allow_hyphen_values = true)]
    sbatch: Option<String>,
    /// With --on slurm: stay until all tasks have ended, and write the table
    #[arg(long, requires = "on", conflicts_with_all = ["shard", "gather"])]
    wait: bool,
    /// With --on ray: the CPUs of a point [default: 1]
    #[arg(long, value_name = "N", requires = "on", conflicts_with_all = ["shard", "gather"])]
    ray_cpus: Option<f64>,
    /// With --on ray: the GPUs of a point; less than 1 shares one [default: 0]
    #[arg(long, value_name = "N", requires = "on", conflicts_with_all = ["shard", "gather"])]
    ray_gpus: Option<f64>,
}

/// The schedulers.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// One job array of SLURM
    Slurm,
    /// Tasks of Ray, on the cluster that RAY_ADDRESS names or this machine's
    Ray,
}

impl On {
    /// Ends the program where an option is another scheduler's.
    pub fn check(&self) {
        let of_slurm = [("--sbatch", self.sbatch.is_some()), ("--wait", self.wait)];
        let of_ray =
            [("--ray-cpus", self.ray_cpus.is_some()), ("--ray-gpus", self.ray_gpus.is_some())];
        let (other, owner) = match self.on {
            Some(Which::Slurm) => (of_ray, "ray"),
            Some(Which::Ray) => (of_slurm, "slurm"),
            None => return,
        };
        if let Some((option, _)) = other.iter().find(|(_, given)| *given) {
            let said = format!("{option} means something with --on {owner} alone");
            crate::Cli::command().error(ErrorKind::ArgumentConflict, said).exit();
        }
    }

    /// Whether the points run on when this process ends.
    pub fn leaves(&self) -> bool {
        self.on == Some(Which::Slurm)
    }

    /// The scheduler, which may have to know how to start a share of the points.
    pub fn scheduler(
        &self,
        launch: impl FnOnce() -> Result<Launch, AppError>,
    ) -> Result<Box<dyn Scheduler>, AppError> {
        Ok(match self.on {
            None => Box::new(Here),
            Some(Which::Slurm) => {
                let options = self.sbatch.clone().unwrap_or_default();
                Box::new(Slurm { launch: launch()?, options, wait: self.wait })
            }
            Some(Which::Ray) => Box::new(Ray {
                launch: launch()?,
                cpus: self.ray_cpus.unwrap_or(1.0),
                gpus: self.ray_gpus.unwrap_or(0.0),
            }),
        })
    }
}

impl Sweep {
    /// The command of a share of these points, up to the share.
    pub(super) fn shares(&self, sweep: &sweep::Sweep) -> Result<Launch, AppError> {
        let program = std::env::current_exe().map_err(IoError::at("find", "this program"))?;
        // No path that begins with `-`.
        let copy = sweep.copied_configuration();
        let copy = path::absolute(&copy).map_err(IoError::at("find", copy))?;
        let mut arguments = vec![OsString::from("sweep"), copy.into_os_string()];
        arguments.extend(self.set.iter().map(|set| format!("--set={set}").into()));
        if let Some(out) = &self.out {
            let mut argument = OsString::from("--out=");
            argument.push(out);
            arguments.push(argument);
        }
        if self.no_memory_check {
            arguments.push("--no-memory-check".into());
        }
        arguments.push("--shard".into());
        Ok(Launch { program, arguments })
    }
}
