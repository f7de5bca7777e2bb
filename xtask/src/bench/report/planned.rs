//! What was planned of each cell's memory before its model was made, beside what its process then had resident.

use super::figure::Figure;
use super::markdown::{Section, Table};
use super::numbers::{percent, ratio};
use super::questions::CELL;
use super::row::Row;

/// How far a plan may be off, as a share of what came.
const MARK: f64 = 0.1;

/// A row and how far its plan is off.
fn off(row: &Row<'_>) -> Option<f64> {
    Some((row.value(Figure::PLANNED_RATIO)? - 1.0).abs())
}

/// All that were planned in a table, the worst first.
pub fn section(rows: &[Row<'_>]) -> Section {
    let mut section = Section::new("What was planned, and what came?");
    let mut planned: Vec<(&Row<'_>, f64)> =
        rows.iter().filter_map(|row| Some((row, off(row)?))).collect();
    planned.sort_by(|one, other| other.1.total_cmp(&one.1));
    let Some((worst, most)) = planned.first() else {
        section.block("No cell was planned.");
        return section;
    };
    let near = planned.iter().filter(|(_, off)| *off <= MARK).count();
    section.block(format!(
        "The peak of a cell's process is planned in it before its model is made. {near} of {} cells are within {}; the worst is {} off: {}.",
        planned.len(),
        percent(MARK),
        percent(*most),
        worst.labels(CELL),
    ));
    let figures = [Figure::PLANNED, Figure::PEAK];
    let headings = figures.map(|figure| figure.name);
    let mut table = Table::new(["cell", headings[0], headings[1], Figure::PLANNED_RATIO.name]);
    for (row, _) in planned {
        let [planned, peak] = figures.map(|figure| figure.cell(row.figure(figure)));
        let over = ratio(row.value(Figure::PLANNED_RATIO).unwrap_or(f64::NAN));
        table.row([row.labels(CELL), planned, peak, over]);
    }
    section.block(table);
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;
    use crate::bench::record::{Line, Method};
    use crate::bench::report::rows::rows;

    #[test]
    fn the_worst_plan_stands_first_and_is_named() {
        let of = |rank, planned: Option<u64>| {
            let Line::Sample(mut one) = sample(Method::Lora, Some(rank), 0, &[1.0]) else {
                panic!("a sample")
            };
            (one.measured.peak_bytes, one.measured.planned_bytes) = (100 << 20, planned);
            Line::Sample(one)
        };
        let lines = [of(1, Some(105 << 20)), of(2, Some(80 << 20)), of(4, None)];
        let text = section(&rows(&lines)).markdown();
        for part in [
            "1 of 2 cells are within 10.0 %; the worst is 20.0 % off: tiny lora r=2 flex 2x4.",
            "| tiny lora r=2 flex 2x4 | 80.0 MiB | 100 MiB | 0.800x |\n| tiny lora r=1 flex 2x4 | 105 MiB |",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let text = section(&rows(&lines[2..])).markdown();
        assert!(text.contains("No cell was planned."), "{text}");
    }
}
