//! A table of what was compared: a line for each folder, and whether all of it passes.

use super::measure::Failure;

/// One figure of a line.
pub enum Cell {
    /// A number that is told, and judged by nobody.
    Told(usize),
    /// A largest difference, and the most that passes.
    Within(f64, f64),
    /// A number, and the least that passes.
    AtLeast(usize, usize),
    /// Nothing to compare.
    Nothing,
}

impl Cell {
    /// A difference, where there is one.
    pub fn within(difference: Option<f64>, most: f64) -> Self {
        difference.map_or(Self::Nothing, |difference| Self::Within(difference, most))
    }

    fn passes(&self) -> bool {
        match *self {
            // Not a number is no pass.
            Self::Within(difference, most) => difference <= most,
            Self::AtLeast(number, least) => number >= least,
            Self::Told(_) | Self::Nothing => true,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Within(difference, _) => format!("{difference:.1e}"),
            Self::Told(number) | Self::AtLeast(number, _) => number.to_string(),
            Self::Nothing => "–".to_owned(),
        }
    }
}

/// A name, and a figure for each column.
pub type Line = (String, Vec<Cell>);

/// The lines of tables that are printed, so far.
#[derive(Default)]
pub struct Tables {
    /// How many there are.
    pub lines: usize,
    /// How many of them do not pass.
    pub failed: usize,
    /// What a table leaves out, and why.
    pub skipped: Vec<String>,
}

impl Tables {
    /// Prints a table of what was found, if anything was: what each line is of, its columns, and in words what passes. Names with ` | ` in
    /// them have two columns.
    pub fn print<T>(
        &mut self,
        (of, columns): (&str, &[&str]),
        found: &[T],
        name: impl Fn(&T) -> String,
        measure: impl Fn(&T) -> Result<Vec<Line>, Failure>,
        tolerances: &str,
    ) {
        if found.is_empty() {
            return;
        }
        let head = format!("| {of} | {} | |", columns.join(" | "));
        println!("\n{head}\n|{}", " --- |".repeat(head.matches('|').count() - 1));
        for folder in found {
            let lines = match measure(folder) {
                Ok(lines) => lines,
                Err(Failure::Unsupported(reason)) => {
                    self.skipped.push(format!("{}: {reason}", name(folder).replace(" | ", "/")));
                    continue;
                }
                Err(Failure::Failed(error)) => {
                    println!("| {} |{} {error} |", name(folder), " |".repeat(columns.len()));
                    self.lines += 1;
                    self.failed += 1;
                    continue;
                }
            };
            for (name, cells) in lines {
                let verdict = verdict(columns, &cells);
                let cells: Vec<String> = cells.iter().map(Cell::text).collect();
                println!("| {name} | {} | {verdict} |", cells.join(" | "));
                self.lines += 1;
                self.failed += usize::from(verdict != OK);
            }
        }
        println!("\ntolerances: {tolerances}");
    }
}

const OK: &str = "ok";

/// `ok`, or the columns that do not pass.
fn verdict(columns: &[&str], cells: &[Cell]) -> String {
    let beyond = columns.iter().zip(cells).filter(|(_, cell)| !cell.passes());
    let beyond: Vec<&str> = beyond.map(|(column, _)| *column).collect();
    match beyond.as_slice() {
        [] if cells.len() == columns.len() => OK.to_owned(),
        [] => format!("{} figures for {} columns", cells.len(), columns.len()),
        beyond => format!("{}: beyond tolerance", beyond.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["logits", "curve", "steps"];

    fn judged(logits: f64, steps: usize) -> String {
        let curve = Cell::within(None, 1e-3);
        verdict(&COLUMNS, &[Cell::Within(logits, 1e-4), curve, Cell::AtLeast(steps, 3)])
    }

    #[test]
    fn not_a_number_and_too_much_and_too_few_are_no_passes() {
        assert_eq!(judged(1e-4, 3), OK);
        assert_eq!(judged(f64::NAN, 3), "logits: beyond tolerance");
        assert_eq!(judged(2e-4, 2), "logits, steps: beyond tolerance");
        assert_ne!(verdict(&COLUMNS, &[]), OK);
    }

    #[test]
    fn lines_that_fail_are_counted_and_kinds_that_are_not_here_are_told() {
        let mut tables = Tables::default();
        let measure = |name: &&str| match *name {
            "none" => Err(Failure::Unsupported("not here".to_owned())),
            "broken" => Err(Failure::Failed("no such file".to_owned())),
            name => Ok(vec![(name.to_owned(), vec![Cell::Within(name.len() as f64, 2.0)])]),
        };
        let found = ["ab", "abc", "none", "broken"];
        tables.print(("name", &["length"]), &found, ToString::to_string, measure, "length 2");
        assert_eq!((tables.lines, tables.failed), (3, 2));
        assert_eq!(tables.skipped, ["none: not here"]);
    }
}
