//! What a question of the report is made of: which rows, what they are held against, columns, plots. The questions themselves are
//! [`super::questions`].

use std::collections::{BTreeMap, BTreeSet};

use burn_lora_report::ReportError;
use burn_lora_report::plot::{self, Axis, Bars, Curve, Place, Scale, Stroke};

use super::figure::Figure;
use super::markdown::{Section, Table};
use super::numbers;

use super::row::{Key, Row};

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
    /// Labels that get a table and plots of their own.
    pub per: &'static [Key],
    /// What must grow within a series for it to be an answer.
    pub grows: Option<Grows>,
    /// What rows are held against; without it every row stands for itself.
    pub base: Option<Base>,
    /// Whether of several ranks only the one stands for all that was measured most often.
    pub one_rank: bool,
    /// Of the tables.
    pub columns: &'static [Column],
    /// Below each table.
    pub plots: &'static [Plot],
}

/// What grows within a series.
pub struct Grows {
    /// The figure. A row without it belongs to every series: a level to hold them against.
    pub figure: Figure,
    /// Labels that tell the series apart.
    pub series: &'static [Key],
}

/// A [`Grows`].
pub const fn growing(figure: Figure, series: &'static [Key]) -> Option<Grows> {
    Some(Grows { figure, series })
}

/// What rows are held against.
pub struct Base {
    /// Labels that the base must have.
    pub rows: &'static [(Key, &'static [&'static str])],
    /// Labels that a row and its base must have in common.
    pub same: &'static [Key],
    /// What they are called in headings: the base, and the row.
    pub names: (&'static str, &'static str),
}

/// A [`Base`].
pub const fn held_against(
    rows: &'static [(Key, &'static [&'static str])],
    same: &'static [Key],
    names: (&'static str, &'static str),
) -> Option<Base> {
    Some(Base { rows, same, names })
}

/// One or, of figures that are held against a base, three columns of a table.
pub enum Column {
    /// Labels under a heading.
    Labels(&'static str, &'static [Key]),
    /// A figure of the row.
    Of(Figure),
    /// A figure of the base, of the row, and their ratio.
    Beside(Figure),
}

/// A plot.
pub enum Plot {
    /// Figures over a figure.
    Over {
        /// Its file, without the number of its table.
        stem: &'static str,
        /// To the right.
        x: (Figure, Scale),
        /// Upwards.
        y: (Figure, Scale),
        /// Labels that tell the series apart.
        series: &'static [Key],
        /// Whether points are joined.
        joined: bool,
    },
    /// Figures of each row, or their ratios over the base's.
    Bars {
        /// Its file.
        stem: &'static str,
        /// Above it.
        title: &'static str,
        /// Labels that name a row.
        name: &'static [Key],
        /// What is drawn.
        figures: &'static [Figure],
    },
}

impl Plot {
    /// A figure (upwards) over another (to the right), joined.
    pub const fn over(
        stem: &'static str,
        x: (Figure, Scale),
        y: (Figure, Scale),
        series: &'static [Key],
    ) -> Self {
        Self::Over { stem, x, y, series, joined: true }
    }
}

/// A row and what it is held against.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The row.
    pub row: &'a Row,
    /// Its base, where there is to be one.
    pub base: Option<&'a Row>,
}

impl Pair<'_> {
    /// The row's median over the base's.
    pub fn ratio(&self, figure: Figure) -> Option<f64> {
        Some(self.row.value(figure)? / self.base?.value(figure)?)
    }
}

fn fits(row: &Row, labels: &[(Key, &[&str])]) -> bool {
    labels.iter().all(|(key, values)| values.contains(&row.label(*key)))
}

impl Question {
    /// One that asks nothing, to be filled in.
    pub const BLANK: Self = Self {
        title: "",
        caption: "",
        missing: "",
        rows: &[],
        per: &[],
        grows: None,
        base: None,
        one_rank: false,
        columns: &[],
        plots: &[],
    };

    /// The rows that answer it, each with its base.
    pub fn pairs<'a>(&self, rows: &'a [Row]) -> Vec<Pair<'a>> {
        let mine =
            rows.iter().filter(|row| fits(row, self.rows)).filter(|row| self.is_answered(row));
        let Some(base) = &self.base else {
            return mine.map(|row| Pair { row, base: None }).collect();
        };
        let of = |row: &Row| {
            let candidates = || rows.iter().filter(|other| fits(other, base.rows) && *other != row);
            candidates().find(|other| row.agrees(other, base.same))
        };
        let pairs: Vec<Pair<'_>> =
            mine.filter_map(|row| Some(Pair { row, base: Some(of(row)?) })).collect();
        if self.one_rank { one_rank(pairs, base.same) } else { pairs }
    }

    /// Whether a row has anything to show in the columns of figures.
    fn is_answered(&self, row: &Row) -> bool {
        self.columns.iter().any(|column| match column {
            Column::Labels(..) => false,
            Column::Of(figure) | Column::Beside(figure) => row.figure(*figure).is_some(),
        })
    }

    /// A table and plots for each group of rows.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn section(&self, rows: &[Row]) -> Result<Section, ReportError> {
        let mut section = Section::new(self.title);
        let mut groups: Vec<Vec<Pair<'_>>> = Vec::new();
        for pair in self.pairs(rows) {
            let same = |group: &&mut Vec<Pair<'_>>| group[0].row.agrees(pair.row, self.per);
            match groups.iter_mut().find(same) {
                Some(group) => group.push(pair),
                None => groups.push(vec![pair]),
            }
        }
        if let Some(grows) = &self.grows {
            groups = groups.into_iter().map(|group| grown(group, grows)).collect();
        }
        groups.retain(|group| !group.is_empty());
        if groups.is_empty() {
            section.block(self.missing);
            return Ok(section);
        }
        section.block(self.caption);
        for (index, group) in groups.iter().enumerate() {
            let heading = group[0].row.labels(self.per);
            section.heading(&heading);
            section.block(self.table(group));
            for plot in self.plots {
                let number = if self.per.is_empty() { 0 } else { index + 1 };
                self.plot(plot, group, &heading, number, &mut section)?;
            }
        }
        Ok(section)
    }

    fn table(&self, group: &[Pair<'_>]) -> Table {
        let (of_base, of_row) = self.base.as_ref().map_or(("", ""), |base| base.names);
        // Labels that say nothing of any row, such as the processor where there is one only, are no column.
        let says = |column: &&Column| match column {
            Column::Labels(_, keys) => group.iter().any(|pair| !pair.row.labels(keys).is_empty()),
            Column::Of(_) | Column::Beside(_) => true,
        };
        let columns: Vec<&Column> = self.columns.iter().filter(says).collect();
        let headings = columns.iter().flat_map(|column| match column {
            Column::Labels(heading, _) => vec![(*heading).to_owned()],
            Column::Of(figure) => vec![figure.name().to_owned()],
            Column::Beside(figure) => {
                vec![format!("{}: {of_base}", figure.name()), of_row.to_owned(), "ratio".to_owned()]
            }
        });
        let mut table = Table::new(headings);
        for pair in group {
            let Pair { row, base } = pair;
            table.row(columns.iter().flat_map(|column| match column {
                Column::Labels(_, keys) => vec![row.labels(keys)],
                Column::Of(figure) => vec![figure.cell(row.figure(*figure))],
                Column::Beside(figure) => vec![
                    figure.cell(base.and_then(|base| base.figure(*figure))),
                    figure.cell(row.figure(*figure)),
                    pair.ratio(*figure).map_or_else(|| numbers::NONE.to_owned(), numbers::ratio),
                ],
            }));
        }
        table
    }

    fn plot(
        &self,
        plot: &Plot,
        group: &[Pair<'_>],
        heading: &str,
        number: usize,
        section: &mut Section,
    ) -> Result<(), ReportError> {
        let numbered = |stem: &str| match number {
            0 => stem.to_owned(),
            number => format!("{stem}-{number}"),
        };
        match plot {
            Plot::Over { stem, x, y, series, joined } => {
                let ((below, by_x), (beside, by_y)) = (x.0.axis(), y.0.axis());
                let of = if heading.is_empty() { String::new() } else { format!(": {heading}") };
                let title = format!("{} over {}{of}", y.0.name(), x.0.name());
                let mut curves: Vec<Curve> = Vec::new();
                for Pair { row, .. } in group {
                    let Some(spread) = row.figure(y.0) else { continue };
                    let (name, spread) = (row.labels(series), spread.times(by_y));
                    let index = curves.iter().position(|known| known.name == name);
                    let index = index.unwrap_or_else(|| {
                        curves.push(curve(name, curves.len(), *joined));
                        curves.len() - 1
                    });
                    let curve = &mut curves[index];
                    // What has no place to the right is a level to hold the others against.
                    let x = row.value(x.0).map(|x| x * by_x);
                    if x.is_none() {
                        curve.stroke = Stroke::Level;
                    }
                    curve.points.push((x.unwrap_or_default(), spread.median));
                    curve.ranges.push((spread.least, spread.most));
                }
                let plot = plot::Plot {
                    title: &title,
                    below: &below,
                    beside: &beside,
                    axis: Axis::Of(x.1),
                    values: y.1,
                    curves: &curves,
                };
                section.plot(&numbered(stem), &title, plot.svg(Place::File)?);
            }
            Plot::Bars { stem, title, name, figures } => {
                let value = |pair: &Pair<'_>, figure| match pair.base {
                    Some(_) => pair.ratio(figure),
                    None => pair.row.value(figure),
                };
                let bars = Bars {
                    title: (*title).to_owned(),
                    axis: "ratio".to_owned(),
                    series: figures.iter().map(|figure| figure.name().to_owned()).collect(),
                    cases: group
                        .iter()
                        .map(|pair| {
                            let bars = figures.iter().map(|&figure| value(pair, figure));
                            (pair.row.labels(name), bars.collect())
                        })
                        .collect(),
                    mark: Some(1.0),
                };
                section.plot(&numbered(stem), title, bars.svg()?);
            }
        }
        Ok(())
    }
}

/// A curve without points.
fn curve(name: String, index: usize, joined: bool) -> Curve {
    Curve {
        name,
        points: Vec::new(),
        ranges: Vec::new(),
        colour: plot::colour(index),
        width: 2,
        stroke: if joined { Stroke::LineAndDots } else { Stroke::Dots },
    }
}

/// Of the pairs of equal conditions the one at the rank that most of all conditions have, or the one at the smallest.
fn one_rank<'a>(pairs: Vec<Pair<'a>>, same: &[Key]) -> Vec<Pair<'a>> {
    let mut frequency: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in &pairs {
        *frequency.entry(pair.row.label(Key::Rank)).or_insert(0) += 1;
    }
    let mut kept: Vec<Pair<'a>> = Vec::new();
    for pair in pairs {
        let often = |pair: &Pair<'_>| frequency.get(pair.row.label(Key::Rank)).copied();
        let labels = [same, &[Key::Method]].concat();
        match kept.iter_mut().find(|other| other.row.agrees(pair.row, &labels)) {
            Some(other) if often(other) < often(&pair) => *other = pair,
            Some(_) => {}
            None => kept.push(pair),
        }
    }
    kept
}

/// The rows whose series have the figure at several values, in its order, and then the rows without it; none where no series has.
fn grown<'a>(group: Vec<Pair<'a>>, grows: &Grows) -> Vec<Pair<'a>> {
    let (placed, levels): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|pair| pair.row.value(grows.figure).is_some());
    let mut series: Vec<Vec<Pair<'a>>> = Vec::new();
    for pair in placed {
        match series.iter_mut().find(|row| row[0].row.agrees(pair.row, grows.series)) {
            Some(row) => row.push(pair),
            None => series.push(vec![pair]),
        }
    }
    let place = |pair: &Pair<'_>| pair.row.value(grows.figure).unwrap_or(0.0);
    series.retain(|row| row.iter().map(|p| place(p).to_bits()).collect::<BTreeSet<_>>().len() > 1);
    for row in &mut series {
        row.sort_by(|one, other| place(one).total_cmp(&place(other)));
    }
    let levels = if series.is_empty() { Vec::new() } else { levels };
    series.into_iter().flatten().chain(levels).collect()
}
