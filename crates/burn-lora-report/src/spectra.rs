//! The singular values of an adapter's changes, and what a smaller rank would keep of them, as plots over the rank.
//!
//! Layers of one name (`q_proj`, `down_proj`, …) are one curve: a line through their median, and at each rank a stroke from
//! the least to the most. A layer that changes nothing has no place in it.

use crate::ReportError;
use crate::plot::{COLOURS, Curve, Plot, Point, Scale, Stroke};

/// The share of a change's squared norm that is drawn as a line across.
const ENOUGH: f64 = 0.99;

/// A layer's change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerSpectrum<'a> {
    /// The layer's path.
    pub path: &'a str,
    /// Its singular values, the largest first.
    pub singular_values: &'a [f64],
    /// The share of the square of its norm that the rank 1, 2, … would keep.
    pub energy: &'a [f64],
}

/// The share of the squared norm that each rank keeps as an `<svg>`, with letters of some height; none where no layer
/// changes anything.
///
/// # Errors
///
/// It cannot be drawn.
pub fn energy_svg(
    layers: &[LayerSpectrum<'_>],
    letters: u32,
) -> Result<Option<String>, ReportError> {
    // Beyond its own rank a layer is kept whole.
    let mut curves =
        curves(layers, |layer, rank| Some(layer.energy.get(rank - 1).copied().unwrap_or(1.0)));
    if curves.is_empty() {
        return Ok(None);
    }
    let level = format!("{} %", 100.0 * ENOUGH);
    curves.push(Curve {
        name: level,
        points: vec![(1.0, ENOUGH)],
        ranges: Vec::new(),
        colour: COLOURS[6],
        stroke: Stroke::Level,
    });
    let title = "Share of the squared norm that a rank keeps";
    plot(title, Scale::Fitted, &curves).svg(letters).map(Some)
}

/// The singular values as an `<svg>`, as [`energy_svg`].
///
/// # Errors
///
/// It cannot be drawn.
pub fn singular_svg(
    layers: &[LayerSpectrum<'_>],
    letters: u32,
) -> Result<Option<String>, ReportError> {
    let curves = curves(layers, |layer, rank| layer.singular_values.get(rank - 1).copied());
    let plot = plot("Singular values (logarithmic)", Scale::Log10, &curves);
    (!curves.is_empty()).then(|| plot.svg(letters)).transpose()
}

fn plot<'a>(title: &'a str, beside: Scale, curves: &'a [Curve]) -> Plot<'a> {
    let scales = (Scale::Fitted, beside);
    Plot { title, below: "rank", beside: "", scales, tried: &[], curves }
}

/// A curve for each name of layers, in the order of their first.
fn curves(
    layers: &[LayerSpectrum<'_>],
    value: impl Fn(&LayerSpectrum<'_>, usize) -> Option<f64>,
) -> Vec<Curve> {
    let changes =
        |layer: &&LayerSpectrum<'_>| layer.singular_values.first().is_some_and(|it| *it > 0.0);
    let changing: Vec<_> = layers.iter().filter(changes).collect();
    let ranks = changing.iter().map(|layer| layer.singular_values.len()).max().unwrap_or(0);
    let name = |layer: &LayerSpectrum<'_>| -> String {
        layer.path.rsplit('.').next().unwrap_or_default().to_owned()
    };
    let mut curves = Vec::new();
    for layer in &changing {
        Curve::named(&mut curves, &name(layer), Stroke::LineAndDots);
    }
    for curve in &mut curves {
        let of_name: Vec<_> = changing.iter().filter(|layer| name(layer) == curve.name).collect();
        for rank in 1..=ranks {
            let mut values: Vec<f64> = of_name
                .iter()
                .filter_map(|layer| value(layer, rank))
                .filter(|value| value.is_finite() && *value > 0.0)
                .collect();
            values.sort_by(f64::total_cmp);
            let (Some(&least), Some(&most)) = (values.first(), values.last()) else { continue };
            let at = rank as f64;
            let point = |value: f64| -> Point { (at, value) };
            curve.points.push(point(median(&values)));
            if values.len() > 1 {
                curve.ranges.push([point(least), point(most)]);
            }
        }
    }
    curves
}

/// Of sorted values, of which there is one.
fn median(sorted: &[f64]) -> f64 {
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[low], sorted[high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::FILE;

    const LAYERS: [LayerSpectrum<'static>; 4] = [
        LayerSpectrum { path: "l.0.q", singular_values: &[3.0, 1.0], energy: &[0.9, 1.0] },
        LayerSpectrum { path: "l.1.q", singular_values: &[2.0, 2.0], energy: &[0.5, 1.0] },
        LayerSpectrum { path: "l.0.v", singular_values: &[4.0], energy: &[1.0] },
        LayerSpectrum { path: "l.1.v", singular_values: &[0.0], energy: &[1.0] },
    ];

    #[test]
    fn layers_of_one_name_are_one_curve_of_medians_from_the_least_to_the_most() {
        let energy =
            curves(&LAYERS, |layer, rank| Some(layer.energy.get(rank - 1).copied().unwrap_or(1.0)));
        assert_eq!(energy.iter().map(|curve| curve.name.as_str()).collect::<Vec<_>>(), ["q", "v"]);
        assert_eq!(energy[0].points, [(1.0, 0.7), (2.0, 1.0)]);
        assert_eq!(energy[0].ranges, [[(1.0, 0.5), (1.0, 0.9)], [(2.0, 1.0), (2.0, 1.0)]]);
        // The layer that changes nothing is left out; the other is whole beyond its rank.
        assert_eq!(energy[1].points, [(1.0, 1.0), (2.0, 1.0)]);
        assert!(energy[1].ranges.is_empty());
        let values = curves(&LAYERS, |layer, rank| layer.singular_values.get(rank - 1).copied());
        assert_eq!(values[0].points, [(1.0, 2.5), (2.0, 1.5)]);
        assert_eq!(values[1].points, [(1.0, 4.0)]);
    }

    #[test]
    fn what_changes_nothing_is_not_drawn() {
        let svg = energy_svg(&LAYERS, FILE).unwrap().unwrap();
        for part in ["<polyline", "rank", "99 %", "q"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(singular_svg(&LAYERS, FILE).unwrap().is_some());
        for layers in [&LAYERS[3..], &[]] {
            assert!(energy_svg(layers, FILE).unwrap().is_none());
            assert!(singular_svg(layers, FILE).unwrap().is_none());
        }
    }
}
