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
    let all = [
        plot(directory, records),
        page(directory, config, records, summary, patch_report),
        events(directory, records, summary),
    ];
    for error in all.into_iter().filter_map(Result::err) {
        observer.line(format!("warning: {error}; the run is finished all the same"));
    }
}

fn plot(directory: &RunDirectory, records: &[Record]) -> Result<(), TrainError> {
    match loss_svg(records)? {
        Some(svg) => Ok(burn_lora_files::write(&directory.loss_plot(), svg.as_bytes())?),
        None => Ok(()),
    }
}

fn page(
    directory: &RunDirectory,
    config: &RunConfig,
    records: &[Record],
    summary: &Summary,
    patch_report: &str,
) -> Result<(), TrainError> {
    let text = config.to_toml()?;
    let title = directory.path().display().to_string();
    let page = render(&RunReport {
        title: &title,
        config_toml: &text,
        summary: &summary.facts(),
        records,
        samples: &summary.samples,
        patch_report,
        facts: &[
            ("burn-lora", env!("CARGO_PKG_VERSION")),
            ("device", &config.train.device),
            ("system", std::env::consts::OS),
        ],
    })?;
    Ok(burn_lora_files::write(&directory.report(), page.as_bytes())?)
}

fn events(
    directory: &RunDirectory,
    records: &[Record],
    summary: &Summary,
) -> Result<(), TrainError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let events = tensorboard::events(now - summary.seconds, records);
    Ok(burn_lora_files::write(&directory.events(), &events)?)
}
