//! The sections of a run configuration, as they are after reading: complete and consistent.
//!
//! A section is where its keys are declared ([`keys`](super::keys)); a field of it is a key, or a part
//! that several keys stand for.

mod adapter;
mod data;
mod model;
mod schedule;
mod train;

pub use adapter::{AdapterSection, LoraSection};
pub(crate) use adapter::{OF_EVA, meaningless};
pub use data::DataSection;
pub use model::{ModelSection, ModelSource};
pub use schedule::Schedule;
pub use train::{Length, Metric, OutputSection, TrainSection, Warmup};

use crate::keys::{Key, Part, UnwritableError, Written};
use crate::reader::Reader;
use crate::rules;

/// Everything that describes a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// `[model]`: what is trained.
    pub model: ModelSection,
    /// `[adapter]`: which of its parameters are.
    pub adapter: AdapterSection,
    /// `[data]`: what it is trained on.
    pub data: DataSection,
    /// `[train]`: how.
    pub train: TrainSection,
    /// `[output]`: where the results go.
    pub output: OutputSection,
}

impl Part for RunConfig {
    fn keys() -> Vec<Key> {
        let sections: [fn() -> Vec<Key>; 5] = [
            ModelSection::keys,
            AdapterSection::keys,
            DataSection::keys,
            TrainSection::keys,
            OutputSection::keys,
        ];
        sections.into_iter().flat_map(|keys| keys()).collect()
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let model = ModelSection::read(reader);
        let adapter = AdapterSection::read(reader);
        let data = DataSection::read(reader);
        let train = TrainSection::read(reader);
        let output = OutputSection::read(reader);
        rules::check(reader, model.as_ref(), adapter.as_ref(), data.as_ref(), train.as_ref());
        Some(Self { model: model?, adapter: adapter?, data: data?, train: train?, output: output? })
    }

    fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError> {
        self.model.write(out)?;
        self.adapter.write(out)?;
        self.data.write(out)?;
        self.train.write(out)?;
        self.output.write(out)
    }
}
