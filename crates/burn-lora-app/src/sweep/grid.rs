//! `section.key=v1,v2,…`: axes, and the points of their product.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::SweepError;

/// The most points of one sweep.
pub const MAX_POINTS: usize = 1000;

/// The longest name of a point, in characters; file systems end at 255 bytes.
const LONGEST_NAME: usize = 120;

/// A key and the values that it takes, at least two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Axis {
    /// `section.key`.
    pub key: String,
    /// As given, in order.
    pub values: Vec<String>,
}

impl Axis {
    /// The key without its section.
    pub fn short(&self) -> &str {
        short(&self.key)
    }
}

/// One configuration of a grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What is laid over the configuration file: `section.key=value`, in the order given.
    pub overrides: Vec<String>,
    /// A name for its directory, which no other point has: `rank-4_learning_rate-0.0001`.
    pub name: String,
    /// Its value on each axis.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Set {
    Fixed(String),
    Axis(Axis),
}

/// Axes and plain overrides, in the order given.
///
/// Commas part values, except inside brackets, braces and the quotes of a TOML value. A key with one
/// value is a plain override.
///
/// ```
/// use burn_lora_app::sweep::Grid;
///
/// let sets = ["adapter.rank=4,8", "train.steps=50", "adapter.targets=[\"q\",\"v\"],[\"q\"]"];
/// let grid = Grid::parse(&sets.map(str::to_owned))?;
/// let points = grid.points();
/// assert_eq!(points.len(), 4);
/// assert_eq!(points[1].name, "rank-4_targets-q");
/// assert_eq!(points[1].overrides[0], "adapter.rank=4");
/// # Ok::<(), burn_lora_app::sweep::SweepError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    sets: Vec<Set>,
}

impl Grid {
    /// Takes apart what was given as `section.key=value`. Whether there are such keys, and whether they take
    /// such values, is seen when the configurations are read.
    ///
    /// # Errors
    ///
    /// Values that cannot be told apart or are empty, a key that is set twice, or more than
    /// [`MAX_POINTS`] points.
    pub fn parse(sets: &[String]) -> Result<Self, SweepError> {
        let mut keys = BTreeSet::new();
        let mut parsed = Vec::with_capacity(sets.len());
        for set in sets {
            let Some((key, values)) = set.split_once('=') else {
                // The configuration's reader says what an override is.
                parsed.push(Set::Fixed(set.clone()));
                continue;
            };
            let key = key.trim();
            if !keys.insert(key) {
                return Err(SweepError::Twice { set: set.clone(), key: key.to_owned() });
            }
            // A single value stays as it is, closed or not.
            if !values.contains(',') {
                parsed.push(Set::Fixed(set.clone()));
                continue;
            }
            let values = split(values).ok_or_else(|| SweepError::Open { set: set.clone() })?;
            let count = values.len();
            if count == 1 {
                parsed.push(Set::Fixed(set.clone()));
                continue;
            }
            if let Some(empty) = values.iter().position(String::is_empty) {
                return Err(SweepError::Empty { set: set.clone(), position: empty + 1, count });
            }
            parsed.push(Set::Axis(Axis { key: key.to_owned(), values }));
        }
        let grid = Self { sets: parsed };
        let count =
            grid.axes().fold(1_usize, |count, axis| count.saturating_mul(axis.values.len()));
        if count > MAX_POINTS {
            return Err(SweepError::TooMany { count });
        }
        Ok(grid)
    }

    /// The keys with several values, in the order given.
    pub fn axes(&self) -> impl Iterator<Item = &Axis> {
        self.sets.iter().filter_map(|set| match set {
            Set::Axis(axis) => Some(axis),
            Set::Fixed(_) => None,
        })
    }

    /// The product of the axes; the last axis changes first. Without axes it is one point, `run`.
    pub fn points(&self) -> Vec<Point> {
        let mut points = vec![Point { overrides: vec![], name: String::new(), values: vec![] }];
        for set in &self.sets {
            match set {
                Set::Fixed(set) => {
                    for point in &mut points {
                        point.overrides.push(set.clone());
                    }
                }
                Set::Axis(axis) => {
                    let with = |point: &Point, value: &String| {
                        let mut point = point.clone();
                        point.overrides.push(format!("{}={value}", axis.key));
                        point.values.push(shown(value));
                        point
                    };
                    points = points
                        .iter()
                        .flat_map(|point| axis.values.iter().map(move |value| with(point, value)))
                        .collect();
                }
            }
        }
        let mut taken = HashSet::new();
        for point in &mut points {
            let parts: Vec<String> = self
                .axes()
                .zip(&point.values)
                .map(|(axis, value)| format!("{}-{}", safe(axis.short()), safe(value)))
                .collect();
            point.name = unique(parts.join("_"), &mut taken);
        }
        points
    }
}

/// The values of a list, parted at the commas outside of brackets, braces and quotes; `None` where
/// one of these is never closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut value = String::new();
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for c in text.chars() {
        if let Some(open) = quote {
            if escaped {
                escaped = false;
            } else if c == '\\' && open == '"' {
                escaped = true;
            } else if c == open {
                quote = None;
            }
        } else {
            match c {
                ',' if depth == 0 => {
                    values.push(value.trim().to_owned());
                    value.clear();
                    continue;
                }
                // An apostrophe inside of a plain word is none of TOML's quotes.
                '"' | '\'' if value.trim_start().is_empty() || is_toml(&value) => quote = Some(c),
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        value.push(c);
    }
    values.push(value.trim().to_owned());
    (depth == 0 && quote.is_none()).then_some(values)
}

/// Whether a value begins as a string, a list or a table.
fn is_toml(value: &str) -> bool {
    value.trim_start().starts_with(['"', '\'', '[', '{'])
}

fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// A value as it is shown: numbers in one spelling, so that `1e-4` and `0.0001` are the same run.
pub(super) fn shown(value: &str) -> String {
    if let Ok(number) = value.parse::<i64>() {
        return number.to_string();
    }
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let plain = number.to_string();
            if plain.len() <= 12 { plain } else { format!("{number:e}") }
        }
        _ => value.to_owned(),
    }
}

/// The text with nothing that a file system or a shell takes for something else.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+') {
            safe.push(c);
        } else if !safe.is_empty() && !safe.ends_with('_') {
            safe.push('_');
        }
    }
    safe.truncate(safe.trim_end_matches(['_', '.']).len());
    if safe.is_empty() { "empty".to_owned() } else { safe }
}

/// A name that is not taken yet, also where case makes no difference.
fn unique(name: String, taken: &mut HashSet<String>) -> String {
    let name = if name.is_empty() { "run".to_owned() } else { name };
    // Only ASCII is left by now.
    let name = &name[..name.len().min(LONGEST_NAME)];
    let mut candidate = name.to_owned();
    let mut number = 1;
    while !taken.insert(candidate.to_ascii_lowercase()) {
        number += 1;
        candidate = format!("{name}-{number}");
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(sets: &[&str]) -> Result<Grid, SweepError> {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        Grid::parse(&sets)
    }

    fn values(set: &str) -> Vec<String> {
        grid(&[set]).unwrap().axes().next().map_or(Vec::new(), |axis| axis.values.clone())
    }

    fn names(sets: &[&str]) -> Vec<String> {
        grid(sets).unwrap().points().into_iter().map(|point| point.name).collect()
    }

    #[test]
    fn points_are_the_product_of_the_axes_in_order() {
        let sets = ["adapter.rank=4, 8", "train.steps=50", "train.learning_rate=1e-4,3e-4"];
        let points = grid(&sets).unwrap().points();
        let overrides: Vec<String> = points.iter().map(|point| point.overrides.join(" ")).collect();
        assert_eq!(
            overrides,
            [
                "adapter.rank=4 train.steps=50 train.learning_rate=1e-4",
                "adapter.rank=4 train.steps=50 train.learning_rate=3e-4",
                "adapter.rank=8 train.steps=50 train.learning_rate=1e-4",
                "adapter.rank=8 train.steps=50 train.learning_rate=3e-4",
            ]
        );
        assert_eq!(points[0].name, "rank-4_learning_rate-0.0001");
        assert_eq!(points[3].values, ["8", "0.0003"]);
    }

    #[test]
    fn one_value_is_a_plain_override_and_no_axis_is_one_point() {
        let sets =
            ["train.betas=[0.9,0.99]", "data.separator=\", \"", "data.train=it's", "nothing"];
        let grid = grid(&sets).unwrap();
        assert_eq!(grid.axes().count(), 0);
        let points = grid.points();
        assert_eq!(points.len(), 1);
        assert_eq!(
            (&*points[0].name, &points[0].overrides[..]),
            ("run", &sets.map(str::to_owned)[..])
        );
    }

    #[test]
    fn commas_inside_brackets_braces_and_quotes_do_not_separate() {
        let lists = values(r#"adapter.targets=["q_proj","v_proj"],["q_proj"]"#);
        assert_eq!(lists, [r#"["q_proj","v_proj"]"#, r#"["q_proj"]"#]);
        let tables = values(r#"adapter.targets={regex="[a,b]]{2,3}"},all-linear"#);
        assert_eq!(tables, [r#"{regex="[a,b]]{2,3}"}"#, "all-linear"]);
        assert_eq!(values(r#"data.separator="a\",b",'c\',d"#), [r#""a\",b""#, r"'c\'", "d"]);
        assert_eq!(values("data.train=it's.jsonl,that's.jsonl"), ["it's.jsonl", "that's.jsonl"]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        assert!(matches!(grid(&["a.b=[1,2"]), Err(SweepError::Open { .. })));
        assert!(matches!(grid(&["a.b=\"1,2"]), Err(SweepError::Open { .. })));
        let empty = grid(&["a.b=1,,2"]);
        assert!(matches!(empty, Err(SweepError::Empty { position: 2, count: 3, .. })));
        assert!(matches!(grid(&["a.b=1,"]), Err(SweepError::Empty { position: 2, .. })));
        let twice = grid(&["a.b=1", "a.c=1,2", "a.b =2,3"]);
        assert!(matches!(twice, Err(SweepError::Twice { key, .. }) if key == "a.b"));
    }

    #[test]
    fn a_grid_has_at_most_a_thousand_points_and_the_error_counts_them() {
        let ten = "0,1,2,3,4,5,6,7,8,9";
        let axes: Vec<String> = ["a.a", "a.b", "a.c"].map(|key| format!("{key}={ten}")).into();
        assert_eq!(Grid::parse(&axes).unwrap().points().len(), 1000);
        let more = [&axes[..], &["a.d=1,2".to_owned()]].concat();
        assert!(matches!(Grid::parse(&more), Err(SweepError::TooMany { count: 2000 })));
        // 10^40 points do not fit any integer here.
        let many: Vec<String> = (0..40).map(|axis| format!("a.x{axis}={ten}")).collect();
        assert!(matches!(Grid::parse(&many), Err(SweepError::TooMany { count: usize::MAX })));
    }

    #[test]
    fn names_are_safe_for_a_directory_and_unique() {
        let targets = ["adapter.targets=[\"q_proj\", \"v_proj\"],all-linear,{regex='.*q|v'}"];
        let expected = ["targets-q_proj_v_proj", "targets-all-linear", "targets-regex_._q_v"];
        assert_eq!(names(&targets), expected);
        assert_eq!(
            names(&["data.train=../a,/a,é,.."]),
            ["train-.._a", "train-a", "train-empty", "train-empty-2"]
        );
        assert_eq!(names(&["data.train=a,A,a-2"]), ["train-a", "train-A-2", "train-a-2-2"]);
        assert_eq!(names(&["train.epsilon=1e-30,1E8"]), ["epsilon-1e-30", "epsilon-100000000"]);
        let long = "x".repeat(300);
        let long = names(&[&format!("data.train={long}1,{long}2")]);
        assert!(long.iter().all(|name| name.len() < 130) && long[0] != long[1], "{long:?}");
    }
}
