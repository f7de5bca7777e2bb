//! What a run leaves for people to look at, beside its weights: `loss.svg`, `report.html`, and an
//! event file for TensorBoard. All are made at the end, from the history, so that a resumed run
//! leaves the same as one that never stopped.
//!
//! The run is finished by then: one that cannot be made or written is told as a warning and costs none of the others.

use std::time::{SystemTime, UNIX_EPOCH};

use burn_lora_report::curves::loss_svg;
use burn_lora_report::html::{RunReport, render};
use burn_lora_report::record::Record;
use burn_lora_report::summary::Summary;
use burn_lora_report::tensorboard;

use crate::TrainError;
use crate::directory::RunDirectory;
use crate::observe::Observer;
use burn_lora_config::RunConfig;

/// Writes them.
pub(crate) fn write(
    directory: &RunDirectory,
    config: &RunConfig,
    records: &[Record],
    summary: &Summary,
    patch_report: &str,
    observer: &Observer,
) {
    let plot = loss_svg(records).map(|svg| svg.map(String::into_bytes)).map_err(Into::into);
    let page = page(directory, config, records, summary, patch_report);
    let all = [
        (directory.loss_plot(), plot),
        (directory.report(), page.map(|page| Some(page.into_bytes()))),
        (directory.events(), Ok(Some(events(records, summary)))),
    ];
    for (path, made) in all {
        let written: Result<(), TrainError> = made.and_then(|bytes: Option<Vec<u8>>| match bytes {
            Some(bytes) => directory.writing(&path, || Ok(burn_lora_files::write(&path, &bytes)?)),
            None => Ok(()),
        });
        if let Err(error) = written {
            observer.line(format!("warning: {error}; the run is finished all the same"));
        }
    }
}

fn page(
    directory: &RunDirectory,
    config: &RunConfig,
    records: &[Record],
    summary: &Summary,
    patch_report: &str,
) -> Result<String, TrainError> {
    Ok(render(&RunReport {
        title: &directory.path().display().to_string(),
        config_toml: &config.to_toml()?,
        summary: &summary.facts(),
        records,
        samples: &summary.samples,
        patch_report,
        facts: &[
            ("burn-lora", env!("CARGO_PKG_VERSION")),
            ("device", &config.train.device),
            ("system", std::env::consts::OS),
        ],
    })?)
}

fn events(records: &[Record], summary: &Summary) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    tensorboard::events(now - summary.seconds, records)
}
