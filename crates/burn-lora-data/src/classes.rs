//! The classes of a classification, in the order of the model's outputs.

use std::collections::{BTreeSet, HashMap};

use burn_lora_text::nearest;

use crate::error::DataError;
use crate::format::{Format, Holds};
use crate::row::{Label, PlacedRow, Row};
use crate::row_file::RowFile;

/// The names of the classes; the index of a name is the model's output for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    index: HashMap<String, usize>,
    /// Whether a number stands for a place in the list rather than for a name.
    numbered: bool,
}

impl Classes {
    /// Classes by name. A label that is a number counts in this list, from 0.
    pub fn named(names: Vec<String>) -> Self {
        Self { numbered: true, ..Self::new(names) }
    }

    /// The classes of some files: their different labels, numbers by value and names by their characters.
    ///
    /// # Errors
    ///
    /// Rows that are no classification, or labels of which some are numbers and others names.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a RowFile>) -> Result<Self, DataError> {
        let mut labels = BTreeSet::new();
        let rows = files.into_iter().flat_map(|file| file.rows.iter().map(move |row| (file, row)));
        for (file, placed) in rows {
            let Row::Classification { label, .. } = &placed.row else {
                return Err(other_format(file));
            };
            if let Some(first) = labels.first()
                && std::mem::discriminant::<Label>(first) != std::mem::discriminant(label)
            {
                return Err(DataError::MixedLabels {
                    path: file.path.clone(),
                    place: placed.place.clone(),
                    label: label.clone(),
                });
            }
            labels.insert(label.clone());
        }
        Ok(Self::new(labels.iter().map(Label::to_string).collect()))
    }

    /// As [`Self::of`], of files whose rows go to a head with these names: where it has all of their classes, the order
    /// is its own, and a label that is a number counts in its list. Of a head without names of its own
    /// (`LABEL_0`, `LABEL_1`, …), numbers are names like any others.
    ///
    /// # Errors
    ///
    /// Those of [`Self::of`]; numbers for a head whose names are other numbers.
    pub fn of_head<'a>(
        files: impl IntoIterator<Item = &'a RowFile> + Clone,
        head: &[String],
    ) -> Result<Self, DataError> {
        let found = Self::of(files.clone())?;
        let nameless = head.iter().enumerate().all(|(at, name)| *name == format!("LABEL_{at}"));
        let has = |label: &Label| match label {
            Label::Name(name) => head.contains(name),
            Label::Number(at) => !nameless && usize::try_from(*at).is_ok_and(|at| at < head.len()),
        };
        // By their places numbers would be other classes than by the names that they are.
        let is_number = |name: &String| name.parse::<i64>().is_ok();
        let by_name = head.iter().all(is_number)
            && head.iter().enumerate().any(|(at, name)| *name != at.to_string());
        let mut numbers = files.clone().into_iter().flat_map(|file| {
            let is_number = |row: &&PlacedRow| {
                matches!(&row.row, Row::Classification { label: Label::Number(_), .. })
            };
            file.rows.iter().find(is_number).map(|row| (file, row))
        });
        if by_name && let Some((file, row)) = numbers.next() {
            return Err(DataError::NumbersByName {
                path: file.path.clone(),
                place: row.place.clone(),
                names: head.to_vec(),
            });
        }
        let mut rows = files.into_iter().flat_map(|file| &file.rows);
        let all = rows.all(|placed| match &placed.row {
            Row::Classification { label, .. } => has(label),
            _ => false,
        });
        Ok(if all && !found.is_empty() { Self::named(head.to_vec()) } else { found })
    }

    fn new(names: Vec<String>) -> Self {
        let index = names.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        Self { names, index, numbered: false }
    }

    /// The names, in the order of the model's outputs.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no class at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The class that a label means, if it is one of these.
    pub fn index(&self, label: &Label) -> Option<usize> {
        match label {
            Label::Number(number) if self.numbered => {
                usize::try_from(*number).ok().filter(|index| *index < self.len())
            }
            label => self.index.get(&label.to_string()).copied(),
        }
    }

    /// The name that is most like a label, if any is like it.
    pub(crate) fn nearest(&self, label: &Label) -> Option<String> {
        nearest(&label.to_string(), &self.names).cloned()
    }
}

pub(crate) fn other_format(file: &RowFile) -> DataError {
    let labels = file.format.spec().holds == Holds::Label;
    let others =
        Format::ALL.iter().filter(|format| (format.spec().holds == Holds::Label) != labels);
    let names: Vec<_> = others.map(|format| format.name()).collect();
    DataError::OtherFormat {
        path: file.path.clone(),
        found: file.format,
        expected: names.join(" or "),
    }
}
