//! Progress on standard error, reports on standard output; with `--json` both on standard error, because
//! standard output is then one JSON object and nothing else.

use std::sync::{Mutex, PoisonError};

use burn_lora_train::observe::{Event, Observer};
use burn_train::Interrupter;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Shows a bar for stages that count, on standard error, and prints lines; a bar only shows on a
/// terminal. With `json`, lines go to standard error too.
pub fn observer(json: bool) -> Observer {
    let print = line_printer(json);
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    Observer::new(move |event| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Stage(name) => {
                if let Some(old) = bar.take() {
                    old.finish_and_clear();
                }
                *bar = Some(ProgressBar::new(0).with_style(style()).with_message(name));
            }
            Event::Progress { done, total } => {
                if let Some(bar) = &*bar {
                    bar.set_length(total);
                    bar.set_position(done);
                }
            }
            Event::Done => {
                if let Some(old) = bar.take() {
                    old.finish_and_clear();
                }
            }
            Event::Line(text) => match &*bar {
                Some(bar) => bar.suspend(|| print(&text)),
                None => print(&text),
            },
            Event::Note(text) => match &*bar {
                Some(bar) => bar.suspend(|| output::note(&format!("note: {text}"))),
                None => output::note(&format!("note: {text}")),
            },
            _ => {}
        }
    })
}

/// Prints a line to standard output, or to standard error where that is kept for JSON.
pub fn line_printer(json: bool) -> fn(&str) {
    match json {
        true => output::note,
        false => output::progress,
    }
}

fn style() -> ProgressStyle {
    // The template is fixed; the default is as good where it should not parse.
    ProgressStyle::with_template("{msg} [{bar:30}] {percent}% {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A file that grows beyond what the system allows this process is an error of the write that does it, and not the process's end.
pub fn refuse_large_files_by_error() {
    #[cfg(unix)]
    {
        use signal_hook::consts::SIGXFSZ;
        // Nobody asks whether it came: that something handles it is what keeps the process.
        if let Err(error) = signal_hook::flag::register(SIGXFSZ, Default::default()) {
            output::note(&format!("warning: a file that grows too large will end this: {error}"));
        }
    }
}

/// The first Ctrl-C, SIGTERM or SIGHUP says `told` and ends the work after the step it is in, with a checkpoint, for the
/// reason `why`; the second ends the process.
pub fn stop_on_interrupt(interrupter: Interrupter, why: &'static str, told: &'static str) {
    let result = ctrlc::set_handler(move || {
        if interrupter.should_stop() {
            std::process::exit(130);
        }
        interrupter.stop(Some(why));
        output::note(told);
    });
    if let Err(error) = result {
        output::note(&format!("warning: Ctrl-C will end this without a checkpoint: {error}"));
    }
}
