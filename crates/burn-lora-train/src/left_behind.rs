//! What a run leaves for people to look at, beside its weights: `loss.svg`, `report.html`, and an
//! event file for TensorBoard. All are made at the end, from the history, so that a resumed run
//! leaves the same as one that never stopped.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::RunConfig;
use crate::directory::RunDirectory;
use crate::history::Record;
use crate::html::{RunReport, render};
use crate::summary::Summary;
use crate::{TrainError, files, plot, tensorboard};

/// Writes them.
///
/// # Errors
///
/// A plot that cannot be drawn, or a file that cannot be written.
pub(crate) fn write(
    directory: &RunDirectory,
    config: &RunConfig,
    records: &[Record],
    summary: &Summary,
    patch_report: &str,
) -> Result<(), TrainError> {
    plot::write_loss(&directory.loss_plot(), records)?;

    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let events = directory.path().join(tensorboard::FILE_NAME);
    tensorboard::write_events(&events, now - summary.seconds, records)?;

    let text = config.to_toml().map_err(|error| {
        TrainError::io("write", directory.config())(std::io::Error::other(error))
    })?;
    let lines = Summary { samples: Vec::new(), ..summary.clone() }.to_string();
    let lines: Vec<&str> = lines.lines().collect();
    let title = directory.path().display().to_string();
    let page = render(&RunReport {
        title: &title,
        config_toml: &text,
        summary_lines: &lines,
        records,
        samples: &summary.samples,
        patch_report,
        facts: &[
            ("burn-lora", env!("CARGO_PKG_VERSION")),
            ("device", &config.train.device),
            ("system", std::env::consts::OS),
        ],
    })?;
    Ok(files::write(&directory.report(), page.as_bytes())?)
}
