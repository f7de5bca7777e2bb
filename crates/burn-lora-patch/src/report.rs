//! What a patch did, for people and for scripts.
//!
//! `Display` gives the report as lines; [`PatchReport::table`] adds one line per linear layer.

use std::fmt;

use burn_lora::{Kernel, Method, Sizes};
use burn_lora_text::{grouped, part};

use crate::error::Role;
use crate::scan::{Parameter, sizes_of};

/// What was picked, what it costs, and what should be looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchReport {
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) scale: f64,
    pub(crate) layers: Vec<LayerReport>,
    pub(crate) saved: Vec<SavedModule>,
    pub(crate) tokens: Vec<TrainedRows>,
    pub(crate) biases: BiasReport,
    pub(crate) matched: Vec<EntryMatch>,
    pub(crate) trainable: usize,
    pub(crate) total: usize,
    pub(crate) warnings: Vec<String>,
}

/// One linear layer of the model, or an embedding, a convolution or a parameter by itself that is targeted.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerReport {
    /// The layer's path.
    pub path: String,
    /// Size of the input features.
    pub d_in: usize,
    /// Size of the output features.
    pub d_out: usize,
    /// Whether it is an embedding's table, `[rows, d]`.
    pub table: bool,
    /// Of a convolution: what its kernel is like.
    pub kernel: Option<Kernel>,
    /// Whether it is a table whose adapter is the head's, too (`ensure_weight_tying`).
    pub tied: bool,
    /// Of a parameter that is no layer's weight: how it lies; `d_in` and `d_out` are those of one of its matrices.
    pub parameter: Option<Parameter>,
    /// What became of it.
    pub status: LayerStatus,
    /// The rank of its adapter; 0 without one.
    pub rank: usize,
    /// What its adapter's change is multiplied by; 0 without one.
    pub scale: f64,
    /// The parameters of its adapter ([`Method::count`]); 0 without one.
    pub adapter_params: usize,
    /// How many of them are trained ([`Method::trained`]).
    pub trained_params: usize,
}

impl LayerReport {
    /// Whether it is a linear layer, and no embedding, no convolution and no parameter by itself.
    pub fn is_linear(&self) -> bool {
        !self.table && self.kernel.is_none() && self.parameter.is_none()
    }

    /// The groups that its adapter deals the rank out to: those of a convolution.
    pub fn groups(&self) -> usize {
        self.kernel.as_ref().map_or(1, |kernel| kernel.groups)
    }

    /// The sizes of its adapter.
    pub(crate) fn sizes(&self) -> Sizes {
        let stack = self.parameter.as_ref().map(|parameter| parameter.stack);
        sizes_of(self.kernel.as_ref(), stack, [self.d_in, self.d_out], self.rank)
    }
}

/// What became of one linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerStatus {
    /// It carries an adapter.
    Adapted,
    /// An exclude takes it out.
    Excluded {
        /// The entry.
        by: String,
    },
    /// It is an output layer, which `all-linear` leaves out.
    Head,
    /// It is trained whole.
    TrainedWhole,
    /// It is targeted, but in a layer of another number.
    OtherLayer,
    /// No target names it.
    NotTargeted,
}

impl fmt::Display for LayerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adapted => f.write_str("adapted"),
            Self::Excluded { by } => write!(f, "excluded by `{by}`"),
            Self::Head => f.write_str("output layer"),
            Self::TrainedWhole => f.write_str("trained whole"),
            Self::OtherLayer => f.write_str("in another layer"),
            Self::NotTargeted => f.write_str("not targeted"),
        }
    }
}

/// One module that is trained whole and saved with the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedModule {
    /// The module's path.
    pub path: String,
    /// Its parameters.
    pub params: usize,
}

/// Rows of an embedding, or of a head, that are trained and saved with the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedRows {
    /// The path of the embedding, or of the head.
    pub path: String,
    /// How many rows.
    pub rows: usize,
    /// Their parameters.
    pub params: usize,
}

/// The biases of the base that are trained and saved with the adapter, beside those of modules trained whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BiasReport {
    /// How many biases.
    pub count: usize,
    /// Their parameters.
    pub params: usize,
}

/// What one entry of the configuration matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryMatch {
    /// Where the entry stands.
    pub role: Role,
    /// The entry.
    pub entry: String,
    /// How many linear layers it picks; for modules to save, how many modules.
    pub count: usize,
}

impl PatchReport {
    /// The adapter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many layers carry an adapter.
    pub fn adapted(&self) -> usize {
        self.with_adapter().count()
    }

    /// Counts the factors of these layers as those of adapters that see the channels of all groups.
    pub(crate) fn cross_groups(&mut self, paths: &[String]) {
        for layer in self.layers.iter_mut().filter(|layer| paths.contains(&layer.path)) {
            layer.kernel = layer.kernel.take().map(|kernel| kernel.with_crossing(true));
            let (params, trained) = (layer.adapter_params, layer.trained_params);
            layer.adapter_params = self.method.count(layer.sizes());
            layer.trained_params = self.method.trained(layer.sizes());
            self.total += layer.adapter_params - params;
            self.trainable += layer.trained_params - trained;
        }
    }

    fn with_adapter(&self) -> impl Iterator<Item = &LayerReport> {
        self.layers.iter().filter(|layer| layer.status == LayerStatus::Adapted)
    }

    /// How many linear layers the model has.
    pub fn linears(&self) -> usize {
        self.layers.iter().filter(|layer| layer.is_linear()).count()
    }

    /// How many parameters are trained: of the factors, and of the modules trained whole.
    pub fn trainable(&self) -> usize {
        self.trainable
    }

    /// How many parameters there are, the adapter's included, as PEFT counts.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The share of trainable parameters, from 0 to 1.
    pub fn share(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.trainable as f64 / self.total as f64 }
    }

    /// What should be looked at.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every linear layer and what became of it, in the order of traversal.
    pub fn layers(&self) -> &[LayerReport] {
        &self.layers
    }

    /// The modules that are trained whole.
    pub fn saved(&self) -> &[SavedModule] {
        &self.saved
    }

    /// The rows of embeddings that are trained.
    pub fn tokens(&self) -> &[TrainedRows] {
        &self.tokens
    }

    /// The biases of the base that are trained.
    pub fn biases(&self) -> BiasReport {
        self.biases
    }

    /// What every entry of the configuration matched.
    pub fn matched(&self) -> &[EntryMatch] {
        &self.matched
    }

    /// The line `trainable: 43,008 of 2,150,000 (2.00 %)`.
    pub fn trainable_line(&self) -> String {
        format!("trainable: {}", part(self.trainable, self.total))
    }

    /// A line per linear layer: path, shape, parameters of its adapter, what became of it.
    pub fn table(&self) -> String {
        let width = |cells: &mut dyn Iterator<Item = usize>, heading: &str| {
            cells.max().unwrap_or(0).max(heading.len())
        };
        let shape = |layer: &LayerReport| format!("{} x {}", layer.d_in, layer.d_out);
        let paths =
            width(&mut self.layers.iter().map(|layer| layer.path.chars().count()), "linear");
        let shapes = width(&mut self.layers.iter().map(|layer| shape(layer).len()), "in x out");
        let params =
            width(&mut self.layers.iter().map(|l| grouped(l.adapter_params).len()), "adapter");
        let mut table = format!(
            "{:paths$}  {:>shapes$}  {:>params$}  status\n",
            "linear", "in x out", "adapter"
        );
        for layer in &self.layers {
            table.push_str(&format!(
                "{:paths$}  {:>shapes$}  {:>params$}  {}\n",
                layer.path,
                shape(layer),
                grouped(layer.adapter_params),
                self.status(layer)
            ));
        }
        table
    }

    /// What became of a layer, with what patterns decided of it.
    fn status(&self, layer: &LayerReport) -> String {
        let adapted = layer.status == LayerStatus::Adapted;
        match adapted && (layer.rank, layer.scale) != (self.rank, self.scale) {
            true => format!("{}, rank {}, scale {}", layer.status, layer.rank, layer.scale),
            false => layer.status.to_string(),
        }
    }
}

impl fmt::Display for PatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "adapter `{}`: {}, rank {}", self.name, self.method, self.rank)?;
        if self.method.scaled() {
            write!(f, ", alpha {}, scale {}", self.alpha, self.scale)?;
        }
        writeln!(f)?;
        for role in [
            Role::Target,
            Role::Exclude,
            Role::Layer,
            Role::LayersPattern,
            Role::RankPattern,
            Role::AlphaPattern,
            Role::ModulesToSave,
        ] {
            let entries: Vec<String> = self
                .matched
                .iter()
                .filter(|entry| entry.role == role)
                .map(|entry| format!("{} ({})", entry.entry, grouped(entry.count)))
                .collect();
            if !entries.is_empty() {
                writeln!(f, "{role}: {}", entries.join(", "))?;
            }
        }
        for module in &self.saved {
            writeln!(f, "trained whole: {} ({} parameters)", module.path, grouped(module.params))?;
        }
        for TrainedRows { path, rows, params } in &self.tokens {
            let (rows, params) = (grouped(*rows), grouped(*params));
            writeln!(f, "rows trained: {rows} of {path} ({params} parameters)")?;
        }
        let BiasReport { count, params } = self.biases;
        if count > 0 {
            writeln!(f, "biases trained: {} ({} parameters)", grouped(count), grouped(params))?;
        }
        let tables = self.with_adapter().filter(|layer| layer.table).count();
        let convolutions = self.with_adapter().filter(|layer| layer.kernel.is_some()).count();
        let parameters = self.with_adapter().filter(|layer| layer.parameter.is_some()).count();
        let linears = self.adapted() - tables - convolutions - parameters;
        write!(f, "adapted: {linears} of {} linears", self.linears())?;
        for (count, what) in
            [(tables, "embedding"), (convolutions, "convolution"), (parameters, "parameter")]
        {
            match count {
                0 => {}
                1 => write!(f, ", 1 {what}")?,
                _ => write!(f, ", {count} {what}s")?,
            }
        }
        writeln!(f)?;
        write!(f, "{}", self.trainable_line())?;
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> PatchReport {
        let layer = |path: &str, status: LayerStatus, adapter_params| LayerReport {
            path: path.into(),
            d_in: 16,
            d_out: 8,
            table: false,
            kernel: None,
            tied: false,
            parameter: None,
            status,
            rank: 4,
            scale: 2.0,
            adapter_params,
            trained_params: adapter_params,
        };
        PatchReport {
            name: "default".into(),
            method: Method::Lora,
            rank: 4,
            alpha: 8.0,
            scale: 2.0,
            layers: vec![
                layer("layers.0.fc1", LayerStatus::Adapted, 1096),
                layer("lm_head", LayerStatus::Head, 0),
            ],
            saved: vec![SavedModule { path: "classifier".into(), params: 1234 }],
            tokens: vec![TrainedRows { path: "embed".into(), rows: 3, params: 1536 }],
            biases: BiasReport { count: 2, params: 1024 },
            matched: vec![EntryMatch { role: Role::Target, entry: "fc1".into(), count: 1 }],
            trainable: 43_008,
            total: 2_150_000,
            warnings: vec!["look here".into()],
        }
    }

    #[test]
    fn the_report_reads_as_lines() {
        assert_eq!(
            report().to_string(),
            "adapter `default`: lora, rank 4, alpha 8, scale 2\n\
             target: fc1 (1)\n\
             trained whole: classifier (1,234 parameters)\n\
             rows trained: 3 of embed (1,536 parameters)\n\
             biases trained: 2 (1,024 parameters)\n\
             adapted: 1 of 2 linears\n\
             trainable: 43,008 of 2,150,000 (2.00 %)\n\
             warning: look here"
        );
    }

    #[test]
    fn a_kind_without_a_scale_is_told_without_one() {
        let report = PatchReport { method: Method::Miss, scale: 1.0, ..report() };
        assert!(report.to_string().starts_with("adapter `default`: miss, rank 4\ntarget:"));
    }

    #[test]
    fn the_table_is_aligned() {
        assert_eq!(
            report().table(),
            "linear        in x out  adapter  status\n\
             layers.0.fc1    16 x 8    1,096  adapted\n\
             lm_head         16 x 8        0  output layer\n"
        );
    }
}
