//! A plan as lines.

use std::fmt;

use burn_lora_text::{grouped, size};

use super::{Place, Plan, PlannedExchange};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = &self.memory;
        let (trainable, total) = (grouped(self.trainable), grouped(self.total));
        writeln!(f, "trainable: {trainable} of {total}")?;
        let batch = &self.batch;
        writeln!(
            f,
            "largest batch: {} rows of {} tokens, {} targets",
            batch.rows, batch.width, batch.targets
        )?;
        let parts = [
            ("program, tokenizer, rows", memory.process),
            ("base weights", memory.weights),
            ("adapter", memory.adapter),
            ("optimiser", memory.optimizer),
            ("gradients", memory.gradients),
            ("activations", memory.activations),
            ("logits", memory.logits),
            ("exchange, between batches", memory.exchange),
            ("generating, between steps", memory.generating),
        ];
        for (name, bytes) in parts.into_iter().filter(|(_, bytes)| *bytes > 0) {
            writeln!(f, "  {name:<26} {:>10}", size(bytes))?;
        }
        writeln!(f, "  {:<26} {:>10}", "at the most, at one time", size(memory.peak))?;
        if let Some(recomputed) = &self.recomputed {
            writeln!(f, "recomputing blocks: {recomputed}")?;
        }
        if let Some(exchange) = &self.exchange {
            writeln!(f, "{exchange}")?;
        }
        if let Some(connection) = &self.connection {
            writeln!(f, "{connection}")?;
        }
        let whose = match self.place {
            Place::Process => "memory for this process",
            Place::Device => "memory of the device",
        };
        match &self.limit {
            Some(limit) => {
                let word = if self.fits { "fits" } else { "does not fit" };
                write!(f, "{whose}: {}: {word}", size(limit.bytes))?;
            }
            None => write!(f, "{whose}: not known here")?,
        }
        if self.place == Place::Device {
            write!(f, " (counted as a CPU needs it)")?;
        }
        if !self.fits {
            match &self.suggestion {
                Some(suggestion) => write!(f, "\nit fits with {suggestion}")?,
                None => write!(f, "\nno smaller batch or shorter row makes it fit")?,
            }
        }
        if let Some(pace) = &self.pace {
            write!(f, "\n{pace}")?;
            let seconds = pace.seconds_per_step * self.steps as f64;
            write!(f, ", {} steps: {}", self.steps, duration(seconds))?;
            if self.exchange.is_some() {
                write!(f, " without the exchange")?;
            }
        }
        Ok(())
    }
}

/// `exchange between 4 ranks: 12.3 MiB a step from each, 0.041 s`; without the seconds where nobody knows them.
impl fmt::Display for PlannedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ranks, bytes, seconds } = self;
        let bytes = size(*bytes);
        write!(f, "exchange between {ranks} ranks: {bytes} a step from each")?;
        match seconds {
            Some(seconds) => write!(f, ", {seconds:.3} s"),
            None => Ok(()),
        }
    }
}

/// `45 s`, `12 min`, `3.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_reads_best() {
        let words = [12.4, 99.9, 150.0, 5999.0, 9000.0].map(duration);
        assert_eq!(words, ["12 s", "100 s", "2 min", "100 min", "2.5 h"]);
    }
}
