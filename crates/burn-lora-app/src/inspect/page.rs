//! An inspection as one HTML page: its singular values drawn, its layers in tables.

use burn_lora_report::ReportError;
use burn_lora_report::html::{AdapterReport, render_adapter};
use burn_lora_report::spectra::LayerSpectrum;
use burn_lora_text::grouped;

use super::Inspection;
use super::lines::figures;
use super::spectrum::ENOUGH;

impl Inspection {
    /// The page, which opens without a network.
    ///
    /// # Errors
    ///
    /// A plot cannot be drawn.
    pub fn to_html(&self) -> Result<String, ReportError> {
        let spectra: Vec<LayerSpectrum<'_>> = self
            .layers
            .iter()
            .filter_map(|layer| {
                let spectrum = layer.spectrum.as_ref()?;
                let (singular_values, energy) = (&spectrum.singular_values, &spectrum.energy);
                Some(LayerSpectrum { path: &layer.path, singular_values, energy })
            })
            .collect();
        // A table of nothing but its head is left out.
        let tables = [
            ("Layers", self.layer_rows()),
            ("What smaller ranks keep", self.spectrum_rows()),
            ("Blocks", self.block_rows()),
            ("Other tensors", self.other_rows()),
        ];
        let directory = self.directory.display().to_string();
        let name = self.directory.file_name().map(|name| name.display().to_string());
        render_adapter(&AdapterReport {
            title: name.as_deref().unwrap_or(&directory),
            facts: &self.facts(directory.clone()),
            spectra: &spectra,
            tables: &tables,
            notes: &self.notes.join("\n"),
        })
    }

    fn facts(&self, directory: String) -> Vec<(&'static str, String)> {
        let totals = &self.totals;
        let mut facts = vec![("adapter", directory), ("kind", self.method.title().to_owned())];
        facts.extend(self.base_model.clone().map(|base| ("base model", base)));
        facts.extend(self.task.clone().map(|task| ("task", task)));
        facts.push(("rank", self.rank.to_string()));
        let rslora = if self.rslora { " (over the root of the rank)" } else { "" };
        facts.extend(self.alpha.map(|alpha| ("alpha", format!("{alpha}{rslora}"))));
        facts.push(("targets", self.targets.join(", ")));
        facts.push(("layers", grouped(totals.layers)));
        facts.push(("parameters", grouped(totals.factor_parameters + totals.other_parameters)));
        facts.push(("norm of the change", figures(totals.norm_change)));
        let enough = self.suggested_rank.filter(|rank| *rank > 0).map(|rank| {
            let share = 100.0 * ENOUGH;
            ("enough", format!("rank {rank} keeps {share} % of every layer's squared norm"))
        });
        facts.extend(enough);
        facts
    }
}
