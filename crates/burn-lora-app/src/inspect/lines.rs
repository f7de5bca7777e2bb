//! An inspection as lines.

use std::fmt;

use burn_lora::Method;
use burn_lora_text::grouped;

use super::spectrum::ENOUGH;
use super::{Inspection, OtherTensor};

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "adapter: {}", self.directory.display())?;
        writeln!(f, "base model: {}", self.base_model.as_deref().unwrap_or("not named"))?;
        if let Some(task) = &self.task {
            writeln!(f, "task: {task}")?;
        }
        write!(f, "rank {}", self.rank)?;
        if let Some(alpha) = self.alpha {
            write!(f, ", alpha {alpha}")?;
        }
        if self.rslora {
            write!(f, ", rsLoRA")?;
        }
        if self.method != Method::default() {
            write!(f, ", {}", self.method.title())?;
        }
        writeln!(f)?;
        writeln!(f, "targets: {}", self.targets.join(", "))?;
        if !self.layers.is_empty() {
            writeln!(f, "\n{}", table(&self.layer_rows()))?;
        }
        if self.layers.iter().any(|layer| layer.spectrum.is_some()) {
            writeln!(f, "\n{}", table(&self.spectrum_rows()))?;
        }
        if !self.blocks.is_empty() {
            writeln!(f, "\n{}", table(&self.block_rows()))?;
        }
        if !self.others.is_empty() {
            writeln!(f, "\n{}", table(&self.other_rows()))?;
        }
        let totals = &self.totals;
        let factors = grouped(totals.factor_parameters);
        write!(f, "\n{} layers, {factors} parameters", grouped(totals.layers))?;
        if totals.other_parameters > 0 {
            write!(f, " and {} beside them", grouped(totals.other_parameters))?;
        }
        let bytes = grouped(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        write!(f, ", {bytes} bytes, change {}", figures(totals.norm_change))?;
        if let Some(rank) = self.suggested_rank.filter(|rank| *rank > 0) {
            let share = 100.0 * ENOUGH;
            write!(f, "\nrank {rank} keeps {share} % of the squared norm of every layer's change")?;
        }
        for note in &self.notes {
            write!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

impl Inspection {
    pub(super) fn layer_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            ["layer", "A", "B", "scale", "type", "‖A‖", "‖B‖", "‖scale·B A‖"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(self.layers.iter().map(|layer| {
            vec![
                layer.path.clone(),
                shape(&layer.shape_a),
                shape(&layer.shape_b),
                figures(layer.scale),
                layer.dtype.clone(),
                figures(layer.norm_a),
                figures(layer.norm_b),
                figures(layer.norm_change),
            ]
        }));
        let magnitudes = self.layers.iter().map(|layer| layer.norm_magnitude).collect::<Vec<_>>();
        let biases = self.layers.iter().map(|layer| layer.norm_bias).collect::<Vec<_>>();
        for (head, norms) in [("‖magnitude‖", magnitudes), ("‖bias of B‖", biases)] {
            if norms.iter().any(Option::is_some) {
                let norms = norms.into_iter().map(|norm| norm.map_or_else(String::new, figures));
                let column = std::iter::once(head.to_owned()).chain(norms);
                rows.iter_mut().zip(column).for_each(|(row, cell)| row.push(cell));
            }
        }
        rows
    }

    pub(super) fn spectrum_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            ["layer", "largest σ", "smallest σ", "effective rank", "rank of 90 %", "rank of 99 %"]
                .map(str::to_owned)
                .to_vec(),
        ];
        let with_base = self.layers.iter().any(|layer| layer.norm_weight.is_some());
        if with_base {
            rows[0].push("‖change‖/‖W‖".to_owned());
        }
        for layer in &self.layers {
            let Some(spectrum) = &layer.spectrum else { continue };
            let value =
                |value: Option<&f64>| value.map_or_else(String::new, |value| figures(*value));
            let values = &spectrum.singular_values;
            let mut row = vec![
                layer.path.clone(),
                value(values.first()),
                value(values.last()),
                format!("{:.2}", spectrum.effective_rank),
                spectrum.rank_of(0.9).to_string(),
                spectrum.rank_of(ENOUGH).to_string(),
            ];
            if with_base {
                row.push(share(Some(layer.norm_change), layer.norm_weight));
            }
            rows.push(row);
        }
        rows
    }

    pub(super) fn block_rows(&self) -> Vec<Vec<String>> {
        let head = ["layer", "block", "type", "‖block‖", "‖change‖", "‖change‖/‖W‖"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.blocks.iter().map(|block| {
            vec![
                block.path.clone(),
                shape(&block.shape),
                block.dtype.clone(),
                figures(block.norm_block),
                block.norm_change.map_or_else(|| "?".to_owned(), figures),
                share(block.norm_change, block.norm_weight),
            ]
        }));
        rows
    }

    pub(super) fn other_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![["other tensor", "shape", "type"].map(str::to_owned).to_vec()];
        let row = |tensor: &OtherTensor| {
            vec![tensor.name.clone(), shape(&tensor.shape), tensor.dtype.clone()]
        };
        rows.extend(self.others.iter().map(row));
        rows
    }
}

/// Rows with their cells in columns: the first to the left, the others to the right.
fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(column, cell)| match column {
                0 => format!("{cell:<width$}", width = width(column)),
                _ => format!("{cell:>width$}", width = width(column)),
            });
            cells.collect::<Vec<_>>().join("  ")
        })
        .collect();
    lines.join("\n")
}

fn shape(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    sizes.join(" x ")
}

/// The norm of a change over its weight's, where both are known.
fn share(change: Option<f64>, weight: Option<f64>) -> String {
    match (change, weight) {
        (Some(change), Some(weight)) if weight > 0.0 => figures(change / weight),
        _ => "?".to_owned(),
    }
}

/// Four figures or so, with an exponent where that is shorter.
pub(super) fn figures(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if (0.01..10_000.0).contains(&value.abs()) || !value.is_finite() {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}
