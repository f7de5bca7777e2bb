//! What a question of the report is made of: which rows, what they are held against, columns, plots. The questions themselves are
//! [`super::questions`].

use std::collections::BTreeMap;

use burn_lora_report::ReportError;
use burn_lora_report::plot::{self, Bars, Curve, FILE, Scale, Stroke};

use super::figure::Figure;
use super::markdown::{Section, Table};
use super::numbers::ratio;
use super::row::{Key, Row};
use crate::bench::statistics::Spread;

/// A section of the report.
pub struct Question {
    /// Its heading.
    pub title: &'static str,
    /// What stands above its tables.
    pub caption: &'static str,
    /// What stands there instead where no row answers it.
    pub missing: &'static str,
    /// Labels that a row must have, each one of some.
    pub rows: &'static [(Key, &'static [&'static str])],
    /// What rows are held against; without it every row stands for itself.
    pub base: Option<Base>,
    /// Whether of several ranks only the one stands for all that was measured most often.
    pub one_rank: bool,
    /// Labels that get a table and plots of their own.
    pub per: &'static [Key],
    /// Labels that tell the series of a table apart.
    pub series: &'static [Key],
    /// What must grow within a series for it to be an answer. A row without it belongs to every series: a level to hold them against.
    pub grows: Option<Figure>,
    /// The first columns: labels under a heading.
    pub labels: &'static [(&'static str, &'static [Key])],
    /// Then three columns each: a figure of the base, of the row, and their ratio.
    pub beside: &'static [Figure],
    /// Then a figure of the row each.
    pub figures: &'static [Figure],
    /// Below each table.
    pub plots: &'static [Plot],
}

/// What rows are held against: the rows that have this label and, but for the rank where they have none, all others in common.
pub struct Base {
    /// The label.
    pub key: Key,
    /// What it says.
    pub is: &'static str,
    /// What they are called in headings: the base, and the row.
    pub names: (&'static str, &'static str),
}

/// A plot; its file is named by a stem and the number of its table.
pub enum Plot {
    /// A figure (upwards) over another (to the right), a curve for each series.
    Over(&'static str, (Figure, Scale), (Figure, Scale), Stroke),
    /// Figures of each row, or their ratios over the base's, under a title.
    Bars(&'static str, &'static str, &'static [Figure]),
}

/// A row and what it is held against.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The row.
    pub row: &'a Row<'a>,
    /// Its base, where there is to be one.
    pub base: Option<&'a Row<'a>>,
}

impl Pair<'_> {
    /// The row's median over the base's, or its own where there is no base.
    pub fn ratio(&self, figure: Figure) -> Option<f64> {
        let over = self.base.map_or(Some(1.0), |base| base.value(figure))?;
        Some(self.row.value(figure)? / over)
    }
}

impl Question {
    /// One that asks nothing, to be filled in.
    pub const BLANK: Self = Self {
        title: "",
        caption: "",
        missing: "",
        rows: &[],
        base: None,
        one_rank: false,
        per: &[],
        series: &[],
        grows: None,
        labels: &[],
        beside: &[],
        figures: &[],
        plots: &[],
    };

    /// The rows that answer it, each with its base.
    pub fn pairs<'a>(&self, rows: &'a [Row<'a>]) -> Vec<Pair<'a>> {
        let figures = || self.beside.iter().chain(self.figures);
        let mine = rows.iter().filter(|row| {
            self.rows.iter().all(|(key, values)| values.contains(&row.label(*key)))
                && figures().any(|figure| row.figure(*figure).is_some())
        });
        let Some(Base { key, is, .. }) = self.base else {
            return mine.map(|row| Pair { row, base: None }).collect();
        };
        let base = |row: &Row<'_>| {
            rows.iter().find(|other| {
                let but: &[Key] =
                    if other.label(Key::Rank).is_empty() { &[key, Key::Rank] } else { &[key] };
                other.label(key) == is && row.label(key) != is && row.agrees_but(other, but)
            })
        };
        let pairs = mine.filter_map(|row| Some(Pair { row, base: Some(base(row)?) })).collect();
        if self.one_rank { one_rank(pairs) } else { pairs }
    }

    /// A table and plots for each group of rows.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn section(&self, rows: &[Row<'_>]) -> Result<Section, ReportError> {
        let mut section = Section::new(self.title);
        let groups = grouped(self.pairs(rows), |one, other| one.row.agrees(other.row, self.per));
        let groups: Vec<_> = match self.grows {
            Some(figure) => groups.into_iter().map(|group| self.grown(group, figure)).collect(),
            None => groups,
        };
        let groups = groups.iter().filter(|group| !group.is_empty());
        for (number, group) in (1..).zip(groups) {
            if number == 1 {
                section.block(self.caption);
            }
            let heading = group[0].row.labels(self.per);
            section.heading(&heading);
            section.block(self.table(group));
            for plot in self.plots {
                let number = if self.per.is_empty() { String::new() } else { format!("-{number}") };
                self.plot(plot, group, &heading, &number, &mut section)?;
            }
        }
        if section.is_empty() {
            section.block(self.missing);
        }
        Ok(section)
    }

    fn table(&self, group: &[Pair<'_>]) -> Table {
        // Labels that say nothing of any row, such as the processor where there is one only, are no column.
        let says = |keys: &[Key]| group.iter().any(|pair| !pair.row.labels(keys).is_empty());
        let labels: Vec<_> = self.labels.iter().filter(|(_, keys)| says(keys)).collect();
        let (of_base, of_row) = self.base.as_ref().map_or(("", ""), |base| base.names);
        let beside = self.beside.iter().flat_map(|figure| {
            [format!("{}: {of_base}", figure.name), of_row.to_owned(), "ratio".to_owned()]
        });
        let headings = labels.iter().map(|(heading, _)| (*heading).to_owned());
        let figures = self.figures.iter().map(|figure| figure.name.to_owned());
        let mut table = Table::new(headings.chain(beside).chain(figures));
        for pair in group {
            let cell = |row: &Row<'_>, figure: &Figure| figure.cell(row.figure(*figure));
            let beside = self.beside.iter().flat_map(|figure| {
                let of_base = pair.base.map(|base| cell(base, figure)).unwrap_or_default();
                let ratio = ratio(pair.ratio(*figure).unwrap_or(f64::NAN));
                [of_base, cell(pair.row, figure), ratio]
            });
            let labels = labels.iter().map(|(_, keys)| pair.row.labels(keys));
            let figures = self.figures.iter().map(|figure| cell(pair.row, figure));
            table.row(labels.chain(beside).chain(figures));
        }
        table
    }

    fn plot(
        &self,
        plot: &Plot,
        group: &[Pair<'_>],
        heading: &str,
        number: &str,
        section: &mut Section,
    ) -> Result<(), ReportError> {
        let (stem, title, svg) = match *plot {
            Plot::Over(stem, (x, below), (y, beside), stroke) => {
                let of = if heading.is_empty() { String::new() } else { format!(": {heading}") };
                let title = format!("{} over {}{of}", y.name, x.name);
                let plot = plot::Plot {
                    title: &title,
                    below: &x.axis().0,
                    beside: &y.axis().0,
                    scales: (below, beside),
                    tried: &[],
                    curves: &self.curves(group, x, y, stroke),
                };
                (stem, title.clone(), plot.svg(FILE)?)
            }
            Plot::Bars(stem, title, figures) => {
                let names: Vec<Key> =
                    self.labels.iter().flat_map(|(_, keys)| *keys).copied().collect();
                let bars = |pair: &Pair<'_>| {
                    let bars = figures.iter().map(|figure| pair.ratio(*figure)).collect();
                    (pair.row.labels(&names), bars)
                };
                let plot = Bars {
                    title: title.to_owned(),
                    axis: "ratio".to_owned(),
                    series: figures.iter().map(|figure| figure.name.to_owned()).collect(),
                    cases: group.iter().map(bars).collect(),
                    mark: 1.0,
                };
                (stem, plot.title.clone(), plot.svg()?)
            }
        };
        section.plot(&format!("{stem}{number}"), &title, svg);
        Ok(())
    }

    /// A curve for each series; rows that have no place to the right are levels to hold the others against.
    fn curves(&self, group: &[Pair<'_>], x: Figure, y: Figure, stroke: Stroke) -> Vec<Curve> {
        let mut curves = Vec::new();
        for Pair { row, .. } in group {
            let Some(spread) = row.figure(y) else { continue };
            let Spread { median, least, most } = spread.times(y.axis().1);
            let (x, stroke) = match row.value(x) {
                Some(value) => (value * x.axis().1, stroke),
                None => (0.0, Stroke::Level),
            };
            let curve = Curve::named(&mut curves, &row.labels(self.series), stroke);
            curve.points.push((x, median));
            curve.ranges.push([(x, least), (x, most)]);
        }
        curves
    }

    /// The rows whose series have the figure at several values, in its order, and then the rows without it; none where no series has.
    fn grown<'a>(&self, group: Vec<Pair<'a>>, figure: Figure) -> Vec<Pair<'a>> {
        let (placed, levels): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|pair| pair.row.value(figure).is_some());
        let place = |pair: &Pair<'_>| pair.row.value(figure).unwrap_or(0.0);
        let mut series = grouped(placed, |one, other| one.row.agrees(other.row, self.series));
        for row in &mut series {
            row.sort_by(|one, other| place(one).total_cmp(&place(other)));
        }
        series.retain(|row| place(&row[0]) < place(&row[row.len() - 1]));
        let levels = if series.is_empty() { Vec::new() } else { levels };
        series.into_iter().flatten().chain(levels).collect()
    }
}

/// Items that are the same in something, together, in the order in which the first of them came.
fn grouped<T>(items: Vec<T>, same: impl Fn(&T, &T) -> bool) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    for item in items {
        match groups.iter_mut().find(|group| same(&group[0], &item)) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

/// Of the pairs that differ in their rank alone the one at the rank that most of all pairs have, or of such ranks at the first.
fn one_rank(pairs: Vec<Pair<'_>>) -> Vec<Pair<'_>> {
    let mut frequency: BTreeMap<String, usize> = BTreeMap::new();
    for pair in &pairs {
        *frequency.entry(pair.row.label(Key::Rank).to_owned()).or_default() += 1;
    }
    let often = |pair: &Pair<'_>| frequency.get(pair.row.label(Key::Rank)).copied();
    let groups = grouped(pairs, |one, other| one.row.agrees_but(other.row, &[Key::Rank]));
    // Of equals `max_by_key` takes the last.
    groups.into_iter().filter_map(|group| group.into_iter().rev().max_by_key(often)).collect()
}
