//! The optimiser's state as a file that is the same for equal states.
//!
//! Burn writes a record's tensors in the order of a hash map, another in every process. Here they are put into the order of
//! their names, from file to file, so that no further copy of them is in memory.

use std::path::Path;

use burn::optim::OptimizerRecord;
use burn_pack::{Error, Reader, Writer};

use crate::TrainError;

/// Writes the record to `path`.
pub(super) fn write(record: OptimizerRecord, path: &Path) -> Result<(), TrainError> {
    let failed = |error: String| TrainError::io("write", path)(std::io::Error::other(error));
    let unsorted = path.with_extension("unsorted.bpk");
    record.save(&unsorted).map_err(|error| failed(error.to_string()))?;
    sort(&unsorted, path).map_err(|error| failed(error.to_string()))?;
    std::fs::remove_file(&unsorted).map_err(TrainError::io("remove", unsorted))
}

/// A reader gives the tensors in the order of their names, read when they are written.
fn sort(from: &Path, to: &Path) -> Result<(), Error> {
    let reader = Reader::from_file(from)?;
    let (scalars, metadata) = (reader.scalars().clone(), reader.metadata().clone());
    let mut writer = Writer::new(reader.into_tensors()?);
    for (key, value) in &scalars {
        writer = writer.with_scalar(key, *value);
    }
    for (key, value) in &metadata {
        writer = writer.with_metadata(key, value);
    }
    writer.write_to_file(to)
}
