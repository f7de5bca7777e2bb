//! Where examples came from, so that whatever happens to some of them can be told by file and line.

use std::path::{Path, PathBuf};

use crate::row::Place;

/// Where the rows of a data file stand, numbered as the examples made of them are. A row of a batch may hold several, where rows are
/// packed.
#[derive(Debug, Clone, Default)]
pub struct Places {
    files: Vec<File>,
}

#[derive(Debug, Clone)]
struct File {
    path: PathBuf,
    places: Vec<Place>,
    /// Up to where the places of each row reach.
    ends: Vec<usize>,
}

impl Places {
    /// Adds a file each row of which is one of its places.
    pub fn add(&mut self, path: &Path, places: Vec<Place>) {
        let ends = (1..=places.len()).collect();
        self.files.push(File { path: path.to_owned(), places, ends });
    }

    /// Adds a file each row of which is several of its places.
    pub fn add_packed(&mut self, path: &Path, packs: Vec<Vec<Place>>) {
        let mut end = 0;
        let reach = |pack: &Vec<Place>| {
            end += pack.len();
            end
        };
        let ends = packs.iter().map(reach).collect();
        let places = packs.into_iter().flatten().collect();
        self.files.push(File { path: path.to_owned(), places, ends });
    }

    /// What row `row`, counted through all files, was made of: `file:line`, one or more; nothing of a row that is not known.
    pub fn of(&self, mut row: usize) -> Vec<String> {
        for File { path, places, ends } in &self.files {
            if let Some(&end) = ends.get(row) {
                let start = row.checked_sub(1).and_then(|before| ends.get(before).copied());
                let of_row = &places[start.unwrap_or(0)..end];
                return of_row.iter().map(|place| format!("{}{place}", path.display())).collect();
            }
            row -= ends.len();
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_through_the_files_and_packs_have_several_places() {
        let line = Place::Line;
        let mut places = Places::default();
        places.add(Path::new("a"), vec![line(2), line(3)]);
        let named = Place::Named("question 4".to_owned());
        places.add_packed(Path::new("b"), vec![vec![line(7), line(1)], vec![named]]);
        let of: Vec<Vec<String>> = (0..5).map(|row| places.of(row)).collect();
        let expected: [&[&str]; 5] = [&["a:2"], &["a:3"], &["b:7", "b:1"], &["b: question 4"], &[]];
        assert_eq!(of, expected);
    }
}
