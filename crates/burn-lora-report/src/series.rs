//! Points over steps: smoothed, and few enough to draw.

use crate::plot::Point;

/// How many parts a curve is thinned to; about as many as a screen shows apart.
const PARTS: usize = 480;

/// How much of the run the smoothed curve averages over, as a share of its steps.
const SPAN: f64 = 1.0 / 50.0;

/// The exponentially weighted mean up to each point, over about a fiftieth of the run. The first points are
/// means of what there is, not drawn towards zero.
pub fn smoothed(points: &[Point]) -> Vec<Point> {
    let span = (points.len() as f64 * SPAN).max(1.0);
    // The usual meaning of span: the weights' mean age is that of a plain mean over as many.
    let kept = 1.0 - 2.0 / (span + 1.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    points
        .iter()
        .map(|(step, value)| {
            sum = kept * sum + value;
            weight = kept * weight + 1.0;
            (*step, sum / weight)
        })
        .collect()
}

/// The least and the most of each of [`PARTS`] parts, so that no spike is lost, where there are more points
/// than that.
pub fn thinned(points: Vec<Point>) -> Vec<Point> {
    if points.len() <= 2 * PARTS {
        return points;
    }
    points
        .chunks(points.len().div_ceil(PARTS))
        .flat_map(|part| {
            let by_value = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
            let ends = [part.iter().min_by(by_value), part.iter().max_by(by_value)];
            let mut ends: Vec<Point> = ends.into_iter().flatten().copied().collect();
            ends.sort_by(|a, b| a.0.total_cmp(&b.0));
            ends
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_is_the_weighted_mean_of_what_came() {
        // 150 points: a span of 3, so that half is kept. By hand: 8; (8/2 + 2) / (1/2 + 1) = 4;
        // (8/4 + 2/2 + 4) / (1/4 + 1/2 + 1) = 4.
        let mut points = vec![(1.0, 8.0), (2.0, 2.0), (3.0, 4.0)];
        points.extend((4..=150).map(|step| (f64::from(step), 0.0)));
        let smooth = smoothed(&points);
        assert_eq!(smooth[..3], [(1.0, 8.0), (2.0, 4.0), (3.0, 4.0)]);
        assert_eq!(smooth.len(), 150);
        assert!(smooth[149].1 < 1e-15);
    }

    #[test]
    fn a_short_or_constant_curve_is_not_changed_by_smoothing() {
        let short = [(1.0, 3.0), (2.0, -1.0)];
        assert_eq!(smoothed(&short), short);
        assert!(smoothed(&[]).is_empty());
        let constant = [(0.0, 0.25); 500];
        assert!(smoothed(&constant).iter().all(|point| (point.1 - 0.25).abs() < 1e-15));
    }

    #[test]
    fn thinning_keeps_ends_of_the_range_and_the_order() {
        let mut points: Vec<Point> =
            (0..100_000).map(|step| (f64::from(step), f64::from(step % 7))).collect();
        points[54_321].1 = 99.0;
        points[54_322].1 = -99.0;
        let thin = thinned(points.clone());
        assert!(thin.len() <= 2 * PARTS, "{}", thin.len());
        assert!(thin.contains(&points[54_321]) && thin.contains(&points[54_322]));
        assert!(thin.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(thinned(points[..2 * PARTS].to_vec()), points[..2 * PARTS]);
    }
}
